"""The sections of a YAML text in the order of their grammar, each with the comments above and inside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import yaml
from yaml import tokens as kinds

from wizard_dsl.spec.comments import ALLOW
from wizard_dsl.spec.reader import LOADER

_OPENS: Final = (
    kinds.BlockMappingStartToken,
    kinds.BlockSequenceStartToken,
    kinds.FlowMappingStartToken,
    kinds.FlowSequenceStartToken,
)
_CLOSES: Final = (kinds.BlockEndToken, kinds.FlowMappingEndToken, kinds.FlowSequenceEndToken)


def in_order(text: str, order: Sequence[str], names: Sequence[str]) -> str:
    """The text with its sections, `names` as they stand, in order. The comments that it begins with stay at its head,
    and those at column 1 behind the last section at its end. A text with an alias, or whose sections stand in brackets,
    stays as it is."""
    known = {name: at for at, name in enumerate(order)}
    ranks = [known.get(name, len(known)) for name in names]
    keys = [] if ranks == sorted(ranks) else list(_sections(text))
    if len(keys) != len(names) or not keys:
        return text
    lines = text.split("\n")
    begins = [_above(lines, line, first=at == 0) for at, line in enumerate(keys)]
    foot = _foot(lines, keys[-1])
    spans = [lines[begin:end] for begin, end in zip(begins, [*begins[1:], foot], strict=True)]
    apart = [not each[0].strip() for each in spans]
    apart[0] = apart[1]
    chosen = sorted(range(len(spans)), key=ranks.__getitem__)
    body = [line for at in chosen for line in ([""] if apart[at] and at != chosen[0] else []) + _bare(spans[at])]
    return "\n".join([*lines[: begins[0]], *body, *lines[foot:]]) + ("" if lines[foot:] else "\n")


def _bare(span: list[str]) -> list[str]:
    """A section without the empty lines around it."""
    begin = next((at for at, line in enumerate(span) if line.strip()), len(span))
    end = len(span)
    while end > begin and not span[end - 1].strip():
        end -= 1
    return span[begin:end]


def _sections(text: str) -> Iterator[int]:
    """The line of each key of the outermost block mapping, from 0; none where an alias could lose its anchor, or a
    text the line breaks at its end."""
    found: list[int] = []
    depth = 0
    is_key = False
    for token in yaml.scan(text, Loader=LOADER):
        outermost = depth == 0 and isinstance(token, kinds.FlowMappingStartToken)
        if outermost or isinstance(token, (kinds.AliasToken, kinds.DocumentStartToken)) or _keeps_end(text, token):
            return
        if is_key and isinstance(token, kinds.ScalarToken):
            found.append(token.start_mark.line)
        depth += isinstance(token, _OPENS) - isinstance(token, _CLOSES)
        is_key = depth == 1 and isinstance(token, kinds.KeyToken)
    if len(set(found)) == len(found):
        yield from found


def _keeps_end(text: str, token: Any) -> bool:
    """Whether a block scalar counts the line breaks behind it: with `+`, and where the text ends without one."""
    if not isinstance(token, kinds.ScalarToken) or token.style not in ("|", ">"):
        return False
    line_end = text.find("\n", token.start_mark.index)
    header = text[token.start_mark.index : line_end if line_end >= 0 else len(text)].partition("#")[0]
    return "+" in header or (token.end_mark.index >= len(text) and not text.endswith("\n"))


def _above(lines: Sequence[str], line: int, *, first: bool) -> int:
    """Where a section begins: with the comments above it at the first column, and the empty lines above those. What the
    text begins with is of all of it: the first section has only comments that an empty line sets apart from that, or
    from one on that allows something of its first line."""
    at = line
    while at and (lines[at - 1].startswith("#") or not (first or lines[at - 1].strip())):
        at -= 1
    if not first or any(each.strip() for each in lines[:at]):
        return at
    return next((above for above in range(at, line) if ALLOW.search(lines[above])), line)


def _foot(lines: Sequence[str], last: int) -> int:
    """Where the comments behind the last section begin."""
    at = len(lines)
    while at - 1 > last and (not lines[at - 1].strip() or lines[at - 1].startswith("#")):
        at -= 1
    return at
