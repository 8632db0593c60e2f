"""Counts over a sliding time window, kept in ten buckets: pure state, no clock of its own.

Eleven buckets are remembered, the one in use and the ten before it, so an event may live one bucket longer
than the window, and never shorter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

_BUCKETS: Final = 10
_KEPT: Final = _BUCKETS + 1
#: Floating-point dust: what lies at the edge of a bucket may count in the next one.
_DUST: Final = 1e-6


def most_windows(seconds: float, window: float) -> int:
    """How often a window may be filled anew in so many seconds, wherever its buckets begin: what is counted in one of
    them counts in the next ten as well."""
    buckets = math.ceil(seconds / _width(window) + _DUST) + 1
    return math.ceil(buckets / _KEPT)


def _width(window: float) -> float:
    return max(window, 1e-3) / _BUCKETS


class Counts:
    """Two counters over one window: `first` and `second` are what the owner says they are."""

    __slots__ = ("_firsts", "_last", "_seconds", "_width", "first", "second")

    def __init__(self, window: float) -> None:
        self._width = _width(window)
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._firsts = [0] * _KEPT
        self._seconds = [0] * _KEPT
        self._last: int | None = None
        self.first = 0
        self.second = 0

    def advance(self, now: float) -> int:
        """Drop what is older than the window; returns the number of the bucket in use."""
        number = int(now // self._width)
        last = self._last
        if last is None:
            self._last = number
        elif number > last:
            for passed in range(max(last + 1, number - _KEPT + 1), number + 1):
                slot = passed % _KEPT
                self.first -= self._firsts[slot]
                self.second -= self._seconds[slot]
                self._firsts[slot] = self._seconds[slot] = 0
            self._last = number
        else:
            return last
        return number

    def add_first(self, now: float) -> int:
        """Count one; returns its bucket, with which `remove_first` finds it again."""
        number = self.advance(now)
        self._firsts[number % _KEPT] += 1
        self.first += 1
        return number

    def add_second(self, now: float) -> None:
        number = self.advance(now)
        self._seconds[number % _KEPT] += 1
        self.second += 1

    def remove_second(self, now: float, taken: float) -> None:
        """Take back one that was asked for at `taken`, and counted then or a little later, unless it has left the
        window by itself."""
        number = self.advance(now)
        oldest = number - _KEPT + 1
        bucket = int(taken // self._width)
        near = [each % _KEPT for each in (bucket, bucket + 1) if oldest <= each <= number]
        slot = next((each for each in near if self._seconds[each]), None)
        if slot is not None:
            self._seconds[slot] -= 1
            self.second -= 1

    def row(self) -> list[Any]:
        """All of it as plain data: the last bucket (False: none yet), the firsts, the seconds."""
        return [False if self._last is None else self._last, list(self._firsts), list(self._seconds)]

    def restore(self, row: Sequence[Any]) -> None:
        """Become what `row` says."""
        last, self._firsts, self._seconds = row[0], list(row[1]), list(row[2])
        self._last = None if last is False else last
        self.first, self.second = sum(self._firsts), sum(self._seconds)

    def remove_first(self, bucket: int, now: float) -> None:
        """Take back one that was counted in `bucket`, unless it has left the window by itself."""
        if self.advance(now) - bucket < _KEPT and self._firsts[bucket % _KEPT] > 0:
            self._firsts[bucket % _KEPT] -= 1
            self.first -= 1
