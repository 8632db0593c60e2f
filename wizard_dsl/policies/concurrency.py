"""Concurrency: at most so many attempts on a target at once; a streamed one counts until its stream ends.

Those that find no place stand in one line, first come, first served, and each release lets the next one in.

The number is fixed (`limit`), or found by trying (`adaptive`): it grows by one place a round while all places are
in use and answers come nearly as fast as they can, and shrinks by a tenth, at most once a round, on a sign of
overload: a 429, a 503 or 529, a timeout, or an answer that took twice as long as the best one. What is timed is the
answer as a whole, or the first content of a streamed one: use it where answers are streamed, or of similar lengths.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from wizard_dsl.core.bound import Bound, BoundFacts
from wizard_dsl.core.component import Duration, Example, PolicyConfig, PolicyType, Rung, Scope
from wizard_dsl.core.errors import AttemptFailed, DeadlineExceeded, RateLimitExceeded
from wizard_dsl.core.events import LimitRefused, LimitWaited
from wizard_dsl.core.messages import Request
from wizard_dsl.core.node import BuildContext, Handler
from wizard_dsl.core.outcomes import outcome, told
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.core.state import state_key
from wizard_dsl.policies import _adaptive
from wizard_dsl.policies._limited import longest_wait
from wizard_dsl.policies._line import Level, Line, Taken
from wizard_dsl.policies._queueing import Waiting, bound_waiting, whose

if TYPE_CHECKING:
    from wizard_dsl.policies._shared_queue import SharedPlaces


class AdaptiveConfig(PolicyConfig, frozen=True):
    """Between how many attempts at once the limit is looked for."""

    min: Annotated[int, Meta(ge=1, description="attempts at once that are always allowed; where it begins")] = 1
    max: Annotated[int, Meta(ge=1, description="attempts at once that are never exceeded")] = 100


class ConcurrencyConfig(PolicyConfig, frozen=True):
    """The keys of `concurrency`."""

    limit: Annotated[Annotated[int, Meta(ge=1)] | msgspec.UnsetType, Meta(description="attempts at once")] = (
        msgspec.UNSET
    )
    adaptive: Annotated[
        AdaptiveConfig | msgspec.UnsetType, Meta(description="in place of limit: find out how many the target bears")
    ] = msgspec.UNSET
    per: Annotated[Literal["target", "chain"], Meta(description="whose attempts are counted")] = "target"
    max_wait: Annotated[
        Duration | msgspec.UnsetType,
        Meta(description="longest wait for a place; 0s never waits; default: the deadline"),
    ] = msgspec.UNSET


class Places:
    """The pure state: places taken, of a number that may change."""

    __slots__ = ("limit", "taken")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    def take(self, now: float, tokens: int = 0) -> Taken | None:
        if self.taken >= self.limit:
            return None
        self.taken += 1
        return Taken(now)

    def give(self, taken: Taken, now: float) -> None:
        self.taken -= 1

    def settle(self, taken: Taken, used: int, now: float) -> None:
        """A place is a place, whatever was used."""

    def wait(self, now: float, place: int, ahead: int = 0, tokens: int = 0) -> None:
        """Only a release can tell."""

    def levels(self, now: float) -> tuple[Level]:
        return (Level("places", f"{self.limit} at once", self.limit, self.limit - self.taken),)


class Search:
    """Looks for the number of places of a target, from how its attempts end."""

    __slots__ = ("_places", "state")

    def __init__(self, config: AdaptiveConfig) -> None:
        self.state = _adaptive.start(config.min, config.max)
        self._places = Places(self.state.places)

    def line(self, context: BuildContext) -> Line:
        return Line(self._places, context.clock, name="concurrency", of=whose(context))

    def look(self, line: Line | SharedPlaces) -> None:
        """Let those pass who may now; what is looked for is never shared."""
        if isinstance(line, Line):
            line.look()

    def ended(self, began: float, now: float, *, overload: bool) -> None:
        """An attempt that began at `began` has its answer, or was refused."""
        in_use = self._places.taken >= self._places.limit
        self.state = _adaptive.after(self.state, _adaptive.Ended(began, overload, in_use), now)
        self._places.limit = self.state.places


class Concurrency:
    """Holds a place from before the attempt until its answer is over."""

    __slots__ = ("_line", "_next", "_now", "_search", "_waiting")

    def __init__(self, config: ConcurrencyConfig, next: Handler, context: BuildContext) -> None:
        self._next = next
        self._now = context.clock.now
        self._search, make = _maker(config, context)
        self._line = context.shared.state("concurrency", context.scope_key, make)
        patience = longest_wait(config.max_wait)
        self._waiting = _waiting(self._line, patience, context)

    async def call(self, request: Request, run: Run) -> Response:
        """Raises RateLimitExceeded and what Waiting.turn raises; then what comes from below."""
        now = self._now()
        taken = self._line.take(now)
        if taken is None:
            taken = await self._waiting.turn(self._line, run, now)
        search = self._search
        began = now if search is None else self._now()
        try:
            response = await self._next(request, run)
        except BaseException as error:
            if search is not None and is_overload(error):
                search.ended(began, self._now(), overload=True)
            self._line.give(taken)
            raise
        if search is not None:
            search.ended(began, self._now(), overload=False)
            search.look(self._line)
        response.on_end(lambda outcome: self._line.give(taken))
        return response


def _waiting(line: Line | SharedPlaces, patience: float | None, context: BuildContext) -> Waiting:
    if isinstance(line, Line):
        return Waiting("concurrency", patience, context)
    from wizard_dsl.policies._shared_line import SharedWaiting

    return SharedWaiting("concurrency", patience, context)


def _maker(config: ConcurrencyConfig, context: BuildContext) -> tuple[Search | None, Callable[[], Line | SharedPlaces]]:
    """What looks for the number of places, and how a line is made that has them."""
    if isinstance(config.adaptive, AdaptiveConfig):
        own = config.adaptive
        search = context.shared.state("concurrency_search", context.scope_key, lambda: Search(own))
        return search, lambda: search.line(context)
    limit, state = config.limit or 1, context.state
    if state is not None:
        from wizard_dsl.policies._shared_queue import SharedPlaces

        key = row_key(context.scope_key)
        return None, lambda: SharedPlaces(limit, key, state, context, name="concurrency", of=whose(context))
    return None, lambda: Line(Places(limit), context.clock, name="concurrency", of=whose(context))


def row_key(scope_key: str) -> str:
    """What the places are kept under, where processes share them."""
    return state_key("concurrency", scope_key)


def is_overload(error: BaseException) -> bool:
    """Whether an error says that the target is asked too much."""
    if not isinstance(error, AttemptFailed):
        return False
    return error.kind in {"rate_limited", "timeout"} or error.status in {503, 529}


def bound(config: ConcurrencyConfig, inner: Bound, facts: BoundFacts) -> Bound:
    """Every attempt may wait for max_wait, else up to the deadline."""
    return bound_waiting("concurrency", config.max_wait or None, inner, facts)


def refuse(config: ConcurrencyConfig) -> tuple[str, str] | None:
    """Exactly one of the two numbers."""
    if (config.limit is msgspec.UNSET) == (config.adaptive is msgspec.UNSET):
        both = "both limit and adaptive" if config.adaptive is not msgspec.UNSET else "neither limit nor adaptive"
        return "E074", f"concurrency has {both}; it takes one of the two"
    return None


def check(config: ConcurrencyConfig) -> list[str]:
    """Sentences about keys that do not fit together."""
    own = config.adaptive
    if isinstance(own, AdaptiveConfig) and own.min >= own.max:
        return [f"adaptive.min {own.min} is not below adaptive.max {own.max}, so the limit never moves; write `limit`"]
    return []


CONCURRENCY = PolicyType(
    name="concurrency",
    summary="Limits how many attempts are under way at once: a fixed number, or one that is found by trying.",
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
    outcomes=(
        outcome(
            "waited",
            "an attempt waited for a place",
            told(LimitWaited),
            possible=lambda site: longest_wait(site.config.max_wait) != 0,
        ),
        outcome(
            "refused",
            "no place was free in time: the attempt was refused",
            told(LimitRefused),
            possible=lambda site: longest_wait(site.config.max_wait) is not None,
        ),
    ),
    examples=(
        Example("Eight at once, the others wait", "concurrency: 8"),
        Example("As many as the target bears", "concurrency: {adaptive: {min: 2, max: 50}}"),
        Example("A local model that answers one at a time", "concurrency: {limit: 1, max_wait: 10s}"),
    ),
    refuse=refuse,
    check=check,
)
