"""Layers of documents → one document that knows the origin of every value.

    built-in < user config < project file < pipeline < overlays < WIZARD_* < flags

Maps merge; lists and scalars replace, also a map by a scalar (`retry: off`) and the other way round. In an overlay,
and only there, null deletes a key. Variables and flags are `Setting`s: one value at one path each, applied last and
in order (see settings.py).

A path in a layer is relative to that layer's file: `origin_of(path).file` names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from wizard_dsl.spec.diagnostics import Diagnostic, DocPath, Place, finding, meant, show_path
from wizard_dsl.spec.docpath import value_in
from wizard_dsl.spec.source import Source

LayerName = Literal["built-in", "user", "project", "pipeline", "overlay", "environment", "flag"]


class Layer(msgspec.Struct, frozen=True):
    """One document of the stack; `source` is None for the built-in one."""

    name: LayerName
    data: dict[str, Any]
    source: Source | None = None


class Setting(msgspec.Struct, frozen=True):
    """One value at one path, from a variable or a flag; `written` says which, as `--set a.b` or `WIZARD_X`.

    how: `set` merges like a layer; `enable` leaves alone what is there unless it is off.
    """

    name: LayerName
    written: str
    path: DocPath
    value: Any
    how: Literal["set", "enable"] = "set"


class Origin(msgspec.Struct, frozen=True):
    """Where a value comes from. Line 0 for built-in values, variables and flags; `file` then names them."""

    layer: LayerName
    file: str
    line: int
    column: int


class Merged(msgspec.Struct, frozen=True):
    """The document, to be treated as frozen: it shares parts with its layers.

    `owners` says which of `parts` a value was taken from, at the highest path where that is so.
    """

    data: dict[str, Any]
    parts: tuple[Layer | Setting, ...]
    owners: dict[DocPath, int]
    diagnostics: tuple[Diagnostic, ...]

    def origin_of(self, path: DocPath) -> Origin:
        """The origin of the value, or of what is nearest above it."""
        part = self.owner(path)
        return Origin(part.name, *self._place(part, path, "value"))

    def owner(self, path: DocPath) -> Layer | Setting:
        while path not in self.owners:
            path = path[:-1]
        return self.parts[self.owners[path]]

    def value_at(self, path: DocPath) -> Place:
        return self._place(self.owner(path), path, "value")

    def key_at(self, path: DocPath) -> Place:
        return self._place(self.owner(path), path, "key")

    def text_at(self, path: DocPath, line: int, column: int) -> Place:
        part = self.owner(path)
        if isinstance(part, Layer) and part.source is not None:
            return part.source.text_at(path, line, column)
        return self.value_at(path)

    def origins(self) -> dict[DocPath, Origin]:
        """The origin of every value, in document order: what `wizard echo` prints."""
        found: dict[DocPath, Origin] = {}

        def visit(value: Any, path: DocPath) -> None:
            found[path] = self.origin_of(path)
            pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            for key, each in pairs:
                visit(each, (*path, key))

        visit(self.data, ())
        return found

    @staticmethod
    def _place(part: Layer | Setting, path: DocPath, what: Literal["value", "key"]) -> Place:
        if isinstance(part, Setting):
            return Place(part.written, 0, 0)
        if part.source is None:
            return Place(part.name, 0, 0)
        return part.source.key_at(path) if what == "key" else part.source.value_at(path)


def merge(layers: Sequence[Layer], settings: Sequence[Setting] = ()) -> Merged:
    """Lay the documents over each other, the last one on top, and apply the settings. At least one layer."""
    stack = _Stack((*layers, *settings))
    for index, part in enumerate(stack.parts):
        if isinstance(part, Setting):
            stack.put(part, index)
        else:
            stack.data = stack.over(stack.data, part.data, (), index)
    return Merged(stack.data, stack.parts, stack.owners, tuple(stack.found))


class _Stack:
    """The work of `merge`: mappings are copied where they change, everything else is shared."""

    def __init__(self, parts: tuple[Layer | Setting, ...]) -> None:
        self.parts = parts
        self.data: dict[str, Any] = {}
        self.owners: dict[DocPath, int] = {(): 0}
        self.found: list[Diagnostic] = []

    def over(self, base: dict[str, Any], top: dict[str, Any], path: DocPath, index: int) -> dict[str, Any]:
        """`top` merged over `base`; values of `base` keep their owner, all others belong to `index`."""
        part = self.parts[index]
        deletes = part.name == "overlay"
        result = self._opened(base, path, index)
        for key, value in top.items():
            child = (*path, key)
            if value is None and deletes:
                self._delete(result, child, index)
            elif isinstance(value, dict) and (isinstance(result.get(key), dict) or deletes):
                below = result.get(key)
                if not isinstance(below, dict):
                    self._take(child, below, index)
                    below = {}
                result[key] = self.over(below, value, child, index)
            else:
                self._take(child, result.get(key), index)
                result[key] = value
        return result

    def _opened(self, base: dict[str, Any], path: DocPath, index: int) -> dict[str, Any]:
        """A copy of a mapping that `index` writes into; what it has keeps its owner."""
        self._keep(path, base)
        self.owners[path] = index
        return dict(base)

    def _take(self, path: DocPath, old: Any, index: int) -> None:
        """`index` owns the path from now on, and all below it; `old` is what stood there."""
        self._forget(path, old)
        self.owners[path] = index

    def _forget(self, path: DocPath, old: Any) -> None:
        self.owners.pop(path, None)
        pairs = old.items() if isinstance(old, dict) else enumerate(old) if isinstance(old, list) else ()
        for key, value in pairs:
            self._forget((*path, key), value)

    def _delete(self, result: dict[str, Any], path: DocPath, index: int) -> None:
        key = str(path[-1])
        if key in result:
            self._forget(path, result.pop(key))
            return
        part = self.parts[index]
        place = part.source.key_at(path) if isinstance(part, Layer) and part.source else Place(part.name, 0, 0)
        message = f"{show_path(path)} is deleted and was not there"
        self.found.append(finding("W101", message, place, path=path, suggestion=meant(key, result)))

    def put(self, setting: Setting, index: int) -> None:
        """Write a setting at its path; what is missing on the way is made, a list must have the entry."""
        if setting.how == "enable" and value_in(self.data, setting.path) not in (None, False, "off"):
            return
        if not self._reaches(setting):
            return
        self.data = self._written(self.data, (), setting, index)

    def _reaches(self, setting: Setting) -> bool:
        value: Any = self.data
        for depth, part in enumerate(setting.path):
            if isinstance(value, list):
                number = _index(part)
                if number is None or number >= len(value):
                    self._refuse(setting, depth, f"is a list with {len(value)} entries, counted from 0")
                    return False
                value = value[number]
            elif isinstance(part, int):
                self._refuse(setting, depth, "is no list")
                return False
            else:
                value = value.get(part) if isinstance(value, dict) else None
        return True

    def _refuse(self, setting: Setting, depth: int, why: str) -> None:
        head = show_path(setting.path[:depth])
        message = f"{show_path(setting.path)} cannot be set: {head} {why}"
        hint = "name an entry that is there, or set the list as a whole"
        self.found.append(finding("E037", message, Place(setting.written, 0, 0), path=setting.path, suggestion=hint))

    def _written(self, value: Any, path: DocPath, setting: Setting, index: int) -> Any:
        """`value`, which stands at `path`, with the setting written into it."""
        depth = len(path)
        if depth == len(setting.path):
            if isinstance(value, dict) and isinstance(setting.value, dict):
                return self.over(value, setting.value, path, index)
            self._take(path, value, index)
            return setting.value
        part = setting.path[depth]
        if isinstance(value, list):
            number = _index(part) or 0
            self._keep(path, range(len(value)))
            items = list(value)
            items[number] = self._written(value[number], (*path, number), setting, index)
            return items
        if not isinstance(value, dict):
            self._take(path, value, index)
            value = {}
        key = str(part)
        self._keep(path, value)
        return {**value, key: self._written(value.get(key), (*path, key), setting, index)}

    def _keep(self, path: DocPath, children: Iterable[str | int]) -> None:
        """Before one child changes hands, the others get the owner they had from above."""
        before = self.owners[path]  # there, for the way down has kept it
        for child in children:
            self.owners.setdefault((*path, child), before)


def _index(part: str | int) -> int | None:
    if isinstance(part, int):
        return part
    return int(part) if part.isascii() and part.isdigit() and len(part) < 10 else None
