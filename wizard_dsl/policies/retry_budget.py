"""Retry budget: how many repeats a chain may make, measured by the first attempts it makes.

In a window, repeats ≤ max(ratio × first attempts, floor × window). The first attempt of a logical call deposits;
every repeat on a target withdraws, waits after a 429 included; first calls to fallback targets and repairs do
neither. Where it is spent nothing is repeated, but the next target is still tried: an outage then costs at most
`ratio` more calls instead of `max_attempts` times as many.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta

from wizard_dsl.core.bound import bound_unchanged
from wizard_dsl.core.component import AboveZero, Example, PolicyConfig, PolicyType, Ratio, Rung, Scope
from wizard_dsl.core.events import HedgeStarted, HedgeWithheld, RetriesEnded, RetryScheduled
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.outcomes import Site, outcome, told
from wizard_dsl.core.state import State, state_key
from wizard_dsl.core.target import RetryAllowance
from wizard_dsl.core.units import parse_duration, parse_rate, parse_ratio
from wizard_dsl.policies._counts import Counts, most_windows
from wizard_dsl.policies._windows import RequestRate

if TYPE_CHECKING:
    from wizard_dsl.policies._shared_budget import SharedRetryBudget

#: Floating-point dust: a floor of one repeat in a window is one repeat.
_DUST: Final = 1e-9


class RetryBudgetConfig(PolicyConfig, frozen=True):
    """The keys of `retry_budget`."""

    ratio: Annotated[Ratio, Meta(description="repeats, as a share of first attempts")] = "20%"
    floor: Annotated[RequestRate, Meta(description="repeats that are always allowed")] = "3/s"
    window: Annotated[AboveZero, Meta(description="over which both are counted")] = "10s"


class RetryBudget(RetryAllowance):
    """The allowance of one chain."""

    __slots__ = ("_counts", "_floor", "_ratio")

    def __init__(self, config: RetryBudgetConfig) -> None:
        window = parse_duration(config.window)
        self._counts = Counts(window)
        self._ratio = parse_ratio(config.ratio)
        self._floor = _floor(config)

    def deposit(self, now: float) -> None:
        self._counts.add_first(now)

    async def withdraw(self, now: float) -> bool:
        return self.take(now)

    def give_back(self, now: float, taken: float) -> None:
        self._counts.remove_second(now, taken)

    def take(self, now: float) -> bool:
        """One repeat, if the window allows it."""
        self._counts.advance(now)
        if self._counts.second + 1 > max(self._ratio * self._counts.first, self._floor) + _DUST:
            return False
        self._counts.add_second(now)
        return True


def build(config: RetryBudgetConfig, next: None, context: BuildContext) -> None:
    """Give the chain its allowance."""
    context.chain.allowance = RetryBudget(config) if context.state is None else _shared(config, context, context.state)


def _shared(config: RetryBudgetConfig, context: BuildContext, state: State) -> SharedRetryBudget:
    """One for all processes; the shared state closes it."""
    from wizard_dsl.policies._shared_budget import SharedRetryBudget

    window = parse_duration(config.window)
    return context.shared.state(
        "retry_budget",
        context.scope_key,
        lambda: SharedRetryBudget(
            ratio=parse_ratio(config.ratio),
            floor=_floor(config),
            window=window,
            key=state_key("retry_budget", f"{context.scope_key} {config.window}"),
            state=state,
            clock=context.clock,
            spawn=context.spawn,
        ),
    )


def _floor(config: RetryBudgetConfig) -> float:
    """Repeats that a window always allows."""
    return parse_rate(config.floor).per_second * parse_duration(config.window)


def most_repeats(config: RetryBudgetConfig, seconds: float) -> float:
    """How many repeats and hedges all runs together can make in so many seconds. Without a `ratio` no first attempt
    allows one more, and what is taken counts for a whole window at least, unless it is given back because no attempt
    came of it. With one, others may always have made first attempts enough: unbounded."""
    if parse_ratio(config.ratio) > 0 or math.isinf(seconds):
        return math.inf
    if seconds < 0:
        return 0
    return math.floor(_floor(config) + _DUST) * most_windows(seconds, parse_duration(config.window))


def _is_asked(site: Site) -> bool:
    """Whether anything in the chain makes repeats or hedges."""
    return bool(site.kinds & {"retry", "hedged"})


def check(config: RetryBudgetConfig) -> list[str]:
    """Sentences about keys that do not fit together."""
    if parse_ratio(config.ratio) == 0 and _floor(config) < 1:
        return [f"ratio {config.ratio} and floor {config.floor} allow no repeat in a window of {config.window}"]
    return []


RETRY_BUDGET = PolicyType(
    name="retry_budget",
    summary="Limits the repeats of a whole chain to a share of its first attempts.",
    rung=Rung.RETRY,
    scope=Scope.CHAIN,
    config=RetryBudgetConfig,
    build=build,
    bound=bound_unchanged,
    check=check,
    scalar="ratio",
    outcomes=(
        outcome(
            "granted",
            "a repeat or a hedge was allowed",
            told(RetryScheduled, "chain"),
            told(HedgeStarted, "chain"),
            possible=_is_asked,
        ),
        outcome(
            "exhausted",
            "it was used up: no repeat, no hedge",
            told(RetriesEnded, "chain", reason="retry_budget_exhausted"),
            told(HedgeWithheld, "chain", reason="retry_budget_exhausted"),
            possible=_is_asked,
        ),
    ),
    examples=(
        Example("One repeat for ten calls", "retry_budget: 10%"),
        Example("A quiet chain may still repeat once a second", "retry_budget: {ratio: 10%, floor: 1/s}"),
    ),
)
