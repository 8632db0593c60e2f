"""Signs of prompt injection: sentences that talk to the model about its instructions.

A sign is no proof, and no list of sentences is complete: this finds the clumsy majority, in English and German, and
is off unless a file asks for it. What protects is structure: inputs never reach a system message unless they are
trusted.
"""

from __future__ import annotations

import re
from typing import Final

from wizard_dsl.core.regex import regex

_BEFORE: Final = r"(?:previous|prior|above|preceding|earlier|foregoing|system|initial|original)"
_ORDERS: Final = r"(?:instructions?|prompts?|rules?|directives?|guidelines?|commands?|messages?)"

_SIGNS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (name, regex(pattern, re.IGNORECASE))
    for name, pattern in (
        (
            "tells the model to drop its instructions",
            rf"\b(?:ignore|disregard|forget|override|bypass)\b[^.!?\n]{{0,40}}\b{_BEFORE}\b[^.!?\n]{{0,20}}\b{_ORDERS}\b",
        ),
        (
            "tells the model to drop its instructions",
            r"\b(?:ignorier\w*|vergiss|missacht\w*)\b[^.!?\n]{0,40}\b(?:anweisung\w*|instruktion\w*|regeln|vorgaben)\b",
        ),
        (
            "asks for the system prompt",
            r"\b(?:reveal|print|show|repeat|output|leak|tell me)\b[^.!?\n]{0,30}"
            r"\b(?:system prompt|system message|initial prompt|hidden instructions?|your instructions)\b",
        ),
        (
            "gives the model another role",
            r"\b(?:you are now|from now on,? you(?: are|'re)|pretend (?:to be|you are)|act as if you)\b[^.!?\n]{0,60}"
            r"\b(?:dan|unrestricted|jailbroken|no (?:rules|restrictions|limits|filters)|without (?:rules|limits))\b",
        ),
        (
            "claims to be a message of the system",
            r"(?m:^)\s*(?:#{1,4}\s*|\*\*|\[|<)?(?:new )?system(?:(?: prompt| message)s?)?(?:\*\*|\]|>)?\s*:",
        ),
        (
            "speaks to whoever evaluates the answer",
            r"\b(?:developer|debug|god|admin) mode\b[^.!?\n]{0,30}\b(?:on|enabled?|activated?)\b",
        ),
    )
)


def find_injection(text: str) -> list[str]:
    """What the text does that an injection would do; sentences without any of the text."""
    return list(dict.fromkeys(name for name, pattern in _SIGNS if pattern.search(text)))
