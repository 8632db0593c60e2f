"""JSON where text is not quite text: requests that cannot be written, answers that hold half a character."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from wizard_dsl.core.errors import InvalidRequest
from wizard_dsl.core.regex import regex

_ESCAPE = regex(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


def mend(data: bytes) -> bytes:
    """JSON in which halves of surrogate pairs, which are no text, are the replacement character."""
    return _ESCAPE.sub(lambda match: b"\\ufffd" if match[1] else match[0], data)


def encode_body(body: Any) -> bytes:
    """The JSON of a request. Raises InvalidRequest where something in it is no JSON or no text."""
    try:
        return msgspec.json.encode(body)
    except (UnicodeEncodeError, TypeError, OverflowError) as error:
        raise InvalidRequest(f"the request cannot be written as JSON: {error}", sent=False) from error
