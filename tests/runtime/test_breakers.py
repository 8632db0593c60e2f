"""Circuit breakers in the Python API: figures, and control by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wizard_dsl.compiler.program import TargetPlan
from wizard_dsl.core.errors import CircuitOpen, InputInvalid, WizardError
from wizard_dsl.core.events import BreakerChanged, Event
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.run import Run
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.runtime.runtime import open as open_pipeline
from wizard_dsl.testing.scripted import Script, Scripted
from wizard_dsl.testing.virtual import EPOCH, run

FILE = """
version: 1
providers: {m: {type: mock}}
policies: {default: {retry: off, circuit_breaker: {failure_threshold: 2}}}
chains: {default: {targets: [m/a]}}
steps: {answer: {prompt: {user: "hi"}}}
"""


def provide(scripts: dict[str, list[Any]]) -> Callable[[TargetPlan, BuildContext], Scripted]:
    played = {name: Script(name, items) for name, items in scripts.items()}
    return lambda plan, context: Scripted(played[plan.name], context.clock)


async def fail(pipeline: Pipeline, times: int = 1) -> WizardError:
    for _ in range(times):
        with pytest.raises(WizardError) as caught:
            await pipeline.run()
    return caught.value


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pipeline.yaml"
    path.write_text(FILE)
    return path


def test_figures_say_how_a_breaker_stands(file: Path) -> None:
    async def main() -> None:
        provided = provide({"m/a": ["hello", 503, 503, "hello"]})
        async with open_pipeline(file, env={}, seed=1, provide=provided) as pipeline:
            await pipeline.run()
            await fail(pipeline)
            figures = pipeline.breakers()["m/a"]
            assert (figures.state, figures.successes, figures.failures, figures.slow) == ("closed", 1, 1, 0)
            assert figures.failure_ratio == 0.5 and figures.transitions == 0 and figures.retry_after is None
            await asyncio.sleep(10)
            await fail(pipeline)
            await asyncio.sleep(5)
            figures = pipeline.breakers()["m/a"]
            assert figures.state == "open" and figures.transitions == 1 and figures.retry_after == 25
            assert figures.opened_until == EPOCH + 40 and figures.seconds == {"closed": 10, "open": 5}
            await asyncio.sleep(25)
            await pipeline.run()
            figures = pipeline.breakers()["m/a"]
            assert figures.state == "closed" and figures.transitions == 3 and figures.opened_until is None
            assert figures.seconds == {"closed": 10, "open": 30, "half_open": 0}

    run(main())


def test_figures_forget_what_left_the_window(file: Path) -> None:
    async def main() -> None:
        async with open_pipeline(file, env={}, seed=1, provide=provide({"m/a": [503]})) as pipeline:
            await fail(pipeline)
            await asyncio.sleep(70)
            assert pipeline.breakers()["m/a"].failures == 0

    run(main())


def test_a_person_opens_closes_and_resets_it_and_each_change_is_told_once(file: Path) -> None:
    told: list[tuple[str, Event]] = []

    def sink(of: Run, event: Event) -> None:
        if isinstance(event, BreakerChanged):
            told.append((of.scope.run_id, event))

    async def main() -> None:
        provided = provide({"m/a": [503, 503, 503, "hello"]})
        async with open_pipeline(file, env={}, seed=1, provide=provided, sinks=[sink]) as pipeline:
            breaker = pipeline.breaker("m/a")
            breaker.force_open()
            error = await fail(pipeline)
            assert isinstance(error, CircuitOpen) and error.retry_after is None
            assert pipeline.breakers()["m/a"].state == "forced_open"
            assert pipeline.breakers()["m/a"].retry_after is None
            breaker.force_close()
            breaker.force_close()
            assert (await fail(pipeline, 3)).kind == "server"
            figures = pipeline.breakers()["m/a"]
            assert figures.state == "forced_closed" and figures.failures == 3
            breaker.reset()
            assert pipeline.breakers()["m/a"].failures == 0
            await pipeline.run()

    run(main())
    changes = [(event.before, event.after) for _, event in told]  # type: ignore[attr-defined]
    assert changes == [("closed", "forced_open"), ("forced_open", "forced_closed"), ("forced_closed", "closed")]
    assert {run_id for run_id, _ in told} == {""}
    assert {event.target for _, event in told} == {"m/a"}  # type: ignore[attr-defined]


def test_a_call_that_waits_for_its_repeat_sees_what_a_person_does(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "pipeline.yaml"
        path.write_text(FILE.replace("retry: off", "retry: {base: 10s, jitter: none}"))
        async with open_pipeline(path, env={}, seed=1, provide=provide({"m/a": [503]})) as pipeline:
            waiting = asyncio.ensure_future(pipeline.run())
            await asyncio.sleep(5)
            pipeline.breaker("m/a").force_open()
            with pytest.raises(WizardError) as caught:
                await waiting
            assert caught.value.kind == "server" and "breaker_opened" in caught.value.marks

    run(main())


def test_names_tell_providers_and_chains_apart(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "pipeline.yaml"
        path.write_text(
            """
version: 1
providers: {m: {type: mock, policies: {circuit_breaker: 9}}}
chains:
  default: {targets: [m/a, m/b]}
  own: {targets: [m/a], policies: {circuit_breaker: {per: chain}}}
steps:
  one: {prompt: {user: "hi"}}
  two: {prompt: {user: "hi"}, chain: own}
"""
        )
        async with open_pipeline(path, env={}, seed=1, mock=True) as pipeline:
            assert list(pipeline.breakers()) == ["m/a", "providers.m", "m/b", "own: m/a"]
            with pytest.raises(InputInvalid, match="no circuit breaker 'm/c'") as caught:
                pipeline.breaker("m/c")
            assert "m/b" in (caught.value.suggestion or "")

    run(main())


def test_a_probe_in_flight_is_cancelled_when_the_runtime_closes(tmp_path: Path) -> None:
    async def main() -> float:
        path = tmp_path / "pipeline.yaml"
        path.write_text(FILE.replace("failure_threshold: 2", "failure_threshold: 1, probe: true"))
        provided = provide({"m/a": [503, {"reply": "x", "first_chunk": "1h"}]})
        async with open_pipeline(path, env={}, seed=1, provide=provided) as pipeline:
            await fail(pipeline)
            await asyncio.sleep(30)
        assert len(asyncio.all_tasks()) == 1
        return asyncio.get_running_loop().time()

    assert run(main()) == 31
