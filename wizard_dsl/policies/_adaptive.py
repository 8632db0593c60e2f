"""How many attempts at once a target bears, found by trying: additive increase, multiplicative decrease.

While the limit is in use and answers come nearly as fast as the fastest did, each success adds 1 / limit, so one
round of answers adds one place. A sign of overload takes a tenth away: a 429, a 503 or 529, a timeout, or an answer
that took twice as long as the best. What began before the last cut says nothing about the limit as it is now, and
cuts nothing: at most one cut a round trip.

The best latency is the shortest one seen. At the smallest limit our own calls are not what slows the target down, so
there it follows what is measured: a target that became slower for good is not mistaken for an overloaded one.

The parts are those of TCP's AIMD, of Netflix's concurrency-limits (grow only a limit that is in use) and of Envoy's
adaptive concurrency (compare with the latency at the smallest limit).
"""

from __future__ import annotations

from math import inf
from typing import Final

import msgspec

#: Latencies, as multiples of the best one: up to `_NEAR` the limit grows, from `_SLOW` on it shrinks.
_NEAR: Final = 1.5
_SLOW: Final = 2.0
_CUT: Final = 0.9
#: How much of a latency at the smallest limit goes into the best one.
_FOLLOW: Final = 0.2


class Adaptive(msgspec.Struct, frozen=True):
    """The state: a limit from `low` to `high`, of which whole places count; latencies are seconds, `cut_at` is when
    it was cut last. It begins at `low`."""

    low: int
    high: int
    limit: float
    best: float = inf
    cut_at: float = -inf

    @property
    def places(self) -> int:
        """Attempts at once."""
        return max(self.low, min(self.high, int(self.limit + 1e-9)))


class Ended(msgspec.Struct, frozen=True):
    """An attempt that began at `began`, has its answer or its error, and says something about the target: `overload`
    that it is asked too much, `in_use` that all places were taken."""

    began: float
    overload: bool
    in_use: bool


def start(low: int, high: int) -> Adaptive:
    """The state before the first attempt."""
    return Adaptive(low, max(low, high), float(low))


def after(state: Adaptive, ended: Ended, now: float) -> Adaptive:
    """The state after an attempt."""
    if ended.overload:
        return _cut(state, ended, now)
    latency = now - ended.began
    best = _best(state, latency)
    state = msgspec.structs.replace(state, best=best)
    if latency >= _SLOW * best and latency > 0:
        return _cut(state, ended, now)
    if ended.in_use and latency <= _NEAR * best:
        return msgspec.structs.replace(state, limit=min(float(state.high), state.limit + 1 / state.limit))
    return state


def _best(state: Adaptive, latency: float) -> float:
    if latency < state.best or state.places > state.low:
        return min(latency, state.best)
    return state.best + _FOLLOW * (latency - state.best)


def _cut(state: Adaptive, ended: Ended, now: float) -> Adaptive:
    if ended.began < state.cut_at:
        return state
    return msgspec.structs.replace(state, limit=max(float(state.low), state.limit * _CUT), cut_at=now)
