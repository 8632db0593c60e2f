"""A pipeline file in the making, and its text: YAML in which comments say where values came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from wizard_dsl.spec.layout import formatted
from wizard_dsl.spec.source import load_text
from wizard_dsl.testing.repro_text import flow, scalar

_WIDTH: Final = 110


class Noted(msgspec.Struct, frozen=True):
    """A value with a comment."""

    value: Any
    note: str


def document(head: Sequence[str], data: Mapping[str, Any]) -> str:
    """The file, in the layout of `wizard fmt`: comments above, then the sections, an empty line between those that are
    longer than one."""
    lines = [f"# {_printable(line)}".rstrip() for line in head]
    short = True
    for key, value in data.items():
        made = list(_entry(key, value, ""))
        if len(made) > 1 or not short:
            lines.append("")
        short = len(made) == 1
        lines += made
    return formatted(load_text("".join(f"{line}\n" for line in lines), ""), ())


def _entry(key: str, value: Any, indent: str) -> Iterator[str]:
    yield from _after(f"{indent}{scalar(key)}:", value, indent)


def _after(start: str, value: Any, indent: str) -> Iterator[str]:
    """A value behind a key or a dash: on its line where it fits and nothing in it has a comment, else below."""
    inner, note = (value.value, value.note) if isinstance(value, Noted) else (value, "")
    line = _flow(start, inner)
    if line is not None:
        yield from _commented(line, note, indent)
        return
    if isinstance(inner, str):
        yield from _commented(f"{start} |-", note, indent)
        yield from (f"{indent}  {each}".rstrip() for each in inner.split("\n"))
        return
    yield from _commented(start, note, indent)
    for key, each in inner.items() if isinstance(inner, Mapping) else ():
        yield from _entry(key, each, f"{indent}  ")
    for each in inner if isinstance(inner, list) else ():
        yield from _item(each, f"{indent}  ")


def _item(item: Any, indent: str) -> Iterator[str]:
    """An entry of a list; a mapping that goes below begins on the line of its dash, its comment above it."""
    inner, note = (item.value, item.note) if isinstance(item, Noted) else (item, "")
    if not isinstance(inner, Mapping) or not inner or _flow(f"{indent}-", inner) is not None:
        yield from _after(f"{indent}-", item, indent)
        return
    if note:
        yield f"{indent}# {_printable(note)}"
    lines = [line for key, each in inner.items() for line in _entry(key, each, f"{indent}  ")]
    first = next(number for number, line in enumerate(lines) if not line.lstrip().startswith("#"))
    lines[first] = f"{indent}- {lines[first].lstrip()}"
    yield from lines


def _flow(start: str, value: Any) -> str | None:
    """The line with the whole value, or None where it does not go there. Sections always go below."""
    if _noted(value):
        return None
    if isinstance(value, str) and "\n" in value and _is_block(value):
        return None
    line = f"{start} {flow(value)}"
    nested = isinstance(value, Mapping | list) and value
    if nested and (len(line) > _WIDTH or not start.startswith(" ") or _deep(value)):
        return None
    return line


def _is_block(text: str) -> bool:
    """Whether a block scalar holds this very text."""
    lines = text.split("\n")
    return (
        text == text.strip()
        and not lines[0].startswith(" ")
        and all(each == each.rstrip() for each in lines)
        and (text.replace("\n", "").isprintable())
    )


def _deep(value: Any) -> bool:
    """Whether a mapping or list nests too deeply to be read in one line."""
    return _depth(value) > 3


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def _noted(value: Any) -> bool:
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return any(isinstance(each, Noted) or _noted(each) for each in inner)


def _printable(note: str) -> str:
    """A comment is one line of characters that may stand in YAML."""
    return "".join(each if each.isprintable() else "?" for each in note)


def _commented(line: str, note: str, indent: str) -> Iterator[str]:
    note = _printable(note)
    if note and len(line) + len(note) + 4 > _WIDTH + 10:
        yield f"{indent}# {note}"
        note = ""
    yield f"{line}  # {note}" if note else line
