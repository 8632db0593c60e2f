"""Another tool's YAML or JSON → plain data with the position of every value, as our own files are read.

One thing is read that our own files do not have: merge keys (`<<`), which those tools' parsers know.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml
from yaml.events import ScalarEvent

from wizard_dsl.analysis.importing.names import without_keys
from wizard_dsl.core.errors import SpecError
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath, has_errors, ordered, render_text
from wizard_dsl.spec.reader import Position, Reader
from wizard_dsl.spec.source import Source, load_bytes, load_file

_MERGE = "<<"
_HEADERS = ("extra_headers", "headers", "default_headers")
_FOR_KEYS = ("api_key", "apiKey", "virtual_key", "virtualKey")


class _Merging(Reader):
    """Keys of a mapping that is merged in do not replace what stands there already, before or after it."""

    def _mapping(self, path: DocPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: list[tuple[DocPath, Any]] = []
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if isinstance(event, ScalarEvent) and event.value == _MERGE and event.implicit[0]:
                at = (*path, f"{_MERGE}{len(merged)}")
                merged.append((at, self._node(self._next(), at)))
                continue
            key = self._key(event, path)
            if key is None or key in result:
                if key is not None:
                    self._duplicate(key, event, path)
                self._skip(self._next())
                continue
            self.keys[(*path, key)] = _start(event)
            result[key] = self._node(self._next(), (*path, key))
        for at, value in merged:
            self._merge(result, path, at, value)
        return result

    def _merge(self, result: dict[str, Any], path: DocPath, at: DocPath, value: Any) -> None:
        """Take over what is not there; a list of mappings is merged one after the other."""
        if isinstance(value, list):
            for index, each in enumerate(value):
                self._merge(result, path, (*at, index), each)
        for key, each in value.items() if isinstance(value, dict) else ():
            if key not in result:
                result[key] = each
                self._moved((*at, key), (*path, key))

    def _moved(self, origin: DocPath, path: DocPath) -> None:
        for places in (self.positions, self.keys):
            for each in [each for each in places if each[: len(origin)] == origin]:
                places[(*path, *each[len(origin) :])] = places[each]


def read_foreign(path: Path) -> Source:
    """Read a file of another tool. Raises SpecError that shows what is wrong and where."""
    return _whole(load_file(path, str(path)))


def read_foreign_bytes(content: bytes, name: str) -> Source:
    """The same of what was read already."""
    return _whole(load_bytes(content, name))


def _whole(source: Source) -> Source:
    return _readable(_merged(source) if any(each.code == "E015" for each in source.diagnostics) else source)


def _merged(source: Source) -> Source:
    reader = _Merging(source.text, source.file)
    data = reader.document()
    return Source(
        source.file,
        data if isinstance(data, dict) else {},
        reader.positions,
        reader.keys,
        tuple(reader.found),
        source.text,
        reader.scalars,
    )


def _readable(source: Source) -> Source:
    if has_errors(source.diagnostics):
        found = ordered(map(_of_another_tool, source.diagnostics))
        raise SpecError(render_text(found).rstrip("\n"), diagnostics=tuple(found))
    return msgspec.structs.replace(source, data=_guarded(source.data, ""))


def _of_another_tool(found: Diagnostic) -> Diagnostic:
    """What is said of a file that is no mapping, without how ours begin."""
    if found.code not in ("E020", "E022"):
        return found
    message = found.message.replace("the file wants a mapping of sections", "a configuration is a mapping")
    return msgspec.structs.replace(found, message=message, suggestion="name the tool's own configuration file")


def _guarded(value: Any, key: str) -> Any:
    """The data without what looks like a key, but for places that are for keys: their readers write none of it."""
    if isinstance(value, dict):
        return {name: _guarded(each, key if key in _HEADERS else name) for name, each in value.items()}
    if isinstance(value, list):
        return [_guarded(each, key) for each in value]
    return without_keys(value) if isinstance(value, str) and key not in (*_HEADERS, *_FOR_KEYS) else value


def refusal(source: Source, path: DocPath, message: str, suggestion: str) -> SpecError:
    """The error for a file that is none of its tool's, or holds nothing that can be asked."""
    place = source.value_at(path)
    error = SpecError(message, where=f"{place.file}:{place.line}")
    error.suggestion = suggestion
    return error


def leaves(data: Any, path: DocPath = ()) -> Iterator[DocPath]:
    """The paths of all values that hold no others, in order; an empty mapping or list is one."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    below = [each for key, value in pairs for each in leaves(value, (*path, key))]
    yield from below or [path]


def _start(event: Any) -> Position:
    return event.start_mark.line + 1, event.start_mark.column + 1
