"""How long do 12,000 runs of a three-target chain take in a simulation? Ten minutes of load, four of them an outage.

The baseline is the time that is simulated: a ratio of 0.01 plays ten minutes in six seconds. One process, one seed;
further seeds have the other cores. The second row is the processor's time, which a machine shared with others stretches
less.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter, process_time

from benchmarks.harness import Row, row
from wizard_dsl.analysis.engine import simulate
from wizard_dsl.analysis.reading import open_scenario
from wizard_dsl.registry import Registry

SCENARIO = Path(__file__).parent / "pipelines" / "outage.sim.yaml"
ROUNDS = 5
SECONDS = 600.0


def main() -> list[Row]:
    registry = Registry(plugins=False)
    opened = open_scenario(SCENARIO, registry)
    assert opened.ok and opened.scenario is not None and opened.compiled is not None
    times, processor = [], []
    for seed in range(ROUNDS + 1):
        began, before = perf_counter(), process_time()
        figures = simulate(opened.compiled, registry, opened.scenario, seed)
        times.append(perf_counter() - began)
        processor.append(process_time() - before)
        assert 11_500 < figures.runs < 12_500 and figures.breakers["one"], "the outage was to be seen"
    simulated = [SECONDS] * ROUNDS
    measured = row("12,000 runs simulated", "three targets, an outage", times[1:], simulated, unit="s")
    return [
        measured.aiming(floor=10 / SECONDS, goal=3 / SECONDS),
        row("12,000 runs simulated", "the same, time of the processor", processor[1:], simulated, unit="s"),
    ]
