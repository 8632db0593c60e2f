"""What a plan says about a program, as lines of its drawing."""

from __future__ import annotations

from wizard_dsl.analysis.plan import plan_of
from wizard_dsl.cli._drawing import Described
from wizard_dsl.compiler.program import Program
from wizard_dsl.core.bound import Bound, Figure
from wizard_dsl.core.units import show_duration, show_money


def with_plan(description: Described, program: Program) -> Described:
    """The drawing with the worst case of a run and of each of its steps; files that steps run have their own."""
    plan = plan_of(program)
    description["planned"] = _told(plan.worst)
    for step, compiled in zip(description["steps"], program.steps, strict=True):
        step["planned"] = _told(plan.steps[step["name"]].worst)
        if compiled.subprogram is not None:
            with_plan(step["pipeline"], compiled.subprogram)
    return description


def _told(worst: Bound) -> str:
    """`at most 6 attempts, 3h30m, $0.02`."""
    attempts = f"{worst.attempts.value:,.0f}" if worst.attempts.bounded else "unbounded"
    latency = show_duration(round(worst.latency.value, 1)) if worst.latency.bounded else "unbounded time"
    return f"at most {attempts} attempt{'' if attempts == '1' else 's'}, {latency}, {_money(worst.cost)}"


def _money(cost: Figure) -> str:
    return show_money(cost.value) if cost.bounded else "unbounded cost"
