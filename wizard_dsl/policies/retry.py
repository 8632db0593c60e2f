"""Retry: repeat a failed attempt on the same target with capped, jittered back-off, within a shared retry budget.

A repeat is only worth making where it can help and where it harms nobody: the kind must be one that a second try
may cure, the target must not have been closed meanwhile, what the provider asked for (Retry-After) is honoured,
nothing sleeps past the deadline, and the whole chain's repeats are rationed. Whatever ends the loop, the last
real error leaves it, its kind unchanged, with a mark that says why.

Which kinds and statuses may be repeated is the error table's affair, and `retry_on`'s; `when` picks among them by the
error and the number of the attempt that failed (1 is the first). So `when: attempt < 2` never repeats a refused key,
and what the table does not repeat is asked for in `retry_on` first.

Where the chain restarts or continues broken streams (`on_mid_stream_error`), a break is a failure like the others.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from wizard_dsl.core.bound import Bound, BoundFacts, Figure
from wizard_dsl.core.component import Duration, Example, PolicyConfig, PolicyType, Rung, Scope, expression_over
from wizard_dsl.core.errors import (
    BudgetExceeded,
    CircuitOpen,
    MaxRetriesExceeded,
    StreamBroken,
    WizardError,
)
from wizard_dsl.core.events import DeadlineCut, ObserverFailed, RetriesEnded, RetryScheduled
from wizard_dsl.core.kinds import override
from wizard_dsl.core.messages import Request
from wizard_dsl.core.node import BuildContext, Handler
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.core.splice import continued
from wizard_dsl.core.units import parse_duration
from wizard_dsl.policies._backoff import DUST, MODES, Backoff, Mode, jittered, largest, plain
from wizard_dsl.policies._kinds import Kind, RetryOn
from wizard_dsl.policies._repeatable import may_repeat
from wizard_dsl.policies._retry_outcomes import OUTCOMES
from wizard_dsl.policies._retry_when import most_attempts, predicate

#: Why a target is given up; the mark that its error then carries, if any.
_MARKS = {
    "budget": "budget",
    "deadline": "deadline",
    "breaker_opened": "breaker_opened",
    "retry_budget_exhausted": "retry_budget_exhausted",
}


class RetryConfig(PolicyConfig, frozen=True):
    """The keys of `retry`."""

    max_attempts: Annotated[int, Meta(ge=1, le=10, description="all calls on the target, the first included")] = 3
    base: Annotated[Duration, Meta(description="the first delay")] = "1s"
    multiplier: Annotated[float, Meta(ge=1, description="each delay is that many times the one before")] = 2.0
    max_delay: Annotated[Duration, Meta(description="no delay of ours is longer, jitter included")] = "30s"
    jitter: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | Literal["full", "equal", "decorrelated", "none"],
        Meta(description="how delays are spread: a share up and down, or a method"),
    ] = 0.25
    retry_on: Annotated[RetryOn, Meta(description="{kind or status: true|false}, over the error table")] = {}
    backoff: Annotated[
        dict[Kind, Mode],
        Meta(description="by kind, over {connect: immediate, rate_limited: linear}; all others are exponential"),
    ] = {}
    when: Annotated[
        Annotated[str, expression_over(error=("kind", "status", "message", "retry_after"), attempt=())] | None,
        Meta(description="an expression over error and attempt: repeat only where it is true, of what may be repeated"),
    ] = None


class _Step(msgspec.Struct, frozen=True):
    """What follows a failure: sleep for `delay`, or, with a `reason`, give the target up. `taken` is the loop time at
    which the retry budget allowed the repeat."""

    delay: float = 0.0
    reason: str = ""
    taken: float = 0.0


class _Progress(msgspec.Struct):
    """What one visit of a target has seen: `used` attempts, the `previous` delay in seconds, and which `kinds`."""

    used: int
    previous: float
    kinds: set[str] = msgspec.field(default_factory=set)


class Retry:
    """Repeats on one target."""

    __slots__ = (
        "_backoff", "_chain", "_chance", "_clock", "_config", "_emit", "_modes", "_next", "_path", "_target", "_when",
    )  # fmt: skip

    def __init__(self, config: RetryConfig, next: Handler, context: BuildContext) -> None:
        self._next = next
        self._config = config
        self._clock = context.clock
        self._chance = context.chance
        self._emit = context.emit
        self._path = context.path
        self._chain = context.chain
        self._modes = {**MODES, **config.backoff}
        self._backoff = backoff(config)
        self._when = None if config.when is None else predicate(config.when)
        self._target = context.require_target()
        self._target.max_attempts = config.max_attempts
        self._target.unannounced = self.unannounced
        self._target.repeats = self._repeats

    def unannounced(self, run: Run, k: int) -> float:
        """Seconds to wait after the k-th 429 in a row that names no time."""
        delay = plain(self._backoff, self._modes["rate_limited"], k)
        return jittered(self._backoff, delay, self._chance.draw(run, k), self._backoff.base)

    async def call(self, request: Request, run: Run) -> Response:
        """Raises the plain error after one attempt, MaxRetriesExceeded after more."""
        try:
            return await self._next(request, run)
        except WizardError as error:
            failure = error
        try:
            return await self.repeat(request, run, failure, self.begin(run))
        finally:
            del failure  # an exception left in a frame it passed through is a cycle

    def begin(self, run: Run) -> _Progress:
        """The state of a visit that has not failed yet."""
        return _Progress(run.used, self._backoff.base)

    async def repeat(self, request: Request, run: Run, error: WizardError, seen: _Progress) -> Response:
        """Go on after a failure of this visit: repeat until there is an answer, or raise why not."""
        try:
            while True:
                if error.attempt is None:
                    raise error  # refused before it was sent: not an attempt
                seen.used += 1
                used = seen.used
                step = await self._step(error, request, run, used, seen.previous, error.kind not in seen.kinds)
                if step.reason:
                    raise self._given_up(error, run, used, step.reason)
                seen.kinds.add(error.kind)
                seen.previous = step.delay or seen.previous
                closed = await self._pause(error, run, used, step)
                if closed:
                    self._give_back(step)
                    raise self._given_up(error, run, used, closed)
                child = msgspec.structs.replace(run, used=used, retry_of=error.attempt)
                try:
                    return await self._next(request, child)
                except WizardError as again:
                    error = self._last_real(error, again, run, used, step)
        finally:
            del error
            self._target.drop_held(run)

    def _last_real(self, error: WizardError, again: WizardError, run: Run, used: int, step: _Step) -> WizardError:
        """The repeat's error; where the repeat was refused before it was sent, the end with the one before."""
        if again.attempt is not None:
            return again
        self._give_back(step)
        reason = "breaker_opened" if isinstance(again, CircuitOpen) else again.kind
        error.unpaid = again if isinstance(again, BudgetExceeded) else None
        raise self._given_up(error, run, used, reason) from again

    async def _step(
        self, error: WizardError, request: Request, run: Run, used: int, previous: float, first: bool
    ) -> _Step:
        """Pure but for the draw and the budget: whether, and after which delay, the attempt is repeated."""
        if not self._may_repeat(error):
            return _Step(reason="kind")
        if used >= self._config.max_attempts:
            return _Step(reason="attempts")
        if not self._wanted(error, used, run):
            return _Step(reason="when")
        now = self._clock.now()
        if any(gate(now) is not None for gate in self._target.gates):
            return _Step(reason="breaker_opened")
        blocked = self._target.state.blocked
        asked = max(error.retry_after or 0.0, blocked.until - now if blocked is not None else 0.0)
        if asked > self._patience(error):
            return _Step(reason="rate_limit")
        delay = max(asked, self._delay(error, run, used, previous, first))
        if now + delay + run.min_attempt > run.deadline + DUST:
            cut = DeadlineCut(path=self._path, what="retry", needed=delay + run.min_attempt, left=run.deadline - now)
            self._emit(run, cut)
            return _Step(reason="deadline")
        if self._target.purse is not None:
            error.unpaid = await self._target.purse.hold(request, run)
            if error.unpaid is not None:
                return _Step(reason="budget")
        if not await self._chain.allowance.withdraw(now):
            return _Step(reason="retry_budget_exhausted")
        return _Step(delay, taken=now)

    def _may_repeat(self, error: WizardError) -> bool:
        return may_repeat(error, self._config.retry_on)

    def _repeats(self, error: WizardError) -> bool:
        """Whether a strategy may come back to the target after `error`, with which it left."""
        attempts = error.attempts if isinstance(error, MaxRetriesExceeded) else 1
        try:
            return self._may_repeat(error) and (self._when is None or self._when(error, attempts))
        except WizardError:
            return False

    def _wanted(self, error: WizardError, used: int, run: Run) -> bool:
        """What `when` says; where it fails with the values of this error nothing is repeated, and that is told."""
        try:
            return self._when is None or self._when(error, used)
        except WizardError as failed:
            self._emit(run, ObserverFailed(path=f"{self._path}.when", error=failed.message))
            return False

    def _patience(self, error: WizardError) -> float:
        """How long a provider's wish to wait is granted in place: `wait_up_to`, or as long as `max_retry_after`, which
        is never exceeded, for a kind or status that the file asks to repeat."""
        rule = self._chain.rate_limit
        asked_for = override(error, self._config.retry_on)
        return rule.max_retry_after if asked_for else min(rule.wait_up_to, rule.max_retry_after)

    def _delay(self, error: WizardError, run: Run, k: int, previous: float, first: bool) -> float:
        """Our own delay. That of a 429 was set as its announced time, where it had none."""
        if error.kind == "rate_limited" and error.retry_after is not None:
            return 0.0
        mode = self._modes.get(error.kind, "exponential")
        if mode == "immediate":
            mode = "none" if first else "exponential"
        return jittered(self._backoff, plain(self._backoff, mode, k), self._chance.draw(run, k), previous)

    async def _pause(self, error: WizardError, run: Run, used: int, step: _Step) -> str:
        """Sleep and book it; then look again. What closed the target meanwhile, if anything did."""
        name, delay = self._target.name, step.delay
        self._emit(run, RetryScheduled(path=self._path, target=name, kind=error.kind, retry=used, delay=delay))
        began = self._clock.now()
        if delay > 0:
            try:
                await self._clock.sleep(delay)
            except BaseException:
                self._give_back(step)
                raise
            run.call.waited += self._clock.now() - began
        now = max(self._clock.now(), began + delay)
        if self._target.closed_for(now) is None:
            return ""
        return "rate_limit" if self._target.blocked_for(now) is not None else "breaker_opened"

    def _give_back(self, step: _Step) -> None:
        """The repeat that the retry budget allowed is not made after all."""
        self._chain.allowance.give_back(self._clock.now(), step.taken)

    def _given_up(self, error: WizardError, run: Run, used: int, reason: str) -> WizardError:
        if reason != "kind":
            ended = RetriesEnded(
                path=self._path, target=self._target.name, kind=error.kind, attempts=used, reason=reason
            )
            self._emit(run, ended)
        if reason in _MARKS:
            error.mark(_MARKS[reason])
        if used == 1:
            return error
        wrapped = MaxRetriesExceeded(error, attempts=used)
        wrapped.__cause__ = error
        wrapped.unpaid = error.unpaid
        return wrapped


