"""The reference page of scenario files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from wizard_dsl.analysis import scenario
from wizard_dsl.analysis.summary import METRICS
from wizard_dsl.docgen.reference import description_of, flat_table, page, rows_of
from wizard_dsl.registry import Registry

_SHAPES: Final[Mapping[str, type[msgspec.Struct]]] = {
    "The file": scenario.Scenario,
    "`load`": scenario.Load,
    "A change in the `shape` of a load": scenario.Change,
    "A target, or a pattern of targets": scenario.TargetModel,
    "A latency with a spread": scenario.Spread,
    "Tokens with a spread": scenario.TokenSpread,
    "A phase": scenario.Phase,
    "`rate_limit` of a target": scenario.ProviderLimit,
    "`expect`": scenario.Expect,
}
_INTRO: Final = (
    "A scenario, `*.sim.yaml`, says who comes when, how providers behave, what goes wrong, and what must hold all the "
    "same. `wizard simulate` plays it in virtual time, `wizard run --chaos` lays its phases over a real run. See "
    "[Simulate an outage](../how-to/simulate.md)."
)

_INTERVALS: Final = (
    "Each is the mean over the seeds. With more than one seed it has a 95 % interval, Student's: "
    "mean ± t(97.5 %, n − 1) · s / √n, where n is the number of seeds and s their standard deviation. Two pipelines "
    "are compared seed by seed, and the interval of the difference is that of the seeds' differences: both met the "
    "same arrivals and the same faults. Expectations are held against the mean. Percentiles are by nearest rank."
)


def simulations(registry: Registry) -> str:
    """The keys of a scenario, and how its measures are taken."""
    parts = [f"## {title}\n\n{description_of(kind)}\n\n{flat_table(kind)}" for title, kind in _SHAPES.items()]
    measured = rows_of(
        ("measure", "what it is", "unit"),
        [(f"`{name}`", metric.meaning, metric.unit) for name, metric in METRICS.items()],
    )
    return page("Scenarios", _INTRO, [*parts, f"## Measures\n\n{measured}\n\n{_INTERVALS}"])
