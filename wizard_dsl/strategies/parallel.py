"""Parallel: the first `n` targets at once; the first that commits answers, the others are cancelled.

For answers that must come as fast as the fastest target of the moment, at up to `n` times the price: all of them
are asked each time, and a cancelled one may be billed for what it had begun (its row in the ledger says `cancelled`,
its cost is unknown). Where that is too dear, `hedged` asks the second only when the first is late.

- Targets that may not be called now are skipped, and do not count: `n` are asked as long as there are so many.
- One that fails is dropped while others are under way. When all of them have failed, the next `n` begin, unless one
  failed with an error that does not move on (a refused key, say): then the call ends.
- Each runs its own retries and passes its own limits. They take nothing from the retry budget: a race is what was
  asked for, not a repeat. A loser began at the same time as the winner, so its breaker learns nothing from it.
- `n` is 2: a third target rarely makes an answer faster, and always makes it dearer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from wizard_dsl.core.bound import Bound, BoundFacts
from wizard_dsl.core.component import Example, PolicyConfig, StrategyType
from wizard_dsl.core.events import BranchCancelled
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.outcomes import outcome, told
from wizard_dsl.core.target import Branch
from wizard_dsl.strategies._outcomes import CHOSEN, WALK
from wizard_dsl.strategies._race import Race, in_flight
from wizard_dsl.strategies._walk import EMITS, RAISES, Walk, bound_walk


class ParallelConfig(PolicyConfig, frozen=True):
    """The keys of `strategy: {type: parallel}`."""

    n: Annotated[int, Meta(ge=1, description="targets that are asked at once")] = 2


def build(config: ParallelConfig, branches: Sequence[Branch], context: BuildContext) -> Walk:
    """A race of `n`; of one, a walk."""
    if min(config.n, len(branches)) == 1:
        return Walk(branches, context)
    return Race(branches, context, at_once=config.n)


def bound(config: ParallelConfig, branches: Sequence[Bound], facts: BoundFacts) -> Bound:
    """The sum over the targets, in latency too: those that a 429 blocked come after the others, one by one, as soon as
    they are free."""
    return in_flight(bound_walk(branches, facts), branches, config.n)


PARALLEL = StrategyType(
    name="parallel",
    summary="The first n targets at once, until one answers; then the next n.",
    config=ParallelConfig,
    build=build,
    bound=bound,
    at_once=lambda config: config.n,
    asks="all",
    emits=(*EMITS, BranchCancelled),
    raises=RAISES,
    outcomes=(
        *CHOSEN,
        *WALK,
        outcome(
            "cancelled",
            "one answered first, and the others were cancelled",
            told(BranchCancelled, reason="answered"),
            possible=lambda site: site.has_choice and site.config.n > 1,
        ),
    ),
    examples=(
        Example("The first two at once", "strategy: parallel"),
        Example("The first three at once", "strategy: {type: parallel, n: 3}"),
    ),
)
