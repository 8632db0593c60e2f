"""Comments of a YAML text that speak to Wizard: `# wizard: allow W110 because the deadline is the point of the test`.

The reader drops comments, so they are found in the text, and what only looks like one, in a quoted string, a block
scalar or another comment, is none. A text that does not speak of Wizard costs one search.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
import yaml

from wizard_dsl.core.regex import regex
from wizard_dsl.spec.reader import LOADER

#: What begins a comment that allows something.
ALLOW: Final = regex(r"#[ \t]*wizard:[ \t]*allow\b(?P<rest>[^\r\n]*)")
#: What was probably meant to be one.
_NEARLY: Final = regex(
    r"#[ \t]*wizard[ \t]*:?[ \t]*(?:allow|ignore|disable|suppress|skip|noqa)\b"
    r"(?P<rest>[^\r\n]*\b[EW][0-9]{3}\b[^\r\n]*)",
    re.IGNORECASE,
)
_BECAUSE: Final = regex(r"\bbecause\b")
_CODE: Final = regex(r"[^\s,]+")
#: What may stand between two codes.
_AND: Final = "and"

_Spot = tuple[int, int]


class AllowedCode(NamedTuple):
    """One code of a comment, as written, and its column."""

    code: str
    column: int


class Allow(msgspec.Struct, frozen=True):
    """One comment: where it stands, the line it is about, its codes, and the reason, empty where there is none.
    `meant` is what is written in another way, and read by nobody."""

    line: int
    column: int
    about: int
    codes: tuple[AllowedCode, ...]
    reason: str
    end: int
    meant: bool = False


def allows(text: str) -> list[Allow]:
    """The comments of a text that allow something, in order. Lines and columns count from 1."""
    if "wizard" not in text.lower():
        return []
    lines = re.split("\r\n|[\n\r]", text.removeprefix("\ufeff"))
    spans = list(_scalars(text.removeprefix("\ufeff")))
    found = []
    for number, line in enumerate(lines):
        read = ALLOW.search(line)
        match = read or _NEARLY.search(line)
        if match is not None and _is_comment(line, number, match.start(), spans):
            found.append(_allow(match, number, lines, meant=read is None))
    return found


def _allow(match: re.Match[str], number: int, lines: Sequence[str], *, meant: bool) -> Allow:
    rest, offset = match["rest"], match.start("rest")
    because = _BECAUSE.search(rest)
    codes = rest if because is None else rest[: because.start()]
    return Allow(
        line=number + 1,
        column=match.start() + 1,
        about=_next_content(lines, number) + 1 if not match.string[: match.start()].strip() else number + 1,
        codes=tuple(
            AllowedCode(each[0], offset + each.start() + 1) for each in _CODE.finditer(codes) if each[0] != _AND
        ),
        reason="" if because is None else rest[because.end() :].strip(),
        end=match.end() + 1,
        meant=meant,
    )


def _next_content(lines: Sequence[str], number: int) -> int:
    """The line that a comment on a line of its own is about: the next one that is neither empty nor a comment."""
    after = range(number + 1, len(lines))
    return next((each for each in after if lines[each].strip() and not lines[each].lstrip().startswith("#")), number)


def _is_comment(line: str, number: int, column: int, spans: Sequence[tuple[_Spot, _Spot]]) -> bool:
    """Whether the first comment of a line begins at a column."""
    for at in (each.start() for each in re.finditer(r"(?:^|(?<=[ \t]))#", line)):
        if not any(start <= (number, at) < end for start, end in spans):
            return at == column
    return False


def _scalars(text: str) -> Iterator[tuple[_Spot, _Spot]]:
    """From where to where texts reach, lines and columns from 0. Of a block scalar its first line is no part, which may
    end in a comment."""
    try:
        for token in yaml.scan(text, Loader=LOADER):
            if isinstance(token, yaml.ScalarToken):
                start, end = token.start_mark, token.end_mark
                first = (start.line + 1, 0) if token.style in ("|", ">") else (start.line, start.column)
                yield first, (end.line, end.column)
    except yaml.YAMLError:
        return
