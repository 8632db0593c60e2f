"""Exact logs of the requests that a small window admitted.

A window of few requests keeps the time of each, so that no stretch of its length ever holds more than its limit,
wherever the stretch begins; a counter weighted by time would let one more through now and then. A request counts from
its time until just before that time and the length of the window.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from math import ulp
from typing import Final

#: Requests; a window of more of them is counted, with an error of one in so many.
EXACT: Final = 100


def is_exact(limit: int, tokens: bool) -> bool:
    """Whether a window keeps the time of each request."""
    return not tokens and limit <= EXACT


def log_due(times: Sequence[float], limit: int, period: float, now: float, place: int) -> float:
    """When the one at `place` (from 1) of a queue fits, at the earliest: those before it go as soon as they can.
    `times` are those of the requests that count `now`, in their order."""
    rounds, rest = divmod(place - 1, limit)
    index = len(times) + rest - limit  # the one that must have left
    return (now if index < 0 else times[index] + period) + rounds * period


class WindowLog:
    """One window of at most `limit` requests in `period` seconds, by `clock`."""

    __slots__ = ("_clock", "_limit", "_period", "_times")

    def __init__(self, limit: int, period: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._limit = limit
        self._period = period
        self._times: list[float] = []

    def hit(self, at: float, tokens: int) -> bool:
        """Count one request of time `at`, which is now, if the limit allows it."""
        if len(self._live(at)) >= self._limit:
            return False
        self._times.append(at)
        return True

    def change(self, at: float, requests: int, tokens: int) -> None:
        """Forget a request of time `at`, where `requests` is below zero and it still counts."""
        index = bisect_left(self._times, at)
        if requests < 0 and index < len(self._times) and self._times[index] == at:
            del self._times[index]

    def wait(self, place: int, ahead: int, tokens: int) -> float:
        """Seconds; who waits that long has room, whatever rounding makes of the sum."""
        now = self._clock()
        due = log_due(self._live(now), self._limit, self._period, now, place)
        wait = due - now
        return wait + ulp(due) if now + wait < due else wait

    def room(self) -> int:
        """How many more requests it admits now."""
        return self._limit - len(self._live(self._clock()))

    def _live(self, now: float) -> list[float]:
        gone = bisect_right(self._times, now, key=lambda at: at + self._period)
        del self._times[:gone]
        return self._times
