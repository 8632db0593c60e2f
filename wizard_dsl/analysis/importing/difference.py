"""What an import changes in behaviour, where calls are routed: an outage, played with both.

The other side is not the tool itself. It is a pipeline that does, with the policies there are, what the tool's
documentation says it does: the same executor plays both under the same arrivals and faults.
"""

from __future__ import annotations

from collections.abc import Sequence
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wizard_dsl.analysis.engine import simulate
from wizard_dsl.analysis.importing.findings import Imported, Routing, Written
from wizard_dsl.analysis.importing.writing import document
from wizard_dsl.analysis.report import Report, report
from wizard_dsl.analysis.scenario import of_plain
from wizard_dsl.analysis.summary import METRICS, shown
from wizard_dsl.compiler.compile import Sources, compile_file

if TYPE_CHECKING:
    from wizard_dsl.analysis.figures import SeedFigures
    from wizard_dsl.analysis.report import Side
    from wizard_dsl.analysis.scenario import Scenario
    from wizard_dsl.registry import Registry

_RATE: Final = 120  # calls a minute, where no limit of the source is below
_SEEDS: Final = 2
_SHOWN: Final = ("availability", "amplification", "p50", "p99", "cost_per_run")
_LATENCY: Final = {"median": "800ms", "p99": "3s"}


class Row(msgspec.Struct, frozen=True):
    """A measure of both, as text."""

    measure: str
    documented: str
    imported: str


class Difference(msgspec.Struct, frozen=True):
    """`says` are the sources' sentences behind the numbers, `files` the other pipeline and the scenario."""

    outage: str
    source: str
    says: Sequence[str]
    rows: Sequence[Row]
    files: Sequence[Written]

    def text(self) -> str:
        """A table, and what stands behind it."""
        rows = [("", "as documented", "as imported")]
        rows += [(each.measure, each.documented, each.imported) for each in self.rows]
        widths = [max(len(row[at]) for row in rows) for at in range(3)]
        table = "".join(
            "  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() + "\n"
            for row in rows
        )
        said = "".join(f"  - {each}\n" for each in self.says)
        return (
            f"the difference: {self.outage}\n{table}{said}"
            f"  (a model of what is documented at {self.source}, not a measurement of the tool)\n"
        )


def difference(made: Imported, name: str, registry: Registry) -> Difference | None:
    """Play the outage with both, in virtual time; None for a source that routes nothing."""
    routing = made.routing
    if routing is None:
        return None
    plain = _scenario(routing, name)
    scenario = of_plain(plain)
    sides = [_played(text, scenario, registry) for text in (made.pipeline, routing.documented)]
    found = report(f"{name}.sim.yaml", scenario, (f"{name}.yaml", sides[0]), (f"{name}.documented.yaml", sides[1]))
    head = ["An outage, to be played with what the source documents beside it:"]
    head.append(f"  wizard simulate {name}.sim.yaml --compare {name}.documented.yaml")
    files = [Written(".documented.yaml", routing.documented), Written(".sim.yaml", document(head, plain))]
    return Difference(_outage(routing), routing.source, routing.says, _rows(found, routing), files)


def _played(text: str, scenario: Scenario, registry: Registry) -> list[SeedFigures]:
    compiled = compile_file(Path("imported.yaml"), registry, Sources(text=text, mock=True))
    return [simulate(compiled, registry, scenario, seed) for seed in range(scenario.seeds)]


def _scenario(routing: Routing, name: str) -> dict[str, Any]:
    rate = min([_RATE, *(limit // 2 for limit in routing.limits)])
    down = {"status": 503, "from": "1m", "to": "3m", "delay": "200ms"}
    if routing.share < 1:
        down["share"] = f"{routing.share:.0%}"
    targets = {escape(each): {"latency": _LATENCY, "phases": [down]} for each in routing.down}
    return {
        "version": 1,
        "pipeline": f"{name}.yaml",
        "load": {"rate": f"{max(1, rate)}/minute", "duration": "5m", "inputs": [routing.inputs]},
        "seeds": _SEEDS,
        "targets": {**targets, "*": {"latency": _LATENCY}},
    }


def _outage(routing: Routing) -> str:
    share = "" if routing.share == 1 else f", for {routing.share:.0%} of the attempts"
    return f"{', '.join(routing.down)} answer{'s' if len(routing.down) == 1 else ''} 503 for two of five minutes{share}"


def _rows(found: Report, routing: Routing) -> list[Row]:
    assert found.old is not None
    rows = [Row("attempts of one call at most", str(routing.most[0]), str(routing.most[1]))]
    for name in _SHOWN:
        metric = METRICS[name]
        old, new = (side.measures[name].mean for side in (found.old, found.new))
        if old is not None and new is not None:
            rows.append(Row(metric.title, shown(old, metric.unit), shown(new, metric.unit)))
    return [*rows, Row("attempts on what is down", _wasted(found.old, routing), _wasted(found.new, routing))]


def _wasted(side: Side, routing: Routing) -> str:
    """Failed attempts on the targets of the outage, for each seed."""
    failed = [
        sum(tally.errors.values())
        for seed in side.seeds
        for name, tally in seed.targets.items()
        if name in routing.down
    ]
    return f"{sum(failed) / len(side.seeds):.4g}"
