"""Conditional routing of Portkey: queries over metadata and parameters as the `when` of steps."""

from __future__ import annotations

from typing import Any, Final

from wizard_dsl.analysis.importing.findings import Ledger
from wizard_dsl.analysis.importing.names import RESERVED, Names
from wizard_dsl.spec.diagnostics import DocPath

_COMPARES: Final = {
    "$eq": "==",
    "$ne": "!=",
    "$gt": ">",
    "$gte": ">=",
    "$lt": "<",
    "$lte": "<=",
    "$in": "in",
    "$nin": "not in",
}
_KNOWN: Final = ("metadata", "params", "url")


class Conditions:
    """`found` has, for each target that is chosen by one: its name, when, the target and its path. It is empty where
    the config has no conditions at its top."""

    def __init__(self, root: dict[str, Any], ledger: Ledger, names: Names) -> None:
        self._ledger = ledger
        self._names = names
        self._called: dict[str, str] = {}
        self.inputs: dict[str, Any] = {}
        self.found: list[tuple[str, str, Any, DocPath]] = []
        strategy, targets = root.get("strategy"), root.get("targets")
        if isinstance(strategy, dict) and strategy.get("mode") == "conditional" and isinstance(targets, list):
            self._read(strategy, targets)

    def _read(self, strategy: dict[str, Any], targets: list[Any]) -> None:
        self._ledger.mapped(("strategy", "mode"), "steps", "a step for each target, with its `when`")
        named = [(each.get("name"), index) for index, each in enumerate(targets) if isinstance(each, dict)]
        by_name = {name: index for name, index in named if isinstance(name, str)}
        chosen: dict[int, list[str]] = {}
        before: list[str] = []
        listed = strategy.get("conditions")
        for index, held in enumerate(listed if isinstance(listed, list) else ()):
            at: DocPath = ("strategy", "conditions", index)
            written = self._condition(held, at, by_name)
            if written is not None:
                target, expression = written
                earlier = [f"not ({each})" for each in before]
                chosen.setdefault(target, []).append(_all([*earlier, f"({expression})" if before else expression]))
                before.append(expression)
        default = strategy.get("default")
        if isinstance(default, str) and default in by_name:
            chosen.setdefault(by_name[default], []).append(_all([f"not ({each})" for each in before]) or "true")
            self._ledger.mapped(("strategy", "default"), "steps", "where no condition holds")
        elif default is not None:
            self._ledger.dropped(("strategy", "default"), "no target has this name")
        for index, target in enumerate(targets):
            path: DocPath = ("targets", index)
            if index in chosen:
                parts = chosen[index]
                when = parts[0] if len(parts) == 1 else " or ".join(f"({each})" for each in parts)
                self.found.append((str(target["name"]), when, target, path))
            else:
                self._ledger.dropped(path, "no condition that could be taken over names it")

    def _condition(self, held: Any, path: DocPath, by_name: dict[str, int]) -> tuple[int, str] | None:
        query, then = (held.get("query"), held.get("then")) if isinstance(held, dict) else (None, None)
        if not isinstance(then, str) or then not in by_name or not isinstance(query, dict):
            self._ledger.dropped(path, "a condition has a `query`, and names a target that is there with `then`")
            return None
        expression = self._query(query)
        if expression is None:
            why = "its query asks with an operator, or for something, that expressions do not have"
            self._ledger.dropped(path, why)
            return None
        self._ledger.mapped(path, "steps.*.when")
        return by_name[then], expression

    def _query(self, query: dict[str, Any]) -> str | None:
        parts: list[str | None] = []
        for key, value in query.items():
            if key in ("$and", "$or") and isinstance(value, list):
                inner = [self._query(each) if isinstance(each, dict) else None for each in value]
                joined = None if None in inner or not inner else f" {key[1:]} ".join(f"({each})" for each in inner)
                parts.append(joined)
            else:
                parts.append(self._field(key, value))
        return None if None in parts or not parts else _all([each for each in parts if each is not None])

    def _field(self, key: str, value: Any) -> str | None:
        place, _, name = key.partition(".")
        if place not in _KNOWN or place == "url" or not name:
            return None
        compares = value.items() if isinstance(value, dict) else [("$eq", value)]
        parts = []
        for operator, wanted in compares:
            sign = _COMPARES.get(operator)
            if sign is None or not _is_plain(wanted, listed=operator in ("$in", "$nin")):
                return None
            given = self._input(name)
            ordered = operator in ("$gt", "$gte", "$lt", "$lte")
            parts.append(f"{f'{given} is not none and ' if ordered else ''}{given} {sign} {_literal(wanted)}")
        return _all(parts) or None

    def _input(self, name: str) -> str:
        if name not in self._called:
            self._called[name] = self._names.free(f"{name}_" if name in RESERVED else name, prefix="i")
            self.inputs[self._called[name]] = {"type": ["string", "number", "boolean", "null"], "default": None}
        return self._called[name]


def _all(parts: list[str]) -> str:
    return " and ".join(parts)


def _is_plain(value: Any, *, listed: bool) -> bool:
    if listed:
        return isinstance(value, list) and all(_is_plain(each, listed=False) for each in value)
    return isinstance(value, str | int | float | bool)


def _literal(value: Any) -> str:
    """As expressions write it."""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)
