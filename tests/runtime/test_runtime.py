"""One runtime, many runs: what they share, and what is left when it closes."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_kit import CHAIN, HEAD, compiled, play

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.events import CacheUnavailable, Event, ObserverFailed, RunEnded, RunStarted
from wizard_dsl.core.run import Run, nobody
from wizard_dsl.observe.transcript import render
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.runtime.runtime import Runtime, running
from wizard_dsl.runtime.services import Background, SharedState, emitter
from wizard_dsl.testing import virtual

ONE = HEAD + CHAIN + "steps: {one: {prompt: {user: '{{ q }}'}}}\n"
LOOP = HEAD + CHAIN + "steps: {each: {for_each: '[1, 2, 3]', concurrency: 3, prompt: {user: '{{ q }} {{ item }}'}}}\n"


def bare(*sinks: Callable[[Run, Event], None]) -> Runtime:
    return Runtime(seed=1, folder=None, transport=None, sinks=sinks, provide=None)


def test_a_hundred_runs_at_once_keep_apart(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(compiled(LOOP, tmp_path), Registry(plugins=False), seed=1, mock=True) as pipeline:
            results = await asyncio.gather(*(pipeline.run(q=str(number)) for number in range(100)))
        assert len({result.run_id for result in results}) == 100
        assert all([row.item for row in result.attempts] == [0, 1, 2] for result in results)

    virtual.run(main())


def test_the_same_seed_tells_the_same_story(tmp_path: Path) -> None:
    text = LOOP + "policies: {default: {circuit_breaker: off}}\n"
    script = [503, {"reply": "x", "delay": "1s"}, 503, {"reply": "y", "times": "forever"}]

    async def work(pipeline: Pipeline) -> str:
        async with pipeline.start() as run:
            return render(run.transcript, result=await run.finish())

    stories = {play(text, tmp_path, {"a": script}, work)[0] for _ in range(3)}
    assert len(stories) == 1
    assert "each[1]" in stories.pop()


def test_a_sink_that_raises_stands_in_the_transcript_and_changes_nothing(tmp_path: Path) -> None:
    seen: list[str] = []

    def broken(run: Run, event: Event) -> None:
        raise BrokenPipeError("gone")

    async def main() -> None:
        sinks = [broken, lambda run, event: seen.append(event.name)]
        async with running(
            compiled(ONE, tmp_path), Registry(plugins=False), seed=1, mock=True, sinks=sinks
        ) as pipeline:
            async with pipeline.start() as run:
                assert (await run.finish()).ok
        reported = [event for _, _, event in run.transcript.events if isinstance(event, ObserverFailed)]
        assert {event.error for event in reported} == {"BrokenPipeError('gone')"}
        assert len(reported) == len(seen)

    virtual.run(main())


def test_what_a_store_says_at_the_end_reaches_the_sinks() -> None:
    async def main() -> None:
        told: list[tuple[str, Event]] = []
        runtime = bare(lambda run, event: told.append((run.scope.run_id, event)))

        async def close() -> list[str]:
            return ["the disk is full"]

        runtime.stores.close = close  # type: ignore[method-assign]
        await runtime.close()
        assert told == [("", CacheUnavailable(path="stores", reason="the disk is full"))]

    virtual.run(main())


def test_what_cannot_be_closed_keeps_nothing_else_open() -> None:
    class Closes:
        def __init__(self, error: Exception | None = None) -> None:
            self.error = error
            self.closed = False

        async def aclose(self) -> None:
            self.closed = True
            if self.error is not None:
                raise self.error

    async def main() -> None:
        runtime = bare()
        first, second = Closes(), Closes(OSError("stuck"))
        runtime.shared.state("model", "a", lambda: first)
        runtime.shared.state("model", "b", lambda: second)
        store = runtime.stores.open("memory", "x", max_entries=1, eviction="lru")
        with pytest.raises(OSError, match="stuck"):
            await runtime.close()
        assert first.closed
        assert runtime.stores.open("memory", "x", max_entries=1, eviction="lru") is not store

    virtual.run(main())


def test_background_work_is_awaited_for_a_moment_and_then_cancelled() -> None:
    done: list[str] = []

    async def work(name: str, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
            done.append(name)
        except asyncio.CancelledError:
            done.append(f"{name} cancelled")
            raise

    async def main() -> None:
        background = Background()
        background.spawn(work("quick", 0.5))
        background.spawn(work("slow", 50))
        await asyncio.sleep(0)
        await background.close()
        assert done == ["quick", "slow cancelled"]
        assert asyncio.get_running_loop().time() == 1
        assert len(asyncio.all_tasks()) == 1

    virtual.run(main())


def test_shared_state_is_made_once_a_key() -> None:
    state = SharedState()
    assert state.state("breaker", "a", list) is state.state("breaker", "a", list)
    assert state.state("breaker", "b", list) is not state.state("breaker", "a", list)
    assert set(state.of("breaker")) == {"a", "b"}


def test_a_sink_is_handed_only_the_events_that_it_says_it_takes() -> None:
    class Ends:
        def __init__(self) -> None:
            self.told: list[Event] = []
            self.asked = 0

        def takes(self, kind: type[Event]) -> bool:
            self.asked += 1
            return kind is RunEnded

        def __call__(self, run: Run, event: Event) -> None:
            self.told.append(event)

    async def main() -> None:
        everything: list[Event] = []
        ends = Ends()
        emit = emitter(LoopClock(), [ends, lambda run, event: everything.append(event)])
        run = nobody(0.0)
        started, ended = RunStarted(pipeline="p"), RunEnded(kind="ok", elapsed=1.0)
        for event in (started, started, ended, ended):
            emit(run, event)
        assert ends.told == [ended, ended] and ends.asked == 2, "asked once for each type"
        assert everything == [event for _, _, event in run.transcript.events] == [started, started, ended, ended]

    virtual.run(main())


def test_a_sink_that_cannot_say_what_it_takes_is_handed_everything() -> None:
    class Confused:
        def __init__(self) -> None:
            self.told: list[Event] = []

        def takes(self, kind: type[Event]) -> bool:
            raise RuntimeError(kind.__name__)

        def __call__(self, run: Run, event: Event) -> None:
            self.told.append(event)

    async def main() -> None:
        confused = Confused()
        run, started = nobody(0.0), RunStarted(pipeline="p")
        emitter(LoopClock(), [confused])(run, started)
        assert confused.told == [started] == [event for _, _, event in run.transcript.events]

    virtual.run(main())


RETRIED = "policies: {default: {circuit_breaker: off, timeout: {total: 5s}}}\n"


@pytest.mark.parametrize(
    ("settings", "items", "streamed"),
    [
        ("", ["fine"], False),
        ("", ["fine"], True),
        (RETRIED, [503, "fine"], False),
        (RETRIED, [{"reply": "late", "delay": "9s"}, "fine"], False),
        (RETRIED, [{"reply": "a b c", "cut_after": 1}, "fine"], False),
    ],
    ids=["run", "stream", "retried", "timeout", "cut"],
)
def test_a_run_that_answers_leaves_no_cycle_for_the_collector(
    tmp_path: Path, settings: str, items: list[Any], streamed: bool
) -> None:
    async def once(pipeline: Pipeline) -> None:
        async with pipeline.stream() if streamed else pipeline.start() as run:
            await run.finish()

    async def work(pipeline: Pipeline) -> int:
        for _ in range(3):
            await once(pipeline)
        gc.collect()
        gc.disable()
        try:
            await once(pipeline)
            return gc.collect()
        finally:
            gc.enable()

    assert play(ONE + settings, tmp_path, {"a": items * 4}, work)[0] == 0


@pytest.mark.parametrize("turns", range(0, 30, 3))
@pytest.mark.parametrize("at", [0, 1, 2, 4, 6])
def test_cancelling_anywhere_closes_every_row_and_gives_everything_back(tmp_path: Path, at: int, turns: int) -> None:
    text = (
        HEAD
        + CHAIN
        + """
