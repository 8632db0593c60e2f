"""A YAML text as rows: the tokens that hang together, where they are to stand, and the comments around them.

The tokens are those of the parser, so what looks like a comment inside a scalar is none. `yaml.scan` leaves out the
start of a list that is no deeper than its key; such a list gets a block of its own here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import yaml
from yaml import tokens as kinds

from wizard_dsl.spec.reader import LOADER

STEP: Final = 2
_OPENERS: Final = (kinds.FlowMappingStartToken, kinds.FlowSequenceStartToken)
_CLOSERS: Final = (kinds.FlowMappingEndToken, kinds.FlowSequenceEndToken)
_NAMES: Final = (kinds.AliasToken, kinds.AnchorToken, kinds.TagToken)
_AT_START: Final = (kinds.BlockEntryToken, kinds.KeyToken, kinds.ValueToken)
_MOVES: Final = (
    kinds.BlockMappingStartToken,
    kinds.BlockSequenceStartToken,
    kinds.BlockEntryToken,
    kinds.BlockEndToken,
    kinds.KeyToken,
)
_BLOCK_STYLES: Final = ("|", ">")
_ALONE: Final = (kinds.DirectiveToken, kinds.DocumentStartToken, kinds.DocumentEndToken)


class Block(msgspec.Struct, frozen=True, gc=False):
    """A block mapping or list: its column as written and as it is to be; `bare` is a list as deep as its key."""

    old: int
    new: int
    is_list: bool
    bare: bool = False


class Token(msgspec.Struct, frozen=True, gc=False):
    """What is visible of a token. `keyed`: a key begins with it; `depth`: the brackets open before it."""

    kind: type
    text: str
    start: Any
    end: int
    last_line: int
    keyed: bool
    depth: int
    blocks: tuple[Block, ...]

    @property
    def is_block_scalar(self) -> bool:
        return self.kind is kinds.ScalarToken and self.text[0] in "|>"

    @property
    def base(self) -> int:
        """The column of the innermost block; inside brackets, of what they hang below."""
        if not self.blocks:
            return 0
        block = self.blocks[-1]
        return block.new + STEP if block.is_list and self.depth else block.new


class Row(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one line, or of several where a scalar goes on; the last row of a text has none."""

    tokens: tuple[Token, ...]
    above: tuple[str, ...]
    comment: str
    comment_column: int

    @property
    def has_block_scalar(self) -> bool:
        return self.tokens[-1].is_block_scalar

    def lines(self) -> list[str]:
        lines = [" " * column_of(self.tokens[0])]
        before: Token | None = None
        for token in self.tokens:
            first, more, rest = token.text.partition("\n")
            lines[-1] += gap(before, token) + first.rstrip()
            if more:
                lines += (_block if token.is_block_scalar else _continued)(token, rest.split("\n"))
            before = token
        return lines


def gap(before: Token | None, token: Token) -> str:
    """What stands between two tokens of a line."""
    if before is None or before.kind in _OPENERS:
        return ""
    if token.kind is kinds.FlowEntryToken or token.kind in _CLOSERS:
        return " " if before.kind is kinds.ValueToken else ""
    return "" if token.kind is kinds.ValueToken and before.kind not in _NAMES else " "


def column_of(token: Token) -> int:
    """The column that a row beginning with this token gets."""
    if token.kind in _ALONE or (not token.blocks and not token.depth):
        return 0
    if token.depth:
        return token.base + STEP * (token.depth - (token.kind in _CLOSERS))
    return token.base if token.keyed or token.kind in _AT_START else token.base + STEP


def _continued(token: Token, rest: Sequence[str]) -> list[str]:
    """The further lines of a scalar in quotes or without; spaces around its line breaks mean nothing."""
    margin = " " * (token.base + STEP * (token.depth + 1))
    found = []
    for line in rest:
        kept = line.strip(" \t")
        found.append(margin + (line.lstrip(" \t") if kept.endswith("\\") else kept) if kept else "")
    return found


def _block(token: Token, body: Sequence[str]) -> list[str]:
    """The lines of a block scalar, as far from each other as they were."""
    step = _step_of(token.text)
    old = _margin(token.text, body, token.blocks)
    new = (token.blocks[-1].new if token.blocks else 0) + (step or STEP)
    return [" " * new + line[old:] if len(line) > old else "" for line in body]


def _step_of(text: str) -> int:
    """How much deeper than its parent a block scalar says that it stands, 0 where it does not."""
    return next((int(each) for each in text.partition("\n")[0].partition("#")[0] if each.isdigit()), 0)


def _margin(text: str, body: Sequence[str], blocks: Sequence[Block]) -> int:
    """The spaces before the lines of a block scalar that are not part of it: said, or those of its first line; of lines
    of spaces alone, all."""
    step = _step_of(text)
    if step:
        return (blocks[-1].old if blocks else 0) + step
    deepest = max(map(len, body), default=0)
    return next((len(line) - len(line.lstrip(" ")) for line in body if line.strip(" ")), deepest)


