"""Kinds, looked up by the names that a file gives them, and the policies of one place."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from wizard_dsl.core.component import PolicyConfig, PolicyType, ProviderType, Scope, StepType, StrategyType
from wizard_dsl.spec import grammar
from wizard_dsl.spec.diagnostics import DocPath
from wizard_dsl.spec.document import PolicyMap
from wizard_dsl.spec.fit import required_fields
from wizard_dsl.spec.structs import Structs

if TYPE_CHECKING:
    from wizard_dsl.registry import Group

T = TypeVar("T", PolicyType, ProviderType, StepType, StrategyType)
Fits = Callable[[PolicyType], bool]


def anywhere(type: PolicyType) -> bool:
    """Sets and chains take every kind: each goes to its own place."""
    return True


def on_target(type: PolicyType) -> bool:
    return type.scope is Scope.TARGET


def on_provider(type: PolicyType) -> bool:
    return type.provider


class Uninstalled(msgspec.Struct, frozen=True):
    """A dotted name for which no plug-in is installed."""

    path: DocPath
    group: Group
    name: str


class Kinds:
    """Looks up kinds and converts policies; failures go to `structs`."""

    def __init__(self, structs: Structs) -> None:
        self._structs = structs
        self._registry = structs.given.registry
        self.uninstalled: list[Uninstalled] = []

    def find(self, group: Group, search: Callable[[str], T | None], name: Any, path: DocPath) -> T | None:
        """A component; None after a failure, or where it is not installed. A kind is never a reference."""
        if not isinstance(name, str) or path in self._structs.given.refs:
            self._structs.fail(path, "a name is wanted")
            return None
        return self._named(group, search, name, path)

    def _named(self, group: Group, search: Callable[[str], T | None], name: str, path: DocPath) -> T | None:
        found = search(name) if "." in name or name in self._registry.names(group) else None
        if found is None and re.search(grammar.DOTTED_PATTERN, name):
            self.uninstalled.append(Uninstalled(path, group, name))
        elif found is None:
            self._structs.fail(path, "an unknown kind")
        return found

    def policies(self, raw: Any, path: DocPath, fits: Fits) -> PolicyMap:
        """The policies of one place, each converted for itself, but kept as it was written."""
        made: PolicyMap = {}
        for kind, value in raw.items() if isinstance(raw, dict) else ():
            at = (*path, kind)
            type = self._named("policies", self._registry.policy, kind, at)
            if type is None:
                if isinstance(value, bool) or not isinstance(value, (dict, str, int, float)):
                    self._structs.fail(at, "a mapping is wanted")
            elif not fits(type):
                self._structs.fail(at, "not at this place")
            elif value == "off":
                made[kind] = "off"
            elif isinstance(value, dict):
                made[kind] = self._structs.mended(value, partial_config(type.config), at)[1]
            else:
                self._structs.fail(at, "a mapping is wanted")
        return made

    def stack(self, holder: dict[str, Any], path: DocPath) -> tuple[str, ...] | None:
        """The order of policies by hand, if there is one."""
        if "stack" not in holder:
            return None
        stack, at = holder["stack"], (*path, "stack")
        if not isinstance(stack, list) or len(set(map(str, stack))) != len(stack):
            self._structs.fail(at, "a list of different kinds is wanted")
            return None
        search = self._registry.policy
        found = [self.find("policies", search, each, (*at, index)) for index, each in enumerate(stack)]
        return tuple(each.name for each in found if each is not None)


@cache
def partial_config(config: type[PolicyConfig]) -> type[msgspec.Struct]:
    """The config with nothing required: what is written in one place may be the rest of another's."""
    if not required_fields(config):
        return config
    required = (each for each in msgspec.structs.fields(config) if each.required)
    fields = [(each.name, each.type | msgspec.UnsetType, msgspec.UNSET) for each in required]
    return msgspec.defstruct(config.__name__, fields, bases=(config,), frozen=True, kw_only=True)
