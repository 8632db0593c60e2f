"""The stream pump: commit, observation, limits, endings."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.errors import (
    AttemptTimeout,
    Cancelled,
    DeadlineExceeded,
    MalformedResponse,
    ServerError,
    StreamBroken,
)
from wizard_dsl.core.messages import Completion, Delta, ToolDelta, Usage
from wizard_dsl.core.response import Outcome, Response
from wizard_dsl.testing import virtual

Step = tuple[float, "list[Delta] | Exception"]


class Scripted:
    """A source that brings batches after delays; an exception is raised in its turn."""

    def __init__(self, steps: Sequence[Step], *, done: bool = True) -> None:
        self.steps = list(steps)
        self.claims_done = done
        self.done = False
        self.aborted: list[BaseException | None] = []
        self.waiting: asyncio.Future[None] | None = None
        self.reads = 0

    async def read_batch(self) -> list[Delta]:
        self.reads += 1
        if not self.steps:
            return []
        delay, what = self.steps[0]
        if delay:
            loop = asyncio.get_running_loop()
            self.waiting = loop.create_future()
            timer = loop.call_later(delay, lambda: self.waiting.done() or self.waiting.set_result(None))
            try:
                await self.waiting
            finally:
                timer.cancel()
                self.waiting = None
        self.steps.pop(0)
        if isinstance(what, Exception):
            raise what
        if any(delta.finish_reason for delta in what) or (not self.steps and self.claims_done):
            self.done = True
        return what

    def abort(self, reason: BaseException | None) -> None:
        self.aborted.append(reason)
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(ConnectionError("aborted"))


def text(*words: str) -> list[Delta]:
    return [Delta(text=word) for word in words]


END = [Delta(finish_reason="stop")]


def in_virtual_time(test: Any) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> None:
        virtual.run(test(*args, **kwargs))

    wrapper.__name__, wrapper.__doc__ = test.__name__, test.__doc__
    return wrapper


async def opened(steps: Sequence[Step], **options: Any) -> tuple[Response, Scripted, list[Outcome]]:
    source = Scripted(steps, done=options.pop("done", True))
    response = await Response.open(source, clock=LoopClock(), **options)
    outcomes: list[Outcome] = []
    response.on_end(outcomes.append)
    return response, source, outcomes


@in_virtual_time
async def test_open_returns_at_the_first_content_and_holds_the_prelude_back() -> None:
    response, source, _ = await opened([(1, [Delta()]), (1, text("a")), (1, text("b")), (1, END)])
    assert asyncio.get_running_loop().time() == 2
    assert source.reads == 2
    assert [delta.text async for delta in response.deltas() if delta.text] == ["a", "b"]


@in_virtual_time
async def test_reasoning_commits_only_where_the_consumer_gets_it() -> None:
    steps = [(1, [Delta(reasoning="hm")]), (1, text("a")), (0, END)]
    _, _, _ = await opened(list(steps))
    assert asyncio.get_running_loop().time() == 2
    await opened(list(steps), reasoning=True)
    assert asyncio.get_running_loop().time() == 3


@in_virtual_time
async def test_a_tool_call_commits() -> None:
    response, source, _ = await opened([(0, [Delta(tool=ToolDelta(0, "1", "f", "{"))]), (0, END)])
    assert source.reads == 1
    assert (await response.read()).tool_calls[0].name == "f"


@in_virtual_time
async def test_commit_at_the_end_keeps_a_cut_an_ordinary_error() -> None:
    with pytest.raises(ServerError, match="closed before"):
        await opened([(0, text("half"))], commit="end", done=False)


@in_virtual_time
async def test_after_the_commit_point_a_cut_is_a_broken_stream_with_the_partial() -> None:
    response, source, outcomes = await opened([(0, text("half"))], done=False)
    with pytest.raises(StreamBroken) as caught:
        await response.read()
    assert caught.value.partial is not None
    assert caught.value.partial.text == "half"
    assert [each.kind for each in outcomes] == ["failed"]
    assert source.aborted


@in_virtual_time
async def test_what_a_source_raises_before_commit_leaves_unchanged_and_frees_it() -> None:
    source = Scripted([(0, ServerError("no"))])
    with pytest.raises(ServerError, match="no"):
        await Response.open(source, clock=LoopClock())
    assert source.aborted


@in_virtual_time
async def test_an_unexpected_exception_is_garbage() -> None:
    with pytest.raises(MalformedResponse, match="KeyError"):
        await opened([(0, KeyError("choices"))])


@in_virtual_time
async def test_a_break_after_the_finish_reason_is_an_answer() -> None:
    response, _, outcomes = await opened([(0, text("a")), (0, END), (0, ServerError("late"))])
    assert (await response.read()).text == "a"
    assert outcomes[0].kind == "completed"


@in_virtual_time
async def test_leaving_after_the_finish_reason_is_completion() -> None:
    response, _, outcomes = await opened([(0, [*text("a"), *END]), (5, [Delta(usage=Usage(1, 1))])])
    await response.aclose()
    assert outcomes[0].kind == "completed"


@in_virtual_time
async def test_a_closed_unread_response_is_abandoned_once() -> None:
    response, source, outcomes = await opened([(0, text("a")), (1, END)])
    await response.aclose()
    await response.aclose()
    assert [each.kind for each in outcomes] == ["abandoned"]
    assert len(source.aborted) == 1


@in_virtual_time
async def test_leaving_the_iterator_early_ends_the_response() -> None:
    response, _, outcomes = await opened([(0, text("a")), (1, text("b")), (1, END)])
    deltas = response.deltas()
    async for _ in deltas:
        break
    await deltas.aclose()
    assert outcomes[0].kind == "abandoned"
    assert outcomes[0].completion.text == "a"


@in_virtual_time
async def test_cancelling_the_reader_ends_it_as_cancelled_and_frees_the_source() -> None:
    response, source, outcomes = await opened([(0, text("a")), (100, END)])
    task = asyncio.create_task(response.read())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert outcomes[0].kind == "cancelled"
    assert len(source.aborted) == 1


@in_virtual_time
async def test_observers_run_innermost_first_and_a_raising_one_changes_nothing() -> None:
    response, _, _ = await opened([(0, text("a")), (0, END)])
    seen: list[str] = []
    reported: list[BaseException] = []
    response.on_raise(reported.append)

    def bad(outcome: Outcome) -> None:
        seen.append("inner")
        raise RuntimeError("observer")

    response.on_end(bad)
    response.on_end(lambda outcome: seen.append("outer"))
    response.on_delta(lambda batch: 1 / 0)
    assert (await response.read()).text == "a"
    assert seen == ["inner", "outer"]
    assert len(reported) == 2


@in_virtual_time
async def test_on_end_of_a_response_that_is_over_runs_at_once() -> None:
    seen: list[Outcome] = []
    Response.complete(Completion(text="x")).on_end(seen.append)
    assert seen[0].completion.text == "x"


@in_virtual_time
async def test_abort_wakes_a_pending_read_with_its_error() -> None:
    response, _, outcomes = await opened([(0, text("a")), (100, END)])
    asyncio.get_running_loop().call_later(3, response.abort, ServerError("gone"))
    with pytest.raises(StreamBroken, match="gone"):
        await response.read()
    assert asyncio.get_running_loop().time() == 3
    assert len(outcomes) == 1


@in_virtual_time
async def test_due_aborts_an_idle_reader_too() -> None:
    response, source, outcomes = await opened([(0, text("a")), (1, END)])
    response.due(10, lambda: DeadlineExceeded("late"))
    await asyncio.sleep(20)
    assert outcomes[0].error is not None
    assert outcomes[0].error.kind == "deadline"
    assert source.aborted
    with pytest.raises(DeadlineExceeded):
        await response.read()


@in_virtual_time
async def test_data_wins_over_a_limit_on_the_same_instant() -> None:
    response, _, _ = await opened([(0, text("a")), (5, text("b")), (5, END)])
    response.idle(5)
    response.due(10, lambda: DeadlineExceeded("late"))
    assert (await response.read()).text == "ab"


@in_virtual_time
async def test_idle_limits_each_wait_and_is_paused_while_the_reader_holds_back() -> None:
    response, _, _ = await opened([(0, text("a")), (4, text("b")), (4, END)])
    response.idle(5)
    async for _ in response.deltas():
        await asyncio.sleep(60)
    assert response.outcome is not None
    assert response.outcome.kind == "completed"


@in_virtual_time
async def test_idle_passes_when_nothing_arrives() -> None:
    response, _, _ = await opened([(0, text("a")), (6, text("b"))])
    response.idle(5)
    with pytest.raises(StreamBroken, match=r"timeout\.idle"):
        await response.read()
    assert asyncio.get_running_loop().time() == 5


@in_virtual_time
async def test_idle_before_the_commit_point_is_a_timeout_of_the_attempt() -> None:
    with pytest.raises(AttemptTimeout) as caught:
        await opened([(1, [Delta()]), (9, text("a"))], idle=5)
    assert caught.value.phase == "idle"
    assert asyncio.get_running_loop().time() == 6


@in_virtual_time
async def test_the_wait_for_the_first_event_is_not_an_idle_one() -> None:
    response, _, _ = await opened([(40, text("a")), (1, END)], idle=5)
    assert (await response.read()).text == "a"


@in_virtual_time
async def test_within_limits_the_sum_of_waits() -> None:
    response, _, _ = await opened([(0, text("a")), (3, text("b")), (3, text("c")), (3, END)])
    response.within(7)
    with pytest.raises(StreamBroken, match=r"timeout\.total"):
        async for _ in response.deltas():
            await asyncio.sleep(50)
    assert response.so_far.text == "abc"


@in_virtual_time
async def test_two_readers_share_one_source() -> None:
    response, source, _ = await opened([(0, text("a")), (1, text("b")), (1, END)])

    async def read() -> str:
        return "".join([delta.text async for delta in response.deltas()])

    assert await asyncio.gather(read(), read()) == ["ab", "ab"]
    assert source.reads == 4


@in_virtual_time
async def test_a_cancelled_pull_leaves_the_stream_to_the_other_reader() -> None:
    response, _, _ = await opened([(0, text("a")), (5, text("b")), (1, END)])

    async def pull_and_give_up() -> None:
        await response._pull()

    first = asyncio.create_task(pull_and_give_up())
    second = asyncio.create_task(response.read())
    await asyncio.sleep(1)
    first.cancel()
    assert (await second).text == "ab"


@in_virtual_time
async def test_a_restarted_stream_shows_a_reset_and_has_one_end() -> None:
    first, _, ends = await opened([(0, text("half")), (0, ServerError("cut"))])
    clock = LoopClock()

    async def resume(broken: StreamBroken) -> Response:
        assert broken.partial is not None
        return await Response.open(Scripted([(0, text("whole")), (0, END)]), clock=clock)

    response = Response.spliced(first, resume, clock=clock)
    outer: list[Outcome] = []
    response.on_end(outer.append)
    deltas = [delta async for delta in response.deltas()]
    assert [(d.text, d.reset) for d in deltas if d.text or d.reset] == [("half", False), ("", True), ("whole", False)]
    assert outer[0].completion.text == "whole"
    assert len(outer) == 1
    assert [each.kind for each in ends] == ["failed"]


@in_virtual_time
async def test_a_continued_stream_goes_on_where_it_ended() -> None:
    first, _, _ = await opened([(0, text("one ")), (0, ServerError("cut"))])

    async def resume(broken: StreamBroken) -> Response:
        return Response.complete(Completion(text="two", finish_reason="stop"))

    response = Response.spliced(first, resume, clock=LoopClock(), reset=False)
    assert (await response.read()).text == "one two"


@in_virtual_time
async def test_what_resume_raises_is_how_a_splice_ends() -> None:
    first, _, _ = await opened([(0, text("half")), (0, ServerError("cut"))])

    async def resume(broken: StreamBroken) -> Response:
        raise broken

    response = Response.spliced(first, resume, clock=LoopClock())
    with pytest.raises(StreamBroken, match="cut") as caught:
        await response.read()
    assert caught.value.partial is not None
    assert caught.value.partial.text == "half"


@in_virtual_time
async def test_aborting_a_splice_frees_the_part_in_use() -> None:
    first, source, ends = await opened([(0, text("half")), (9, END)])

    async def resume(broken: StreamBroken) -> Response:
        raise AssertionError("not broken")

    response = Response.spliced(first, resume, clock=LoopClock())
    await response.aclose()
    assert source.aborted
    assert ends[0].kind == "abandoned"


@in_virtual_time
async def test_a_complete_response_reads_as_one_piece() -> None:
    response = Response.complete(Completion(text="x", finish_reason="stop"))
    assert [delta.text async for delta in response.deltas()] == ["x", ""]
    assert (await response.read()).text == "x"


@in_virtual_time
async def test_a_part_that_somebody_gave_up_is_no_answer_to_another_reader() -> None:
    response, _, outcomes = await opened([(0, text("a")), (10, text("b")), (0, END)])
    reader = asyncio.create_task(response.read())
    await asyncio.sleep(1)
    response.close()
    with pytest.raises(Cancelled, match="abandoned") as caught:
        await reader
    assert caught.value.partial is not None
    assert caught.value.partial.text == "a"
    with pytest.raises(Cancelled):
        _ = [delta async for delta in response.deltas()]
    assert [each.kind for each in outcomes] == ["abandoned"]


@in_virtual_time
async def test_what_was_whole_when_it_was_left_is_an_answer() -> None:
    response, _, _ = await opened([(0, [*text("a"), *END])])
    response.close()
    assert (await response.read()).text == "a"


def test_content_does_not_come_into_a_log_with_a_response() -> None:
    assert "my text" not in repr(Response.complete(Completion(text="my text")))
