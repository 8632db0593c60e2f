"""The layout of a YAML text: indentation, spacing, line width and the order of sections, with every comment kept.

Scalars are copied as they are written, so quotes, anchors and block scalars stay what they are. The text is taken
apart into rows (what stands on one line, or hangs together over several) and each row is written again:

- two spaces a level, also for lists below a key; one space after `:`, `-` and `,`, none inside brackets;
- a comment of its own line stands with what follows it, one after a value two spaces behind it, or where it
  was if the one above or below stands in the same column;
- one empty line at most, none at either end, no spaces at line ends, one line break at the end, LF alone; but
  the line breaks behind a block scalar that counts them stay;
- a row wider than 120 columns has its brackets written as lines, from the outside, until it is not; one with a
  comment that allows something of its line stays one.

Nobody has to trust this: `formatted` compares what both texts mean, and raises `NotLaidOut` where they differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import yaml

from wizard_dsl.spec._layout_rows import Row, rows_of
from wizard_dsl.spec._layout_sections import in_order
from wizard_dsl.spec._layout_wide import unfolded
from wizard_dsl.spec.comments import ALLOW
from wizard_dsl.spec.source import Source, load_text

WIDTH: Final = 120
_PASSES: Final = 200


class NotLaidOut(Exception):
    """A text cannot be laid out without a change of what it says; the message says why."""


def formatted(source: Source, order: Sequence[str]) -> str:
    """The text in our layout, its sections in `order`, those it does not name behind them. It has to be one that could
    be read. Raises NotLaidOut."""
    plain = re.sub("\r\n|\r", "\n", source.text)
    try:
        rows = rows_of(plain)
        made, made_rows = _fixed(plain, rows)
        in_their_order = in_order(made, order, list(source.data))
        if in_their_order != made:
            made, made_rows = _fixed(in_their_order, rows_of(in_their_order))
        same = made == plain or _meaning(source, rows) == _meaning(load_text(made, ""), made_rows)
    except (yaml.YAMLError, RecursionError) as error:
        raise NotLaidOut(str(getattr(error, "problem", None) or "it is nested too deeply")) from None
    if not same:
        raise NotLaidOut("laid out it would say something else")
    return made


def _fixed(text: str, rows: list[Row]) -> tuple[str, list[Row]]:
    """The text laid out until nothing changes any more, and its rows; a pass writes one more level of what is too wide
    as lines."""
    for _ in range(_PASSES):
        made = _laid_out(text, rows)
        if made == text:
            return text, rows
        text, rows = made, rows_of(made)
    raise NotLaidOut("it comes to no end")


def _laid_out(text: str, rows: Sequence[Row]) -> str:
    lines: list[str] = []
    for row in _aligned(rows[:-1]):
        lines += _above(row, lines)
        lines += _written(row)
    foot = list(_above(rows[-1], lines))
    while foot and not foot[-1]:
        foot.pop()
    return "\n".join([*lines, *foot]) + ("" if not foot and _is_open(text, rows) else "\n")


def _is_open(text: str, rows: Sequence[Row]) -> bool:
    """Whether the text ends within a block scalar that would have one line break more with one behind it."""
    if text.endswith("\n") or len(rows) < 2 or not rows[-2].has_block_scalar:
        return False
    last = rows[-2].tokens[-1]
    header, *body = last.text.split("\n")
    return bool(body) and last.end == len(text) and "-" not in header


def _aligned(rows: Sequence[Row]) -> Iterator[Row]:
    """The rows, those whose comment stands alone in its column with none to keep."""
    columns = [row.comment_column for row in rows if row.comment]
    neighbours = zip([None, *columns], columns, [*columns[1:], None], strict=False)
    kept = iter([at if at in (above, below) else 0 for above, at, below in neighbours])
    for row in rows:
        yield msgspec.structs.replace(row, comment_column=next(kept)) if row.comment else row


def _above(row: Row, lines: Sequence[str]) -> Iterator[str]:
    """The comments and empty lines above a row; of several empty lines in a row, one."""
    blank = not lines or not lines[-1]
    for line in row.above:
        if line or not blank:
            yield line
        blank = not line


def _written(row: Row) -> list[str]:
    if not row.tokens:
        return []
    lines = row.lines()
    if len(lines) == 1 and len(lines[0]) > WIDTH and not _allows(row):
        wide = unfolded(row)
        if wide is not None:
            first, *rest = wide
            return [_commented(first, msgspec.structs.replace(row, comment_column=0)), *rest]
    at = 0 if row.has_block_scalar else -1
    lines[at] = _commented(lines[at], row)
    return lines


def _allows(row: Row) -> bool:
    """Whether a comment allows what is found on this line, and would be of another one if this became several."""
    return any(ALLOW.search(line) for line in (*row.above, row.comment))


def _commented(line: str, row: Row) -> str:
    if not row.comment:
        return line
    return line.ljust(max(row.comment_column, len(line) + 2)) + row.comment


def _meaning(source: Source, rows: Sequence[Row]) -> tuple[str, list[str]]:
    """What a text says, whatever the order of its keys, and its comments."""
    comments = [line.strip() for row in rows for line in (*row.above, row.comment) if line]
    return json.dumps([source.data, [each.code for each in source.diagnostics]], sort_keys=True), sorted(comments)
