"""Rate limit: requests to a target, a chain's target or an endpoint are spread over time before they are sent.

A token bucket (rate and burst) or, where `windows` are given, sliding windows of requests, of LLM tokens or of both.
Every attempt takes one request. Calls that must wait stand in one line, first come, first served; a wait that cannot
fit is refused at once, with the time at which a turn would come. A request that was never sent is given back.

LLM tokens are reserved before the attempt, because nobody knows then how long the answer will be: the estimate of
the prompt, and `max_tokens` for the answer (without it the model's largest answer, or `token_estimate`). When the
answer is over, the reservation becomes what was really used, which may also be more. An attempt that fails or is
cancelled before any output used nothing.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from wizard_dsl.core.bound import Bound, BoundFacts
from wizard_dsl.core.component import Duration, Example, PolicyConfig, PolicyType, RateText, Rung, Scope
from wizard_dsl.core.errors import DeadlineExceeded, RateLimitExceeded
from wizard_dsl.core.events import LimitRefused, LimitWaited
from wizard_dsl.core.messages import Request
from wizard_dsl.core.node import BuildContext, Handler
from wizard_dsl.core.response import Outcome, Response
from wizard_dsl.core.run import Run
from wizard_dsl.core.units import parse_duration, parse_rate
from wizard_dsl.policies._bucket import Bucket
from wizard_dsl.policies._line import Line, nothing_sent
from wizard_dsl.policies._queueing import Waiting, bound_waiting
from wizard_dsl.policies._reservation import Reservation, used
from wizard_dsl.policies._shared_line import SharedBucket, SharedWaiting, state_key
from wizard_dsl.policies._windows import RequestRate, Windows


class RateLimitConfig(PolicyConfig, frozen=True):
    """The keys of `rate_limit`."""

    rate: Annotated[RequestRate, Meta(description="requests that the bucket gains")] = "10/s"
    burst: Annotated[int, Meta(ge=1, description="requests that may go at once")] = 20
    windows: Annotated[
        list[RateText], Meta(description="sliding windows of requests or LLM tokens, all kept; they replace the bucket")
    ] = []
    per: Annotated[Literal["target", "endpoint", "chain"], Meta(description="whose requests are counted")] = "target"
    max_wait: Annotated[
        Duration | msgspec.UnsetType, Meta(description="longest wait for a turn; 0s never waits; default: the deadline")
    ] = msgspec.UNSET
    token_estimate: Annotated[
        int, Meta(ge=1, description="LLM tokens reserved for an answer that neither max_tokens nor the model limits")
    ] = 1000


class RateLimit:
    """Takes a turn, then calls; the line is shared by all nodes of its scope."""

    __slots__ = ("_line", "_next", "_now", "_reserve", "_target", "_waiting")

    def __init__(self, config: RateLimitConfig, next: Handler, context: BuildContext) -> None:
        self._next = next
        self._now = context.clock.now
        self._target = context.require_target().name
        self._line = context.shared.state("rate_limit", context.scope_key, lambda: _line(config, context))
        self._reserve = _reservation(config, context)
        max_wait = None if config.max_wait is msgspec.UNSET else parse_duration(config.max_wait)
        if isinstance(self._line, Line):
            self._waiting = Waiting("rate_limit", self._line, max_wait, context)
        else:
            self._waiting = SharedWaiting("rate_limit", self._line, max_wait, context)

    async def call(self, request: Request, run: Run) -> Response:
        """Raises RateLimitExceeded and what Waiting.turn raises; then what comes from below."""
        reserve = self._reserve
        tokens = 0 if reserve is None else reserve.tokens(request)
        now = self._now()
        taken = self._line.take(now, tokens)
        if taken is None:
            taken = await self._waiting.turn(run, now, tokens)
        begun = len(run.transcript.attempts)
        try:
            response = await self._next(request, run)
        except BaseException as error:
            if nothing_sent(error, run, begun, self._target):
                self._line.give(taken)
            elif reserve is not None:
                self._line.settle(taken, used(request, getattr(error, "partial", None)))
            raise
        if reserve is not None:
            response.on_end(lambda outcome: self._line.settle(taken, _used(request, outcome)))
        return response


def _line(config: RateLimitConfig, context: BuildContext) -> Line | SharedBucket:
    if context.state is not None and not config.windows:
        key = state_key("rate_limit", context.scope_key)
        return SharedBucket(parse_rate(config.rate).per_second, config.burst, key, context.state, context)
    if config.windows:
        return Line(Windows([parse_rate(text) for text in config.windows], context.clock.wall), context.clock)
    return Line(Bucket(parse_rate(config.rate).per_second, config.burst), context.clock)


def _used(request: Request, outcome: Outcome) -> int:
    return used(request, outcome.completion, whole=outcome.kind == "completed")


def _reservation(config: RateLimitConfig, context: BuildContext) -> Reservation | None:
    windows = [rate for rate in map(parse_rate, config.windows) if rate.tokens]
    if not windows:
        return None
    target = context.require_target()
    return Reservation(
        "rate_limit",
        windows,
        config.token_estimate,
        path=context.path,
        who=target.name,
        params=target.params,
        max_output=target.facts.max_output,
    )


def bound(config: RateLimitConfig, inner: Bound, facts: BoundFacts) -> Bound:
    """Every attempt may wait for max_wait, else up to the deadline."""
    return bound_waiting("rate_limit", config.max_wait or None, inner, facts)


def check(config: RateLimitConfig) -> list[str]:
    """Sentences about keys that do not fit together."""
    rates = {text: parse_rate(text) for text in config.windows}
    parts = [text for text, rate in rates.items() if not rate.amount.is_integer()]
    found = [f"window {text} does not count whole requests or tokens; write a longer period" for text in parts]
    if config.token_estimate != 1000 and not any(rate.tokens for rate in rates.values()):
        found.append("token_estimate has no effect without a window that counts tokens")
    return found


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
    emits=(LimitWaited, LimitRefused),
    raises=(RateLimitExceeded, DeadlineExceeded),
    examples=(
        Example("Ten requests a second, twenty at once", "rate_limit: 10/s"),
        Example("What the provider's plan allows", 'rate_limit: {windows: ["60/minute", "1000/hour"], max_wait: 5s}'),
        Example(
            "Requests and LLM tokens, as plans usually have both",
            'rate_limit: {windows: ["500/minute", "200000 tokens/minute"], token_estimate: 2000}',
        ),
        Example("One limit for all models of an endpoint", "rate_limit: {rate: 5/s, burst: 5, per: endpoint}"),
    ),
    check=check,
)