policies:
  default:
    timeout: {first_chunk: 2s, total: 6s}
    retry: {jitter: none, max_attempts: 6}
    retry_budget: off
    circuit_breaker: off
    concurrency: 1
steps:
  x: {prompt: {user: x}}
  y: {for_each: "[1, 2]", prompt: {user: "{{ item }}"}}
  z: {prompt: {user: "{{ steps.x.text }}{{ steps.y.text }}"}}
"""
    )
    script = [503, {"reply": "a b", "chunk_every": "1s"}, {"reply": "a", "cut_after": 1}, {"reply": "b", "delay": "9s"}]

    async def work(pipeline: Pipeline) -> None:
        stream = pipeline.stream()

        async def read() -> None:
            async with stream:
                await stream.finish()

        task = asyncio.create_task(read())
        await asyncio.sleep(at)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1
        assert all(row.kind is not None for row in stream.transcript.attempts)
        names = [event.name for _, _, event in stream.transcript.events]
        assert names.count("attempt_started") == names.count("attempt_completed")
        assert names.count("step_started") == names.count("step_completed")
        assert (await pipeline.run()).ok

    play(text, tmp_path, {"a": [*script, {"reply": "t", "times": "forever"}]}, work)


def test_background_work_that_is_cancelled_at_the_end_may_still_give_back_what_it_holds() -> None:
    async def main() -> None:
        background, given = Background(), asyncio.Event()

        async def give() -> None:
            await asyncio.sleep(0.5)
            given.set()

        async def hold() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                background.spawn(give())

        background.spawn(hold())
        await asyncio.sleep(0)
        await background.close()
        assert given.is_set() and not background.running
        background.spawn(give())
        assert not background.running, "nothing is begun after the end"
        assert asyncio.get_running_loop().time() == 1.5

    virtual.run(main())
