"""What a retry budget leaves of the repeats of a chain, over all steps of a run that ask it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from wizard_dsl.compiler.program import ChainPlan, Program
from wizard_dsl.core.bound import Bound, Figure
from wizard_dsl.core.run import MIN_ATTEMPT
from wizard_dsl.core.units import parse_duration, parse_ratio
from wizard_dsl.policies.deadline import DeadlineConfig
from wizard_dsl.policies.retry_budget import RetryBudgetConfig, most_repeats


class Firsts(msgspec.Struct, frozen=True):
    """Attempts of a step that are no repeats, at most: of one execution, of all of them, and by target."""

    once: Figure
    whole: Figure
    targets: Mapping[str, Figure]


def budget_of(chain: ChainPlan) -> RetryBudgetConfig | None:
    """The retry budget of a chain, where there is one that first attempts do not make larger."""
    budgets = [each.config for each in chain.shared if isinstance(each.config, RetryBudgetConfig)]
    return next((each for each in budgets if parse_ratio(each.ratio) == 0), None)


def repeats(program: Program, chain: ChainPlan, latency: Figure, deadline: float) -> Figure:
    """Repeats and hedges of all calls of `chain` in one run, at most: what its budget allows from the first until the
    last of them. They lie within the `latency` of the run, where nobody who reads a stream can make it longer, and
    none is made where less than `min_attempt` is left until the deadline. Processes that share the budget have clocks
    of their own: then, as without a budget, nothing is known."""
    budget = budget_of(chain)
    if budget is None or program.state != "memory":
        return Figure(float("inf"))
    last = deadline - _min_attempt(chain)
    return Figure(most_repeats(budget, last if _is_held_back(program, chain) else min(last, latency.value)))


def _min_attempt(chain: ChainPlan) -> float:
    own = [parse_duration(each.config.min_attempt) for each in chain.outer if isinstance(each.config, DeadlineConfig)]
    return min(own, default=MIN_ATTEMPT)


def _is_held_back(program: Program, chain: ChainPlan) -> bool:
    """Whether the reader of a stream may put off repeats of `chain`: those that follow a break, and those of steps that
    wait for the one that streams."""
    streamed = program.streamed
    if streamed is None:
        return False
    resumes = program.step(streamed).chain == chain.name and chain.mid_stream in ("restart", "continue")
    return resumes or any(streamed in each.needs for each in program.steps)


def spared(bound: Bound, firsts: Figure, most: Figure) -> Bound:
    """With no more attempts than `firsts` and the repeats that the budget allows."""
    return msgspec.structs.replace(bound, attempts=bound.attempts.smallest(firsts + most))
