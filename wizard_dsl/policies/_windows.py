"""Sliding windows ("60/minute", "100000 tokens/minute"): the counter of the last window, weighted by how
much of it still counts, and the counter of this one. Some count requests, some LLM tokens; a call counts in all of
them, or in none.

The limits library decides; its storage is ours, because the library's own asks the process for the time and
starts a thread. The wall clock is injected, so windows work in virtual time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from wizard_dsl.core.units import RATE, Rate, show_rate
from wizard_dsl.policies._line import Level, Taken

#: A rate of requests; rates of LLM tokens are another thing.
RequestRate = Annotated[
    str,
    Meta(pattern=RATE.pattern.replace("(?: tokens)?", ""), extra_json_schema={"x-unit": RATE.name, "x-words": []}),
]

#: Seconds. A waiter is woken this much later than the exact point, because wall-clock times are so large that their
#: sums are only good to a quarter of a microsecond: no rounding can send it back to sleep.
_LATE: Final = 1e-5


class WindowCounts:
    """What was counted in the window before and in this one, by key. Windows are numbered from the epoch."""

    __slots__ = ("_counts", "_wall")

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._counts: dict[str, tuple[int, int, int]] = {}

    def look(self, key: str, period: int) -> tuple[int, float, int, float]:
        """Count before, seconds for which it still counts, count now, seconds for which that will."""
        wall = self._wall()
        number = int(wall // period)
        known, before, current = self._counts.get(key, (number, 0, 0))
        if number > known:
            before, current = (current if number == known + 1 else 0), 0
            self._counts[key] = (number, before, current)
        left = period - (wall - number * period)
        return before, (left if before else 0.0), current, left + period

    def weighed(self, key: str, period: int) -> float:
        """What counts now: all of this window, and of the one before the share that is not over."""
        before, left, current, _ = self.look(key, period)
        return before * left / period + current

    def add(self, key: str, period: int, limit: int, amount: int) -> bool:
        """Count `amount` more, if the limit allows it."""
        if self.weighed(key, period) + amount >= limit + 1:
            return False
        number, before, current = self._counts.get(key, (int(self._wall() // period), 0, 0))
        self._counts[key] = (number, before, current + amount)
        return True

    def change(self, key: str, period: int, at: float, amount: int) -> None:
        """Count `amount` more, or less, in the window of wall time `at`, if that one still counts."""
        self.look(key, period)
        number, before, current = self._counts[key]
        taken = int(at // period)
        if taken == number:
            self._counts[key] = (number, before, max(0, current + amount))
        elif taken == number - 1:
            self._counts[key] = (number, max(0, before + amount), current)

    def forget(self, key: str) -> None:
        self._counts.pop(key, None)


def window_wait(seen: tuple[int, float, int, float], limit: int, period: int, ahead: int, own: int) -> float:
    """Seconds until `own` units, which go together, fit a window as seen, at the earliest: the `ahead` units before
    them go as soon as they can."""
    before, _, current, after = seen
    left = after - period
    waited = 0.0
    while ahead + own > limit - current:
        gone = min(ahead, max(0, limit - current))
        ahead -= gone
        waited += left
        before, current, left = current + gone, 0, float(period)
    room = limit + 1 - current - ahead - own
    if before * left / period < room:
        return waited
    return waited + left - room * period / before + _LATE


class _Window(msgspec.Struct, frozen=True):
    """One window: the library's item, its key, and what it counts."""

    item: Any
    key: str
    limit: int
    period: int
    tokens: bool
    rule: str


class Windows:
    """Several windows over one stream of calls: a call counts in all of them, or in none."""

    __slots__ = ("_counts", "_limiter", "_wall", "_windows")

    def __init__(self, rates: Sequence[Rate], wall: Callable[[], float]) -> None:
        self._wall = wall
        self._counts = WindowCounts(wall)
        self._limiter = _limiter(self._counts)
        self._windows = [_window(rate) for rate in rates]

    def take(self, now: float, tokens: int = 0) -> Taken | None:
        """Count one request and so many LLM tokens, if all windows have room."""
        at = self._wall()
        for index, window in enumerate(self._windows):
            cost = tokens if window.tokens else 1
            if not self._limiter.hit(window.item, _unit(window.tokens), cost=cost):
                self._change(self._windows[:index], at, -1, -tokens)
                return None
        return Taken(at, tokens)

    def give(self, taken: Taken, now: float) -> None:
        """Take a call out of the windows it still counts in."""
        self._change(self._windows, taken.at, -1, -taken.tokens)

    def settle(self, taken: Taken, used: int, now: float) -> None:
        """Count what was used in place of what was taken. What exceeds a window is a debt: it lets nobody pass until
        it has slid out."""
        self._change(self._windows, taken.at, 0, used - taken.tokens)

    def _change(self, windows: Sequence[_Window], at: float, requests: int, tokens: int) -> None:
        for window in windows:
            self._counts.change(window.key, window.period, at, tokens if window.tokens else requests)

    def wait(self, now: float, place: int, ahead: int = 0, tokens: int = 0) -> float:
        """Seconds until the one at `place` (from 1) of a queue goes, at the earliest; it needs `tokens`, and those
        before it `ahead`."""
        return max(
            self._wait(each, ahead, tokens) if each.tokens else self._wait(each, place - 1, 1) for each in self._windows
        )

    def levels(self, now: float) -> list[Level]:
        """What each window has room for; below zero is a debt."""
        return [
            Level(
                "tokens" if each.tokens else "requests",
                each.rule,
                each.limit,
                each.limit - self._counts.weighed(each.key, each.period),
            )
            for each in self._windows
        ]

    def _wait(self, window: _Window, ahead: int, own: int) -> float:
        return window_wait(self._counts.look(window.key, window.period), window.limit, window.period, ahead, own)


def _window(rate: Rate) -> _Window:
    from limits import RateLimitItemPerSecond

    item = RateLimitItemPerSecond(max(1, int(rate.amount)), int(rate.period))
    return _Window(item, item.key_for(_unit(rate.tokens)), item.amount, item.get_expiry(), rate.tokens, show_rate(rate))


def _unit(tokens: bool) -> str:
    return "tokens" if tokens else "requests"


def _limiter(counts: WindowCounts) -> Any:
    """The library's sliding-window counter over `counts`."""
    from limits.storage import Storage
    from limits.strategies import SlidingWindowCounterRateLimiter

    class ClockStorage(Storage):
        base_exceptions = ()  # nothing of ours raises

        def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
            return counts.add(key, expiry, limit, amount)

        def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
            return counts.look(key, expiry)

        def clear_sliding_window(self, key: str, expiry: int) -> None:
            counts.forget(key)

        def unused(self, *args: object, **options: object) -> Any:
            raise NotImplementedError("only sliding windows are kept here")

        incr = get = get_expiry = check = reset = clear = unused

    return SlidingWindowCounterRateLimiter(ClockStorage())
