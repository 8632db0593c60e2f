"""Adaptive: the order they are written in, but a target that has failed too often lately goes behind the others.

Measured is the share of attempts that answered, of those that answered or failed (a verdict success or failure), over
`window`. Two rules keep the order from jumping about, and each target in play:

- A target begins with twenty successes that nobody saw, and these stay. A single failure therefore moves nothing, and
  where nothing is measured the order is the written one.
- Shares are compared in steps of a tenth: 97% and 99% are equally well, and ties go by declaration. In numbers: a
  target falls behind with its second failure where nothing else is known of it, and when fewer than 95 of 100 attempts
  succeed where much is known.

A target that fell behind gets no calls while the others are well, so its failures leave the window and it is back in
its place after at most `window` (10 minutes): never banished for ever, and tried at most twice a window while it is
down. Where a breaker is open, it is skipped anyhow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

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

#: Successes that every target is credited with.
CREDIT: Final = 20
#: A difference in success that matters.
STEPS: Final = 10


class AdaptiveConfig(PolicyConfig, frozen=True):
    """The keys of `strategy: {type: adaptive}`."""

    window: Annotated[AboveZero, Meta(description="how long a success or failure counts")] = "10m"


def build(config: AdaptiveConfig, branches: Sequence[Branch], context: BuildContext) -> Walk:
    """The walk from the target that is best to the one that fails most."""
    window = parse_duration(config.window)

    def order(request: Request, run: Run) -> list[Branch]:
        now = context.clock.now()

        def rank(target: Target) -> float:
            return -grade(*target.state.estimate.verdicts(now, window=window))

        return ranked(branches, rank)

    return Walk(branches, context, order)


def grade(answered: int, failed: int) -> int:
    """How well a target does, from 0 to STEPS."""
    return round(STEPS * (answered + CREDIT) / (answered + failed + CREDIT))


def bound(config: AdaptiveConfig, branches: Sequence[Bound], facts: BoundFacts) -> Bound:
    """The sum over the targets."""
    return bound_walk(branches, facts)


ADAPTIVE = StrategyType(
    name="adaptive",
    summary="The targets in the order they are written, those that failed too often lately behind the others.",
    config=AdaptiveConfig,
    build=build,
    bound=bound,
    asks="all",
    emits=EMITS,
    raises=RAISES,
    outcomes=(*CHOSEN, *WALK),
    examples=(
        Example("By the failures of the last ten minutes", "strategy: adaptive"),
        Example("By those of the last minute", "strategy: {type: adaptive, window: 1m}"),
    ),
)
