"""From where a run may make more attempts than alone: after what others did, and beside what they do.

A plan holds whatever else goes on in a process, so others may help to reach it: they hold the only place of a target,
so that a race is over before that one was asked; they ask so often that a retry budget allows more. And a person may
hold a breaker closed, which then admits everything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wizard_dsl.analysis._plan_repeats import budget_of
from wizard_dsl.analysis._prove_play import Beside, Stage, Start
from wizard_dsl.analysis._prove_values import other_inputs
from wizard_dsl.core.errors import InputInvalid
from wizard_dsl.core.units import show_duration

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import ChainPlan, TargetPlan

#: Seconds between those who take a place, and how much of them each holds it.
_EVERY: Final = 3.0
_HELD: Final = 0.9
_HOLDERS: Final = 40
#: Calls that pay for many repeats, where the budget is a share of them.
_PAYERS: Final = 150
_ANSWERED: Final = {"reply": "an answer", "finish_reason": "length"}
#: What moves nothing and nobody: the call ends, and no breaker counts it.
_REJECTED: Final = 400


def emptied(stage: Stage, inputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The inputs with a list that has no item: what is not done for any of them cannot fail."""
    for name, spec in stage.program.inputs.items():
        changed = {**inputs, name: []}
        try:
            stage.inputs.check(changed)
        except InputInvalid:
            continue
        if spec.schema.get("type") == "array":
            yield changed


def others(stage: Stage, inputs: Mapping[str, Any], held_back: Collection[str]) -> Iterator[Start]:
    """What others may do, one after the other. `held_back` is what kept the best run alone from more: where it was no
    retry budget, nobody needs to pay for it."""
    strangers = other_inputs(stage.program, inputs, 1)
    if any(each.type.name == "circuit_breaker" for chain in stage.all_chains for each in chain.targets[0].ladder):
        yield Start("with breakers that a person holds closed", inputs, closed=True)
    for chain in stage.all_chains:
        for each in _beside(chain, strangers, held_back):
            yield msgspec.structs.replace(each, inputs=inputs)


def _beside(chain: ChainPlan, strangers: Mapping[str, Any], held_back: Collection[str]) -> Iterator[Start]:
    names = dict.fromkeys(target.name for target in chain.targets)
    races = min(chain.strategy.at_once(chain.strategy_config), len(names)) > 1
    if races and any(_is_limited(target) for target in chain.targets):
        yield _start("beside one other call", Beside(strangers, ({},)))
        for name in names:
            yield _start(f"beside others who hold {name}", Beside(strangers, (_held(chain, name),), _EVERY, _HOLDERS))
    if "retry_budget_exhausted" in held_back and budget_of(chain) is None:
        yield _start(f"beside {_PAYERS} other calls", Beside(strangers, ({},), 0.0, _PAYERS))


def _start(name: str, beside: Beside) -> Start:
    return Start(name, {}, beside=beside)


def _is_limited(target: TargetPlan) -> bool:
    return any(each.type.name in ("concurrency", "rate_limit") for each in target.ladder)


def _held(chain: ChainPlan, name: str) -> dict[str, Any]:
    """The place of one target is taken; the others are left at once."""
    rest: dict[str, Any] = dict.fromkeys((target.name for target in chain.targets), _REJECTED)
    return {**rest, name: {**_ANSWERED, "delay": show_duration(_EVERY * _HELD)}}
