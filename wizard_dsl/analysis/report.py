"""What a simulation showed, whole: figures of every seed, measures over them, verdicts, and the other pipeline's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from wizard_dsl.analysis.expectations import Verdict, judged
from wizard_dsl.analysis.figures import SeedFigures
from wizard_dsl.analysis.summary import METRICS, Measure, counted, differences, measures, shown

if TYPE_CHECKING:
    from wizard_dsl.analysis.scenario import Scenario


class Side(msgspec.Struct, frozen=True):
    """One pipeline under the scenario."""

    pipeline: str
    seeds: Sequence[SeedFigures]
    measures: dict[str, Measure]

    @property
    def errors(self) -> dict[str, int]:
        """Runs that failed, by kind, in all seeds."""
        return counted([seed.errors for seed in self.seeds])

    @property
    def runs(self) -> int:
        return sum(seed.runs for seed in self.seeds)

    @property
    def served(self) -> dict[str, int]:
        """Runs that ended well by the target that answered them, in all seeds."""
        found = [
            {
                **{name: it.served for name, it in seed.targets.items()},
                "the cache": seed.cached,
                "no model": seed.unserved,
            }
            for seed in self.seeds
        ]
        return {name: count for name, count in counted(found).items() if count}


class Report(msgspec.Struct, frozen=True):
    """A simulation; `old` is the pipeline it is compared with, and `differences` are new less old. An interrupt left
    `left_out` seeds out."""

    file: str
    scenario: Any
    new: Side
    old: Side | None
    differences: dict[str, Measure]
    verdicts: list[Verdict]
    left_out: int = 0

    @property
    def met(self) -> bool:
        """Whether everything holds that the scenario expects."""
        return all(each.met for each in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        """Plain data; keys never disappear, they become null."""
        old = None if self.old is None else _side(self.old)
        return {
            "scenario": self.file,
            **_side(self.new),
            "compared": None if old is None else {**old, "differences": _measures(self.differences)},
            "expectations": [
                {
                    "metric": each.metric,
                    each.bound: each.limit,
                    "measured": each.measured.mean,
                    "met": each.met,
                    "sentence": each.sentence(len(self.new.seeds)),
                }
                for each in self.verdicts
            ],
            "met": self.met,
            "left_out": self.left_out,
        }


def report(
    file: str,
    scenario: Scenario,
    new: tuple[str, Sequence[SeedFigures]],
    old: tuple[str, Sequence[SeedFigures]] | None,
    left_out: int = 0,
) -> Report:
    """`new` and `old` are names of pipelines with their figures, seed by seed."""
    side = Side(*new, measures(new[1]))
    other = None if old is None else Side(*old, measures(old[1]))
    apart = {} if old is None else differences(new[1], old[1])
    return Report(file, scenario, side, other, apart, judged(scenario.expect, side.measures), left_out)


def seeds_of(report: Report) -> str:
    """How many seeds the report is about, and how many are missing."""
    count, left = len(report.new.seeds), report.left_out
    played = "1 seed" if count == 1 else f"{count} seeds"
    return f"{played} (interrupted before {left} more had ended)" if left else played


def _side(side: Side) -> dict[str, Any]:
    return {
        "pipeline": side.pipeline,
        "runs": side.runs,
        "errors": side.errors,
        "served_by": side.served,
        "measures": _measures(side.measures),
        "seeds": [msgspec.to_builtins(seed) for seed in side.seeds],
    }


def _measures(found: dict[str, Measure]) -> dict[str, Any]:
    return {name: msgspec.to_builtins(each) for name, each in found.items()}


def told(side: Side) -> list[str]:
    """The metrics that say something of a side: no first chunk where nobody reads, no cache share without a cache."""
    optional = ("first_chunk_p50", "first_chunk_p99", "cache_share")
    return [name for name in METRICS if name not in optional or side.measures[name].mean is not None]


def signed(value: float | None, unit: Any) -> str:
    """A difference, with its sign."""
    text = shown(value, unit)
    return f"+{text}" if value is not None and value > 0 else text
