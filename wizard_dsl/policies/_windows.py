"""Sliding windows ("60/minute"): the counter of the last window, weighted by how much of it still counts, and the
counter of this one.

The limits library decides; its storage is ours, because the library's own asks the process for the time and
starts a thread. The wall clock is injected, so windows work in virtual time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

from msgspec import Meta

from wizard_dsl.core.units import RATE, Rate

#: A rate of requests; rates of LLM tokens are another thing.
RequestRate = Annotated[
    str,
    Meta(pattern=RATE.pattern.replace("(?: tokens)?", ""), extra_json_schema={"x-unit": RATE.name, "x-words": []}),
]

#: Seconds. A waiter is woken this much later than the exact point, because wall-clock times are so large that their
#: sums are only good to a quarter of a microsecond: no rounding can send it back to sleep.
_LATE: Final = 1e-5


class WindowCounts:
    """Requests in the window before and in this one, by key. Windows are numbered from the epoch."""

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

    def add(self, key: str, period: int, limit: int, amount: int) -> bool:
        """Count `amount` more, if the limit allows it."""
        before, left, current, _ = self.look(key, period)
        if before * left / period + current + amount >= limit + 1:
            return False
        number = int(self._wall() // period)
        self._counts[key] = (number, before, current + amount)
        return True

    def remove(self, key: str, period: int, at: float) -> None:
        """Take back one that was counted at wall time `at`, if it still counts."""
        self.look(key, period)
        number, before, current = self._counts[key]
        taken = int(at // period)
        if taken == number and current > 0:
            self._counts[key] = (number, before, current - 1)
        elif taken == number - 1 and before > 0:
            self._counts[key] = (number, before - 1, current)

    def forget(self, key: str) -> None:
        self._counts.pop(key, None)


def window_wait(seen: tuple[int, float, int, float], limit: int, period: int, place: int) -> float:
    """Seconds until the one at `place` (from 1) of a queue fits a window as seen; all before it go as soon as
    they can."""
    before, _, current, after = seen
    left = after - period
    waited = 0.0
    while place > limit - current:
        place -= max(0, limit - current)
        waited += left
        before, current, left = max(current, limit), 0, float(period)
    room = limit + 1 - current - place
    if before * left / period < room:
        return waited
    return waited + left - room * period / before + _LATE


class Windows:
    """Several windows over one stream of requests: a request counts in all of them, or in none."""

    __slots__ = ("_counts", "_items", "_limiter", "_wall")

    def __init__(self, rates: Sequence[Rate], wall: Callable[[], float]) -> None:
        from limits import RateLimitItemPerSecond

        self._wall = wall
        self._counts = WindowCounts(wall)
        self._limiter = _limiter(self._counts)
        self._items = [RateLimitItemPerSecond(max(1, int(rate.amount)), int(rate.period)) for rate in rates]

    def take(self, now: float) -> float | None:
        """Count one request, if all windows have room; what is returned gives it back."""
        at = self._wall()
        for index, item in enumerate(self._items):
            if not self._limiter.hit(item):
                self._remove(self._items[:index], at)
                return None
        return at

    def give(self, token: float, now: float) -> None:
        """Take a request out of the windows it still counts in."""
        self._remove(self._items, token)

    def _remove(self, items: Sequence[Any], at: float) -> None:
        for item in items:
            self._counts.remove(item.key_for(), item.get_expiry(), at)

    def wait(self, now: float, place: int) -> float:
        """Seconds until the one at `place` (from 1) of a queue goes, at the earliest."""
        waits = (
            window_wait(self._counts.look(item.key_for(), item.get_expiry()), item.amount, item.get_expiry(), place)
            for item in self._items
        )
        return max(waits)


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
