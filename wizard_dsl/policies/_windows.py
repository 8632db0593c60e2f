"""Sliding windows ("60/minute", "100000 tokens/minute"). Some count requests, some LLM tokens; a call counts in all
of them, or in none. Those of few requests keep the time of each (see _window_log.py); the others keep the counter of
the last window, weighted by how much of it still counts, and the counter of this one.

For counters the limits library decides; its storage is ours, because the library's own asks the process for the time
and starts a thread. The clock is injected, so windows work in virtual time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Protocol

from msgspec import Meta

from wizard_dsl.core.units import RATE, Rate, show_rate
from wizard_dsl.policies._line import Level, Taken
from wizard_dsl.policies._window_log import WindowLog, is_exact

#: A rate of requests; rates of LLM tokens are another thing.
RequestRate = Annotated[
    str,
    Meta(pattern=RATE.pattern.replace("(?: tokens)?", ""), extra_json_schema={"x-unit": RATE.name, "x-words": []}),
]

#: Seconds. A waiter is woken this much later than the exact point, because a keeper's times are so large that their
#: sums are only good to a quarter of a microsecond: no rounding can send it back to sleep.
LATE: Final = 1e-5


class WindowCounts:
    """What was counted in the window before and in this one, by key. Windows are numbered from the zero of `clock`."""

    __slots__ = ("_clock", "_counts")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts: dict[str, tuple[int, int, int]] = {}

    def look(self, key: str, period: int) -> tuple[int, float, int, float]:
        """Count before, seconds for which it still counts, count now, seconds for which that will."""
        now = self._clock()
        number = int(now // period)
        known, before, current = self._counts.get(key, (number, 0, 0))
        if number > known:
            before, current = (current if number == known + 1 else 0), 0
            self._counts[key] = (number, before, current)
        left = period - (now - number * period)
        return before, (left if before else 0.0), current, left + period

    def weighed(self, key: str, period: int) -> float:
        """What counts now: all of this window, and of the one before the share that is not over."""
        before, left, current, _ = self.look(key, period)
        return before * left / period + current

    def add(self, key: str, period: int, limit: int, amount: int) -> bool:
        """Count `amount` more, if the limit allows it."""
        if self.weighed(key, period) + amount >= limit + 1:
            return False
        number, before, current = self._counts.get(key, (int(self._clock() // period), 0, 0))
        self._counts[key] = (number, before, current + amount)
        return True

    def change(self, key: str, period: int, at: float, amount: int) -> None:
        """Count `amount` more, or less, in the window of time `at`, if that one still counts."""
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
    return waited + left - room * period / before + LATE


class Window(Protocol):
    """One window. `hit` counts one request and so many LLM tokens of time `at`, which is now, if there is room, and
    `change` that many more or less; `wait` is that of a gate."""

    def hit(self, at: float, tokens: int, /) -> bool: ...

    def change(self, at: float, requests: int, tokens: int, /) -> None: ...

    def wait(self, place: int, ahead: int, tokens: int, /) -> float: ...

    def room(self) -> float: ...


class CountedWindow:
    """One window that the library decides, of requests or of LLM tokens."""

    __slots__ = ("_item", "_limiter", "_tokens", "counts", "key", "limit", "period")

    def __init__(self, limit: int, period: int, tokens: bool, clock: Callable[[], float]) -> None:
        from limits import RateLimitItemPerSecond

        self.counts = WindowCounts(clock)
        self.limit, self.period = limit, period
        self._tokens = tokens
        self._item = RateLimitItemPerSecond(limit, period)
        self._limiter = _limiter(self.counts)
        self.key: str = self._item.key_for()

    def hit(self, at: float, tokens: int) -> bool:
        """Count it, if the limit allows it."""
        return bool(self._limiter.hit(self._item, cost=tokens if self._tokens else 1))

    def change(self, at: float, requests: int, tokens: int) -> None:
        """Count so many more, or less, where `at` still counts."""
        self.counts.change(self.key, self.period, at, tokens if self._tokens else requests)

    def wait(self, place: int, ahead: int, tokens: int) -> float:
        """See window_wait."""
        others, own = (ahead, tokens) if self._tokens else (place - 1, 1)
        return window_wait(self.counts.look(self.key, self.period), self.limit, self.period, others, own)

    def room(self) -> float:
        """What it has room for; below zero is a debt."""
        return self.limit - self.counts.weighed(self.key, self.period)


class Windows:
    """Several windows over one stream of calls, by `clock`: a call counts in all of them, or in none."""

    __slots__ = ("_clock", "_limits", "_windows")

    def __init__(self, rates: Sequence[Rate], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._limits = [(rate, max(1, int(rate.amount))) for rate in rates]
        self._windows = [_window(limit, int(rate.period), rate.tokens, clock) for rate, limit in self._limits]

    def take(self, now: float, tokens: int = 0) -> Taken | None:
        """Count one request and so many LLM tokens, if all windows have room."""
        at = self._clock()
        for index, window in enumerate(self._windows):
            if not window.hit(at, tokens):
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

    def _change(self, windows: Sequence[Window], at: float, requests: int, tokens: int) -> None:
        for window in windows:
            window.change(at, requests, tokens)

    def wait(self, now: float, place: int, ahead: int = 0, tokens: int = 0) -> float:
        """Seconds until the one at `place` (from 1) of a queue goes, at the earliest; it needs `tokens`, and those
        before it `ahead`."""
        return max(window.wait(place, ahead, tokens) for window in self._windows)

    def levels(self, now: float) -> list[Level]:
        """What each window has room for; below zero is a debt."""
        return [
            Level("tokens" if rate.tokens else "requests", show_rate(rate), limit, window.room())
            for (rate, limit), window in zip(self._limits, self._windows, strict=True)
        ]


def _window(limit: int, period: int, tokens: bool, clock: Callable[[], float]) -> Window:
    if is_exact(limit, tokens):
        return WindowLog(limit, period, clock)
    return CountedWindow(limit, period, tokens, clock)


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
