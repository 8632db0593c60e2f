"""YAML 1.2 core scalars, and where a character inside a scalar is written in the file.

`yes`, `no`, `on`, `off` and dates are strings; `010` is ten and `0o10` eight. A scalar's text and what is written
differ by indentation, folding and escapes: `position_in` undoes that, so that an error in a template points at
its line inside the block scalar.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

from wizard_dsl.core.regex import regex

Scalar = str | int | float | bool | None

_WORDS: Final[dict[str, bool | None]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INT: Final = regex(r"[-+]?[0-9]{1,100}|0o[0-7]{1,100}|0x[0-9a-fA-F]{1,100}")
_FLOAT: Final = regex(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL: Final = regex(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_NUMERIC_START: Final = frozenset("+-.0123456789")
_PROPERTIES: Final = regex(r"(?:[&!]\S*\s+)+")
_ESCAPE: Final = r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[^\s])"
_WRITTEN: Final = {
    '"': regex(rf"(?!\\[nNtrv_LP ]){_ESCAPE}|\\(?:[nNtrv_LP]|$)()|\S"),
    "'": regex(r"''|\S"),
}
_PLAIN_WRITTEN: Final = regex(r"\S")


def core_scalar(text: str) -> Scalar:
    """The value of a plain scalar. A number that is not finite comes back as the float it is."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMERIC_START:
        return text
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text


def is_finite(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def position_in(
    lines: Sequence[str], start: tuple[int, int], style: str, text: str, spot: tuple[int, int]
) -> tuple[int, int]:
    """Line and column in the file of a line and column in a scalar's text; all count from 1.

    `start` is where the scalar begins, `style` one of `|`, `>`, `'`, `"` or empty. Exact for literal blocks; in
    the other styles a place inside white space is that of the word before it.
    """
    row, column = _after_properties(lines, start[0] - 1, start[1] - 1)
    if style == "|":
        return _in_literal(lines, row, spot)
    words = text.split("\n")
    before = "\n".join([*words[: spot[0] - 1], words[spot[0] - 1][: spot[1] - 1] if spot[0] <= len(words) else ""])
    nth = sum(not char.isspace() for char in before)
    if style == ">":
        row, column = row + 1, 0
    elif style:
        column += 1
    return _nth_written(lines, row, column, _WRITTEN.get(style, _PLAIN_WRITTEN), nth)


def _after_properties(lines: Sequence[str], row: int, column: int) -> tuple[int, int]:
    """Past an anchor or a tag, which the parser counts as part of the scalar."""
    text = "\n".join([lines[row][column:], *lines[row + 1 : row + 3]])
    match = _PROPERTIES.match(text)
    if not match:
        return row, column
    skipped = match[0].split("\n")
    if len(skipped) == 1:
        return row, column + len(match[0])
    return row + len(skipped) - 1, len(skipped[-1])


def _in_literal(lines: Sequence[str], header: int, spot: tuple[int, int]) -> tuple[int, int]:
    body = lines[header + 1 :]
    explicit = re.search(r"[|>][+-]?([1-9])", lines[header])
    first = next((line for line in body if line.strip()), "")
    indent = len(first) - len(first.lstrip(" "))
    if explicit:
        indent = _parent_indent(lines, header) + int(explicit[1])
    return header + 1 + spot[0], indent + spot[1]


def _parent_indent(lines: Sequence[str], header: int) -> int:
    """What `|2` counts from: the key of `- key: |2`, but the dash of `- |2`."""
    dashes = re.match(r" *(?:- +)*", lines[header])
    end = dashes.end() if dashes else 0
    direct = lines[header][end : end + 1] in ("|", ">", "&", "!")
    return lines[header].rindex("-", 0, end) if direct and "-" in lines[header][:end] else end


def _nth_written(lines: Sequence[str], row: int, column: int, pattern: re.Pattern[str], nth: int) -> tuple[int, int]:
    last = (row + 1, column + 1)
    for number in range(row, len(lines)):
        for match in pattern.finditer(lines[number], column):
            if match.lastindex is not None:  # an escape that stands for white space
                continue
            last = (number + 1, match.start() + 1)
            if nth == 0:
                return last
            nth -= 1
        column = 0
    return last
