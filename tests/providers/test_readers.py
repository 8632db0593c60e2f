"""Odd shapes of answers, seen in the wild, that the recorded exchanges do not all hold."""

from __future__ import annotations

import msgspec
import pytest
from provider_kit import drive, sse_reply

from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.messages import Assembler
from wizard_dsl.providers._chat import ChatReader
from wizard_dsl.providers._errors import ErrorInside, Unreadable
from wizard_dsl.providers._wire import drain
from wizard_dsl.providers.anthropic import AnthropicReader
from wizard_dsl.providers.cohere import COHERE, CohereReader
from wizard_dsl.providers.gemini import GEMINI, GeminiReader
from wizard_dsl.providers.ollama import OllamaReader, ThinkSplitter
from wizard_dsl.providers.openai_responses import ResponsesReader


def assembled(deltas):
    assembler = Assembler()
    for delta in deltas:
        assembler.add(delta)
    return assembler.completion()


def streamed(reader, *events):
    body = b"".join(b"data: " + (e if isinstance(e, bytes) else msgspec.json.encode(e)) + b"\n\n" for e in events)
    return assembled(drain(reader, body))


def whole(reader, payload):
    return assembled(reader.whole(msgspec.json.encode(payload)))


def delta(finish=None, index=0, **turn):
    return {"choices": [{"index": index, "delta": turn, "finish_reason": finish}]}


def call(index=None, id=None, name=None, arguments=None):
    raw = {"index": index, "id": id, "function": {"name": name, "arguments": arguments}}
    return {key: value for key, value in raw.items() if value is not None}


def calls_of(*fragments):
    completion = streamed(ChatReader(), *(delta(tool_calls=[each]) for each in fragments), delta("tool_calls"))
    return [(each.id, each.name, each.arguments) for each in completion.tool_calls]


@pytest.mark.parametrize(
    ("fragments", "calls"),
    [
        ([call(0, "a", "f", '{"x"'), call(0, arguments=": 1}")], [("a", "f", '{"x": 1}')]),
        ([call(None, "a", "f", "{"), call(None, None, None, "}")], [("a", "f", "{}")]),
        ([call(None, "a", "f", "{"), call(None, "a", None, "}")], [("a", "f", "{}")]),
        ([call(None, "a", "f", "{}"), call(None, "b", "g", "{}")], [("a", "f", "{}"), ("b", "g", "{}")]),
        ([call(0, "a", "f", "{}"), call(0, "b", "g", "{}")], [("a", "f", "{}"), ("b", "g", "{}")]),
        (
            [call(3, "a", "f", "{"), call(5, "b", "g", "{}"), call(3, arguments="}")],
            [("a", "f", "{}"), ("b", "g", "{}")],
        ),
        ([call(0, "a", "f", "{"), call(0, "a", "f", "}")], [("a", "f", "{}")]),
        ([call(0, None, "f", None)], [("call_0", "f", "{}")]),
        ([call(0, "a", "f", ""), {}, {"index": 1, "function": {}}], [("a", "f", "{}")]),
        ([call(0, "a", "f", {"x": 1})], [("a", "f", '{"x":1}')]),
    ],
)
def test_tool_calls_are_put_together_however_they_are_numbered(fragments, calls):
    assert calls_of(*fragments) == calls


def test_calls_that_finish_as_stop_are_tool_calls():
    assert (
        streamed(ChatReader(), delta(tool_calls=[call(0, "a", "f", "{}")]), delta("stop")).finish_reason == "tool_calls"
    )


def test_an_old_function_call_is_a_tool_call_and_an_empty_one_is_none():
    old = whole(ChatReader(), {"choices": [{"message": {"function_call": {"name": "f", "arguments": "{}"}}}]})
    assert [each.name for each in old.tool_calls] == ["f"] and old.finish_reason == "tool_calls"
    none = whole(
        ChatReader(), {"choices": [{"message": {"content": "x", "function_call": {"name": "", "arguments": ""}}}]}
    )
    assert none.tool_calls == () and none.finish_reason == "stop"


def test_only_the_first_choice_counts():
    completion = streamed(
        ChatReader(), delta(content="a"), delta(index=1, content="b"), delta("stop"), delta("length", 1)
    )
    assert (completion.text, completion.finish_reason) == ("a", "stop")


def test_null_deltas_empty_choices_and_messages_beside_deltas_are_read():
    beside = {"choices": [{"delta": {"content": "lo"}, "message": {"content": "Hello"}}]}
    completion = streamed(
        ChatReader(),
        {"choices": [], "prompt_filter_results": []},
        {"choices": [{"delta": None}]},
        delta(content="Hel"),
        beside,
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
    )
    assert completion.text == "Hello"


