"""Inputs of a run from flags, files and stdin."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wizard_dsl.core.errors import InputInvalid
from wizard_dsl.spec.diagnostics import position
from wizard_dsl.spec.source import load_file, parse_value, read_bytes

if TYPE_CHECKING:
    from wizard_dsl.spec.document import InputSpec


#: Of one input from a file or from stdin: no model reads that much, and a device may have no end.
MAX_BYTES: Final = 64 * 1024 * 1024


def gather(declared: Mapping[str, InputSpec], pairs: Sequence[str], file: Path | None) -> dict[str, Any]:
    """The inputs by name: those of `--input-file`, those of `-i` over them, stdin for the only one missing.

    Raises InputInvalid. Values of `-i` are parsed as YAML where the input's schema wants no string.
    """
    found = given(declared, pairs, file)
    missing = [name for name, spec in declared.items() if spec.default is msgspec.UNSET and name not in found]
    if len(missing) == 1 and not sys.stdin.isatty():
        text = _from_stdin(missing[0])
        if text:
            found[missing[0]] = _typed(declared[missing[0]], text.removesuffix("\n"))
    return found


def given(declared: Mapping[str, InputSpec], pairs: Sequence[str], file: Path | None) -> dict[str, Any]:
    """As `gather`, of what the command line says alone."""
    found = {} if file is None else _from_file(file)
    for pair in pairs:
        name, value = _pair(pair)
        found[name] = _typed(declared.get(name), value)
    return found


def _from_stdin(name: str) -> str:
    try:
        content = sys.stdin.buffer.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputInvalid(f"input '{name}': cannot read stdin: {error.strerror}", where=name) from None
    return _decoded(content, name, "stdin")


def _decoded(content: bytes, name: str, source: str) -> str:
    """The text of an input, as Python reads text: without a byte order mark, its lines ending in a line feed."""
    if len(content) > MAX_BYTES:
        raise InputInvalid(f"input '{name}': {source} holds more than {MAX_BYTES >> 20} MiB", where=name)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        hint = f"save {source} as UTF-8" if source != "stdin" else "convert it, as with iconv -t UTF-8"
        raise InputInvalid(f"input '{name}': {source} is not UTF-8 text", where=name, suggestion=hint) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _pair(pair: str) -> tuple[str, str]:
    name, found, value = pair.partition("=")
    if not found or not name:
        raise InputInvalid(f"'{pair[:60]}' is no input", suggestion="write -i NAME=VALUE, or -i NAME=@FILE")
    if value.startswith("@"):
        return name, _read(Path(value[1:]), name)
    return name, value


def _read(path: Path, name: str) -> str:
    try:
        content = read_bytes(path, MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputInvalid(f"input '{name}': cannot read {path}: {reason}", where=name) from None
    return _decoded(content, name, str(path))


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
    if not source.diagnostics:
        return dict(source.data)
    first = source.diagnostics[0]
    if first.code in ("E020", "E022"):
        raise InputInvalid(f"{path} is no mapping of inputs", suggestion="write NAME: VALUE, one input a line")
    hint = None if first.code == "E002" else first.suggestion
    raise InputInvalid(f"{position(first)} {first.message}", suggestion=hint)
