"""Streaming a run: deltas, backpressure, cancellation, results at any time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from run_kit import CHAIN, HEAD, play

from wizard_dsl.core.errors import Cancelled, InputInvalid, StreamBroken, WizardError
from wizard_dsl.core.events import StepEnded
from wizard_dsl.core.messages import Delta
from wizard_dsl.runtime.pipeline import Pipeline

ONE = HEAD + CHAIN + "steps: {one: {prompt: {user: x}}}\n"
WORDS = {"reply": "one two three four", "chunk_every": "1s"}


def test_deltas_arrive_as_they_are_sent_and_none_is_empty(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        loop = asyncio.get_running_loop()
        async with pipeline.stream() as stream:
            seen = [(delta.text, loop.time()) async for delta in stream]
        assert seen == [("one", 0), (" two", 1), (" three", 2), (" four", 3)]
        assert stream.result.ok
        assert stream.result.text == "one two three four"
        assert stream.result.steps["one"].first_chunk == 0
        assert stream.result.tokens_per_second == pytest.approx(5 / 3, abs=0.01)

    play(ONE, tmp_path, {"a": [WORDS]}, work)


def test_the_result_is_valid_while_the_answer_arrives(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        async with pipeline.stream() as stream:
            async for delta in stream:
                if delta.text == " two":
                    break
            result = stream.result
            assert result.text == "one two"
            assert result.partial
            assert not result.ok

    play(ONE, tmp_path, {"a": [WORDS]}, work)


def test_cancel_returns_the_partial_and_releases_the_call(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        async with pipeline.stream() as stream:
            async for delta in stream:
                if delta.text == " three":
                    result = await stream.cancel()
                    break
        assert result.text == "one two three"
        assert result.error is not None
        assert result.error.kind == "cancelled"
        assert [attempt.kind for attempt in result.attempts] == ["cancelled"]
        assert (await stream.cancel()).text == "one two three"

    play(ONE, tmp_path, {"a": [{**WORDS, "stall_after": 3}]}, work)


def test_leaving_the_block_early_leaves_nothing_behind(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> int:
        async with pipeline.stream() as stream:
            async for _ in stream:
                break
        return len(asyncio.all_tasks())

    assert play(ONE, tmp_path, {"a": [WORDS]}, work)[0] == 1


def test_who_does_not_read_holds_the_provider_back(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        async with pipeline.stream() as stream:
            async for _ in stream:
                await asyncio.sleep(100)
        assert stream.result.ok

    text = ONE + "policies: {default: {timeout: {idle: 2s, total: 10s}}}\ndeadline: 1h\n"
    play(text, tmp_path, {"a": [WORDS]}, work)


def test_a_callback_gets_the_deltas_and_may_be_awaited(tmp_path: Path) -> None:
    seen: list[str] = []

    async def slow(delta: Delta) -> None:
        await asyncio.sleep(1)
        seen.append(delta.text)

    async def work(pipeline: Pipeline) -> None:
        result = await pipeline.run(on_delta=slow)
        assert result.text == "one two three four"

    play(ONE, tmp_path, {"a": [WORDS]}, work)
    assert "".join(seen) == "one two three four"


def test_a_break_after_the_first_content_keeps_the_partial(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        seen = []
        with pytest.raises(StreamBroken) as caught:
            async with pipeline.stream() as stream:
                async for delta in stream:
                    seen.append(delta.text)
        assert "".join(seen) == "one two"
        assert caught.value.result.text == "one two"
        assert caught.value.result.partial
        assert [attempt.kind for attempt in caught.value.result.attempts] == ["mid_stream"]

    play(ONE, tmp_path, {"a": [{**WORDS, "cut_after": 2}]}, work)


def test_a_cut_where_nobody_watches_is_retried(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        result = await pipeline.run()
        assert result.text == "whole"
        assert [attempt.kind for attempt in result.attempts] == ["server", "ok"]

    play(ONE, tmp_path, {"a": [{**WORDS, "cut_after": 2}, "whole"]}, work)


def test_only_the_step_the_output_passes_through_streams(tmp_path: Path) -> None:
    text = (
        HEAD
        + CHAIN
        + """
