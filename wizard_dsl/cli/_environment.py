"""What a program needs around it, beyond variables and files: keys, stores' folders, the embedded model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from wizard_dsl.compiler.compile import Compiled
from wizard_dsl.compiler.program import PolicyPlan, Program, TargetPlan
from wizard_dsl.core.errors import SpecError
from wizard_dsl.providers.embedded import EMBEDDED, find_weights


class Need(msgspec.Struct, frozen=True):
    """One thing that is needed, and whether it is there."""

    what: str
    state: Literal["ok", "missing"]
    detail: str
    suggestion: str | None = None


def needs(compiled: Compiled, program: Program) -> list[Need]:
    """The needs of a program and of those it runs as steps, each once."""
    found: dict[str, Need] = {}
    for each in programs(program):
        keys = _keys(each, compiled.loaded.data, compiled.loaded.keyless)
        for need in (*keys, *_models(each), *_stores(each, compiled.loaded.root)):
            found.setdefault(need.what, need)
    return list(found.values())


def targets(program: Program) -> Iterator[TargetPlan]:
    """The targets of every chain, in order."""
    for chain in program.chains.values():
        yield from chain.targets


def programs(program: Program) -> Iterator[Program]:
    yield program
    for step in program.steps:
        if step.subprogram is not None:
            yield from programs(step.subprogram)


def _keys(program: Program, data: dict[str, Any], mocked: Mapping[str, str]) -> Iterator[Need]:
    """The compiler has refused a file whose key is missing and not mocked; an empty one is as good as none."""
    for target in targets(program):
        variable = target.type.key_variable
        if variable is None:
            continue
        if target.provider in mocked:
            yield Need(f"key of {target.provider}", "ok", f"{mocked[target.provider]} is not set: a mock answers")
        elif getattr(target.config, "api_key", None):
            yield Need(f"key of {target.provider}", "ok", "is set")
        else:
            written = data.get("providers", {}).get(target.provider, {}).get("api_key", variable)
            yield Need(f"key of {target.provider}", "missing", f"{written} is empty", "give it the key")


def _models(program: Program) -> Iterator[Need]:
    for target in targets(program):
        if target.type is not EMBEDDED:
            continue
        what = f"model {target.model}"
        try:
            path = find_weights(target.model, target.name)
        except SpecError as error:
            yield Need(what, "missing", error.message)
        else:
            yield Need(what, "ok", path.name)


def _stores(program: Program, root: Path) -> Iterator[Need]:
    if not any(getattr(plan.config, "store", None) == "disk" for plan in _policies(program)):
        return
    folder = root / ".wizard"
    place = next(each for each in (folder, *folder.parents) if each.exists())
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        yield Need("cache folder", "ok", str(folder))
    else:
        hint = f"give this user the right to write {place}, or use store: memory"
        yield Need("cache folder", "missing", f"{place} cannot be written", hint)


def _policies(program: Program) -> Iterator[PolicyPlan]:
    for chain in program.chains.values():
        yield from chain.outer