class Resuming:
    """Retry in a chain that goes on where a stream breaks: a break is one more failure of the same visit."""

    __slots__ = ("_clock", "_next", "_restarts", "_retry")

    def __init__(self, retry: Retry, next: Handler, context: BuildContext) -> None:
        self._retry = retry
        self._next = next
        self._clock = context.clock
        self._restarts = context.chain.mid_stream == "restart"

    async def call(self, request: Request, run: Run) -> Response:
        """As Retry's; after the commit point, what it would raise is the cause of a StreamBroken."""
        seen = self._retry.begin(run)
        try:
            response = await self._next(request, run)
        except WizardError as error:
            failure = error
        else:
            return self._spliced(request, run, response, seen)
        try:
            response = await self._retry.repeat(request, run, failure, seen)
        finally:
            del failure
        return self._spliced(request, run, response, seen)

    def _spliced(self, request: Request, run: Run, response: Response, seen: _Progress) -> Response:
        if response.outcome is not None:
            return response

        async def resume(broken: StreamBroken) -> Response:
            again = request if self._restarts else continued(request, broken.partial)
            if again is None:
                raise broken
            nonlocal seen  # a resume that is cancelled has not happened
            now = msgspec.structs.replace(seen, kinds=set(seen.kinds))
            response = await self._retry.repeat(again, run, broken, now)
            seen = now
            return response

        return Response.spliced(response, resume, clock=self._clock, reset=self._restarts)


