"""A row that is too wide: the outermost brackets at its end, written as lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from yaml import tokens as kinds

from wizard_dsl.spec._layout_rows import STEP, Row, Token, column_of, gap

_OPENERS: Final = (kinds.FlowMappingStartToken, kinds.FlowSequenceStartToken)
_CLOSERS: Final = (kinds.FlowMappingEndToken, kinds.FlowSequenceEndToken)


def unfolded(row: Row) -> list[str] | None:
    """The lines of a row whose last value is `{…}` or `[…]`, one entry a line. None where there is no such value, or
    one that cannot be written so."""
    tokens = row.tokens
    opener = next((at for at, token in enumerate(tokens) if token.kind in _OPENERS and not token.depth), None)
    if opener is None or tokens[-1].kind not in _CLOSERS or tokens[-1].depth != 1 or len(tokens) - opener < 3:
        return None
    if opener and tokens[opener - 1].kind in (kinds.AliasToken, kinds.TagToken):
        return None
    is_list = tokens[opener].kind is kinds.FlowSequenceStartToken
    parts = _entries(tokens[opener + 1 : -1])
    if not all(_goes_alone(each, is_list) for each in parts):
        return None
    entries = [_text(each) for each in parts]
    head = (" " * column_of(tokens[0]) + _text(tokens[:opener])) if opener else ""
    margin = " " * (tokens[opener].blocks[-1].new + STEP if tokens[opener].blocks else 0)
    lines = [margin + ("- " if is_list else "") + each for each in entries]
    if opener and tokens[opener - 1].kind is kinds.BlockEntryToken:
        return [f"{head} {lines[0].lstrip()}", *lines[1:]]
    return [head, *lines] if opener else lines


def _entries(tokens: Sequence[Token]) -> list[list[Token]]:
    """What stands between the commas of the outermost brackets."""
    entries: list[list[Token]] = [[]]
    for token in tokens:
        if token.kind is kinds.FlowEntryToken and token.depth == 1:
            entries.append([])
        else:
            entries[-1].append(token)
    return [each for each in entries if each]


def _goes_alone(entry: Sequence[Token], is_list: bool) -> bool:
    """Whether an entry says the same on a line of its own: a pair, or an item, without a `?`, whose key would go on."""
    is_pair = any(token.kind is kinds.ValueToken and token.depth == 1 for token in entry)
    return (is_list or is_pair) and entry[0].kind is not kinds.KeyToken


def _text(tokens: Sequence[Token]) -> str:
    text = ""
    before = None
    for token in tokens:
        text += gap(before, token) + token.text
        before = token
    return text