def test_a_refusal_is_a_filtered_answer():
    completion = streamed(ChatReader(), delta(refusal="I can't"), delta(refusal=" do that."), delta("stop"))
    assert (completion.text, completion.finish_reason) == ("I can't do that.", "content_filter")


def test_running_totals_the_last_usage_counts_and_x_groq_is_asked_where_there_is_no_other():
    usage = {"prompt_tokens": 5, "completion_tokens": 1}
    completion = streamed(
        ChatReader(),
        delta(content="a") | {"usage": usage},
        delta("stop") | {"usage": {**usage, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}},
    )
    assert (completion.usage.output_tokens, completion.usage.cached_tokens) == (2, 4)
    groq = streamed(ChatReader(), delta("stop", content="a") | {"x_groq": {"usage": usage}})
    assert groq.usage.input_tokens == 5


@pytest.mark.parametrize("reason", ["error", "network_error", "insufficient_system_resource"])
def test_a_finish_reason_that_is_a_failure_is_one(reason):
    with pytest.raises(ErrorInside):
        streamed(ChatReader(), delta(content="a"), delta(reason))


def test_an_unknown_finish_reason_is_other():
    assert streamed(ChatReader(), delta("something_new", content="a")).finish_reason == "other"


@pytest.mark.parametrize("data", [b"null", b"7", b"[]", b'{"choices": [{"delta": 5}]}', b'{"choices": 5}', b"{"])
def test_an_event_that_is_none_is_refused(data):
    with pytest.raises((Unreadable, msgspec.DecodeError)):
        streamed(ChatReader(), data)


def test_two_beginnings_a_pause_and_pings_of_anthropic():
    start = {"type": "message_start", "message": {"model": "c", "usage": {"input_tokens": 3, "output_tokens": 1}}}
    completion = streamed(
        AnthropicReader(),
        start,
        {"type": "ping"},
        start,
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "A"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "b"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "pause_turn"}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    )
    assert (completion.text, completion.finish_reason) == ("Ab", "other")
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (3, 7)


def test_anthropic_without_its_last_event_is_not_done():
    reader = AnthropicReader()
    streamed(reader, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
    assert not reader.done


def test_an_error_event_of_anthropic_is_an_error():
    with pytest.raises(ErrorInside):
        streamed(AnthropicReader(), {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})


@pytest.mark.parametrize("reason", ["SAFETY", "MODEL_ARMOR"])
def test_a_blocked_prompt_of_gemini_is_filtered(reason):
    async def use(bench):
        with pytest.raises(WizardError, match=reason) as caught:
            await bench.stream()
        return caught.value.kind

    body = b'data: {"promptFeedback": {"blockReason": "%s"}}\n\n' % reason.encode()
    assert drive(GEMINI, {}, [sse_reply(body)], use) == "content_filter"


def test_an_answer_of_gemini_that_was_stopped_is_filtered_too():
    completion = whole(GeminiReader(), {"candidates": [{"finishReason": "SAFETY"}]})
    assert (completion.text, completion.finish_reason) == ("", "content_filter")


def test_a_stream_of_gemini_as_an_array_is_read():
    chunks = [
        {"candidates": [{"content": {"parts": [{"text": "Hel"}]}}]},
        {
            "candidates": [
                {"content": {"parts": [{"text": "hm", "thought": True}, {"text": "lo"}]}, "finishReason": "STOP"}
            ]
        },
    ]
    completion = whole(GeminiReader(), chunks)
    assert (completion.text, completion.reasoning, completion.finish_reason) == ("Hello", "hm", "stop")


def test_a_malformed_function_call_of_gemini_is_no_answer():
    with pytest.raises(Unreadable, match="function call"):
        whole(GeminiReader(), {"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]})


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("<think>hm</think>\n\nYes", "hm", "Yes"),
        ("\n<think>\nhm\n</think>Yes", "\nhm\n", "Yes"),
        ("Yes <think>no</think>", "", "Yes <think>no</think>"),
        ("<thin air", "", "<thin air"),
        ("<think>never closed</thin", "never closed</thin", ""),
        ("<think></think>Yes", "", "Yes"),
        ("  ", "", "  "),
        ("", "", ""),
    ],
)
def test_thinking_is_told_from_the_answer_wherever_it_is_cut(text, reasoning, answer):
    for size in (1, 2, 3, 5, 100):
        splitter = ThinkSplitter()
        deltas = [d for at in range(0, len(text), size) for d in splitter.feed(text[at : at + size])]
        completion = assembled(deltas + splitter.close())
        assert (completion.reasoning, completion.text) == (reasoning, answer)


def ollama(*lines):
    return assembled(drain(OllamaReader(9), b"".join(msgspec.json.encode(line) + b"\n" for line in lines)))


def test_whole_calls_of_ollama_without_ids():
    call = {"function": {"name": "f", "arguments": {"x": 1}}}
    completion = ollama({"message": {"tool_calls": [call, call]}}, {"message": {}, "done": True, "done_reason": "stop"})
    assert [(each.id, each.arguments) for each in completion.tool_calls] == [
        ("call_0", '{"x":1}'),
        ("call_1", '{"x":1}'),
    ]
    assert completion.finish_reason == "tool_calls"


def test_a_cached_prompt_of_ollama_is_estimated():
    completion = ollama({"message": {"content": "x"}, "done": True, "eval_count": 4})
    assert (completion.usage.input_tokens, completion.usage.confidence) == (9, "estimated")


def test_an_error_line_of_ollama_is_an_error():
    with pytest.raises(ErrorInside):
        ollama({"message": {"content": "x"}}, {"error": "an error was encountered while running the model"})
    with pytest.raises(ErrorInside):
        ollama({"message": {"content": ""}, "done": True, "done_reason": "load"})


def test_a_failed_end_of_cohere_is_an_error():
    async def use(bench):
        with pytest.raises(WizardError) as caught:
            await bench.stream()
        return caught.value.kind

    body = b'data: {"type":"message-end","delta":{"finish_reason":"ERROR","error":"it broke"}}\n\n'
    assert drive(COHERE, {}, [sse_reply(body)], use) == "server"


def test_billed_units_count_where_cohere_says_no_more():
    end = {"message": {"content": [{"type": "text", "text": "x"}]}, "usage": {"billed_units": {"input_tokens": 2}}}
    assert whole(CohereReader(), end).usage.input_tokens == 2


MESSAGE = {"type": "message", "id": "m1", "content": [{"type": "output_text", "text": "Hello"}]}
CALL = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "f", "arguments": '{"x":1}'}


