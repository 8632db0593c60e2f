"""Control characters: what no text needs, and terminals, logs and tokenizers trip over.

Tab, line feed, form feed, carriage return and next line are text. All others of Unicode's category Cc are not: NUL ends
strings in C, ESC drives terminals, and most of the rest is a sign of binary data.
"""

from __future__ import annotations

from typing import Final

from wizard_dsl.core.regex import regex

_CONTROL: Final = regex("[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f]")


def find_control(text: str) -> tuple[int, str] | None:
    """The first control character: its place, counted from 1, and its name, as in U+0000."""
    found = None if text.isascii() and text.isprintable() else _CONTROL.search(text)
    return None if found is None else (found.start() + 1, f"U+{ord(found[0]):04X}")


def strip_control(text: str) -> str:
    """`text` without its control characters."""
    return _CONTROL.sub("", text)
