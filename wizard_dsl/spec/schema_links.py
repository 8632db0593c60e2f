"""References inside the JSON Schemas that a file holds: each leads somewhere in the same schema, and none back to
itself.

The library that checks values would fetch a remote one, over the network or from a file, and would follow a loop until
the stack ends: both are found here, before anything is checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from wizard_dsl.spec.diagnostics import DocPath, show_value

_KEYWORDS: Final = ("$ref", "$dynamicRef")
#: What stands below these keys is data and no schema.
_DATA: Final = frozenset({"enum", "const", "default", "examples"})
#: Schemas that look at the same value as the one that holds them.
_LISTS: Final = ("allOf", "anyOf", "oneOf")
_SINGLE: Final = ("not", "if", "then", "else")
#: So many references after each other, none of them a step into the value, are nobody's intention.
_FURTHEST: Final = 64


class _Loop(Exception):
    """A schema that looks at the same value again and again."""


def broken_links(schema: dict[str, Any]) -> Iterator[tuple[DocPath, str]]:
    """The path below the schema of each reference that cannot be followed, and why; of those that go
    round in circles, the first."""
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    root = DRAFT202012.create_resource(schema)
    try:
        resolver = Registry().with_resource("", root).resolver_with_root(root)
    except ValueError:
        yield ("$id",), _no_address(schema["$id"])
        return
    walk = _Walk()
    yield from walk.below(schema, (), resolver)
    for path, node in walk.holders:
        try:
            walk.distance(node)
        except _Loop:
            yield path, f"{show_value(_link(node))} leads back to itself, or on and on"
            return


def _no_address(name: str) -> str:
    return f"{show_value(name)} is no address"


def _link(node: dict[str, Any]) -> Any:
    return next(node[key] for key in _KEYWORDS if key in node)


class _Walk:
    """Finds where each reference leads, then how far one gets from there without a step into the value."""

    def __init__(self) -> None:
        self.holders: list[tuple[DocPath, dict[str, Any]]] = []
        self._targets: dict[int, list[Any]] = {}
        self._known: dict[int, int] = {}

    def below(self, node: Any, path: DocPath, resolver: Any) -> Iterator[tuple[DocPath, str]]:
        if isinstance(node, list):
            for index, each in enumerate(node):
                yield from self.below(each, (*path, index), resolver)
        if not isinstance(node, dict):
            return
        if isinstance(node.get("$id"), str) and path:
            try:
                resolver = _within(node, resolver)
            except ValueError:
                yield (*path, "$id"), _no_address(node["$id"])
                return
        for key, value in node.items():
            if key in _KEYWORDS and isinstance(value, str):
                yield from self._follow(node, value, (*path, key), resolver)
            elif key not in _DATA:
                yield from self.below(value, (*path, key), resolver)

    def _follow(self, node: dict[str, Any], link: str, path: DocPath, resolver: Any) -> Iterator[tuple[DocPath, str]]:
        from referencing.exceptions import Unresolvable

        try:
            target = resolver.lookup(link).contents
        except (Unresolvable, ValueError, LookupError, TypeError):
            yield path, f"{show_value(link)} is nowhere in this schema, and nothing is fetched"
            return
        self._targets.setdefault(id(node), []).append(target)
        self.holders.append((path, node))

    def distance(self, node: Any, depth: int = 0) -> int:
        """How many references follow each other from here at most. Raises _Loop."""
        if not isinstance(node, dict):
            return 0
        if depth > _FURTHEST:
            raise _Loop
        if id(node) not in self._known:
            beside = (self.distance(each, depth + 1) for each in self._same_value(node))
            self._known[id(node)] = 1 + max(beside, default=0)
        if depth + self._known[id(node)] > _FURTHEST:
            raise _Loop
        return self._known[id(node)]

    def _same_value(self, node: dict[str, Any]) -> Iterator[Any]:
        yield from self._targets.get(id(node), ())
        yield from (node[key] for key in _SINGLE if key in node)
        for key in _LISTS:
            yield from node[key] if isinstance(node.get(key), list) else ()
        dependent = node.get("dependentSchemas")
        yield from dependent.values() if isinstance(dependent, dict) else ()


def _within(node: dict[str, Any], resolver: Any) -> Any:
    from referencing.jsonschema import DRAFT202012

    return resolver.in_subresource(DRAFT202012.create_resource(node))
