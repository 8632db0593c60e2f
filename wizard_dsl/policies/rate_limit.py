"""Rate limit: requests to a target, a chain's target or an endpoint are spread over time before they are sent.

A token bucket (rate and burst) or, where `windows` are given, sliding windows of requests, of LLM tokens or of both.
Every attempt takes one request. Calls that must wait stand in one line, first come, first served; a wait that cannot
fit is refused at once, with the time at which a turn would come. A request that was never sent is given back.

LLM tokens are reserved before the attempt, because nobody knows then how long the answer will be: the estimate of
the prompt, and `max_tokens` for the answer (without it the model's largest answer, or `token_estimate`). When the
answer is over, the reservation becomes what was really used, which may also be more. An attempt that fails or is
cancelled before any output used nothing.

Providers tell in their answers what is left of their own limits (`x-ratelimit-*`, `anthropic-ratelimit-*`,
`retry-after`). With `follow_headers` that holds besides the limit written here, until the reset that they announce; it
never allows more. When the used share of a limit, ours or the provider's, passes `warn_at`, that is told once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from wizard_dsl.core.announced import remaining
from wizard_dsl.core.bound import Bound, BoundFacts
from wizard_dsl.core.component import Example, PolicyType, Rung, Scope
from wizard_dsl.core.errors import AttemptFailed, DeadlineExceeded, RateLimited, RateLimitExceeded
from wizard_dsl.core.events import LimitRefused, LimitWaited, RateLimitApproaching
from wizard_dsl.core.messages import Request
from wizard_dsl.core.node import BuildContext, Handler
from wizard_dsl.core.outcomes import outcome, told
from wizard_dsl.core.response import Outcome, Response
from wizard_dsl.core.run import Attempt, Run
from wizard_dsl.policies._limited import LimitConfig, can_be_near, contradictions, gate_of, may_wait, reservation_of
from wizard_dsl.policies._line import Line, Taken, nothing_sent
from wizard_dsl.policies._nearness import Nearness
from wizard_dsl.policies._queueing import bound_waiting, whose
from wizard_dsl.policies._reservation import used
from wizard_dsl.policies._shared_limits import line_of, waiting_of
from wizard_dsl.policies._told import Open, Told

if TYPE_CHECKING:
    from wizard_dsl.policies._shared_limits import LimitLine


class RateLimitConfig(LimitConfig, frozen=True):
    """The keys of `rate_limit`."""

    per: Annotated[Literal["target", "endpoint", "chain"], Meta(description="whose requests are counted")] = "target"
    follow_headers: Annotated[
        bool, Meta(description="keep also to what the provider's answers say is left of its own limits")
    ] = False


class RateLimit:
    """Takes a turn, then calls; the line is shared by all nodes of its scope."""

    __slots__ = ("_ear", "_line", "_near", "_next", "_now", "_reserve", "_waiting")

    def __init__(self, config: RateLimitConfig, next: Handler, context: BuildContext) -> None:
        self._next = next
        self._now = context.clock.now
        told = _told(config, context)
        self._line = context.shared.state("rate_limit", context.scope_key, lambda: _line(told, config, context))
        self._reserve = reservation_of(config, "rate_limit", context)
        self._near = Nearness("rate_limit", config.warn_at, context)
        front = None if told is None or context.state is None else _front(told, context)
        self._waiting = waiting_of("rate_limit", config, context, front)
        self._ear = None if told is None else Ear(told, self._line, front, self._near, context)

    async def call(self, request: Request, run: Run) -> Response:
        """Raises RateLimitExceeded and what Waiting.turn raises; then what comes from below."""
        tokens = 0 if self._reserve is None else self._reserve.tokens(request)
        now = self._now()
        taken = self._line.take(now, tokens)
        if taken is None:
            taken = await self._waiting.turn(self._line, run, now, tokens)
            now = self._now()
        self._near.look(self._line, run, now)
        before = run.call.last
        try:
            response = await self._next(request, run)
        except BaseException as error:
            self._failed(taken, error, request, run, before)
            raise
        ear = self._ear
        if ear is not None:
            ear.answered(response, taken, run)
        if tokens or ear is not None:
            response.on_end(lambda outcome: self._over(taken, request, outcome))
        return response

    def _over(self, taken: Taken, request: Request, outcome: Outcome) -> None:
        self._line.settle(taken, used(request, outcome.completion, whole=outcome.kind == "completed"))
        if self._ear is not None:
            self._ear.over(taken)

    def _failed(self, taken: Taken, error: BaseException, request: Request, run: Run, before: Attempt | None) -> None:
        if self._ear is not None and isinstance(error, AttemptFailed):
            self._ear.refused(error, taken, run)
        if nothing_sent(error, run, before):
            self._line.give(taken)
        elif taken.tokens or self._ear is not None:
            self._line.settle(taken, used(request, getattr(error, "partial", None)))
        if self._ear is not None:
            self._ear.over(taken)


class Ear:
    """Listens to what a provider says of its own limits, in answers and in refusals. `front` is the line of this
    process before a `line` that is shared."""

    __slots__ = ("_clock", "_front", "_line", "_near", "_told")

    def __init__(self, told: Told, line: LimitLine, front: Line | None, near: Nearness, context: BuildContext) -> None:
        self._told = told
        self._line = line
        self._front = front
        self._near = near
        self._clock = context.clock

    def answered(self, response: Response, taken: Taken, run: Run) -> None:
        """The headers of an answer, whole or not."""
        self._hear(response.headers, taken, run)

    def refused(self, error: AttemptFailed, taken: Taken, run: Run) -> None:
        """The headers of a failed attempt; a 429 that announces a time leaves no request until then."""
        self._hear(error.headers, taken, run)
        if isinstance(error, RateLimited) and error.retry_after is not None:
            self._told.tell("requests", 0, self._clock.now() + error.retry_after, taken)

    def _hear(self, headers: Mapping[str, str], taken: Taken, run: Run) -> None:
        now = self._clock.now()
        for each in remaining(headers, self._clock.wall()):
            if each.counts is not None and each.reset is not None:
                self._told.tell(each.counts, each.remaining, now + each.reset, taken)
            if each.used is not None:
                self._near.heard(self._line, run, each.what, each.used)
        waiting = self._line if isinstance(self._line, Line) else self._front
        if waiting is not None:
            waiting.look()

    def over(self, taken: Taken) -> None:
        """The call is under way no more; a line of ours knows it by itself."""
        if self._front is not None:
            self._front.settle(taken, 0)


def _told(config: RateLimitConfig, context: BuildContext) -> Told | None:
    if not config.follow_headers:
        return None
    shared = context.state is not None
    return context.shared.state("told", context.scope_key, lambda: Told(Open() if shared else gate_of(config, context)))


def _line(told: Told | None, config: RateLimitConfig, context: BuildContext) -> LimitLine:
    return line_of(config, context, context.scope_key, name="rate_limit", of=whose(context), gate=told)


def _front(told: Told, context: BuildContext) -> Line:
    return context.shared.state("told_front", context.scope_key, lambda: Line(told, context.clock))


def bound(config: RateLimitConfig, inner: Bound, facts: BoundFacts) -> Bound:
    """Every attempt may wait for max_wait, else up to the deadline."""
    return bound_waiting("rate_limit", config.max_wait or None, inner, facts)


RATE_LIMIT = PolicyType(
    name="rate_limit",
    summary="Spreads requests and LLM tokens over time: a token bucket, or sliding windows.",
    rung=Rung.RATE_LIMIT,
    scope=Scope.TARGET,
    config=RateLimitConfig,
    build=RateLimit,
    bound=bound,
    scalar="rate",
    provider=True,
    shared_state=True,
    emits=(LimitWaited, LimitRefused, RateLimitApproaching),
    raises=(RateLimitExceeded, DeadlineExceeded),
    outcomes=(
        outcome(
            "waited", "an attempt waited for its turn", told(LimitWaited), possible=lambda site: may_wait(site.config)
        ),
        outcome("refused", "no turn came in time: the attempt was refused", told(LimitRefused)),
        outcome(
            "near",
            "the limit was nearly used up, and that was told",
            told(RateLimitApproaching, whose="own"),
            possible=lambda site: can_be_near(site.config),
        ),
        outcome(
            "provider_near",
            "the provider's own limit was nearly used up, and that was told",
            told(RateLimitApproaching, whose="provider"),
            possible=lambda site: site.config.follow_headers,
        ),
    ),
    examples=(
        Example("Ten requests a second, twenty at once", "rate_limit: 10/s"),
        Example("What the provider's plan allows", 'rate_limit: {windows: ["60/minute", "1000/hour"], max_wait: 5s}'),
        Example(
            "Requests and LLM tokens, as plans usually have both",
            'rate_limit: {windows: ["500/minute", "200000 tokens/minute"], token_estimate: 2000}',
        ),
        Example(
            "As much as the provider says is left, too", "rate_limit: {rate: 50/s, burst: 50, follow_headers: true}"
        ),
        Example("One limit for all models of an endpoint", "rate_limit: {rate: 5/s, burst: 5, per: endpoint}"),
    ),
    check=contradictions,
)
