"""From seeds to one number each, with how sure it is.

A measure is the mean over the seeds. Its interval is Student's: mean ± t(97.5 %, n − 1) · s / √n, where s is the
standard deviation over the n seeds; in 95 of 100 repetitions it holds what infinitely many seeds would give, as far as
the seeds' values are roughly normal. One seed has no interval. Two pipelines under one scenario are compared seed by
seed: they met the same arrivals and faults, so the interval of the difference is that of the seeds' differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from wizard_dsl.analysis.figures import SeedFigures
from wizard_dsl.core.units import show_duration, show_money, show_ratio

Unit = Literal["ratio", "duration", "money", "number"]

_T: Final = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
_Z: Final = 1.959964


class Metric(msgspec.Struct, frozen=True):
    """One number of a seed: its name in reports, what it is, its unit."""

    title: str
    meaning: str
    unit: Unit
    of: Callable[[SeedFigures], float | None]


def _percentile(name: str, share: str) -> Metric:
    meaning = f"{share} of the runs that ended well took no longer"
    return Metric(f"latency {name}", meaning, "duration", lambda it: getattr(it.latency, name, None))


def _first(name: str, share: str) -> Metric:
    meaning = f"until {share} of the answers began, where somebody reads them as they come"
    return Metric(f"first chunk {name}", meaning, "duration", lambda it: getattr(it.first_chunk, name, None))


#: By the names that `expect` has for them, in the order of reports.
METRICS: Final[Mapping[str, Metric]] = {
    "availability": Metric("availability", "share of all runs that ended well", "ratio", lambda it: it.availability),
    "p50": _percentile("p50", "half"),
    "p90": _percentile("p90", "90 in 100"),
    "p99": _percentile("p99", "99 in 100"),
    "max": _percentile("max", "all"),
    "first_chunk_p50": _first("p50", "half"),
    "first_chunk_p99": _first("p99", "99 in 100"),
    "amplification": Metric(
        "attempts per call",
        "attempts for each logical call of a step that made one: 1 where nothing is repeated or asked elsewhere",
        "number",
        lambda it: it.amplification,
    ),
    "cost_per_run": Metric("cost per run", "of all attempts, for each run", "money", lambda it: it.cost_per_run),
    "cost": Metric("cost in all", "of all attempts of a seed", "money", lambda it: it.cost),
    "cache_share": Metric(
        "cache share", "share of look-ups that the cache answered", "ratio", lambda it: it.cache_share
    ),
}


class Measure(msgspec.Struct, frozen=True):
    """A mean over seeds with its 95 % interval; None where it is not known, or there is one seed."""

    mean: float | None
    low: float | None = None
    high: float | None = None


def student(freedom: int) -> float:
    """The 97.5th percentile of Student's t; above 30 degrees of freedom by the expansion of Cornish and Fisher."""
    if freedom <= len(_T):
        return _T[freedom - 1]
    z = _Z
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def mean_of(values: Sequence[float | None]) -> Measure:
    """The measure of one value a seed; not known where one of them is not."""
    known = [each for each in values if each is not None]
    if not known or len(known) < len(values):
        return Measure(None)
    mean = math.fsum(known) / len(known)
    if len(known) == 1:
        return Measure(round(mean, 9))
    deviation = math.sqrt(math.fsum((each - mean) ** 2 for each in known) / (len(known) - 1))
    half = student(len(known) - 1) * deviation / math.sqrt(len(known))
    return Measure(round(mean, 9), round(mean - half, 9), round(mean + half, 9))


def measures(seeds: Sequence[SeedFigures]) -> dict[str, Measure]:
    """Every metric over the seeds, by name."""
    return {name: mean_of([metric.of(seed) for seed in seeds]) for name, metric in METRICS.items()}


def differences(new: Sequence[SeedFigures], old: Sequence[SeedFigures]) -> dict[str, Measure]:
    """New less old, seed by seed."""
    found = {}
    for name, metric in METRICS.items():
        pairs = [(metric.of(one), metric.of(other)) for one, other in zip(new, old, strict=True)]
        found[name] = mean_of([None if a is None or b is None else a - b for a, b in pairs])
    return found


def counted(groups: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Counts of several seeds added up, the most frequent first."""
    total: dict[str, int] = {}
    for group in groups:
        for name, count in group.items():
            total[name] = total.get(name, 0) + count
    return dict(sorted(total.items(), key=lambda pair: (-pair[1], pair[0])))


def shown(value: float | None, unit: Unit) -> str:
    """A value as a person would write it, with the digits that matter."""
    if value is None:
        return "unknown"
    if value < 0:
        return f"-{shown(-value, unit)}"
    if unit == "ratio":
        return show_ratio(round(value, 5))
    if unit == "duration":
        return show_duration(float(f"{value:.3g}") if value < 60 else round(value, 1))
    return show_money(value) if unit == "money" else f"{value:.4g}"


def interval(measure: Measure, unit: Unit) -> str:
    """`99.9% – 99.97%`, empty where there is none. A share above 100 % or a negative time is not shown."""
    if measure.low is None or measure.high is None:
        return ""
    low, high = max(0.0, measure.low), measure.high
    return f"{shown(low, unit)} – {shown(min(1.0, high) if unit == 'ratio' else high, unit)}"
