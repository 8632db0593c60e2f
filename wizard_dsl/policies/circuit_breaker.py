"""Circuit breaker: stop asking a target that fails, look again after a while.

The gate stands directly before sending and each attempt gives one verdict: success, failure or neutral. Enough
failures in the window open it; after `reset_timeout` it is half-open and admits a few leases; their success closes
it, one failure opens it for twice as long. A stream is a success at its first content; if it breaks later, a
failure takes that success's place.

A target that hangs fails nothing while hedges answer in its place: an attempt that a hedge overtook is slow, and so is
one whose first content came later than `slow_after` (of a whole answer: the answer). Slow attempts open the breaker
at a ratio of their own.

With `probe`, an open breaker asks its target by itself where no traffic does: see `_probe`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from wizard_dsl.core.bound import bound_unchanged
from wizard_dsl.core.component import (
    AboveZero,
    AboveZeroOrOff,
    Example,
    PolicyConfig,
    PolicyType,
    Ratio,
    RatioOrOff,
    Rung,
    Scope,
    seconds,
)
from wizard_dsl.core.errors import CircuitOpen, InvalidRequest, TargetBlocked, Verdict, WizardError
from wizard_dsl.core.events import BreakerChanged, BreakerProbed, ObserverFailed, TargetSkipped
from wizard_dsl.core.kinds import override
from wizard_dsl.core.messages import Request
from wizard_dsl.core.node import BuildContext, Handler
from wizard_dsl.core.outcomes import Site, outcome, told
from wizard_dsl.core.response import Outcome, Response
from wizard_dsl.core.run import Run
from wizard_dsl.core.state import state_key
from wizard_dsl.core.units import parse_duration, parse_ratio
from wizard_dsl.policies._breaker import Breaker
from wizard_dsl.policies._breaker_state import Limits, Ticket
from wizard_dsl.policies._kinds import TripOn
from wizard_dsl.policies._probe import Prober

if TYPE_CHECKING:
    from asyncio import Future

    from wizard_dsl.policies._shared_breaker import SharedBreakerState, SharedTicket
    from wizard_dsl.policies._shared_breaker import Verdict as SharedVerdict

#: How long an attempt may take that has no timeout, in seconds; one second more and its lease is free again.
_UNLIMITED = 300.0


class CircuitBreakerConfig(PolicyConfig, frozen=True):
    """The keys of `circuit_breaker`."""

    failure_threshold: Annotated[
        Annotated[int, Meta(ge=1)] | Literal["off"], Meta(description="failures in the window that open it")
    ] = 5
    window: Annotated[AboveZero, Meta(description="how long verdicts count")] = "60s"
    failure_ratio: Annotated[RatioOrOff, Meta(description="share of failures in the window that opens it")] = "off"
    minimum_calls: Annotated[int, Meta(ge=1, description="verdicts before a ratio means anything")] = 10
    trip_on: Annotated[TripOn, Meta(description="{kind or status: a failure?}, over the error table")] = {}
    per: Annotated[Literal["target", "chain"], Meta(description="whose verdicts are counted")] = "target"
    reset_timeout: Annotated[AboveZero, Meta(description="open that long, then half-open")] = "30s"
    max_reset_timeout: Annotated[AboveZero, Meta(description="it doubles up to that")] = "5m"
    half_open_max_calls: Annotated[int, Meta(ge=1, description="calls admitted at once while half-open")] = 1
    success_threshold: Annotated[int, Meta(ge=1, description="successes that close it")] = 1
    probe: Annotated[
        bool, Meta(description="while open and without traffic, ask the target for one token by itself")
    ] = False
    slow_after: Annotated[
        AboveZeroOrOff,
        Meta(description="an attempt is slow whose first content comes later; overtaken by a hedge, always"),
    ] = "off"
    slow_ratio: Annotated[Ratio, Meta(description="share of slow attempts in the window that opens it")] = "90%"


class CircuitBreaker:
    """The gate of one target, and its verdicts."""

    __slots__ = (
        "_breaker",
        "_emit",
        "_next",
        "_now",
        "_path",
        "_prober",
        "_slow_after",
        "_state",
        "_target",
        "_trip_on",
    )

    def __init__(self, config: CircuitBreakerConfig, next: Handler, context: BuildContext) -> None:
        self._next = next
        self._now = context.clock.now
        self._emit = context.emit
        self._path = context.path
        self._trip_on = config.trip_on
        self._slow_after = seconds(config.slow_after)
        self._target = target = context.require_target()
        self._breaker = context.shared.state("circuit_breaker", context.scope_key, lambda: _breaker(config, context))
        self._state = self._breaker.state
        target.gates.append(self._state.closed_for)
        self._prober: Prober | None = None
        if config.probe:
            lasts = (target.total or _UNLIMITED) + 1.0
            self._prober = Prober(self.call, self._breaker, parse_duration(config.reset_timeout), lasts, context)

    async def call(self, request: Request, run: Run) -> Response:
        """Raises CircuitOpen (or TargetBlocked) where the gate is closed; then what comes from below."""
        now = self._now()
        state, breaker = self._state, self._breaker
        ticket = state.admit(now, (self._target.total or _UNLIMITED) + 1.0, forced=run.probe)
        if breaker.told != state.generation:
            self._tell(run)
        if ticket is None:
            raise self._target.refusal(state.closed_for(now) or 0.0, now)
        try:
            response = await self._next(request, run)
        except WizardError as error:
            self._judge(ticket, error, run)
            raise
        except BaseException:
            self._cancelled(ticket, run)
            raise
        after = self._now()
        state.success(ticket, after, late=self._slow_after is not None and after - now > self._slow_after)
        if breaker.told != state.generation:
            self._tell(run)
        if response.outcome is None:
            response.on_end(lambda outcome: self._ended(ticket, outcome, run))
        return response

    def _ended(self, ticket: Ticket, outcome: Outcome, run: Run) -> None:
        """A stream that breaks takes its success back; any other end leaves it."""
        if outcome.error is not None and verdict(outcome.error, self._trip_on) == "failure":
            self._state.failure(ticket, self._now())
            self._tell(run)

    def _cancelled(self, ticket: Ticket, run: Run) -> None:
        """Who cancels a hedge's loser writes why into its branch; any other cancellation says nothing."""
        if run.branch is not None and run.branch.reason == "overtaken":
            self._state.overtaken(ticket, self._now())
            self._tell(run)
        else:
            self._state.neutral(ticket)

    def _judge(self, ticket: Ticket, error: WizardError, run: Run) -> None:
        if verdict(error, self._trip_on) == "failure":
            self._state.failure(ticket, self._now())
            self._tell(run)
        else:
            self._state.neutral(ticket)

    def _tell(self, run: Run) -> None:
        if self._breaker.tell(run, self._path, self._target.name) and self._prober is not None:
            self._prober.watch()


