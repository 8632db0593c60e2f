"""Inputs of a run from flags, files and stdin."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from wizard_dsl.core.errors import InputInvalid
from wizard_dsl.spec.source import load_file, parse_value

if TYPE_CHECKING:
    from wizard_dsl.spec.document import InputSpec


def gather(declared: Mapping[str, InputSpec], pairs: Sequence[str], file: Path | None) -> dict[str, Any]:
    """The inputs by name: those of `--input-file`, those of `-i` over them, stdin for the only one missing.

    Raises InputInvalid. Values of `-i` are parsed as YAML where the input's schema wants no string.
    """
    given = {} if file is None else _from_file(file)
    for pair in pairs:
        name, value = _pair(pair)
        given[name] = _typed(declared.get(name), value)
    missing = [name for name, spec in declared.items() if spec.default is msgspec.UNSET and name not in given]
    if len(missing) == 1 and not sys.stdin.isatty():
        text = sys.stdin.read()
        if text:
            given[missing[0]] = _typed(declared[missing[0]], text.removesuffix("\n"))
    return given


def _pair(pair: str) -> tuple[str, str]:
    name, found, value = pair.partition("=")
    if not found or not name:
        raise InputInvalid(f"'{pair[:60]}' is no input", suggestion="write -i NAME=VALUE, or -i NAME=@FILE")
    if value.startswith("@"):
        return name, _read(Path(value[1:]), name)
    return name, value


def _read(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputInvalid(f"input '{name}': cannot read {path}: {reason}", where=name) from None


def _typed(spec: InputSpec | None, text: str) -> Any:
    """The text itself where a string may stand; else what it means as YAML."""
    wanted = None if spec is None else spec.schema.get("type", "string" if not spec.schema.get("enum") else None)
    kinds = wanted if isinstance(wanted, list) else [wanted]
    if spec is None or "string" in kinds:
        return text
    if wanted is None and text in spec.schema.get("enum", ()):
        return text
    value, problems = parse_value(text, "input")
    return text if problems else value


def _from_file(path: Path) -> dict[str, Any]:
    source = load_file(path)
    if source.diagnostics:
        first = source.diagnostics[0]
        raise InputInvalid(f"{first.file}:{first.line}:{first.column} {first.message}", suggestion=first.suggestion)
    return dict(source.data)
