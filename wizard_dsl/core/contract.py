"""How the text of an answer is read as JSON: one rule for the contract that checks it and the step that keeps it."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from wizard_dsl.core.regex import regex

_FENCE: Final = regex(r"\A\s*```(?:json)?[ \t]*\n(.*?)\n?[ \t]*```\s*\Z", re.DOTALL | re.IGNORECASE)


def parse_json(text: str) -> Any:
    """The value of an answer that is JSON, alone or in one Markdown fence. Raises ValueError with the reason."""
    fenced = _FENCE.match(text)
    try:
        return msgspec.json.decode((fenced[1] if fenced else text).encode())
    except msgspec.DecodeError as error:
        raise ValueError(f"the answer is not JSON: {error}") from None
