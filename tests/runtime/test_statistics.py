"""What a runtime counts of its runs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from run_kit import HEAD, play

from wizard_dsl.core.errors import WizardError
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.runtime.statistics import Counted

FILE = (
    HEAD
    + "chains: {default: {targets: [a, b], policies: {retry: {max_attempts: 2, jitter: none}, circuit_breaker: off}}}\n"
    + 'steps: {one: {prompt: {user: "{{ q }}"}}}\n'
)


async def ask(pipeline: Pipeline, *questions: str) -> Counted:
    for question in questions:
        with suppress(WizardError):
            await pipeline.run(q=question)
    return (await pipeline.stats()).counted


def test_retries_fallbacks_and_runs_are_counted(tmp_path: Path) -> None:
    scripts = {"a": [503, "one", 503, 503, 401], "b": ["two"]}
    found, _ = play(FILE, tmp_path, scripts, lambda pipeline: ask(pipeline, "1", "2", "3"))
    assert (found.runs.started, found.runs.ok, found.runs.failed, found.runs.active) == (3, 2, {"auth": 1}, 0)
    a = found.retry["a"]
    assert (a.attempts, a.repeats, a.successes, a.successes_after_retry) == (5, 2, 1, 1)
    assert a.errors == {"server": 3, "auth": 1}
    assert a.given_up == {"attempts": 1}
    assert a.average_delay == 1.0
    assert found.targets["a"].left == 1 and found.targets["a"].reliability == 0.25
    assert found.targets["b"].reliability == 1.0
    assert found.fallback["default"].by_position == {0: 1, 1: 1}
    assert found.fallback["default"].mean_depth == 0.5


def test_a_run_is_active_until_it_has_ended_also_where_it_was_cancelled(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        run = asyncio.create_task(pipeline.run(q="1"))
        await asyncio.sleep(0.5)
        during = (await pipeline.stats()).counted.runs
        assert (during.started, during.ok, during.failed, during.active) == (1, 0, {}, 1)
        run.cancel()
        with suppress(asyncio.CancelledError):
            await run
        after = (await pipeline.stats()).counted.runs
        assert (after.started, after.failed, after.active) == (1, {"cancelled": 1}, 0)

    play(FILE, tmp_path, {"a": [503, "x"], "b": []}, work)


def test_a_stored_answer_was_not_answered_by_anybody(tmp_path: Path) -> None:
    text = FILE.replace("circuit_breaker: off", "circuit_breaker: off, cache: 1h")
    found, _ = play(text, tmp_path, {"a": ["x"], "b": []}, lambda pipeline: ask(pipeline, "1", "1"))
    assert found.runs.ok == 2 and found.fallback["default"].by_position == {0: 1}


def test_a_file_that_a_step_runs_is_part_of_its_run(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text(FILE)
    outer = HEAD + "steps: {one: {type: pipeline, file: inner.yaml}}\n"
    found, _ = play(outer, tmp_path, {"a": ["x"], "b": []}, lambda pipeline: ask(pipeline, "1"))
    assert (found.runs.started, found.runs.ok, found.runs.active) == (1, 1, 0)


def test_figures_are_a_copy_and_have_a_json_form(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        first = await pipeline.stats()
        await pipeline.run()
        assert first.counted.runs.started == 0
        plain = (await pipeline.stats()).to_json()
        assert plain["runs"]["ok"] == 1 and plain["fallback"]["default"]["by_position"] == {"0": 1}
        assert plain["breakers"] == {} and plain["limits"] == []
        assert plain["pools"] == [] and plain["caches"] == [] and plain["unusable"] == []

    play(FILE, tmp_path, {"a": ["x"], "b": []}, work)


def test_breakers_limits_and_caches_stand_beside_what_was_counted(tmp_path: Path) -> None:
    text = FILE.replace("circuit_breaker: off", "circuit_breaker: 1, cache: 1h, rate_limit: 10/s")

    async def work(pipeline: Pipeline) -> None:
        await ask(pipeline, "1", "1")
        stats = await pipeline.stats()
        assert stats.breakers["a"].state == "open" and stats.breakers["b"].state == "closed"
        assert {(each.name, each.available) for each in stats.limits} == {("rate_limit", 19.0)}
        assert (stats.caches[0].hits, stats.caches[0].misses) == (1, 1)

    play(text, tmp_path, {"a": [503], "b": ["x"]}, work)
