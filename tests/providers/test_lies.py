"""Answers that lie about their shape: each a typed error or an answer of sound types, never a crash."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from provider_kit import Bench, drive, sse_reply

from wizard_dsl.core.errors import AttemptFailed, WizardError
from wizard_dsl.core.messages import Completion
from wizard_dsl.providers._errors import inside, refused
from wizard_dsl.providers.anthropic import ANTHROPIC
from wizard_dsl.providers.cohere import COHERE
from wizard_dsl.providers.gemini import GEMINI
from wizard_dsl.providers.ollama import OLLAMA
from wizard_dsl.providers.openai_responses import OPENAI_RESPONSES
from wizard_dsl.providers.presets import OPENAI
from wizard_dsl.testing.transport import Reply

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
COUNTS = {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}
SAMPLES = {
    OPENAI: {
        "model": "m",
        "usage": COUNTS,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "a", "tool_calls": [CALL]}}],
    },
    ANTHROPIC: {
        "model": "m",
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 1},
        "content": [
            {"type": "text", "text": "a"},
            {"type": "thinking", "thinking": "b"},
            {"type": "tool_use", "id": "c1", "name": "f", "input": {"x": 1}},
        ],
    },
    GEMINI: {
        "modelVersion": "m",
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "cachedContentTokenCount": 1},
        "candidates": [
            {"finishReason": "STOP", "content": {"parts": [{"text": "a"}, {"functionCall": {"name": "f", "args": {}}}]}}
        ],
    },
    OLLAMA: {
        "model": "m",
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 3,
        "eval_count": 2,
        "message": {"content": "a", "thinking": "b", "tool_calls": [CALL]},
    },
    COHERE: {
        "finish_reason": "COMPLETE",
        "usage": {"tokens": {"input_tokens": 3, "output_tokens": 2}, "cached_tokens": 1},
        "message": {"content": [{"type": "text", "text": "a"}], "tool_calls": [CALL]},
    },
    OPENAI_RESPONSES: {
        "model": "m",
        "status": "completed",
        "usage": {"input_tokens": 3, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 1}},
        "output": [
            {"type": "message", "id": "i1", "content": [{"type": "output_text", "text": "a"}]},
            {"type": "function_call", "id": "i2", "call_id": "c1", "name": "f", "arguments": "{}"},
        ],
    },
}
LIES = [None, 0, -7, 1.5, True, "", "x", [], {}, [None], ["x"], {"a": 1}, 10**30]


def places(value, path=()):
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in pairs:
        yield from places(each, (*path, key))


def replaced(value, path, lie):
    if not path:
        return lie
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], lie)
    return copy


def read(type, reply, *, stream=False):
    async def use(bench: Bench):
        try:
            return (await bench.stream())[1] if stream else await bench.read()
        except WizardError as error:
            return error

    return drive(type, {}, [reply], use)


def check(answer):
    if isinstance(answer, WizardError):
        assert msgspec.json.encode(answer.to_json())
        return
    assert isinstance(answer, Completion)
    msgspec.convert(msgspec.to_builtins(answer), Completion)
    usage = answer.usage
    if usage is not None:
        assert 0 <= usage.cached_tokens <= usage.input_tokens and 0 <= usage.reasoning_tokens <= usage.output_tokens


@pytest.mark.parametrize("type", SAMPLES, ids=lambda type: type.name)
def test_no_field_of_another_type_breaks_out_of_the_typed_errors(type):
    for path in places(SAMPLES[type]):
        for lie in LIES:
            check(read(type, Reply(body=msgspec.json.encode(replaced(SAMPLES[type], path, lie)))))


STREAMS = {
    ANTHROPIC: b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":%s}}\n\n',
    GEMINI: b'data: {"candidates":[{"content":{"parts":[{"text":%s}]}}]}\n\n',
    OLLAMA: b'{"message":{"content":%s}}\n',
    COHERE: b'data: {"type":"content-delta","delta":{"message":{"content":{"text":%s}}}}\n\n',
    OPENAI_RESPONSES: b'data: {"type":"response.output_text.delta","delta":%s}\n\n',
}


@pytest.mark.parametrize("type", STREAMS, ids=lambda type: type.name)
@pytest.mark.parametrize("lie", [b"7", b"[1]", b'{"a":1}', b"true"])
def test_a_delta_that_is_no_text_is_malformed_and_reaches_nobody(type, lie):
    event = STREAMS[type]
    error = read(type, sse_reply(event % b'"good"' + event % lie), stream=True)
    assert error.kind == "mid_stream" and error.__cause__.kind == "malformed_response"
    assert error.partial.text == "good"


def test_a_usage_of_nonsense_costs_no_answer_and_is_no_usage():
    sample = replaced(SAMPLES[OPENAI], ("usage",), {"prompt_tokens": -5, "completion_tokens": "many"})
    answer = read(OPENAI, Reply(body=msgspec.json.encode(sample)))
    assert answer.text == "a" and answer.usage is None


KEYS = ["error", "errors", "detail", "details", "code", "type", "status", "message", "retryDelay", "violations", "loc"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.sampled_from(["9" * 5000, "²", "429"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
DATES = ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Wed, 21 Oct 0000 07:28:00 +9999", "9" * 400, "-1", "²"]
headers = st.dictionaries(
    st.sampled_from(["retry-after", "retry-after-ms", "date", "x-ratelimit-remaining-a", "x-ratelimit-reset-a"]),
    st.sampled_from(DATES) | st.text(max_size=9),
    max_size=4,
)


@given(st.integers(100, 999), json_values, headers)
@settings(max_examples=300, deadline=None)
def test_any_refusal_is_one_typed_error_with_a_wait_that_is_believable(status, payload, named):
    body = msgspec.json.encode(payload)
    for error in (
        refused(status, named, body, wall=1e9, secrets=()),
        inside(payload, named, status=200, wall=1e9, secrets=()),
    ):
        assert isinstance(error, AttemptFailed)
        assert error.retry_after is None or 0 < error.retry_after <= 3600


@pytest.mark.parametrize(
    "body", [b"[" * 60000, b'{"error":' * 500 + b"1" + b"}" * 500, b'{"code":' + b"9" * 5000 + b"}"]
)
def test_a_bottomless_error_body_leaves_the_status(body):
    assert refused(500, {}, body, wall=0.0, secrets=()).kind == "server"