class SharedCircuitBreaker(CircuitBreaker):
    """The same where processes share the breaker: what opens or may open it is awaited, the rest is sent behind."""

    __slots__ = ()
    _state: SharedBreakerState

    async def call(self, request: Request, run: Run) -> Response:
        """See CircuitBreaker."""
        lasts = (self._target.total or _UNLIMITED) + 1.0
        ticket = await self._state.ask(lasts, forced=run.probe, until=run.deadline)
        self._tell(run)
        now = self._now()
        if ticket is None:
            raise self._target.refusal(self._state.closed_for(now) or 0.0, now)
        try:
            response = await self._next(request, run)
        except WizardError as error:
            await self._failed(ticket, error, run)
            raise
        except BaseException:
            overtaken = run.branch is not None and run.branch.reason == "overtaken"
            self._report(ticket, "overtaken" if overtaken else "neutral", run)
            raise
        late = self._slow_after is not None and self._now() - now > self._slow_after
        done = self._report(ticket, "success", run, late=late)
        if response.outcome is None:
            response.on_end(lambda outcome: self._broken(ticket, outcome, run))
        if ticket.lease:
            await self._known(done, response)
        return response

    async def _failed(self, ticket: SharedTicket, error: WizardError, run: Run) -> None:
        says = verdict(error, self._trip_on)
        done = self._report(ticket, "failure" if says == "failure" else "neutral", run)
        if says == "failure" or ticket.lease:
            await done
            self._tell(run)

    async def _known(self, done: Future[None], response: Response) -> None:
        """Wait until all know how a half-open call went: the next one must not find it half-open still."""
        try:
            await done
        except BaseException:
            await response.aclose()
            raise

    def _broken(self, ticket: SharedTicket, outcome: Outcome, run: Run) -> None:
        if outcome.error is not None and verdict(outcome.error, self._trip_on) == "failure":
            self._report(ticket, "failure", run)

    def _report(self, ticket: SharedTicket, verdict: SharedVerdict, run: Run, *, late: bool = False) -> Future[None]:
        done = self._state.report(ticket, verdict, late=late)
        done.add_done_callback(lambda _: self._tell(run))
        return done


def build(config: CircuitBreakerConfig, next: Handler, context: BuildContext) -> CircuitBreaker:
    """The node, of this process or of all that share its state."""
    kind = CircuitBreaker if context.state is None else SharedCircuitBreaker
    return kind(config, next, context)


