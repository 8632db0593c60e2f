"""What one seed of a simulation showed, as plain data: it goes between processes, and into the JSON report.

Times are seconds since the start of the load, sums US dollars. A run counts for the moment it came, an attempt for the
moment it began.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Final

import msgspec

#: Widths of a slice of time, in seconds: the narrowest of which there are not too many.
_WIDTHS: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_MOST_SLICES: Final = 60


class Times(msgspec.Struct, frozen=True):
    """Percentiles (nearest rank: the smallest value that so many in 100 do not exceed) of durations."""

    p50: float
    p90: float
    p99: float
    max: float


class Slice(msgspec.Struct):
    """A span of time that begins at `start`. `latency` is of the runs that came then and ended well."""

    start: float
    runs: int = 0
    ok: int = 0
    attempts: int = 0
    calls: int = 0
    cost: float = 0.0
    lookups: int = 0
    hits: int = 0
    latency: Times | None = None


class Point(msgspec.Struct, frozen=True):
    """A breaker's state from a moment on."""

    at: float
    state: str


class Level(msgspec.Struct, frozen=True):
    """How one of our limits stood at a moment."""

    at: float
    available: float
    waiting: int


class LimitTrack(msgspec.Struct):
    """One of our limits over time; `capacity` is what it holds."""

    name: str
    capacity: float
    levels: list[Level] = []


class TargetTally(msgspec.Struct):
    """Attempts on one target; `served` counts runs that ended well with its answer. `by_slice` holds, for each slice of
    time, attempts that answered and those that failed."""

    attempts: int = 0
    errors: dict[str, int] = {}
    cost: float | None = 0.0
    served: int = 0
    by_slice: list[tuple[int, int]] = []


class SeedFigures(msgspec.Struct, kw_only=True):
    """One seed. `cost` is None where an answer has no price; `cached` and `unserved` runs ended well with an answer
    of the cache, and with none of a model, as where the last step was skipped."""

    seed: int
    duration: float
    width: float
    runs: int
    ok: int
    cached: int
    unserved: int
    errors: dict[str, int]
    latency: Times | None
    first_chunk: Times | None
    attempts: int
    calls: int
    cost: float | None
    lookups: int
    hits: int
    targets: dict[str, TargetTally]
    slices: list[Slice]
    breakers: dict[str, list[Point]]
    limits: list[LimitTrack]

    @property
    def availability(self) -> float | None:
        return self.ok / self.runs if self.runs else None

    @property
    def amplification(self) -> float | None:
        return self.attempts / self.calls if self.calls else None

    @property
    def cost_per_run(self) -> float | None:
        return self.cost / self.runs if self.runs and self.cost is not None else None

    @property
    def cache_share(self) -> float | None:
        return self.hits / self.lookups if self.lookups else None


def width_of(duration: float) -> float:
    """The width of a slice of a load that lasts `duration` seconds."""
    return next((each for each in _WIDTHS if duration / each <= _MOST_SLICES), ceil(duration / _MOST_SLICES))


def times_of(values: Sequence[float]) -> Times | None:
    """The percentiles of `values`, which are sorted; None where there are none."""
    if not values:
        return None
    return Times(*(round(values[ceil(len(values) * share) - 1], 6) for share in (0.5, 0.9, 0.99, 1.0)))
