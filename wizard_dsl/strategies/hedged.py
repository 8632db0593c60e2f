"""Hedged: the targets in order, and where one is late, the next besides; whoever commits first answers.

For the slow tail of latency: most calls cost what they always cost, and the few that hang are answered by somebody
else a little later. It follows the rules of `sequential`, and in addition the next target begins when the newest
has not committed (streamed: shown its first content; else: ended) `after` it began. At most one is under way besides
the first, and only until somebody commits.

- `after: p95`, the default, is what the newest target's last ten minutes say: a hedge for one call in twenty. Streamed
  and whole answers are measured apart. As long as fewer than ten attempts were seen, there is no hedge. An attempt that
  was overtaken counts as one that took at least its time. A target of which more than one call in twenty hangs gets a
  p95 that grows with every hedge; the breaker's slow verdicts take it out, and a fixed `after` does not wait for them.
- A fixed `after` (`3s`) hedges from the first call on. `0s` asks two at once, and pays for both.
- A target may be listed twice, to hedge against a slow machine behind one and the same name.
- Each target that begins runs its own retries. One that fails is dropped while another is under way; when none is, the
  next begins at once. An error that does not move on ends everything, also where it is a hedge's; a hedge that is
  refused before it was sent (a limit, a breaker) is dropped.
- A hedge is load that nobody asked for: it passes the target's limits like any attempt, and takes from the retry
  budget. Where no other target may be called, the budget is spent or `min_attempt` does not fit the deadline, there is
  no hedge. Without a `rate_limit` or `concurrency` on the targets, lint warns (W133): when everything is slow, hedges
  double the load.
- The loser is cancelled. Its row in the ledger says `cancelled`, and its cost is unknown, because a provider may bill
  what it had begun. One that a later one overtook gets the verdict slow of its breaker; a hedge that came too late to
  win says nothing about its target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from wizard_dsl.core.bound import Bound, BoundFacts
from wizard_dsl.core.component import DurationOrP95, Example, PolicyConfig, StrategyType
from wizard_dsl.core.events import BranchCancelled, HedgeStarted, HedgeWithheld
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.outcomes import outcome, told
from wizard_dsl.core.target import Branch, Target
from wizard_dsl.core.units import parse_duration
from wizard_dsl.strategies._outcomes import IN_ORDER, WALK
from wizard_dsl.strategies._race import After, Race, in_flight
from wizard_dsl.strategies._walk import EMITS, RAISES, Walk, bound_walk

#: Attempts that must have been seen before their p95 means anything.
OBSERVED = 10


class HedgedConfig(PolicyConfig, frozen=True):
    """The keys of `strategy: {type: hedged}`."""

    after: Annotated[
        DurationOrP95, Meta(description="the next target begins if the newest has not committed by then")
    ] = "p95"


def build(config: HedgedConfig, branches: Sequence[Branch], context: BuildContext) -> Walk:
    """A race of two at most; with one target, a walk."""
    if len(branches) == 1:
        return Walk(branches, context)
    return Race(branches, context, after=observed if config.after == "p95" else fixed(config.after))


def fixed(text: str) -> After:
    """Always that long."""
    seconds = parse_duration(text)
    return lambda target, streamed, now: seconds


def observed(target: Target, streamed: bool, now: float) -> float | None:
    """The target's p95; None while too little is known."""
    estimate = target.state.estimate
    if estimate.count(now, streamed=streamed) < OBSERVED:
        return None
    return estimate.p95(now, streamed=streamed)


def bound(config: HedgedConfig, branches: Sequence[Bound], facts: BoundFacts) -> Bound:
    """The sum over the targets: at worst no hedge helps. Two are in flight at once."""
    return in_flight(bound_walk(branches, facts), branches, 2)


HEDGED = StrategyType(
    name="hedged",
    summary="The targets in order; where one is late, the next is asked besides, and the first to commit answers.",
    config=HedgedConfig,
    build=build,
    bound=bound,
    asks="first",
    repeats=True,
    emits=(*EMITS, HedgeStarted, HedgeWithheld, BranchCancelled),
    raises=RAISES,
    outcomes=(
        *IN_ORDER,
        *WALK,
        outcome(
            "hedged",
            "the target was late, and another was asked besides",
            told(HedgeStarted),
            possible=lambda site: site.has_choice,
        ),
        outcome(
            "withheld",
            "the target was late, and nobody could be asked besides",
            told(HedgeWithheld),
            possible=lambda site: site.has_choice,
        ),
        outcome(
            "overtaken",
            "one answered first, and the other was cancelled",
            told(BranchCancelled, reason="answered"),
            possible=lambda site: site.has_choice,
        ),
    ),
    examples=(
        Example("After what 95 of 100 calls take", "strategy: hedged"),
        Example("After three seconds", "strategy: {type: hedged, after: 3s}"),
    ),
)