def _breaker(config: CircuitBreakerConfig, context: BuildContext) -> Breaker:
    own = limits(config)
    breaker = Breaker(own, context.clock, context.emit, context.path, context.require_target().name)
    if context.state is not None:
        from wizard_dsl.policies._shared_breaker import SharedBreakerState

        breaker.state = SharedBreakerState(
            own, row_key(own, context.scope_key), context.state, context.clock, context.spawn
        )
    return breaker


def row_key(own: Limits, scope_key: str) -> str:
    """What the breaker is kept under, where processes share it."""
    return state_key("circuit_breaker", f"{scope_key} {own}")


def verdict(error: WizardError, trip_on: Mapping[str, bool]) -> Verdict:
    """What an attempt that ended with `error` says about its target: nothing, where no request could be made of it."""
    if isinstance(error, InvalidRequest) and error.sent is False:
        return "neutral"
    asked = override(error, trip_on)
    if asked is None:
        return error.row.verdict
    return "failure" if asked else "neutral"


def limits(config: CircuitBreakerConfig) -> Limits:
    """The config as numbers."""
    return Limits(
        failure_threshold=None if config.failure_threshold == "off" else config.failure_threshold,
        failure_ratio=None if config.failure_ratio == "off" else parse_ratio(config.failure_ratio),
        slow_ratio=parse_ratio(config.slow_ratio),
        minimum_calls=config.minimum_calls,
        window=parse_duration(config.window),
        reset_timeout=parse_duration(config.reset_timeout),
        max_reset_timeout=parse_duration(config.max_reset_timeout),
        half_open_max_calls=config.half_open_max_calls,
        success_threshold=config.success_threshold,
    )


def check(config: CircuitBreakerConfig) -> list[str]:
    """Sentences about keys that do not fit together."""
    found = []
    if config.failure_threshold == "off" and config.failure_ratio == "off" and config.slow_after == "off":
        found.append("failure_threshold, failure_ratio and slow_after are all off: no failure can ever open it")
    if parse_duration(config.max_reset_timeout) < parse_duration(config.reset_timeout):
        found.append(f"max_reset_timeout ({config.max_reset_timeout}) is below reset_timeout ({config.reset_timeout})")
    for name in ("failure_ratio", "slow_ratio"):
        ratio = getattr(config, name)
        if ratio != "off" and not 0 < parse_ratio(ratio) <= 1:
            found.append(f"{name} ({ratio}) must be above 0% and at most 100%")
    return found


def _opens(site: Site) -> bool:
    """Whether anything can open it."""
    config = site.config
    return bool({config.failure_threshold, config.failure_ratio, config.slow_after} != {"off"})


CIRCUIT_BREAKER = PolicyType(
    name="circuit_breaker",
    summary="Stops asking a target that fails, and looks again after a while.",
    rung=Rung.CIRCUIT_BREAKER,
    scope=Scope.TARGET,
    config=CircuitBreakerConfig,
    build=build,
    bound=bound_unchanged,
    scalar="failure_threshold",
    provider=True,
    shared_state=True,
    emits=(BreakerChanged, BreakerProbed, ObserverFailed),
    raises=(CircuitOpen, TargetBlocked),
    outcomes=(
        outcome(
            "opened",
            "too many attempts failed: it opened",
            told(BreakerChanged, before="closed", after="open"),
            possible=_opens,
        ),
        outcome(
            "refused",
            "while it was open, a call went past the target",
            told(TargetSkipped, "target", reason="circuit_open"),
            possible=_opens,
        ),
        outcome(
            "closed_again",
            "a half-open call succeeded: it closed",
            told(BreakerChanged, before="half_open", after="closed"),
            possible=_opens,
        ),
        outcome(
            "opened_again",
            "a half-open call failed: it opened again",
            told(BreakerChanged, before="half_open", after="open"),
            possible=_opens,
        ),
        outcome(
            "probed",
            "without traffic, it asked the target by itself",
            told(BreakerProbed),
            possible=lambda site: _opens(site) and site.config.probe,
        ),
    ),
    examples=(
        Example("Open after three failures in a minute", "circuit_breaker: 3"),
        Example(
            "Open when half of at least twenty calls fail",
            "circuit_breaker: {failure_threshold: off, failure_ratio: 50%, minimum_calls: 20}",
        ),
        Example("Open when most answers begin late", "circuit_breaker: {slow_after: 20s, slow_ratio: 60%}"),
        Example("Notice by itself that a target is back", "circuit_breaker: {probe: true}"),
        Example("A 429 counts as a failure too", "circuit_breaker: {trip_on: {rate_limited: true}}"),
    ),
    check=check,
)
