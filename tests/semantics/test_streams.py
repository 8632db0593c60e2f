"""Streams: the commit point, what becomes of a break after it, and readers that are slower than the source."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from run_kit import play
from semantics_kit import CALM, HEAD, WIRED, Commit, ask, file, refusal, starts, story, wire

from wizard_dsl.core.errors import StreamBroken, StreamBufferFull, WizardError
from wizard_dsl.core.events import RetriesEnded
from wizard_dsl.core.messages import Completion, Request, message
from wizard_dsl.core.response import Response
from wizard_dsl.policies.cache import CACHE
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.policies.retry_budget import RETRY_BUDGET
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.strategies.hedged import HEDGED
from wizard_dsl.testing import virtual
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.transport import Reply, ScriptedTransport

#: Two words, then the connection is lost.
CUT: dict[str, Any] = {"reply": "one two three", "cut_after": 2}
#: A word each second, a hundred of them.
LONG = {"reply": " ".join(str(number) for number in range(100)), "chunk_every": "1s"}


async def heard(response: Response) -> str:
    """What a consumer sees; `⟲` where all before is void."""
    async with response:
        return "".join([("⟲" if delta.reset else "") + delta.text async for delta in response.deltas()])


async def broken(chain: ScriptedChain, asked: Request | str = "hello") -> StreamBroken:
    """How one streamed call of `chain` breaks."""
    with pytest.raises(StreamBroken) as caught:
        await heard(await chain.ask(asked, commit="content"))
    return caught.value


def kinds(chain: ScriptedChain) -> str:
    return " → ".join(f"{row.target} {row.kind}" for row in chain.attempts)


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        (503, "server"),
        ({"refuse": True}, "connect"),
        ("", "malformed_response"),
        ({"reply": "x", "cut_after": 0, "first_chunk": "5s"}, "server"),
    ],
)
def test_f1_what_fails_before_the_first_content_is_repeated_hedged_and_moved_on_alike(
    item: Any, kind: str, commit: Commit
) -> None:
    async def main() -> None:
        chain = build_chain({"a": [item] * 3, "b": ["b"]}, [(RETRY, {"jitter": "none", "max_attempts": 3})])
        assert (await chain.answer(commit=commit)).text == "b"
        assert kinds(chain) == f"a {kind} → a {kind} → a {kind} → b ok"
        assert chain.clock.now() == {"connect": 2, "server": 3, "malformed_response": 3}[kind]
        late = {"a": [{"reply": "late", "delay": "9s"}], "b": ["b"]}
        race = build_chain(late, strategy=HEDGED, strategy_config={"after": "2s"})
        assert (await race.answer(commit=commit)).text == "b"
        assert kinds(race) == "a cancelled → b ok" and starts(race) == [0, 2]

    virtual.run(main())


def test_f2_where_nobody_sees_the_deltas_a_cut_is_repeated(tmp_path: Path) -> None:
    text = HEAD + (
        "chains: {default: {targets: [a]}}\n"
        "steps:\n  first: {prompt: {user: x}}\n  second: {prompt: {user: '{{ steps.first.text }}'}}\n"
    )
    script = [CUT, "facts", "the answer", "facts", CUT]

    async def work(pipeline: Pipeline) -> None:
        async with pipeline.stream() as stream:
            assert "".join([delta.text async for delta in stream]) == "the answer"
        assert [(row.step, row.kind) for row in stream.result.attempts] == [
            ("first", "server"), ("first", "ok"), ("second", "ok"),
        ]  # fmt: skip
        error = await refusal(pipeline, "content")
        assert error.kind == "mid_stream"  # the step whose deltas are seen

    play(text, tmp_path, {"a": script}, work)
    unary, _ = play(text, tmp_path, {"a": [CUT, "facts", CUT, "the answer"]}, lambda pipeline: ask(pipeline, "end"))
    assert [row.kind for row in unary.attempts] == ["server", "ok", "server", "ok"]


def test_f3_with_fail_a_break_after_the_first_content_is_mid_stream_with_the_partial() -> None:
    async def main() -> None:
        for options in ({}, {"on_mid_stream_error": "fail"}):
            chain = build_chain({"a": [CUT, "never"], "b": ["never"]}, CALM, **options)
            error = await broken(chain)
            assert (error.kind, error.exit_code) == ("mid_stream", 5)
            assert error.partial is not None and error.partial.text == "one two"
            assert kinds(chain) == "a mid_stream" and chain.clock.now() == 0

    virtual.run(main())


def test_f4_restart_asks_the_same_target_while_it_has_attempts_and_then_the_next_and_resets_consumers() -> None:
    async def main() -> None:
        scripts = {"a": [CUT, CUT, CUT], "b": ["all of it"]}
        chain = build_chain(scripts, CALM, on_mid_stream_error="restart")
        assert await heard(await chain.ask(commit="content")) == "one two⟲one two⟲one two⟲all of it"
        assert kinds(chain) == "a mid_stream → a mid_stream → a mid_stream → b ok"
        assert starts(chain) == [0, 1, 3, 3] and [row.waited for row in chain.attempts] == [0, 1, 2, 0]
        spent = [*CALM, (RETRY_BUDGET, {"ratio": "0%", "floor": "0.1/s"})]  # one repeat in ten seconds
        chain = build_chain(scripts, spent, on_mid_stream_error="restart")
        assert await heard(await chain.ask(commit="content")) == "one two⟲one two⟲all of it"
        assert [event.reason for event in chain.events(RetriesEnded)] == ["retry_budget_exhausted"]

    virtual.run(main())


def test_f5_continue_sends_the_partial_along_and_the_consumer_gets_the_rest() -> None:
    async def main() -> None:
        rest = {"reply": " three four", "cut_after": 1}
        chain = build_chain({"a": [CUT, rest, rest], "b": [" end"]}, CALM, on_mid_stream_error="continue")
        response = await chain.ask(commit="content")
        assert await heard(response) == "one two three three end"
        assert response.outcome is not None and response.outcome.completion.text == "one two three three end"
        calls = [*chain.scripts["a"].calls, *chain.scripts["b"].calls]
        assert [[(each.role, each.text) for each in request.messages[1:]] for request, _ in calls] == [
            [],
            [("assistant", "one two")],
            [("assistant", "one two three")],
            [("assistant", "one two three three")],
        ]

    virtual.run(main())


def data(**delta: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}).encode() + b"\n\n"


SSE = {"content-type": "text/event-stream"}
STOP = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


def test_f6_continue_means_fail_for_tool_calls_and_for_schema_output(tmp_path: Path) -> None:
    async def main() -> None:
        asked = Request(messages=(message("user", "x"),), schema={"type": "object"})
        chain = build_chain({"a": [CUT, "never"]}, CALM, on_mid_stream_error="continue")
        assert (await broken(chain, asked)).kind == "mid_stream" and kinds(chain) == "a mid_stream"

    virtual.run(main())

    async def work(pipeline: Pipeline, transport: ScriptedTransport) -> None:
        error = await refusal(pipeline, "content")
        assert error.kind == "mid_stream" and len(transport.sent) == 1
        assert error.partial is not None and [each.name for each in error.partial.tool_calls] == ["look"]

    call = [{"index": 0, "id": "1", "type": "function", "function": {"name": "look", "arguments": '{"at'}}]
    text = file("{targets: [a], on_mid_stream_error: continue}", head=WIRED)
    text = text.replace('user: "{{ q }}"', 'user: "{{ q }}", tools: [{name: look}]')
    wire(text, tmp_path, [Reply(headers=SSE, body=data(tool_calls=call), lost="body")], work)


def test_f7_buffer_delivers_when_complete_so_that_a_break_is_before_commit() -> None:
    async def main() -> None:
        slow = {"reply": "one two three", "chunk_every": "1s"}
        chain = build_chain({"a": [{**slow, "cut_after": 2}, slow]}, CALM, on_mid_stream_error="buffer")
        response = await chain.ask(commit="content")
        assert chain.clock.now() == 1 + 1 + 2  # the cut, the delay, and the whole answer
        assert await heard(response) == "one two three" and chain.clock.now() == 4
        assert kinds(chain) == "a server → a ok"

    virtual.run(main())


def test_f8_a_partial_is_never_stored() -> None:
    async def main() -> None:
        chain = build_chain({"a": [CUT, "one two", "whole"]}, [(CACHE, {})])
        assert (await broken(chain)).kind == "mid_stream"
        left = await chain.ask(commit="content")  # given up after its last word, before its end
        assert [delta.text for delta in await anext(left.batches())] == ["one"]
        await left.aclose()
        assert (await chain.answer(commit="content")).text == "whole"
        assert (await chain.answer(commit="content")).text == "whole" and chain.attempts == []

    virtual.run(main())


def stream_file(when_full: str, buffer: int = 4) -> str:
    return file("{targets: [a]}", f"stream: {{buffer: {buffer}, when_full: {when_full}}}", "deadline: 1h")


def test_f9_with_block_who_does_not_read_stops_the_reading_of_the_source(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        async with pipeline.stream() as stream:
            seen = (await anext(stream)).text
            for _ in range(2):
                await asyncio.sleep(200)
                assert stream.result.text == "0 1"  # one read ahead, and no more
            begun = asyncio.get_running_loop().time()
            seen += "".join([delta.text async for delta in stream])
            assert seen == LONG["reply"] == stream.result.text
            assert asyncio.get_running_loop().time() == begun + 97  # the source goes on where it was

    play(stream_file("block"), tmp_path, {"a": [LONG]}, work)


def test_f10_with_drop_oldest_the_newest_deltas_are_kept_and_the_response_is_complete(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        async with pipeline.stream() as stream:
            seen = [(await anext(stream)).text]
            await asyncio.sleep(99.001)
            assert stream.over and stream.result.ok and stream.result.text == LONG["reply"]
            seen += [delta.text async for delta in stream]
        assert seen == ["0", " 96", " 97", " 98", " 99"]

    play(stream_file("drop_oldest"), tmp_path, {"a": [LONG]}, work)


def test_f11_with_error_a_slow_reader_ends_the_run_with_stream_buffer_and_the_partial(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        async with pipeline.stream() as stream:
            seen = [(await anext(stream)).text]
            await asyncio.sleep(99)
            with pytest.raises(StreamBufferFull) as caught:
                seen += [delta.text async for delta in stream]
        error = caught.value
        assert (error.kind, error.exit_code, error.result.elapsed) == ("stream_buffer", 6, 5)
        assert error.partial is not None and error.partial.text == "0 1 2 3 4 5" == error.result.text
        assert [row.kind for row in error.result.attempts] == ["cancelled"]

    play(stream_file("error"), tmp_path, {"a": [LONG]}, work)


@pytest.mark.parametrize("end", ["completed", "failed", "abandoned", "aborted"])
def test_f12_observers_of_the_end_run_once_innermost_first_and_one_that_raises_changes_nothing(end: str) -> None:
    async def main() -> None:
        chain = build_chain({"a": [CUT if end == "failed" else "one two"]}, [(RETRY, {})])
        response = await chain.ask(commit="content")
        seen: list[tuple[str, str, str | None]] = []
        raised: list[BaseException] = []
        response.on_raise(raised.append)
        response.on_end(lambda outcome: seen.append(("first", outcome.kind, chain.attempts[0].kind)))
        response.on_end(lambda outcome: 1 / 0)
        response.on_end(lambda outcome: seen.append(("last", outcome.kind, chain.attempts[0].kind)))
        if end in {"completed", "failed"}:
            outcome = await asyncio.gather(response.read(), return_exceptions=True)
            assert isinstance(outcome[0], Completion if end == "completed" else StreamBroken)
        elif end == "aborted":
            response.abort(WizardError("mine"))
        for _ in range(2):
            await response.aclose()
        kind, row = {
            "completed": ("completed", "ok"),
            "failed": ("failed", "mid_stream"),
            "abandoned": ("abandoned", "cancelled"),
            "aborted": ("failed", "mid_stream"),
        }[end]
        assert seen == [("first", kind, row), ("last", kind, row)]  # the attempt's own observer ran before them
        assert [type(error) for error in raised] == [ZeroDivisionError]
        response.on_end(lambda outcome: seen.append(("late", outcome.kind, None)))
        assert seen[2:] == [("late", kind, None)]

    virtual.run(main())


def test_f13_a_clean_end_without_the_terminal_marker_is_a_cut(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline, transport: ScriptedTransport) -> None:
        error = await refusal(pipeline, "content")
        assert (error.kind, len(transport.sent)) == ("mid_stream", 1)
        assert error.partial is not None and error.partial.text == "Hel"
        result = await ask(pipeline, "content")  # before the first content it is repeated
        assert (result.text, story(result)) == ("Hello", "a server → a ok")

    bodies = [data(content="Hel"), data(role="assistant"), data(content="Hello") + STOP]
    wire(file("{targets: [a]}", head=WIRED), tmp_path, [Reply(headers=SSE, body=each) for each in bodies], work)
