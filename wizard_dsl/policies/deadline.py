"""Deadline: the absolute point by which a call is over, its repeats, waits and fallbacks included.

The node only writes the point into the run: the attempt's one timer, the delays of retry and the queues of the
limits all keep to it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from wizard_dsl.core.bound import Bound, BoundFacts, Figure
from wizard_dsl.core.component import AboveZero, Duration, Example, PolicyConfig, PolicyType, Rung, Scope
from wizard_dsl.core.errors import DeadlineExceeded
from wizard_dsl.core.events import AttemptEnded, DeadlineCut, StepEnded
from wizard_dsl.core.messages import Request
from wizard_dsl.core.node import BuildContext, Handler
from wizard_dsl.core.outcomes import outcome, told
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.core.units import parse_duration


class DeadlineConfig(PolicyConfig, frozen=True):
    """The keys of `deadline`."""

    after: Annotated[AboveZero, Meta(description="the call is over by then, counted from its start")]
    min_attempt: Annotated[Duration, Meta(description="after a failure, less than this is not worth another try")] = (
        "1s"
    )


class Deadline:
    """Tightens the run's deadline; never loosens it."""

    __slots__ = ("_after", "_min_attempt", "_next", "_now")

    def __init__(self, config: DeadlineConfig, next: Handler, context: BuildContext) -> None:
        self._next = next
        self._now = context.clock.now
        self._after = parse_duration(config.after)
        self._min_attempt = parse_duration(config.min_attempt)

    async def call(self, request: Request, run: Run) -> Response:
        at = self._now() + self._after
        at = min(at, run.deadline)
        return await self._next(request, msgspec.structs.replace(run, deadline=at, min_attempt=self._min_attempt))


def bound(config: DeadlineConfig, inner: Bound, facts: BoundFacts) -> Bound:
    """Latency is at most `after`."""
    after = parse_duration(config.after)
    return inner if inner.latency.value <= after else inner.with_latency(Figure(after))


def check(config: DeadlineConfig) -> list[str]:
    """Sentences about keys that do not fit together."""
    if parse_duration(config.min_attempt) > parse_duration(config.after):
        return [f"min_attempt ({config.min_attempt}) is longer than after ({config.after}): nothing is ever repeated"]
    return []


DEADLINE = PolicyType(
    name="deadline",
    summary="Ends a call, with all its repeats, waits and fallbacks, by a fixed point.",
    rung=Rung.DEADLINE,
    scope=Scope.CALL,
    config=DeadlineConfig,
    build=Deadline,
    bound=bound,
    scalar="after",
    raises=(DeadlineExceeded,),
    outcomes=(
        outcome("kept", "the call answered in time", told(StepEnded, "chain", kind="ok")),
        outcome("cut", "it passed, and cut an attempt", told(AttemptEnded, "chain", kind="deadline")),
        outcome("not_begun", "a repeat, a wait or a target was left out: it did not fit", told(DeadlineCut, "chain")),
    ),
    examples=(
        Example("The whole call ends within 45 seconds", "deadline: 45s"),
        Example("A last try needs at least five seconds", "deadline: {after: 2m, min_attempt: 5s}"),
    ),
    check=check,
)
