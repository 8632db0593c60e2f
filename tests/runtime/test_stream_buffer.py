"""The `stream` section: what a slow consumer gets, and what is kept for it meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from run_kit import CHAIN, HEAD, play

from wizard_dsl.compiler.program import StreamRule
from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.errors import Cancelled, StreamBroken, StreamBufferFull
from wizard_dsl.core.messages import Delta
from wizard_dsl.runtime.channel import Buffer, Channel, between
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.testing.virtual import run

ONE = HEAD + CHAIN + "steps: {one: {prompt: {user: x}}}\n"
WORDS = " ".join(str(n) for n in range(100))
EACH_SECOND = {"reply": WORDS, "chunk_every": "1s"}


def file(when_full: str, buffer: int = 4) -> str:
    return ONE + f"stream: {{buffer: {buffer}, when_full: {when_full}}}\n"


def texts(deltas: list[Delta]) -> list[str]:
    return [delta.text for delta in deltas]


# -- the buffer itself ----------------------------------------------------------------------------------


async def taken(buffer: Buffer) -> list[tuple[str, bool]]:
    buffer.close()
    seen = []
    while (batch := await buffer.get()) is not None:
        seen += [(delta.text, delta.reset) for delta in batch]
    return seen


def test_the_newest_deltas_stay_and_a_reset_is_never_lost() -> None:
    async def main() -> None:
        for puts, left in (
            ("abcde", [("d", False), ("e", False)]),
            ("ab!c", [("", True), ("c", False)]),
            ("ab!cd", [("c", True), ("d", False)]),
            ("ab!cdef", [("e", True), ("f", False)]),
            ("", []),
        ):
            buffer = Buffer(StreamRule(2, "drop_oldest"), LoopClock())
            await buffer.put([Delta(reset=True) if each == "!" else Delta(text=each) for each in puts])
            assert await taken(buffer) == left
        single = Buffer(StreamRule(1, "drop_oldest"), LoopClock())
        await single.put([Delta(text="a"), Delta(reset=True), Delta(text="b"), Delta(), Delta(text="c")])
        assert await taken(single) == [("c", True)]

    run(main())


def test_one_more_than_fits_is_an_error_and_a_reset_makes_room() -> None:
    async def main() -> None:
        buffer = Buffer(StreamRule(2, "error"), LoopClock())
        await buffer.put([Delta(text="a"), Delta(text="b"), Delta(reset=True), Delta(text="c")])
        with pytest.raises(StreamBufferFull, match="2 deltas"):
            await buffer.put([Delta(text="d")])
        assert await taken(buffer) == [("", True), ("c", False)]

    run(main())


def test_a_reader_that_waits_takes_more_of_one_read_than_fits() -> None:
    async def main() -> None:
        buffer = Buffer(StreamRule(4, "error"), LoopClock())
        seen: list[str] = []

        async def read() -> None:
            while (batch := await buffer.get()) is not None:
                seen.extend(texts(batch))

        reading = asyncio.ensure_future(read())
        await buffer.put([Delta(text=str(n)) for n in range(1000)])
        buffer.close()
        await reading
        assert seen == [str(n) for n in range(1000)]

    run(main())


def test_who_puts_after_the_reader_left_is_told() -> None:
    async def main() -> None:
        for rule in (StreamRule(), StreamRule(2, "drop_oldest"), StreamRule(2, "error")):
            channel = between(rule, LoopClock())
            assert isinstance(channel, Channel if rule.when_full == "block" else Buffer)
            channel.close()
            with pytest.raises(Cancelled):
                await channel.put([Delta(text="a")])
            assert await channel.get() is None

    run(main())


# -- through a file -------------------------------------------------------------------------------------


def test_with_block_a_slow_reader_gets_everything_and_the_provider_waits(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> list[Delta]:
        async with pipeline.stream() as stream:
            seen = []
            async for delta in stream:
                await asyncio.sleep(10)
                seen.append(delta)
        assert asyncio.get_running_loop().time() >= 1000 and stream.result.text == WORDS
        return seen

    seen, _ = play(file("block") + "deadline: 1h\n", tmp_path, {"a": [EACH_SECOND]}, work)
    assert "".join(texts(seen)) == WORDS


def test_with_drop_oldest_a_slow_reader_gets_the_newest_and_the_response_is_complete(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> list[Delta]:
        async with pipeline.stream() as stream:
            seen = [await anext(stream)]
            await asyncio.sleep(200)
            assert stream.over and stream.result.ok
            assert len(stream._channel._kept) + len(stream._unread) == 4  # type: ignore[attr-defined]
            seen += [delta async for delta in stream]
        assert stream.result.text == WORDS
        assert [row.kind for row in stream.result.attempts] == ["ok"]
        assert stream.result.attempts[0].elapsed == 99
        return seen

    seen, _ = play(file("drop_oldest"), tmp_path, {"a": [EACH_SECOND]}, work)
    assert texts(seen) == ["0", " 96", " 97", " 98", " 99"]


def test_with_error_a_slow_reader_ends_the_run_with_what_was_made(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> tuple[list[str], StreamBufferFull]:
        async with pipeline.stream() as stream:
            seen = [(await anext(stream)).text]
            await asyncio.sleep(200)
            assert stream.over and stream.overflowed
            with pytest.raises(StreamBufferFull) as caught:
                async for delta in stream:
                    seen.append(delta.text)
        return seen, caught.value

    (seen, error), _ = play(file("error"), tmp_path, {"a": [EACH_SECOND]}, work)
    assert seen == ["0", " 1", " 2", " 3", " 4"]
    assert (error.kind, error.exit_code) == ("stream_buffer", 6)
    assert error.partial is not None and error.partial.text == "0 1 2 3 4 5" == error.result.text
    assert error.result.elapsed == 5
    assert [(row.kind, row.confidence) for row in error.result.attempts] == [("cancelled", "unknown")]


def test_no_step_goes_on_for_a_reader_that_is_too_slow(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        async with pipeline.stream() as stream:
            await anext(stream)
            await asyncio.sleep(200)
            with pytest.raises(StreamBufferFull):
                await stream.finish()

    text = file("error").replace("{user: x}", "{user: x}, on_error: {default: sorry}")
    play(text, tmp_path, {"a": [EACH_SECOND]}, work)


@pytest.mark.parametrize("when_full", ["block", "drop_oldest", "error"])
def test_a_reader_that_keeps_up_notices_nothing(tmp_path: Path, when_full: str) -> None:
    async def work(pipeline: Pipeline) -> None:
        async with pipeline.stream() as stream:
            assert "".join([delta.text async for delta in stream]) == WORDS
        seen: list[Delta] = []
        result = await pipeline.run(on_delta=seen.append)
        assert result.text == "".join(texts(seen)) == WORDS

    play(file(when_full), tmp_path, {"a": [{"reply": WORDS, "times": 2}]}, work)


# -- callbacks ------------------------------------------------------------------------------------------


def callback(seen: list[str], every: float) -> Any:
    async def on_delta(delta: Delta) -> None:
        seen.append(delta.text)
        await asyncio.sleep(every)

    return on_delta


def test_a_slow_callback_holds_back_drops_or_ends_the_run(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> tuple[list[str], Any, float]:
        seen: list[str] = []
        begun = asyncio.get_running_loop().time()
        try:
            ended: Any = await pipeline.run(on_delta=callback(seen, 50))
        except StreamBufferFull as error:
            ended = error
        assert len(asyncio.all_tasks()) == 1
        return seen, ended, asyncio.get_running_loop().time() - begun

    for when_full, last, count in (("block", " 99", 100), ("drop_oldest", " 99", 6), ("error", "0", 1)):
        text = file(when_full) + "deadline: 2h\n"
        (seen, ended, took), _ = play(text, tmp_path, {"a": [EACH_SECOND]}, work)
        assert (seen[-1], len(seen)) == (last, count)
        if when_full == "error":
            assert isinstance(ended, StreamBufferFull) and took == 5  # the callback, asleep until 50, is not waited for
        else:
            assert ended.text == WORDS


def test_what_the_run_failed_with_is_told_after_the_deltas_before_it(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> list[str]:
        seen: list[str] = []
        with pytest.raises(StreamBroken) as caught:
            await pipeline.run(on_delta=callback(seen, 5))
        assert caught.value.result.text == "0 1 2"
        return seen

    for when_full in ("drop_oldest", "error"):
        seen, _ = play(file(when_full), tmp_path, {"a": [{**EACH_SECOND, "cut_after": 3}]}, work)
        assert seen == ["0", " 1", " 2"]


def test_a_callback_that_raises_ends_the_run(tmp_path: Path) -> None:
    def refuse(delta: Delta) -> None:
        raise RuntimeError("mine")

    async def work(pipeline: Pipeline) -> None:
        with pytest.raises(RuntimeError, match="mine"):
            await pipeline.run(on_delta=refuse)
        assert len(asyncio.all_tasks()) == 1

    for when_full in ("block", "drop_oldest", "error"):
        play(file(when_full), tmp_path, {"a": [EACH_SECOND]}, work)


def test_a_run_that_is_cancelled_takes_its_callback_with_it(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        seen: list[str] = []
        running = asyncio.ensure_future(pipeline.run(on_delta=callback(seen, 100)))
        await asyncio.sleep(5)
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled() and seen == ["0"] and len(asyncio.all_tasks()) == 1

    play(file("drop_oldest"), tmp_path, {"a": [EACH_SECOND]}, work)