def rows_of(text: str) -> list[Row]:
    """The rows of a text with LF line breaks, and one without tokens for what follows them. Raises YAMLError."""
    groups: list[list[Token]] = []
    for token in _tokens(text):
        last = groups[-1][-1] if groups else None
        if last is None or last.is_block_scalar or last.last_line != token.start.line:
            groups.append([])
        groups[-1].append(token)
    rows: list[Row] = []
    above = _gap_lines(text, None, groups[0][0] if groups else None)
    for at, group in enumerate(groups):
        following = groups[at + 1][0] if at + 1 < len(groups) else None
        tail, comment, column = _tail(text, group[-1])
        rows.append(Row((*group[:-1], tail), tuple(above), comment, column))
        above = _gap_lines(text, tail, following)
    return [*rows, Row((), tuple(above), "", 0)]


def _tail(text: str, token: Token) -> tuple[Token, str, int]:
    """The last token of a row without the comment behind it, which a block scalar has in its first line."""
    if token.is_block_scalar:
        header, more, body = token.text.partition("\n")
        indicator, mark, comment = header.partition("#")
        column = token.start.column + len(indicator)
        text_alone = indicator.rstrip() + more + body
        return msgspec.structs.replace(token, text=text_alone), (mark + comment).rstrip(), column
    line_end = text.find("\n", token.end)
    rest = text[token.end : line_end if line_end >= 0 else len(text)]
    line_start = text.rfind("\n", 0, token.end) + 1
    column = token.end - line_start + len(rest) - len(rest.lstrip())
    return token, rest.strip(), column


def _gap_lines(text: str, before: Token | None, after: Token | None) -> list[str]:
    """The comments and empty lines between two rows, comments where they are to stand."""
    begin = 0 if before is None else before.end
    end = len(text) if after is None else after.start.index
    lines = text[begin:end].split("\n")
    if before is not None:
        lines = lines if before.is_block_scalar else lines[1:]
    return [_placed(line, before, after) if line.strip() else "" for line in lines[: -1 if after else None]]


def _placed(line: str, before: Token | None, after: Token | None) -> str:
    """A comment with what follows it; one that is deeper than that, with the block above that it ends."""
    comment = line.strip()
    column = len(line) - len(line.lstrip())
    if after is not None and (after.depth or column <= after.start.column):
        return " " * (column_of(after) + (STEP if after.kind in _CLOSERS else 0)) + comment
    places = {block.old: block.new for block in (before.blocks if before else ())}
    if after is not None:
        places[after.start.column] = column_of(after)
    fitting = [old for old in places if old <= column]
    return " " * (places[max(fitting)] if fitting else 0) + comment


def _tokens(text: str) -> Iterator[Token]:
    """The visible tokens, each with the blocks it stands in."""
    blocks: tuple[Block, ...] = ()
    depth = 0
    keyed = False
    token: Any
    for token in yaml.scan(text, Loader=LOADER):
        kind = type(token)
        if depth == 0 and kind in _MOVES:
            blocks = _moved(token, blocks)
        keyed = keyed or kind is kinds.KeyToken
        start, end = token.start_mark, token.end_mark
        if end.index > start.index and kind is not kinds.StreamStartToken:
            written, behind = text[start.index : end.index], end.index
            if kind is kinds.ScalarToken and token.style in _BLOCK_STYLES:
                written, behind = _body(text, start.index, end.index, blocks)
            yield Token(kind, written, start, behind, end.line, keyed, depth, blocks)
            depth += (kind in _OPENERS) - (kind in _CLOSERS)
            keyed = False


def _moved(token: Any, blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """The blocks that are open behind a token."""
    kind = type(token)
    if blocks and blocks[-1].bare and kind in (kinds.KeyToken, kinds.BlockEndToken):
        blocks = blocks[:-1]
    if kind is kinds.BlockEndToken:
        return blocks[:-1]
    if kind in (kinds.BlockMappingStartToken, kinds.BlockSequenceStartToken):
        new = blocks[-1].new + STEP if blocks else 0
        return (*blocks, Block(token.start_mark.column, new, kind is kinds.BlockSequenceStartToken))
    if kind is kinds.BlockEntryToken and not blocks[-1].is_list:
        return (*blocks, Block(blocks[-1].old, blocks[-1].new + STEP, True, True))
    return blocks


def _body(text: str, start: int, end: int, blocks: Sequence[Block]) -> tuple[str, int]:
    """A block scalar's lines, each whole, and where they end; the empty ones behind it only where it keeps them (`+`).
    Spaces that a text ends with are a line of it only where they are deeper than it."""
    end = end if end >= len(text) else text.rfind("\n", 0, end) + 1
    lines = text[start:end].removesuffix("\n").split("\n")
    margin = _margin(lines[0], lines[1:], blocks)
    keeps = "+" in lines[0].partition("#")[0]
    last_is_open = end >= len(text) and not text.endswith("\n")
    while len(lines) > 1 and len(lines[-1]) <= margin and not lines[-1].strip(" ") and (last_is_open or not keeps):
        lines.pop()
        last_is_open = False
    written = "\n".join(lines)
    return written, min(start + len(written) + 1, len(text))
