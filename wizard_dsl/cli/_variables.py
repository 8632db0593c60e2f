"""The WIZARD_ variables: what each does, and which are set."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from wizard_dsl.registry import Registry
from wizard_dsl.spec.load import OTHER_VARIABLES
from wizard_dsl.spec.settings import PREFIX, SET_PREFIX, env_table

_OTHERS: Final = MappingProxyType(
    {
        "WIZARD_CONFIG": "the user's settings file; empty: none",
        "WIZARD_ENV": "development: mocks answer for providers without a key",
        "WIZARD_PLUGINS": "empty: no plug-in is looked for",
    }
)


class Row(msgspec.Struct, frozen=True):
    """One variable. `value` is None where it is not set, and where it could be a secret."""

    name: str
    summary: str
    is_set: bool
    value: str | None = None

    @property
    def shown(self) -> str:
        if not self.is_set:
            return "not set"
        return "is set" if self.value is None else f"= {self.value}" if self.value else "is empty"


def rows(env: Mapping[str, str], registry: Registry) -> list[Row]:
    """All variables that are known, and all that are set, by name."""
    keys = {each.name: each.config.__struct_encode_fields__ for each in registry.all_policies()}
    table = {name: variable.summary for name, variable in env_table(keys).items()} | dict(_OTHERS)
    found = [Row(name, summary, name in env, env.get(name)) for name, summary in table.items()]
    for name in env:
        if name.startswith(PREFIX) and name not in table and name not in OTHER_VARIABLES:
            path = name.removeprefix(SET_PREFIX).replace("__", ".")
            found.append(Row(name, path if name.startswith(SET_PREFIX) else "nothing reads it", True))
    return sorted(found, key=lambda row: row.name)
