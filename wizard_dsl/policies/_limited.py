"""What rate_limit and admission share: the keys of a limit over time, and the line and the reservation they make."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Annotated

import msgspec
from msgspec import Meta

from wizard_dsl.core.component import Duration, PolicyConfig, RateText, Ratio
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.units import Rate, parse_duration, parse_rate, parse_ratio
from wizard_dsl.policies._bucket import Bucket
from wizard_dsl.policies._line import Gate
from wizard_dsl.policies._reservation import Reservation
from wizard_dsl.policies._windows import RequestRate, Windows


class LimitConfig(PolicyConfig, frozen=True):
    """The keys of a limit over time."""

    rate: Annotated[RequestRate, Meta(description="requests that the bucket gains")] = "10/s"
    burst: Annotated[int, Meta(ge=1, description="requests that may go at once")] = 20
    windows: Annotated[
        list[RateText], Meta(description="sliding windows of requests or LLM tokens, all kept; they replace the bucket")
    ] = []
    max_wait: Annotated[
        Duration | msgspec.UnsetType, Meta(description="longest wait for a turn; 0s never waits; default: the deadline")
    ] = msgspec.UNSET
    token_estimate: Annotated[
        int, Meta(ge=1, description="LLM tokens reserved for an answer that neither max_tokens nor the model limits")
    ] = 1000
    warn_at: Annotated[Ratio, Meta(description="used share of the limit that is worth a warning")] = "80%"


def gate_of(config: LimitConfig, context: BuildContext) -> Gate:
    """The state machine of a limit."""
    if config.windows:
        return Windows([parse_rate(text) for text in config.windows], context.clock.now)
    return Bucket(parse_rate(config.rate).per_second, config.burst, config.rate)


def longest_wait(max_wait: str | msgspec.UnsetType) -> float | None:
    """Seconds; None: up to the deadline."""
    return None if max_wait is msgspec.UNSET else parse_duration(max_wait)


def reservation_of(config: LimitConfig, name: str, context: BuildContext) -> Reservation | None:
    """What calls reserve; None where no window counts LLM tokens. Above the strategy nobody knows yet who will answer,
    so that there only the request's own max_tokens tells more than the estimate."""
    windows = [rate for rate in map(parse_rate, config.windows) if rate.tokens]
    if not windows:
        return None
    target = context.target
    return Reservation(
        name,
        windows,
        config.token_estimate,
        path=context.path,
        who=context.chain.name if target is None else target.name,
        params=None if target is None else target.params,
        max_output=None if target is None else target.facts.max_output,
    )


def may_wait(config: LimitConfig) -> bool:
    """Whether a call may stand in the line at all."""
    return longest_wait(config.max_wait) != 0


def can_be_near(config: LimitConfig) -> bool:
    """Whether it can be told that the limit is nearly used up: where a single call uses it up, that is no news."""
    sizes = [parse_rate(text).amount for text in config.windows] or [config.burst]
    share = parse_ratio(config.warn_at)
    return share <= 1 and any(size * share > 1 for size in sizes)


def contradictions(config: LimitConfig) -> list[str]:
    """Sentences about keys that do not fit together."""
    rates = {text: parse_rate(text) for text in config.windows}
    parts = [text for text, rate in rates.items() if not rate.amount.is_integer()]
    found = [f"window {text} does not count whole requests or tokens; write a longer period" for text in parts]
    if config.token_estimate != 1000 and not any(rate.tokens for rate in rates.values()):
        found.append("token_estimate has no effect without a window that counts tokens")
    if parse_ratio(config.warn_at) > 1:
        found.append(f"warn_at ({config.warn_at}) is above 100%, which is never reached")
    return found + list(_outdone(list(rates.items())))


def _outdone(rates: list[tuple[str, Rate]]) -> Iterator[str]:
    """Windows that another one of the same kind always fills first."""
    for (own, rate), (text, other) in permutations(rates, 2):
        spans = 1.0 if rate.period <= other.period else rate.period / other.period + 1
        same = rate.period == other.period
        above = rate.amount > other.amount if same else rate.amount >= other.amount * spans
        if rate.tokens == other.tokens and above:
            yield f"window {own} never applies beside {text}"
