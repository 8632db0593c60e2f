"""What a program needs around it, beyond variables and files: keys, stores' folders, the embedded model, what
keeps its state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wizard_dsl.cli._kept import kept, writable
from wizard_dsl.cli._need import Need
from wizard_dsl.compiler.compile import Compiled
from wizard_dsl.compiler.program import PolicyPlan, Program, TargetPlan
from wizard_dsl.core.errors import SpecError
from wizard_dsl.providers.embedded import EMBEDDED, find_weights


def needs(compiled: Compiled, program: Program) -> list[Need]:
    """The needs of a program and of those it runs as steps, each once."""
    found: dict[str, Need] = {}
    for each in programs(program):
        keys = _keys(each, compiled.loaded.data, compiled.loaded.keyless)
        for need in (*keys, *_models(each), *_stores(each, compiled.loaded.root)):
            found.setdefault(need.what, need)
    for need in kept(program, compiled.loaded.root):
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
    folder = root / ".wizard"
    if any(getattr(plan.config, "store", None) == "disk" for plan in _policies(program)):
        yield writable("cache folder", folder, folder, other=", or use store: memory")


def _policies(program: Program) -> Iterator[PolicyPlan]:
    for chain in program.chains.values():
        yield from chain.outer