@pytest.mark.parametrize("place", [{"output_index": 0}, {"item_id": "m1"}, {"output_index": 0, "item_id": "other"}])
def test_text_of_responses_is_told_once_however_items_are_named(place):
    completion = streamed(
        ResponsesReader(),
        {"type": "response.output_text.delta", "delta": "Hello", **place},
        {"type": "response.output_item.done", "item": MESSAGE, **place},
        {"type": "response.completed", "response": {"model": "m", "output": [MESSAGE]}},
    )
    assert (completion.text, completion.model) == ("Hello", "m")


def test_a_server_of_responses_that_sends_only_the_end_is_read():
    completion = streamed(ResponsesReader(), {"type": "response.completed", "response": {"output": [MESSAGE, CALL]}})
    assert completion.text == "Hello" and completion.tool_calls[0].arguments == '{"x":1}'
    assert completion.finish_reason == "tool_calls"


def test_arguments_of_responses_are_told_once():
    completion = streamed(
        ResponsesReader(),
        {"type": "response.output_item.added", "output_index": 0, "item": {**CALL, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"x"'},
        {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": ":1}"},
        {"type": "response.output_item.done", "output_index": 0, "item": CALL},
        {"type": "response.completed", "response": {"output": [CALL]}},
    )
    assert [(c.id, c.arguments) for c in completion.tool_calls] == [("c1", '{"x":1}')]


@pytest.mark.parametrize(
    ("reason", "finish"), [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("new", "other")]
)
def test_an_incomplete_response_says_why(reason, finish):
    end = {"status": "incomplete", "incomplete_details": {"reason": reason}, "output": [MESSAGE]}
    assert streamed(ResponsesReader(), {"type": "response.incomplete", "response": end}).finish_reason == finish
    assert whole(ResponsesReader(), end).finish_reason == finish


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "x"}}},
        {"type": "error", "code": "rate_limit_exceeded", "message": "x"},
    ],
)
def test_a_failed_response_is_an_error(event):
    with pytest.raises(ErrorInside):
        streamed(ResponsesReader(), event)


def test_a_refusal_of_responses_is_a_filtered_answer():
    item = {"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}
    completion = whole(ResponsesReader(), {"output": [item], "status": "completed"})
    assert (completion.text, completion.finish_reason) == ("No.", "content_filter")
