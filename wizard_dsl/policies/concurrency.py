"""Concurrency: at most so many attempts on a target at once; a streamed one counts until its stream ends.

Those that find no place stand in one line, first come, first served, and each release lets the next one in.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from wizard_dsl.core.bound import Bound, BoundFacts
from wizard_dsl.core.component import Duration, Example, PolicyConfig, PolicyType, Rung, Scope
from wizard_dsl.core.errors import DeadlineExceeded, RateLimitExceeded
from wizard_dsl.core.events import LimitRefused, LimitWaited
from wizard_dsl.core.messages import Request
from wizard_dsl.core.node import BuildContext, Handler
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.core.units import parse_duration
from wizard_dsl.policies._line import Line, Taken
from wizard_dsl.policies._queueing import Waiting, bound_waiting


class ConcurrencyConfig(PolicyConfig, frozen=True):
    """The keys of `concurrency`."""

    limit: Annotated[int, Meta(ge=1, description="attempts at once")]
    per: Annotated[Literal["target", "chain"], Meta(description="whose attempts are counted")] = "target"
    max_wait: Annotated[
        Duration | msgspec.UnsetType,
        Meta(description="longest wait for a place; 0s never waits; default: the deadline"),
    ] = msgspec.UNSET


class Places:
    """The pure state: places taken, of a fixed number."""

    __slots__ = ("_limit", "taken")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.taken = 0

    def take(self, now: float, tokens: int = 0) -> Taken | None:
        if self.taken >= self._limit:
            return None
        self.taken += 1
        return Taken(now)

    def give(self, taken: Taken, now: float) -> None:
        self.taken -= 1

    def settle(self, taken: Taken, used: int, now: float) -> None:
        """A place is a place, whatever was used."""

    def wait(self, now: float, place: int, ahead: int = 0, tokens: int = 0) -> None:
        """Only a release can tell."""


class Concurrency:
    """Holds a place from before the attempt until its answer is over."""

    __slots__ = ("_line", "_next", "_now", "_waiting")

    def __init__(self, config: ConcurrencyConfig, next: Handler, context: BuildContext) -> None:
        self._next = next
        self._now = context.clock.now
        self._line = context.shared.state(
            "concurrency", context.scope_key, lambda: Line(Places(config.limit), context.clock)
        )
        max_wait = None if config.max_wait is msgspec.UNSET else parse_duration(config.max_wait)
        self._waiting = Waiting("concurrency", self._line, max_wait, context)

    async def call(self, request: Request, run: Run) -> Response:
        """Raises RateLimitExceeded and what Waiting.turn raises; then what comes from below."""
        now = self._now()
        taken = self._line.take(now)
        if taken is None:
            taken = await self._waiting.turn(run, now)
        try:
            response = await self._next(request, run)
        except BaseException:
            self._line.give(taken)
            raise
        response.on_end(lambda outcome: self._line.give(taken))
        return response


def bound(config: ConcurrencyConfig, inner: Bound, facts: BoundFacts) -> Bound:
    """Every attempt may wait for max_wait, else up to the deadline."""
    return bound_waiting("concurrency", config.max_wait or None, inner, facts)


CONCURRENCY = PolicyType(
    name="concurrency",
    summary="Limits how many attempts are under way at once.",
    rung=Rung.CONCURRENCY,
    scope=Scope.TARGET,
    config=ConcurrencyConfig,
    build=Concurrency,
    bound=bound,
    scalar="limit",
    provider=True,
    shared_state=True,
    emits=(LimitWaited, LimitRefused),
    raises=(RateLimitExceeded, DeadlineExceeded),
    examples=(
        Example("Eight at once, the others wait", "concurrency: 8"),
        Example("A local model that answers one at a time", "concurrency: {limit: 1, max_wait: 10s}"),
    ),
)
