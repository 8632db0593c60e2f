"""How a policy stands now, read from what processes share of it. Nothing is decided, so nothing changes by looking."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import ceil, floor
from typing import Any, NamedTuple

from wizard_dsl.core.component import PolicyConfig
from wizard_dsl.core.units import parse_rate, show_duration, show_rate
from wizard_dsl.policies import _shared_limits, circuit_breaker, concurrency
from wizard_dsl.policies._breaker_state import BreakerState, Limits
from wizard_dsl.policies._shared_breaker import SharedTicket
from wizard_dsl.policies._shared_bucket import BOOK
from wizard_dsl.policies._shared_queue import PLACES, still_waiting
from wizard_dsl.policies._shared_windows import left_in, slid, windows_of
from wizard_dsl.policies.circuit_breaker import CircuitBreakerConfig
from wizard_dsl.policies.concurrency import ConcurrencyConfig
from wizard_dsl.policies.rate_limit import RateLimitConfig


class Seen(NamedTuple):
    """How it stands, for people. `closed`: it lets no call pass now."""

    text: str
    closed: bool = False


class Look(NamedTuple):
    """The key of a row, and what the row says at the keeper's time; None is the row that nobody wrote yet."""

    key: str
    seen: Callable[[Any, float], Seen]


def look_of(config: PolicyConfig, scope_key: str) -> Look | None:
    """Where to look for a policy's state, and how to read it; None where each process has its own."""
    if isinstance(config, CircuitBreakerConfig):
        own = circuit_breaker.limits(config)
        return Look(circuit_breaker.row_key(own, scope_key), partial(_breaker, own))
    if isinstance(config, RateLimitConfig):
        key = _shared_limits.row_key(config, "rate_limit", scope_key)
        return Look(key, partial(_windows if config.windows else _bucket, config))
    if isinstance(config, ConcurrencyConfig) and isinstance(config.limit, int):
        return Look(concurrency.row_key(scope_key), partial(_places, config.limit))
    return None


def _breaker(own: Limits, row: Any, now: float) -> Seen:
    state = BreakerState(own)
    if row is not None:
        state.restore(row, SharedTicket)
    match state.state:
        case "open":
            closed = state.closed_for(now)
            if closed is None:
                return Seen("open, the next call tries")
            return Seen(f"open for {show_duration(float(ceil(closed)))} more", closed=True)
        case "half_open":
            return Seen(f"half-open, {state.leases(now)} of {own.half_open_max_calls} calls under way")
        case "forced_open":
            return Seen("held open by hand", closed=True)
        case "forced_closed":
            return Seen("held closed by hand")
    state.counts.advance(now)
    failed = state.counts.second
    if own.failure_threshold is not None:
        return Seen(f"closed, {failed} of {own.failure_threshold} failures")
    return Seen(f"closed, {failed} of {failed + state.counts.first} failed")


def _bucket(config: RateLimitConfig, row: Any, now: float) -> Seen:
    rate = parse_rate(config.rate).per_second
    nothing = {"rate": rate, "burst": config.burst, "amount": 0, "patience": 0.0, "carry": -1}
    _, (_, _, level), _ = BOOK.apply(row, now, nothing)
    return Seen(f"{max(0, floor(level))} of {config.burst} requests left{_standing(ceil(max(0.0, -level)))}")


def _windows(config: RateLimitConfig, row: Any, now: float) -> Seen:
    rates = [parse_rate(text) for text in config.windows]
    windows = windows_of(rates)
    counts = slid([] if row is None else row["windows"], windows, now)
    left = [max(0, floor(left_in(count, window, now))) for count, window in zip(counts, windows, strict=True)]
    told = " and ".join(f"{each} of {show_rate(rate)}" for each, rate in zip(left, rates, strict=True))
    return Seen(f"{told} left{_standing(len(still_waiting(row, now)))}")


def _places(limit: int, row: Any, now: float) -> Seen:
    nothing = {"event": "renew", "ids": [], "hold": 0.0, "kept": 0.0}
    row, _, _ = PLACES.apply(row, now, nothing)
    return Seen(f"{len(row['leases'])} of {limit} places taken{_standing(len(row['queue']))}")


def _standing(count: int) -> str:
    return f", {count} {'waits' if count == 1 else 'wait'}" if count else ""
