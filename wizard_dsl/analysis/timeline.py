"""A simulation over time: the mean over the seeds in every slice, what went wrong when, and what our gates did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from wizard_dsl.analysis.figures import SeedFigures, Slice
from wizard_dsl.core.units import parse_duration

if TYPE_CHECKING:
    from wizard_dsl.analysis.scenario import Scenario


class Span(msgspec.Struct, frozen=True):
    """A fault phase: whom it hits, with what, from when to when, in seconds."""

    pattern: str
    fault: str
    start: float
    end: float

    @property
    def label(self) -> str:
        return f"{self.pattern}: {self.fault}"


class Track(msgspec.Struct, frozen=True):
    """One number in every slice: the mean over the seeds, the lowest and the highest; None where nothing was
    counted."""

    mean: list[float | None]
    low: list[float | None]
    high: list[float | None]


def spans(scenario: Scenario) -> list[Span]:
    """The phases of a scenario, in the order of the file."""
    end = parse_duration(scenario.load.duration)
    return [
        Span(
            pattern,
            _what(phase.fault or "another latency", phase.share),
            parse_duration(phase.from_),
            end if phase.to is None else min(end, parse_duration(phase.to)),
        )
        for pattern, model in scenario.targets.items()
        for phase in model.phases
    ]


def _what(fault: str, share: str) -> str:
    return fault if share == "100%" else f"{fault} ({share})"


def track(seeds: Sequence[SeedFigures], of: Callable[[Slice], float | None]) -> Track:
    """One number of each slice, over the seeds."""
    columns = [[of(seed.slices[place]) for seed in seeds] for place in range(len(seeds[0].slices))]
    known = [[each for each in column if each is not None] for column in columns]
    return Track(
        mean=[sum(column) / len(column) if column else None for column in known],
        low=[min(column) if column else None for column in known],
        high=[max(column) if column else None for column in known],
    )


def availability(place: Slice) -> float | None:
    return place.ok / place.runs if place.runs else None


def amplification(place: Slice) -> float | None:
    return place.attempts / place.calls if place.calls else None


def cost_per_run(place: Slice) -> float | None:
    return place.cost / place.runs if place.runs else None


def cache_share(place: Slice) -> float | None:
    return place.hits / place.lookups if place.lookups else None


def latency(name: str) -> Callable[[Slice], float | None]:
    """A percentile of the runs that came in a slice and ended well."""
    return lambda place: None if place.latency is None else getattr(place.latency, name)


def traffic(seeds: Sequence[SeedFigures], target: str) -> tuple[list[float], list[float]]:
    """Attempts a second on a target that answered and that failed, in every slice: means over the seeds."""
    first = seeds[0]
    widths = [min(first.width, first.duration - place.start) for place in first.slices]
    found: list[list[float]] = []
    for which in (0, 1):
        rows = [
            [pair[which] / width for pair, width in zip(seed.targets[target].by_slice, widths, strict=True)]
            for seed in seeds
        ]
        found.append([sum(column) / len(seeds) for column in zip(*rows, strict=True)])
    return found[0], found[1]
