"""What all drawings say about a program, whatever they draw it with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wizard_dsl.compiler.program import ChainPlan, PolicyPlan, Program, among
from wizard_dsl.core.units import show_duration

Described = dict[str, Any]


def drawn(program: Program) -> Described:
    """The program as plain data; of each chain's policies, `around` are those that wrap the strategy and `beside`
    those that only keep state for it."""
    description = program.describe()
    for name, chain in program.chains.items():
        description["chains"][name]["around"] = _around(program, chain)
        description["chains"][name]["beside"] = [{"kind": plan.type.name} for plan in chain.shared]
    for step, plan in zip(description["steps"], program.steps, strict=True):
        if plan.subprogram is not None:
            step["pipeline"] = drawn(plan.subprogram)
    return description


def _around(program: Program, chain: ChainPlan) -> list[Described]:
    """What wraps the strategy; `steps` where only these of the steps that ask the chain bring it."""
    asking = [step for step in program.steps if step.chain == chain.name]
    brought: dict[str, list[str]] = {}
    own: dict[str, PolicyPlan] = {}
    for step in asking:
        for plan in step.own():
            own[plan.type.name] = plan
            brought.setdefault(plan.type.name, []).append(step.name)
    some = {kind: names for kind, names in brought.items() if len(names) < len(asking)}
    kinds = [plan.type.name for plan in among(chain.outer, list(own.values()))]
    return [{"kind": kind, "steps": some.get(kind, [])} for kind in kinds]


def levels(steps: list[Described]) -> dict[str, int]:
    """The level of each step, from 1: one more than the highest of those it needs. Steps of a level run at once."""
    found: dict[str, int] = {}
    for step in steps:
        found[step["name"]] = 1 + max((found[need] for need in step["needs"]), default=0)
    return found


def step_notes(step: Described, streamed: str | None) -> list[str]:
    """What is to be known of a step besides its name, type and chain."""
    notes = []
    if step["for_each"]:
        notes.append(f"for each item, {step['concurrency']} at once")
    if step["conditional"]:
        notes.append("only if its condition holds")
    if step["on_error"] != "fail":
        notes.append("skipped on an error" if step["on_error"] == "skip" else "a default on an error")
    if step["name"] == streamed:
        notes.append("streamed")
    return [*notes, step["planned"]] if "planned" in step else notes


def edges(steps: list[Described]) -> Iterator[tuple[str, str, str]]:
    """(from, to, label): `ran` marks an edge that a skipped step does not satisfy."""
    for step in steps:
        for need, how in step["needs"].items():
            yield need, step["name"], "ran" if how == "ran" else ""


def ladder(policies: list[Described]) -> str:
    """The kinds, outermost first, each with the steps that bring it where others do not."""
    notes = [f" ({', '.join(policy['steps'])})" if policy.get("steps") else "" for policy in policies]
    return " > ".join(policy["kind"] + note for policy, note in zip(policies, notes, strict=True)) or "no policies"


def live(target: Described) -> list[str]:
    """How a target's policies stand now, a line each, where that was looked at."""
    return [f"{each['kind']} {each['now']}" for each in target.get("live", ())]


def is_closed(target: Described) -> bool:
    """Whether no call passes to the target now, as far as that was looked at."""
    return any(each["closed"] for each in target.get("live", ()))


def around(chain: Described) -> list[str]:
    """Lines about what stands above the strategy, and about what the chain only keeps in mind."""
    lines = [ladder(chain["around"])] if chain["around"] else []
    return lines + ([f"with {', '.join(each['kind'] for each in chain['beside'])}"] if chain["beside"] else [])


def chains_of(description: Described) -> dict[str, Described]:
    """The chains that steps ask; those nobody asks are not drawn."""
    asked = {step["chain"] for step in description["steps"]}
    return {name: chain for name, chain in description["chains"].items() if name in asked}


def title(description: Described) -> str:
    limits = description.get("planned") or f"at most {show_duration(description['deadline'])}"
    return f"{description['name']} ({limits})"
