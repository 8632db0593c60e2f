"""One mapping → one struct, with references and nulls in it, and with what is wrong mended.

What is wrong is recorded as a failure; then the value is left out, or one of its type put in its place, and the rest
converts. So a misspelt key does not hide a wrong template: everything else in the document can still be checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from wizard_dsl.core.regex import regex
from wizard_dsl.spec.diagnostics import DocPath
from wizard_dsl.spec.docpath import value_in
from wizard_dsl.spec.fit import admits_anything, fitted, leaves, sample, stand_in

if TYPE_CHECKING:
    from msgspec.inspect import Type

    from wizard_dsl.registry import Registry
    from wizard_dsl.spec.interpolate import Reference

S = TypeVar("S", bound=msgspec.Struct)

#: Sections whose entries are converted by what they declare.
_RAW_SECTIONS: Final = frozenset({"inputs", "providers", "policies", "steps"})
_MOST_MENDED: Final = 200
_AT: Final = regex(r" - at (?:`key` in )?`\$(.*)`$", re.DOTALL)
_PART: Final = regex(r"\.([^.\[\]]+)|\[(\d+)\]|(\[\.\.\.\])")
_UNKNOWN: Final = regex(r"Object contains unknown field `(.*?)`")
_MISSING: Final = regex(r"Object missing required field `(.*?)`")


class Failure(msgspec.Struct, frozen=True):
    """Something at or below `path` is not as it should be."""

    path: DocPath
    message: str


class Given(msgspec.Struct, frozen=True):
    """What is known about the values of a document. `env` None: nothing was resolved."""

    registry: Registry
    refs: Mapping[DocPath, Sequence[Reference]] = {}
    unresolved: Collection[DocPath] = ()
    env: Mapping[str, str] | None = None


class Structs:
    """Converts the mappings of one document; what failed is in `failures` afterwards."""

    def __init__(self, given: Given) -> None:
        self.given = given
        self.failures: list[Failure] = []
        self._typed: dict[DocPath, Any] = {}

    def fail(self, path: DocPath, message: str) -> None:
        self.failures.append(Failure(path, message))

    def struct(self, raw: Mapping[str, Any], kind: type[S], path: DocPath) -> S | None:
        """The struct of the mapping at `path`; None where it cannot be mended."""
        return self.mended(raw, kind, path)[0]

    def mended(self, raw: Mapping[str, Any], kind: type[S], path: DocPath) -> tuple[S | None, dict[str, Any]]:
        """The struct, and the mapping that it was made of."""
        ready = self._without_nulls(self.fitted(dict(raw), kind, path), kind, path)
        for _ in range(_MOST_MENDED):
            try:
                return msgspec.convert(ready, kind), ready
            except msgspec.ValidationError as error:
                ready = self._mend(ready, kind, path, str(error))
        return None, ready

    def fitted(self, raw: dict[str, Any], kind: type[msgspec.Struct], path: DocPath) -> dict[str, Any]:
        """`raw` with references in it as their fields want them."""
        for ref in self.given.refs:
            if ref[: len(path)] == path and len(ref) > len(path) and (path or ref[0] not in _RAW_SECTIONS):
                inner = ref[len(path) :]
                raw = _changed(raw, inner, partial(self.value, ref, leaves(kind, inner)))
        return raw

    def value(self, path: DocPath, options: Sequence[Type], text: Any) -> Any:
        """What stands for the reference at `path` in a field of these types."""
        if not isinstance(text, str):
            return text
        if path in self.given.unresolved:
            return stand_in(text, options)
        self._typed[path] = fitted(text, options)
        return self._typed[path]

    def typed(self, data: dict[str, Any]) -> dict[str, Any]:
        """`data` with what references were resolved to as their fields want it: what the schema can judge."""
        for path, value in self._typed.items():
            data = _changed(data, path, partial(_instead, value))
        return data

    def _without_nulls(self, raw: dict[str, Any], kind: type[msgspec.Struct], path: DocPath) -> dict[str, Any]:
        """A key without a value is a mistake wherever not just anything goes."""
        for null in _nulls(raw, ()) if holds_null(raw) else ():
            options = leaves(kind, null)
            if options and not any(map(admits_anything, options)):
                self.fail((*path, *null), "a value is missing")
                raw = _changed(raw, null, lambda _: _GONE)
        return raw

    def _mend(self, raw: dict[str, Any], kind: type[msgspec.Struct], path: DocPath, message: str) -> Any:
        """`raw` without the one thing that conversion complains about."""
        at = _path_in(message)
        unknown, missing = _UNKNOWN.match(message), _MISSING.match(message)
        if unknown or missing:
            at = (*at, (unknown or missing)[1])  # type: ignore[index]
        value = value_in(raw, at)
        if isinstance(value, float) and value.is_integer() and message.startswith("Expected `int`"):
            return _changed(raw, at, lambda _: int(value))
        self.fail((*path, *at), _AT.sub("", message))
        if missing or (at and isinstance(at[-1], int)):
            return _put(raw, at, sample(leaves(kind, at)))
        return _changed(raw, at, lambda _: _GONE) if at else {}


_GONE: Final = object()


def _instead(new: Any, old: Any) -> Any:
    return new


def _changed(value: Any, path: DocPath, change: Callable[[Any], Any]) -> Any:
    """A copy of `value` with what stands at `path` changed, or gone; `value` itself where there is nothing."""
    if not path:
        return change(value)
    part = path[0]
    if isinstance(value, dict) and part in value:
        below = _changed(value[part], path[1:], change)
        return {key: below if key == part else each for key, each in value.items() if key != part or below is not _GONE}
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        below = _changed(value[part], path[1:], change)
        return [*value[:part], *([] if below is _GONE else [below]), *value[part + 1 :]]
    return value


def _put(value: Any, path: DocPath, new: Any) -> Any:
    """A copy of `value` with `new` at `path`; the mapping or list around it is there."""
    return _changed(value, path[:-1], lambda holder: _with(holder, path[-1], new))


def _with(holder: Any, part: str | int, new: Any) -> Any:
    if isinstance(holder, list) and isinstance(part, int):
        return [*holder[:part], new, *holder[part + 1 :]]
    return {**holder, part: new}


def holds_null(value: Any) -> bool:
    """Whether there is any null in plain data; seldom is, and to find none takes less without the paths."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return value is None
    return None in value or any(holds_null(each) for each in value if isinstance(each, (dict, list)))


def _nulls(value: Any, path: DocPath) -> Iterator[DocPath]:
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _nulls(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _nulls(each, (*path, index))


def _path_in(message: str) -> DocPath:
    """The path in a message of conversion, up to where it is not told."""
    match = _AT.search(message)
    path: list[str | int] = []
    for name, index, anything in _PART.findall(match[1] if match else ""):
        if anything:
            break
        path.append(name or int(index))
    return tuple(path)
