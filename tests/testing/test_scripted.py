"""Scripted targets behave as real ones do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wizard_dsl.core.errors import (
    AttemptTimeout,
    ConnectError,
    MalformedResponse,
    RateLimited,
    ServerError,
    StreamBroken,
    WizardError,
)
from wizard_dsl.core.messages import Request, ToolCall, Usage
from wizard_dsl.testing.chains import build_chain
from wizard_dsl.testing.scripted import Item, Script, ScriptExhausted, read_item
from wizard_dsl.testing.virtual import run


def test_an_item_is_a_reply_a_status_or_a_mapping() -> None:
    assert read_item("hello") == Item(reply="hello")
    assert read_item(503) == Item(status=503)
    assert read_item({"reply": {"a": 1}}).text == '{"a":1}'


@pytest.mark.parametrize("raw", [None, True, 1.5, ["x"], 99, {"replay": "x"}, {"delay": 2}, {"times": 0}])
def test_anything_else_says_what_is_wrong_with_it(raw: Any) -> None:
    with pytest.raises(ValueError, match="is no script item"):
        read_item(raw)


def test_a_reply_streams_word_by_word_with_its_times() -> None:
    async def main() -> None:
        item = {"reply": "one two\nthree ", "delay": "1s", "first_chunk": "2s", "chunk_every": "3s"}
        chain = build_chain({"a": [item]})
        seen = []
        async with await chain.ask(commit="content") as response:
            async for delta in response.deltas():
                seen.append((chain.clock.now(), delta.text))
        assert seen[:4] == [(3, "one"), (6, " two"), (9, "\nthree"), (12, " ")]

    run(main())


def test_a_unary_answer_takes_the_same_time_and_is_the_same() -> None:
    async def main() -> None:
        item = {"reply": "one two", "first_chunk": "2s", "chunk_every": "3s", "usage": {"output_tokens": 7}}
        chain = build_chain({"a": [item, item]})
        unary = await chain.answer()
        assert chain.clock.now() == 5
        streamed = await chain.answer(commit="content")
        assert unary == streamed and unary.usage == Usage(0, 7) and unary.finish_reason == "stop"

    run(main())


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        (503, ServerError),
        ({"refuse": True}, ConnectError),
        ({"status": 429, "retry_after": "1500ms"}, RateLimited),
        ({"reply": "a b", "cut_after": 0}, ServerError),
        ({"reply": "a b", "cut_after": 1}, StreamBroken),
        ({"body": '{"error": {"type": "overloaded_error", "message": "busy"}}'}, ServerError),
    ],
)
def test_failures_are_typed(item: Any, kind: type[WizardError]) -> None:
    async def main() -> None:
        chain = build_chain({"a": [item]})
        with pytest.raises(kind) as caught:
            await chain.answer(commit="content")
        if kind is RateLimited:
            assert caught.value.retry_after == 1.5

    run(main())


def test_a_stalled_stream_ends_when_it_is_aborted() -> None:
    async def main() -> None:
        chain = build_chain({"a": [{"reply": "a b", "stall_after": 1}]})
        response = await chain.ask(commit="content")
        reading = asyncio.ensure_future(response.read())
        await asyncio.sleep(5)
        source = response._source
        response.abort(AttemptTimeout("enough", phase="idle"))
        assert source is not None
        source.abort(None)
        with pytest.raises(StreamBroken, match="enough"):
            await reading
        assert chain.clock.now() == 5

    run(main())


def test_items_are_used_once_or_as_often_as_they_say() -> None:
    async def main() -> None:
        chain = build_chain({"a": [{"reply": "x", "times": 2}, "y", {"reply": "z", "times": "forever"}]})
        assert chain.scripts["a"].left == 2
        assert [(await chain.answer()).text for _ in range(6)] == ["x", "x", "y", "z", "z", "z"]
        assert chain.scripts["a"].left == 0 and len(chain.scripts["a"].calls) == 6

    run(main())


def test_a_script_that_is_used_up_fails_the_test_and_no_policy_hides_it() -> None:
    async def main() -> None:
        chain = build_chain({"a": ["x"], "b": ["never"]})
        await chain.answer()
        with pytest.raises(ScriptExhausted, match="call 2 of target a"):
            await chain.answer()

    run(main())


def test_an_item_may_be_made_beforehand_and_an_aborted_source_stays_aborted() -> None:
    async def main() -> None:
        item = Item(reply="a b", chunk_every="1s")
        chain = build_chain({"a": [item]})
        response = await chain.ask(commit="content")
        source = response._source
        assert source is not None
        await response.aclose()
        with pytest.raises(ServerError, match="given up"):
            await source.read_batch()
        source.abort(None)

    run(main())


CALLS = [{"name": "look", "arguments": {"x": 1}}, {"name": "go", "arguments": '{"y', "id": "c7"}]


def test_a_reply_may_call_functions_after_its_text() -> None:
    async def main() -> None:
        item = {"reply": "one two", "tool_calls": CALLS, "first_chunk": "1s", "chunk_every": "1s"}
        chain = build_chain({"a": [item, item, {"tool_calls": CALLS, "finish_reason": "length"}]})
        unary, streamed, early = [await chain.answer(commit=each) for each in ("end", "content", "end")]
        assert unary == streamed
        assert chain.clock.now() == 8
        assert (unary.text, unary.finish_reason, early.finish_reason) == ("one two", "tool_calls", "length")
        assert unary.tool_calls == (ToolCall("call_0", "look", '{"x":1}'), ToolCall("c7", "go", '{"y'))
        assert unary.usage is not None and unary.usage.output_tokens == 5

    run(main())


def test_a_call_is_a_piece_of_a_stream() -> None:
    async def main() -> None:
        chain = build_chain({"a": [{"tool_calls": CALLS, "cut_after": 1}]})
        with pytest.raises(StreamBroken) as caught:
            await chain.answer(commit="content")
        assert caught.value.partial is not None
        assert [call.name for call in caught.value.partial.tool_calls] == ["look"]

    run(main())


def test_texts_are_embedded_as_the_reply_says_or_in_short_vectors_of_their_own() -> None:
    async def main() -> None:
        asked = Request(kind="embed", texts=("red", "blue"))
        chain = build_chain({"a": [{"reply": [[1, 0.5], [0, 1]]}, {"delay": "2s"}, {"cut_after": 0}, {}]})
        given = await chain.answer(asked, commit="content")
        assert given.embeddings == ((1.0, 0.5), (0.0, 1.0))
        made = await chain.answer(asked)
        assert chain.clock.now() == 2
        assert [len(each) for each in made.embeddings] == [4, 4]
        assert made.embeddings[0] != made.embeddings[1]
        assert made.usage == Usage(2, 0)
        with pytest.raises(ServerError):
            await chain.answer(asked)
        assert (await chain.answer(asked)).embeddings == made.embeddings

    run(main())


@pytest.mark.parametrize(("reply", "said"), [("red", "no list of them"), ([[1]], "1 came"), ([["x"], [1]], "no list")])
def test_a_reply_that_has_not_a_vector_for_each_text_is_malformed(reply: Any, said: str) -> None:
    async def main() -> None:
        chain = build_chain({"a": [{"reply": reply}]})
        with pytest.raises(MalformedResponse, match=said):
            await chain.answer(Request(kind="embed", texts=("red", "blue")))

    run(main())


def test_a_script_without_items_has_nothing_left() -> None:
    assert Script("a", []).left == 0
