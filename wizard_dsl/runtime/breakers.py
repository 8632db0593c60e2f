"""The circuit breakers of a runtime, by names that a person knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import PolicyPlan, Program, TargetPlan
    from wizard_dsl.policies._breaker import Breaker


def breakers(programs: Iterable[Program], living: Mapping[str, Breaker]) -> dict[str, Breaker]:
    """`living` breakers, which go by scope key, as `programs` use them. A name that two of them would have goes to the
    one used first; the other one's has its program before it."""
    found: dict[str, Breaker] = {}
    for program in programs:
        for name, key in _named(program):
            breaker = living[key]
            if found.get(name, breaker) is not breaker:
                name = f"{program.name}/{name}"
            found[name] = breaker
    return found


def breaker_names(programs: Iterable[Program]) -> set[str]:
    """The names that `breakers` may give, of programs of which nothing has run yet."""
    known: set[str] = set()
    for program in programs:
        own = {name for name, _ in _named(program)}
        known |= own | {f"{program.name}/{name}" for name in own & known}
    return known


def _named(program: Program) -> Iterator[tuple[str, str]]:
    for chain, target in ((chain, target) for chain, plan in program.chains.items() for target in plan.targets):
        for policy in target.ladder:
            if policy.type is CIRCUIT_BREAKER:
                yield _name(chain, target, policy), policy.scope_key


def _name(chain: str, target: TargetPlan, policy: PolicyPlan) -> str:
    if policy.scope_key.startswith("provider:"):
        return f"providers.{target.provider}"
    return f"{chain}: {target.name}" if getattr(policy.config, "per", "target") == "chain" else target.name
