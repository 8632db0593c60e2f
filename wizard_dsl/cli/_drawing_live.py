"""How the targets of a program stand now, as lines of its drawing: read from the state that its processes share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wizard_dsl.cli._drawing import Described
from wizard_dsl.compiler.compile import Compiled
from wizard_dsl.compiler.program import PolicyPlan, Program
from wizard_dsl.core.clock import machine_time
from wizard_dsl.core.errors import SpecError
from wizard_dsl.core.state import StateUnavailable
from wizard_dsl.policies._look import Look, look_of
from wizard_dsl.spec.keeper import state_home
from wizard_dsl.stores._look import rows_of


def with_state(description: Described, compiled: Compiled, program: Program) -> Described:
    """The drawing with what breakers and limits of each target say; files that steps run have theirs in the same place.
    Raises SpecError where no state is shared, or it cannot be read."""
    home = state_home(program.state).below(compiled.loaded.root)
    if home.kind == "memory":
        raise SpecError(
            "this file keeps its state in memory, each process its own, so nobody else can look at it: "
            "set `state` to a file, such as .wizard/state.db, or to a server"
        )
    found = list(_looks(description, program))
    try:
        rows, now = rows_of(
            home.kind, home.place, list(dict.fromkeys(look.key for _, _, look in found)), machine_time()
        )
    except StateUnavailable as error:
        raise SpecError(str(error)) from None
    for target, plan, look in found:
        seen = look.seen(rows.get(look.key), now)
        target.setdefault("live", []).append({"kind": _kind(plan), "now": seen.text, "closed": seen.closed})
    return description


def _looks(description: Described, program: Program) -> Iterator[tuple[dict[str, Any], PolicyPlan, Look]]:
    for name, chain in program.chains.items():
        for target, plan in zip(description["chains"][name]["targets"], chain.targets, strict=True):
            looks = ((policy, look_of(policy.config, policy.scope_key)) for policy in plan.ladder)
            yield from ((target, policy, look) for policy, look in looks if look is not None)
    for step, compiled in zip(description["steps"], program.steps, strict=True):
        if compiled.subprogram is not None:
            yield from _looks(step["pipeline"], compiled.subprogram)


def _kind(plan: PolicyPlan) -> str:
    return f"provider's {plan.type.name}" if ".provider." in plan.path else plan.type.name