steps:
  one: {prompt: {user: x}}
  two: {prompt: {user: "{{ steps.one.text }}"}}
output: {text: "{{ steps.one.text }}", more: "{{ steps.two.text }}"}
"""
    )

    async def work(pipeline: Pipeline) -> None:
        async with pipeline.stream() as stream:
            seen = [delta.text async for delta in stream]
        assert seen == ["a", " b"]
        assert stream.result.output == {"text": "a b", "more": "c d"}

    _, scripts = play(text, tmp_path, {"a": ["a b", "c d"]}, work)
    assert [run.commit for _, run in scripts["a"].calls] == ["content", "end"]


def test_a_text_made_of_the_answer_arrives_in_one_piece(tmp_path: Path) -> None:
    text = HEAD + CHAIN + 'steps: {one: {prompt: {user: x}}}\noutput: "Answer: {{ steps.one.text }}"\n'

    async def work(pipeline: Pipeline) -> None:
        async with pipeline.stream() as stream:
            assert [delta.text async for delta in stream] == ["Answer: a b"]

    play(text, tmp_path, {"a": ["a b"]}, work)


def test_a_contract_holds_the_stream_back_until_it_was_checked(tmp_path: Path) -> None:
    text = HEAD + CHAIN + "steps: {one: {prompt: {user: x}, output: {schema: {type: object}}}}\n"

    async def work(pipeline: Pipeline) -> None:
        async with pipeline.stream() as stream:
            assert [delta.text async for delta in stream] == ['{"a": 1}']
        assert stream.result.steps["one"].json == {"a": 1}

    play(text, tmp_path, {"a": ["no json", '{"a": 1}']}, work)


def test_an_error_before_the_first_delta_leaves_the_iterator(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        with pytest.raises(WizardError) as caught:
            async with pipeline.stream() as stream:
                async for _ in stream:
                    raise AssertionError("no delta was sent")
        assert caught.value.kind == "auth"

    play(ONE, tmp_path, {"a": [401]}, work)


def test_a_cancelled_reader_stays_cancelled(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        async def read() -> None:
            async with pipeline.stream() as stream:
                async for _ in stream:
                    pass

        task = asyncio.create_task(read())
        await asyncio.sleep(1.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1

    play(ONE, tmp_path, {"a": [WORDS]}, work)


def test_a_run_that_was_started_can_be_awaited_looked_at_and_cancelled(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        async with pipeline.start() as run:
            assert (await run.finish()).text == "fine"
        async with pipeline.start() as run:
            await asyncio.sleep(1)
            assert not run.result.ok
            assert (await run.cancel()).partial

    play(ONE, tmp_path, {"a": ["fine", {"reply": "late", "delay": "1h"}]}, work)


def test_reading_may_stop_and_go_on_without_losing_a_delta(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        async with pipeline.stream() as stream:
            async for delta in stream:
                first = delta.text
                break
            assert first == "one"
            assert [delta.text async for delta in stream] == [" two", " three", " four"]
            assert stream.result.ok

    play(ONE, tmp_path, {"a": [WORDS]}, work)


def test_finish_after_the_first_delta_waits_for_the_end(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        async with pipeline.stream() as stream:
            async for _ in stream:
                break
            result = await stream.finish()
        assert result.text == "one two three four"
        assert result.elapsed == 3

    play(ONE, tmp_path, {"a": [WORDS]}, work)


def test_a_reader_that_gives_up_waiting_may_read_on_later(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        async with pipeline.stream() as stream:
            assert (await anext(stream)).text == "one"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(stream), 0.5)
            assert (await anext(stream)).text == " two"

    play(ONE, tmp_path, {"a": [WORDS]}, work)


def test_two_readers_share_the_deltas_and_both_see_the_end(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        async with pipeline.stream() as stream:

            async def read() -> list[str]:
                return [delta.text async for delta in stream]

            parts = await asyncio.gather(read(), read())
        assert sorted([*parts[0], *parts[1]]) == [" four", " three", " two", "one"]

    play(ONE, tmp_path, {"a": [WORDS]}, work)


def test_the_last_deltas_of_a_run_that_ended_meanwhile_are_still_read(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        async with pipeline.stream() as stream:
            await asyncio.sleep(50)
            assert stream.result.ok is False
            assert "".join([delta.text async for delta in stream]) == "one two three four"

    play(ONE, tmp_path, {"a": [WORDS]}, work)


def test_a_stream_that_was_not_opened_says_so_instead_of_hanging(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        stream = pipeline.stream()
        with pytest.raises(RuntimeError, match="async with"):
            await anext(stream)
        async with stream:
            await stream.finish()
        with pytest.raises(RuntimeError, match="opened once"):
            await stream.__aenter__()

    play(ONE, tmp_path, {"a": ["fine"]}, work)


def test_cancelling_a_run_is_an_error_for_its_reader_and_no_cancellation_of_it(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        async with pipeline.stream() as stream:
            reader = asyncio.create_task(stream.finish())
            await asyncio.sleep(1.5)
            await stream.cancel()
            with pytest.raises(Cancelled) as caught:
                await reader
        assert caught.value.result.text == "one two"

    play(ONE, tmp_path, {"a": [WORDS]}, work)


def test_a_cancelled_run_shows_the_step_it_was_in(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        async with pipeline.stream() as stream:
            await asyncio.sleep(0.5)
            running = stream.result.steps["one"]
            assert (running.elapsed, running.error) == (0.5, None)
            await asyncio.sleep(1)
            result = await stream.cancel()
        step = result.steps["one"]
        assert step.error is not None
        assert step.error.kind == "cancelled"
        assert (step.text, step.elapsed, len(step.attempts)) == ("one two", 1.5, 1)
        ended = [event for _, _, event in stream.transcript.events if isinstance(event, StepEnded)]
        assert [event.kind for event in ended] == ["cancelled"]

    play(ONE, tmp_path, {"a": [WORDS]}, work)


def test_what_a_callback_returns_does_not_matter_and_it_gets_no_empty_delta(tmp_path: Path) -> None:
    seen: list[str] = []

    def write(delta: Delta) -> int:
        seen.append(delta.text)
        return len(delta.text)

    async def work(pipeline: Pipeline) -> None:
        await pipeline.run(on_delta=write)

    play(ONE, tmp_path, {"a": [WORDS]}, work)
    assert seen == ["one", " two", " three", " four"]


def test_a_callback_that_raises_ends_the_call_and_leaves_unchanged(tmp_path: Path) -> None:
    def broken(delta: Delta) -> None:
        raise ZeroDivisionError("mine")

    async def work(pipeline: Pipeline) -> None:
        with pytest.raises(ZeroDivisionError, match="mine"):
            await pipeline.run(on_delta=broken)
        assert len(asyncio.all_tasks()) == 1

    play(ONE, tmp_path, {"a": [WORDS]}, work)


@pytest.mark.parametrize("deadline", [0, -1, float("nan"), "20", "soon", "0s"])
def test_a_deadline_that_is_none_is_refused(tmp_path: Path, deadline: float | str) -> None:
    async def work(pipeline: Pipeline) -> None:
        with pytest.raises(InputInvalid, match=r"deadline|duration") as caught:
            await pipeline.run(deadline=deadline)
        assert caught.value.where == "deadline"

    play(ONE, tmp_path, {"a": []}, work)


def test_a_default_that_stands_in_for_a_broken_stream_resets_what_was_heard(tmp_path: Path) -> None:
    text = HEAD + CHAIN + "steps: {one: {prompt: {user: x}, on_error: {default: sorry}}}\n"

    async def work(pipeline: Pipeline) -> None:
        async with pipeline.stream() as stream:
            seen = [(delta.text, delta.reset) async for delta in stream]
        assert seen == [("one", False), ("sorry", True)]
        assert stream.result.text == "sorry"

    play(text, tmp_path, {"a": [{**WORDS, "cut_after": 1}]}, work)
