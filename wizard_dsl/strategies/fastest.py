"""Fastest: the target that has committed soonest on the average lately, then the next slower one.

What counts is the time to the commit point (streamed: to the first content; else: to the end), of this kind of call
alone, over `window`. Attempts that were given up took at least their time, and count as that.

A target about which nothing is known comes first, in the order they are written, so that each gets measured: within
the first calls, and again once its figures are older than `window`. A slow target is therefore asked about once every
`window` (10 minutes), which is the price of noticing that it has become fast. One that has only failed is known for
that, and comes last.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Annotated

from msgspec import Meta

from wizard_dsl.core.bound import Bound, BoundFacts
from wizard_dsl.core.component import AboveZero, Example, PolicyConfig, StrategyType
from wizard_dsl.core.messages import Request
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.run import Run
from wizard_dsl.core.target import Branch, Target
from wizard_dsl.core.units import parse_duration
from wizard_dsl.strategies._outcomes import CHOSEN, WALK
from wizard_dsl.strategies._rank import ranked
from wizard_dsl.strategies._walk import EMITS, RAISES, Walk, bound_walk


class FastestConfig(PolicyConfig, frozen=True):
    """The keys of `strategy: {type: fastest}`."""

    window: Annotated[AboveZero, Meta(description="how long a measured time counts")] = "10m"


def build(config: FastestConfig, branches: Sequence[Branch], context: BuildContext) -> Walk:
    """The walk from the fastest target to the slowest."""
    window = parse_duration(config.window)

    def order(request: Request, run: Run) -> list[Branch]:
        now, streamed = context.clock.now(), run.commit == "content"

        def rank(target: Target) -> float:
            estimate = target.state.estimate
            seconds = estimate.mean(now, window=window, streamed=streamed)
            if seconds is not None:
                return seconds
            return inf if estimate.success(now, window=window) == 0 else -inf

        return ranked(branches, rank)

    return Walk(branches, context, order)


def bound(config: FastestConfig, branches: Sequence[Bound], facts: BoundFacts) -> Bound:
    """The sum over the targets."""
    return bound_walk(branches, facts)


FASTEST = StrategyType(
    name="fastest",
    summary="The target that answered soonest on the average lately; those not measured first.",
    config=FastestConfig,
    build=build,
    bound=bound,
    asks="all",
    emits=EMITS,
    raises=RAISES,
    outcomes=(*CHOSEN, *WALK),
    examples=(
        Example("By the times of the last ten minutes", "strategy: fastest"),
        Example("By those of the last minute", "strategy: {type: fastest, window: 1m}"),
    ),
)
