"""Test tools that ship with the package: virtual time, scripted targets, cassettes, test files.

    from wizard_dsl.testing import collect, try_case

    suite = collect("triage.test.yaml")            # suite.found.diagnostics: all that is wrong with the file
    for case in suite.cases:
        outcome = try_case(suite, case)
        assert outcome.passed, outcome.failures

Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from wizard_dsl.testing.bench import Bench, VirtualTime
    from wizard_dsl.testing.cases import Case, Programs, Suite
    from wizard_dsl.testing.cassettes import Cassette, CassetteMiss, open_recorded
    from wizard_dsl.testing.pipelines import open_scripted
    from wizard_dsl.testing.playing import Played, Ran
    from wizard_dsl.testing.scripted import Item, Script, Scripted
    from wizard_dsl.testing.trying import Failure, Outcome, collect, try_case

_HOMES: Final = {
    "Bench": "bench",
    "Case": "cases",
    "Cassette": "cassettes",
    "CassetteMiss": "cassettes",
    "Failure": "trying",
    "Item": "scripted",
    "Outcome": "trying",
    "Played": "playing",
    "Programs": "cases",
    "Ran": "playing",
    "Script": "scripted",
    "Scripted": "scripted",
    "Suite": "cases",
    "VirtualTime": "bench",
    "collect": "trying",
    "open_recorded": "cassettes",
    "open_scripted": "pipelines",
    "try_case": "trying",
}

__all__ = [
    "Bench",
    "Case",
    "Cassette",
    "CassetteMiss",
    "Failure",
    "Item",
    "Outcome",
    "Played",
    "Programs",
    "Ran",
    "Script",
    "Scripted",
    "Suite",
    "VirtualTime",
    "collect",
    "open_recorded",
    "open_scripted",
    "try_case",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'wizard_dsl.testing' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"wizard_dsl.testing.{home}"), name)
    return value