def build(config: RetryConfig, next: Handler, context: BuildContext) -> Retry | Resuming:
    """The node: the plain one wherever a break ends the answer."""
    retry = Retry(config, next, context)
    return Resuming(retry, next, context) if context.chain.resumes else retry


def backoff(config: RetryConfig) -> Backoff:
    """The config's delays, in seconds."""
    return Backoff(parse_duration(config.base), config.multiplier, parse_duration(config.max_delay), config.jitter)


def bound(config: RetryConfig, inner: Bound, facts: BoundFacts) -> Bound:
    """The attempt, as often as `when` leaves of `max_attempts`, and the largest delay of each repeat. A provider's wish
    to wait is granted in place up to `wait_up_to`, up to `max_retry_after` where the file asks for the repeat."""
    times = backoff(config)
    modes = {**MODES, **config.backoff}
    delays = 0.0
    most = most_attempts(config.when, config.max_attempts)
    for k in range(1, most):
        ours = max(largest(times, mode, k) for mode in ("exponential", *modes.values()))
        delays += max(ours, facts.max_retry_after if any(config.retry_on.values()) else facts.patience)
    repeated = inner.repeated(most)
    return repeated.with_latency(repeated.latency + Figure(delays))


def check(config: RetryConfig) -> list[str]:
    """Sentences about keys that do not fit together."""
    if parse_duration(config.max_delay) < parse_duration(config.base):
        return [f"max_delay ({config.max_delay}) is shorter than base ({config.base}): every delay is max_delay"]
    return []


RETRY = PolicyType(
    name="retry",
    summary="Repeats a failed attempt on the same target, with back-off.",
    rung=Rung.RETRY,
    scope=Scope.TARGET,
    config=RetryConfig,
    build=build,
    bound=bound,
    scalar="max_attempts",
    emits=(RetryScheduled, RetriesEnded, DeadlineCut, ObserverFailed),
    raises=(MaxRetriesExceeded,),
    outcomes=OUTCOMES,
    examples=(
        Example("Three tries, at most 20 seconds apart", "retry: {max_attempts: 3, max_delay: 20s}"),
        Example("Two tries", "retry: 2"),
        Example("Repeat what is not repeated by default", "retry: {retry_on: {not_found: true, 409: true}}"),
        Example(
            "Only while the provider is overloaded, and a 5xx once",
            "retry: {when: 'error.status == 529 or attempt == 1'}",
        ),
        Example("At once after a 5xx, the first time", "retry: {backoff: {server: immediate}, jitter: full}"),
    ),
    check=check,
)
