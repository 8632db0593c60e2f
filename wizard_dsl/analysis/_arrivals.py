"""Who comes when: the rate of a load over time, and the arrivals it makes.

Arrival number k comes when the rate, summed up since the start, reaches the k-th mark. Marks are 1, 2, 3, … for even
arrivals; for a Poisson process they are as far apart as exponential draws, whatever the rate does over time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from wizard_dsl.core.rng import uniform
from wizard_dsl.core.units import parse_duration, parse_rate

if TYPE_CHECKING:
    from wizard_dsl.analysis.scenario import Change, Load


class Stretch(msgspec.Struct, frozen=True):
    """A span of time, in seconds, over which the rate goes evenly from `first` to `last`, in arrivals a second."""

    start: float
    end: float
    first: float
    last: float

    @property
    def arrivals(self) -> float:
        return (self.first + self.last) / 2 * (self.end - self.start)

    def time_of(self, count: float) -> float:
        """When `count` arrivals have come since the start of the stretch."""
        slope = (self.last - self.first) / (self.end - self.start)
        if slope == 0:
            return self.start + count / self.first
        root = math.sqrt(max(0.0, self.first * self.first + 2 * slope * count))
        return self.start + 2 * count / (self.first + root) if count else self.start


def stretches(load: Load) -> list[Stretch]:
    """The rate over time; changes must not overlap."""
    base, end = parse_rate(load.rate).per_second, parse_duration(load.duration)
    found: list[Stretch] = []
    now, before = 0.0, base
    for change in sorted(load.shape, key=start_of):
        start, stop = start_of(change), min(end_of(change, end), end)
        if start > now:
            found.append(Stretch(now, start, base, base))
            before = base
        rate = parse_rate(change.rate).per_second
        found.append(Stretch(start, stop, before if change.ramp else rate, rate))
        now, before = stop, rate
    if now < end:
        found.append(Stretch(now, end, base, base))
    return [each for each in found if each.end > each.start]


def start_of(change: Change) -> float:
    """Seconds since the start of the load."""
    return parse_duration(change.from_)


def end_of(change: Change, end: float) -> float:
    """Seconds since the start of a load that ends at `end`."""
    return end if change.to is None else parse_duration(change.to)


def arrivals(load: Load, seed: int) -> list[float]:
    """When runs begin, in seconds since the start, in order."""
    marks = _marks(load.arrivals, seed)
    times: list[float] = []
    passed, mark = 0.0, next(marks)
    for stretch in stretches(load):
        while mark < passed + stretch.arrivals:
            times.append(stretch.time_of(mark - passed))
            mark = next(marks)
        passed += stretch.arrivals
    return times


def _marks(kind: str, seed: int) -> Iterator[float]:
    """Even arrivals come in the middle of their spaces, so that as many come as the rate says."""
    mark, number = 0.5 if kind == "even" else 0.0, 0
    while True:
        if kind == "even":
            yield mark
            mark += 1.0
        else:
            mark -= math.log(1.0 - uniform(f"{seed}/arrival/{number}"))
            yield mark
        number += 1


class Question(msgspec.Struct, frozen=True):
    """What an arrival asks: the place of its inputs in the load's list, and the number of the arrival that asked it
    first."""

    inputs: int
    first: int


def questions(load: Load, seed: int, count: int) -> list[Question]:
    """What each arrival asks. One that repeats asks what an earlier one asked, any of them alike."""
    share, choices = float(load.repeats.removesuffix("%")) / 100, max(1, len(load.inputs))
    asked: list[Question] = []
    for number in range(count):
        if asked and share and uniform(f"{seed}/repeats/{number}") < share:
            asked.append(asked[int(uniform(f"{seed}/repeated/{number}") * number)])
        else:
            asked.append(Question(int(uniform(f"{seed}/inputs/{number}") * choices), number))
    return asked
