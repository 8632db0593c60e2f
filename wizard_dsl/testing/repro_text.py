"""A test file as text: YAML with the comments that people need, written by hand and read back by the loader."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping
from typing import Any, Final

import msgspec

from wizard_dsl.core.regex import regex
from wizard_dsl.spec.layout import formatted
from wizard_dsl.spec.scalars import core_scalar
from wizard_dsl.spec.source import load_text

_PLAIN: Final = regex(r"[A-Za-z0-9.][A-Za-z0-9_./$+-]*")
_DATE: Final = regex(r"\d{4}-\d")
#: What JSON leaves as it is and YAML does not allow.
_UNPRINTABLE: Final = regex("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


class Draft(msgspec.Struct, kw_only=True):
    """A test file in the making. `head` are the lines above it, `made_up` the inputs that stand for unknown ones,
    `replies` the places in scripts, as (target, index), of replies that do. `spare` are scripts that need not be
    used up."""

    head: list[str]
    pipeline: str
    name: str
    options: dict[str, Any] = {}
    env: dict[str, str] = {}
    inputs: dict[str, Any] = {}
    made_up: set[str] = set()
    targets: dict[str, list[Any]] = {}
    spare: dict[str, list[Any]] = {}
    replies: set[tuple[str, int]] = set()
    runs: list[dict[str, Any]] = []
    expect: dict[str, Any] = {}
    differs: list[str] = []

    def add(self, target: str, item: Any, made_up: bool) -> None:
        """One more item of a target's script."""
        items = self.targets.setdefault(target, [])
        items.append(item)
        if made_up:
            self.replies.add((target, len(items) - 1))

    def render(self) -> str:
        """The file, in the layout of `wizard fmt`."""
        lines = [f"# {line}".rstrip() for line in self.head]
        lines += ["version: 1", f"pipeline: {scalar(self.pipeline)}"]
        if self.spare:
            lines += ["defaults:", *scripts("  ", self.spare, self.replies)]
        lines += ["tests:", f"  {scalar(self.name)}:"]
        lines += [f"    {key}: {flow(value)}" for key, value in self.options.items()]
        lines += [f"    env: {flow(self.env)}"] if self.env else []
        lines += ["    inputs:"] if self.inputs else []
        lines += [self._input(name, value) for name, value in self.inputs.items()]
        lines += scripts("    ", self.targets, self.replies) if self.targets else []
        lines += ["    runs:", *(f"      - {flow(each)}" for each in self.runs)] if self.runs else []
        lines += [f"    # {each}" for each in self.differs]
        lines += ["    expect:", *(f"      {key}: {flow(value)}" for key, value in self.expect.items())]
        return formatted(load_text("".join(f"{line}\n" for line in lines), ""), ())

    def _input(self, name: str, value: Any) -> str:
        return f"      {name}: {flow(value)}{'  # placeholder' if name in self.made_up else ''}"


def scripts(indent: str, targets: Mapping[str, Iterable[Any]], replies: Container[tuple[str, int]] = ()) -> list[str]:
    """The scripts of targets, one item a line; `replies` are those that are told to be placeholders."""
    lines = [f"{indent}targets:"]
    for target, items in targets.items():
        lines.append(f"{indent}  {scalar(target)}:")
        for index, item in enumerate(items):
            told = "  # placeholder" if (target, index) in replies else ""
            lines.append(f"{indent}    - {flow(item)}{told}")
    return lines


def flow(value: Any) -> str:
    """A value in one line."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{scalar(str(key))}: {flow(each)}' for key, each in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(flow, value))}]"
    return scalar(value) if isinstance(value, str) else json.dumps(value)


def scalar(text: str) -> str:
    """A text that YAML reads as this very text: as it is where that is safe, else in quotes."""
    if _PLAIN.fullmatch(text) and not _DATE.match(text) and core_scalar(text) == text:
        return text
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(text, ensure_ascii=False))
