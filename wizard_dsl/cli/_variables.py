"""The WIZARD_ variables: what each does, and which are set. And the variables that a file refers to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from wizard_dsl.compiler.compile import Compiled
from wizard_dsl.core.regex import regex
from wizard_dsl.observe.redact import redact
from wizard_dsl.registry import Registry
from wizard_dsl.spec.diagnostics import DocPath
from wizard_dsl.spec.interpolate import find_references
from wizard_dsl.spec.load import OTHER_VARIABLES
from wizard_dsl.spec.settings import PREFIX, SET_PREFIX, env_table

_OTHERS: Final = MappingProxyType(
    {
        "WIZARD_CONFIG": "the user's settings file; empty: none",
        "WIZARD_ENV": "development: mocks answer for providers without a key",
        "WIZARD_PLUGINS": "empty: no plug-in is looked for",
    }
)


#: Names of variables, and keys in the file, that hold secrets.
_SECRET: Final = regex(r"key|token|secret|password|passwd|credential|headers|authorization", re.IGNORECASE)
#: What stands for a secret where none is needed.
STAND_IN: Final = "test"


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


def referenced(compiled: Compiled, env: Mapping[str, str]) -> dict[str, str]:
    """The variables that a file refers to, but for those that are not set and have a default, as a test of it needs
    them: a word stands for what is or may be a secret. Where state lives is left out, for a test has its own."""
    found: dict[str, str] = {}
    for path, text in _texts(compiled.loaded.data, ()):
        for each in find_references(text) if path[0] != "state" else ():
            if each.scheme == "env" and (each.default is None or env.get(each.name)):
                value = env.get(each.name, "")
                hidden = not value or any(_SECRET.search(str(part)) for part in (*path, each.name))
                hidden = hidden or value in compiled.loaded.secrets or redact(value) != value
                found[each.name] = STAND_IN if hidden else value
    return found


def _texts(value: Any, path: DocPath) -> Iterator[tuple[DocPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _texts(each, (*path, str(key)))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _texts(each, (*path, index))
