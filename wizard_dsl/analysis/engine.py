"""Simulation: thousands of runs of the real executor in virtual time, against targets that behave as a scenario says.

Nothing is a second model of the policies: what runs here is what `run` runs, with other targets below and another
clock around it. The load is open: runs come when they come, whether earlier ones have ended or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import msgspec

from wizard_dsl.analysis._arrivals import Question, arrivals, questions
from wizard_dsl.analysis._collect import Collector
from wizard_dsl.analysis._provider_limit import Granted
from wizard_dsl.analysis._target import Simulated
from wizard_dsl.analysis.scenario import TargetModel
from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.units import parse_duration
from wizard_dsl.providers._instances import instance
from wizard_dsl.runtime.runtime import running
from wizard_dsl.testing import virtual

if TYPE_CHECKING:
    from wizard_dsl.analysis.figures import SeedFigures
    from wizard_dsl.analysis.scenario import Scenario
    from wizard_dsl.compiler.compile import Compiled
    from wizard_dsl.compiler.program import Program, TargetPlan
    from wizard_dsl.core.messages import Delta
    from wizard_dsl.core.node import BuildContext, Node
    from wizard_dsl.registry import Registry
    from wizard_dsl.runtime.pipeline import Pipeline

#: Called with how many runs have ended so far.
Tick = Callable[[int], None]


def simulate(
    compiled: Compiled, registry: Registry, scenario: Scenario, seed: int, tick: Tick | None = None
) -> SeedFigures:
    """Play a scenario once, in virtual time. The same seed gives the same figures. Raises SpecError for a file with
    errors."""
    return virtual.run(_Play(scenario, seed, tick).run(compiled, registry))


class _Play:
    def __init__(self, scenario: Scenario, seed: int, tick: Tick | None) -> None:
        self._scenario = scenario
        self._seed = seed
        self._tick = tick
        self._ended = 0
        self._duration = parse_duration(scenario.load.duration)
        self._collector = Collector(self._duration)
        self._granted: dict[str, Granted] = {}

    async def run(self, compiled: Compiled, registry: Registry) -> SeedFigures:
        async with running(
            compiled, registry, seed=self._seed, mock=True, sinks=[self._collector.sink], provide=self._provide
        ) as pipeline:
            assert compiled.program is not None
            await self._load(pipeline, _Inputs(compiled.program, self._scenario.load.inputs, self._seed))
        return self._collector.figures(self._seed)

    def _provide(self, plan: TargetPlan, context: BuildContext) -> Node:
        targets = self._scenario.targets
        pattern = next((each for each in targets if fnmatchcase(plan.name, each)), None)
        model = TargetModel() if pattern is None else targets[pattern]
        granted = None
        if model.rate_limit is not None:
            whose = plan.name if model.rate_limit.per == "target" else f"{pattern} "
            granted = self._granted.setdefault(whose, Granted(model.rate_limit))
        return Simulated(
            plan.name, model, seed=self._seed, clock=context.clock, since=0.0, end=self._duration, granted=granted
        )

    async def _load(self, pipeline: Pipeline, inputs: _Inputs) -> None:
        """Begin every run at its time, and wait for all of them. Raises what is no error of a run: a bug, and nobody
        else's runs go on."""
        clock = LoopClock()
        self._collector.begin(pipeline, clock)
        times = arrivals(self._scenario.load, self._seed)
        asked = questions(self._scenario.load, self._seed, len(times))
        looking = asyncio.ensure_future(self._look(clock))
        try:
            async with asyncio.TaskGroup() as group:
                for at, question in zip(times, asked, strict=True):
                    await clock.sleep(at - clock.now())
                    group.create_task(self._one(pipeline, at, inputs.of(question), question.first))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        finally:
            looking.cancel()

    async def _look(self, clock: LoopClock) -> None:
        """Look at our limits at the end of every slice of the load."""
        number = 1
        while (at := number * self._collector.width) <= self._duration:
            await clock.sleep(at - clock.now())
            self._collector.look()
            number += 1

    async def _one(self, pipeline: Pipeline, at: float, inputs: dict[str, Any], first: int) -> None:
        reader = _read if self._scenario.load.stream else None
        result, kind = None, "ok"
        try:
            result = await pipeline.run(inputs=inputs, repeat=first, on_delta=reader)
        except WizardError as error:
            result, kind = error.result, error.kind
        self._collector.ended(at, result, kind)
        self._ended += 1
        if self._tick is not None:
            self._tick(self._ended)


def _read(delta: Delta) -> None:
    """Somebody who reads as fast as anything comes."""


class _Inputs:
    """What runs are given: those of the scenario, and made-up values for what they leave out."""

    def __init__(self, program: Program, given: list[dict[str, Any]], seed: int) -> None:
        self._given = given or [{}]
        self._seed = seed
        self._declared = {name: spec for name, spec in program.inputs.items() if spec.default is msgspec.UNSET}

    def of(self, question: Question) -> dict[str, Any]:
        given = self._given[question.inputs]
        made = {
            name: instance(spec.schema, f"{self._seed}/input/{name}/{question.first}")
            for name, spec in self._declared.items()
            if name not in given
        }
        return {**given, **made}
