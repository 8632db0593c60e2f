"""Keys never appear: pure text in, text without secrets out.

Two nets. The values this run was given as secrets are replaced wherever they stand. What else looks like a
credential – a vendor's prefix, a bearer token, whatever follows a name such as `api_key` – is replaced by its look,
because a provider may quote a key that is not ours. Too much is rather hidden than too little; every pattern is
linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

HIDDEN: Final = "***"

#: A shorter value is no secret, and replacing it would tear ordinary words apart.
SHORTEST: Final = 4

_PREFIXED: Final = (
    r"(?<![A-Za-z0-9])(?:sk|pk|rk|gsk|xai|hf|r8|pplx|nvapi|fw|tgp|ghp|gho|ghs|github_pat|glpat|xox[abprs])"
    r"[-_][A-Za-z0-9_-]{8,}"
)
_BARE: Final = (
    r"(?<![A-Za-z0-9])(?:AIza[A-Za-z0-9_-]{20,}|(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?)"
)
_NAMES: Final = (
    r"(?:api[-_ ]?key|authorization|(?:access|auth|refresh|session|security|id)[-_]?token"
    r"|secret(?:[-_](?:access[-_])?key)?|password|passwd|private[-_]key|cookie)"
)
_NAMED: Final = (
    rf"(?i)({_NAMES}\\?[\"']?\s{{0,4}}[:=]\s{{0,4}}\\?[\"']?)"
    r"(?:(?:bearer|basic|token)\s{1,4})?[^\s\"'\\,;&}]+"
)
_MENTIONED: Final = (
    r"(?i)(\b(?:key|token|secret|credential)s?\b[^A-Za-z0-9]{1,4}(?:[a-z]{1,12}[^A-Za-z0-9]{1,4}){0,4})"
    r"[A-Za-z0-9+/_-]{32,}={0,2}"
)

#: What is found, and what of it stays.
_LOOKS: Final = tuple(
    (re.compile(pattern), kept)
    for pattern, kept in (
        (r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?", HIDDEN),
        (_NAMED, r"\1***"),
        (r"(?i)(?<![a-z])(bearer|basic)(\s{1,4})(?=[^\s]{0,200}[0-9=])[A-Za-z0-9._~+/=-]{6,}", r"\1\2***"),
        (_PREFIXED, HIDDEN),
        (_BARE, HIDDEN),
        (r"([?&](?:key|token|sig|signature)=)[^&\s\"'\\]+", r"\1***"),
        (r"(://)[^\s/@:\"']{0,200}:[^\s/@\"']{1,200}@", r"\1***@"),
        (_MENTIONED, r"\1***"),
    )
)


def redact(text: str, secrets: Collection[str] = ()) -> str:
    """`text` with every secret, and what looks like one, replaced by `***`.

    Of secrets that contain each other the longer goes first, so no tail of it is left over.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, HIDDEN)
    for look, kept in _LOOKS:
        text = look.sub(kept, text)
    return text


def redact_tree(value: Any, secrets: Collection[str] = ()) -> Any:
    """Plain data with each of its texts redacted, keys included; lone surrogates become escapes."""
    if isinstance(value, str):
        return redact(value.encode("utf-8", "backslashreplace").decode(), secrets)
    if isinstance(value, Mapping):
        return {redact_tree(key, secrets): redact_tree(each, secrets) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [redact_tree(each, secrets) for each in value]
    return value
