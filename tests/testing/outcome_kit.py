"""Runs a small pipeline under scripts and says which outcomes happened: pairs of a component's name and an outcome."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.compiler.outcomes import sites
from wizard_dsl.compiler.program import Program, TargetPlan
from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.events import Event
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.run import Run
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.runtime.runtime import require, running
from wizard_dsl.testing import virtual
from wizard_dsl.testing.coverage import Entry
from wizard_dsl.testing.scripted import Script, Scripted

Drive = Callable[["Driver"], Awaitable[None]]

PRICES = {"m": {"prices": {"input": "$1", "output": "$1000"}, "max_output": 100, "context": 100000}}
#: Nothing that waits or repeats, unless a scenario says so.
BARE = {"use": "none"}


@dataclass
class Scenario:
    """A chain of targets a, b …, what they answer, and what is done with it."""

    scripts: Mapping[str, list[Any]]
    chain: Mapping[str, Any] = field(default_factory=dict)
    step: Mapping[str, Any] = field(default_factory=dict)
    file: Mapping[str, Any] = field(default_factory=dict)
    drive: Drive | None = None

    def document(self) -> dict[str, Any]:
        providers = {
            name: {"type": "ollama", "base_url": f"http://{name}", "model": "m", "models": PRICES}
            for name in self.scripts
        }
        base = {
            "version": 1,
            "inputs": {"question": {"type": "string", "default": "Why?"}},
            "providers": providers,
            "chains": {"default": {"targets": [f"{name}/m" for name in self.scripts], "policies": BARE, **self.chain}},
            "steps": {"answer": {"prompt": {"user": "{{ question }}"}, **self.step}},
        }
        return {**base, **self.file}


class Driver:
    """What a scenario does with its pipeline; errors of runs are outcomes, too."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def run(self, **options: Any) -> None:
        with suppress(WizardError):
            await self._pipeline.run(**options)

    async def stream(self) -> None:
        with suppress(WizardError):
            async with self._pipeline.stream() as stream:
                async for _ in stream:
                    pass

    async def at_once(self, times: int, **options: Any) -> None:
        from asyncio import gather

        await gather(*(self.run(**options) for _ in range(times)))

    async def wait(self, seconds: float) -> None:
        from asyncio import sleep

        await sleep(seconds)


async def once(driver: Driver) -> None:
    await driver.run()


async def streamed(driver: Driver) -> None:
    await driver.stream()


def played(folder: Path, scenario: Scenario) -> tuple[Program, list[Entry]]:
    """The program, and every event in order, those of background work included."""
    path = folder / "some.yaml"
    path.write_text(json.dumps(scenario.document()))
    registry = Registry(plugins=False)
    compiled = compile_file(path, registry, Sources(env={}))
    events: list[Entry] = []

    def note(run: Run, event: Event) -> None:
        events.append((0.0, run.scope.place, event))

    scripts = {f"{name}/m": Script(name, items) for name, items in scenario.scripts.items()}

    def provide(plan: TargetPlan, context: BuildContext) -> Scripted:
        return Scripted(scripts[plan.name], context.clock)

    async def main() -> None:
        async with running(compiled, registry, seed=0, sinks=[note], provide=provide) as pipeline:
            await (scenario.drive or once)(Driver(pipeline))

    virtual.run(main())
    return require(compiled), events


def named(program: Program, seen: Iterable[tuple[str, str]]) -> set[str]:
    """Outcomes as `component.outcome`."""
    names = {each.path: each.component for each in sites(program)}
    return {f"{names[path]}.{name}" for path, name in seen}


def flat(scenarios: Iterable[tuple[set[str], Scenario]]) -> set[str]:
    return {name for shows, _ in scenarios for name in shows}
