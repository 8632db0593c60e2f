"""What is the same for all protocols: the end of a body, errors inside a 200, the order of things, secrets."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from provider_kit import HELLO, Bench, drive, json_reply, sse_reply

from wizard_dsl.core.errors import StreamBroken, WizardError
from wizard_dsl.providers import _wire
from wizard_dsl.providers.anthropic import ANTHROPIC
from wizard_dsl.providers.cohere import COHERE
from wizard_dsl.providers.gemini import GEMINI
from wizard_dsl.providers.ollama import OLLAMA
from wizard_dsl.providers.openai_responses import OPENAI_RESPONSES
from wizard_dsl.providers.presets import OPENAI
from wizard_dsl.testing import virtual
from wizard_dsl.testing.transport import Reply

KEY = {"api_key": "sk-secret-key"}
TYPES = [OPENAI, OPENAI_RESPONSES, ANTHROPIC, GEMINI, OLLAMA, COHERE]


def chunk(text=None, finish=None, **more):
    delta = {"content": text} if text is not None else {}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + msgspec.json.encode({"choices": [choice], **more}) + b"\n\n"


def ask(reply, *, stream, type=OPENAI, **changes):
    """(completion, error) of one exchange."""

    async def use(bench: Bench):
        try:
            return (await bench.stream(**changes))[1] if stream else await bench.read(**changes), None
        except WizardError as error:
            return error.partial, error
        finally:
            left = bench.transport
            assert left.aborted + left.released >= (0 if reply.refuse or reply.lost in (True, "stale") else 1)

    return drive(type, KEY, [reply], use)


NO_ANSWERS = [
    b"",
    b"   \n ",
    b"null",
    b"[]",
    b"{}",
    b"7",
    b'"text"',
    b"upstream connect error",
    b"<!doctype html><html></html>",
    b'{"choices": null}',
    b'{"choices": []}',
    b'{"choices": "none"}',
    b'{"half": ',
    b"\xff\xfe",
]


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "streamed"])
@pytest.mark.parametrize("body", NO_ANSWERS)
@pytest.mark.parametrize("type", TYPES, ids=lambda type: type.name)
def test_a_200_that_is_no_answer_is_malformed(type, body, stream):
    _, error = ask(Reply(headers={"content-type": "text/plain"}, body=body), stream=stream, type=type)
    half_a_line = type is OLLAMA and stream and body == b'{"half": '
    assert error is not None and error.kind == ("server" if half_a_line else "malformed_response")
    assert half_a_line or error.status == 200


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "streamed"])
@pytest.mark.parametrize("type", TYPES, ids=lambda type: type.name)
def test_an_error_object_in_a_200_is_the_error_it_names(type, stream):
    body = b'{"error": {"message": "Overloaded", "type": "overloaded_error"}}'
    _, error = ask(Reply(body=body), stream=stream, type=type)
    assert error.kind == "server" and "Overloaded" in error.message


def test_a_stream_that_ends_without_its_marker_is_cut():
    partial, error = ask(sse_reply(chunk("Hel"), chunk("lo")), stream=True)
    assert isinstance(error, StreamBroken) and error.__cause__.kind == "server"
    assert partial.text == "Hello"


def test_a_stream_cut_before_any_content_is_a_failed_attempt():
    _, error = ask(sse_reply(chunk("")), stream=True)
    assert error.kind == "server" and "before the answer was complete" in error.message


def test_a_missing_done_is_no_cut():
    completion, error = ask(sse_reply(chunk("Hello"), chunk(finish="stop")), stream=True)
    assert error is None and completion.text == "Hello"


def test_done_ends_a_stream_that_has_no_finish_reason():
    completion, error = ask(sse_reply(chunk("Hello"), b"data: [DONE]\n\n"), stream=True)
    assert error is None and completion.finish_reason == "stop"


def test_usage_after_the_finish_reason_is_read():
    usage = chunk(usage={"prompt_tokens": 3, "completion_tokens": 2})
    completion, _ = ask(sse_reply(chunk("Hi"), chunk(finish="stop"), usage), stream=True)
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (3, 2)


def test_a_connection_lost_after_the_finish_reason_leaves_the_answer_whole():
    completion, error = ask(sse_reply(chunk("Hi"), chunk(finish="stop"), lost="body"), stream=True)
    assert error is None and completion.text == "Hi"


def test_a_server_that_holds_the_connection_after_the_last_event_is_not_waited_for():
    async def use(bench):
        _, completion = await bench.stream()
        return completion.text, bench.clock.now()

    reply = sse_reply(chunk("Hi"), chunk(finish="stop"), b"data: [DONE]\n\n", stall=True)
    assert drive(OPENAI, KEY, [reply], use) == ("Hi", pytest.approx(0.5))


def test_an_error_event_voids_the_finish_reason_before_it():
    failure = b'data: {"error": {"code": 502, "message": "upstream"}, "choices": []}\n\n'
    partial, error = ask(sse_reply(chunk("Hi"), chunk(finish="length"), failure), stream=True)
    assert error.kind == "mid_stream" and error.__cause__.kind == "server" and partial.text == "Hi"


@pytest.mark.parametrize("split", [True, False], ids=["two reads", "one read"])
def test_content_before_an_error_counts_whatever_the_borders_of_the_reads(split):
    pieces = chunk("Hi"), b'event: error\ndata: {"error": {"code": 503, "message": "busy"}}\n\n'
    partial, error = ask(sse_reply(*(pieces if split else (b"".join(pieces),))), stream=True)
    assert isinstance(error, StreamBroken) and partial.text == "Hi"


def test_an_error_event_before_content_is_the_error_of_the_attempt():
    _, error = ask(sse_reply(chunk(""), b'event: error\ndata: {"message": "busy", "code": 503}\n\n'), stream=True)
    assert error.kind == "server"


def test_garbage_in_the_middle_of_a_stream_is_malformed():
    partial, error = ask(sse_reply(chunk("Hi"), b"data: {garbage\n\n"), stream=True)
    assert error.__cause__.kind == "malformed_response" and partial.text == "Hi"


def test_a_whole_body_in_answer_to_a_stream_is_read():
    body = b'{"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}'
    completion, error = ask(Reply(body=body), stream=True)
    assert error is None and completion.text == "Hello"


def test_a_stream_in_answer_to_a_unary_request_is_read():
    body = chunk("Hel") + chunk("lo") + chunk(finish="stop")
    completion, error = ask(sse_reply(body), stream=False)
    assert error is None and completion.text == "Hello"


def test_a_cut_stream_in_answer_to_a_unary_request_is_no_success():
    _, error = ask(sse_reply(chunk("Hel")), stream=False)
    assert error.kind == "server"


def test_blank_lines_before_a_body_are_skipped():
    body = b'\n\n\n {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}'
    completion, error = ask(Reply(body=body), stream=False)
    assert error is None and completion.text == "Hello"


@pytest.mark.parametrize(
    ("reply", "kind", "sent"),
    [
        (Reply(refuse=True), "connect", False),
        (Reply(lost=True), "server", True),
        (Reply(lost="stale"), "connect", None),
        (Reply(chunks=((0.0, b'{"choices"'),), lost="body"), "server", True),
    ],
)
def test_what_broke_and_when_decides_the_kind(reply, kind, sent):
    _, error = ask(reply, stream=False)
    assert (error.kind, error.sent) == (kind, sent)


def test_a_connection_lost_inside_an_error_body_leaves_the_status():
    _, error = ask(Reply(status=503, chunks=((0.0, b"ups"),), lost="body"), stream=False)
    assert (error.kind, error.status) == ("server", 503)


def test_only_the_beginning_of_an_endless_error_body_is_read():
    chunks = tuple((0.0, b"x" * 10_000) for _ in range(10_000))

    async def use(bench):
        with pytest.raises(WizardError) as caught:
            await bench.read()
        return caught.value.kind, bench.transport.aborted

    assert drive(OPENAI, KEY, [Reply(status=500, chunks=chunks)], use) == ("server", 1)


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "streamed"])
def test_an_answer_larger_than_the_limit_is_refused(monkeypatch, stream):
    monkeypatch.setattr(_wire, "ANSWER_LIMIT", 1000)
    chunks = tuple((0.0, b'{"choices": [' + b" " * 300) for _ in range(10))
    _, error = ask(Reply(chunks=chunks), stream=stream)
    assert error.kind == "malformed_response" and "larger than 1000 bytes" in error.message


def test_a_key_that_a_provider_repeats_is_hidden():
    body = b"<html>sk-secret-key</html>"
    _, error = ask(Reply(body=body), stream=False)
    assert "sk-secret-key" not in error.message + error.body and "***" in error.body


def test_a_config_never_shows_its_key_or_its_headers():
    config = msgspec.convert({"api_key": "sk-secret-key", "headers": {"x-other": "hidden-value"}}, OPENAI.config)
    assert "sk-secret-key" not in repr(config) + str(config) and "hidden-value" not in repr(config)
    assert "x-other" in repr(config)


@pytest.mark.parametrize("config", [{"api_key": "sk-1\n"}, {"headers": {"x-a": "ü"}}, {"api_key": "“sk-1”"}])
def test_a_key_that_cannot_be_sent_is_named_without_being_shown(config):
    with pytest.raises(WizardError, match="cannot be sent") as caught:
        virtual.run(_build(config))
    assert caught.value.kind == "spec" and "sk-1" not in str(caught.value)


async def _build(config):
    Bench(OPENAI, config)


@pytest.mark.parametrize("headers", [{"x-a": "a\r\nx-b: c"}, {"bad name": "x"}, {"": "x"}])
def test_a_header_that_would_smuggle_another_is_no_config(headers):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"headers": headers}, OPENAI.config)


def test_configured_headers_win_over_the_type_s_own_whatever_their_case():
    async def use(bench):
        await bench.read()
        return bench.transport.sent[0].headers

    config = {"api_key": "sk-secret-key", "headers": {"Authorization": "Basic abc", "x-tenant": "t1"}}
    body = b'{"choices": [{"message": {"content": "Hello"}}]}'
    headers = drive(OPENAI, config, [Reply(body=body)], use)
    assert headers["Authorization"] == "Basic abc" and headers["x-tenant"] == "t1" and "authorization" not in headers


def test_request_id_and_headers_reach_the_completion():
    reply = json_reply(b'{"choices": [{"message": {"content": "Hello"}}]}', x_request_id="req_7", x_limit="9")
    completion, _ = ask(reply, stream=False)
    assert completion.request_id == "req_7" and completion.headers["x-limit"] == "9"
    streamed = sse_reply(chunk("Hi"), chunk(finish="stop"))
    streamed = msgspec.structs.replace(streamed, headers={"X-Request-Id": "req_8"})
    completion, _ = ask(streamed, stream=True)
    assert completion.request_id == "req_8" and completion.headers == {"x-request-id": "req_8"}


@pytest.mark.parametrize("commit", ["content", "end"])
def test_the_headers_of_a_limit_are_on_the_response(commit):
    async def use(bench):
        async with await bench.open(commit=commit) as response:
            return response.headers["x-ratelimit-remaining-requests"]

    reply = json_reply(b'{"choices": [{"message": {"content": "x"}}]}', **{"X-RateLimit-Remaining-Requests": "3"})
    assert drive(OPENAI, KEY, [reply], use) == "3"


def test_connect_timeout_pool_and_target_travel_with_the_request():
    async def use(bench):
        await bench.read(connect=2.5)
        return bench.transport.sent[0]

    sent = drive(OPENAI, KEY, [Reply(body=b'{"choices": [{"message": {"content": "x"}}]}')], use)
    assert (sent.connect, sent.pool, sent.target, sent.stream) == (2.5, "t", "t/m", False)


def test_cancelling_while_the_answer_arrives_frees_the_connection():
    async def use(bench):
        task = asyncio.ensure_future(bench.read())
        await bench.clock.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return bench.transport.aborted

    assert drive(OPENAI, KEY, [Reply(chunks=((5.0, b"late"),))], use) == 1


def test_aborting_a_stream_wakes_its_reader():
    async def use(bench):
        response = await bench.open(commit="content")
        reader = asyncio.ensure_future(response.read())
        await bench.clock.sleep(1)
        response.abort(WizardError("enough"))
        with pytest.raises(StreamBroken, match="enough"):
            await reader
        return bench.clock.now()

    assert drive(OPENAI, KEY, [sse_reply(chunk("Hi"), stall=True)], use) == 1


def test_pings_keep_a_stream_alive_and_silence_does_not():
    pings = tuple((4.0, b": ping\n\n") for _ in range(5))

    async def use(bench):
        return (await bench.stream(idle=5.0))[1].text

    alive = Reply(chunks=(*pings, (0.0, chunk("Hi") + chunk(finish="stop"))))
    assert drive(OPENAI, KEY, [alive], use) == "Hi"
    with pytest.raises(WizardError) as caught:
        drive(OPENAI, KEY, [Reply(chunks=((0.0, b": ping\n\n"), (6.0, chunk("Hi"))))], use)
    assert caught.value.kind == "timeout"


def test_repeats_of_a_request_share_a_key_and_other_requests_do_not():
    body = Reply(body=b'{"choices": [{"message": {"content": "x"}}]}')

    async def use(bench):
        await bench.read()
        await bench.read(used=1)
        await bench.read(msgspec.structs.replace(HELLO, params={"seed": 2}))
        return [sent.headers["idempotency-key"] for sent in bench.transport.sent]

    first, again, other = drive(OPENAI, KEY, [body] * 3, use)
    assert first == again != other


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r"a\ud83d\ude00b", "a😀b"),
        (r"a\ud83d", "a�"),
        (r"\ude00b", "�b"),
        (r"\ud83d\n\u00e9", "�\né"),
        (r"\\ud83d\ud83d", "\\ud83d�"),
    ],
)
def test_half_a_character_does_not_break_an_answer(escaped, text):
    event = b'data: {"choices": [{"delta": {"content": "%s"}}]}\n\n' % escaped.encode()
    completion, error = ask(sse_reply(event, chunk(finish="stop")), stream=True)
    assert error is None and completion.text == text
    body = b'{"choices": [{"message": {"content": "%s"}}]}' % escaped.encode()
    completion, error = ask(Reply(body=body), stream=False)
    assert error is None and completion.text == text


def test_an_error_whose_body_hangs_is_not_waited_for_long():
    async def use(bench: Bench):
        with pytest.raises(WizardError) as caught:
            await bench.read()
        return caught.value, bench.clock.now()

    reply = Reply(status=429, headers={"retry-after": "7"}, body=b'{"error": {"message": "slow do', stall=True)
    error, now = drive(OPENAI, KEY, [reply], use)
    assert (error.kind, error.retry_after) == ("rate_limited", 7.0) and now <= 5.0


@pytest.mark.parametrize("stream", [False, True])
def test_a_broken_answer_keeps_the_provider_s_id_of_it(stream):
    _, error = ask(Reply(headers={"x-request-id": "r7"}, chunks=((0.0, b'{"choi'),), lost="body"), stream=stream)
    assert (error.kind, error.request_id) == ("server", "r7")


def test_a_redirect_says_where_to_and_what_to_do():
    _, error = ask(Reply(status=308, headers={"location": "https://api.example.com/v1"}), stream=False)
    assert error.kind == "invalid_request"
    assert error.message == "status 308 (it redirects to https://api.example.com/v1; correct base_url)"


def test_a_refused_connection_names_the_server():
    _, error = ask(Reply(refuse=True), stream=False)
    assert error.message == "no connection to api.openai.com: connection refused"


def test_the_name_of_a_model_cannot_change_the_address():
    async def use(bench: Bench):
        await bench.read()
        return bench.transport.sent[0].url

    reply = json_reply({"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}]})
    for model, path in (("a?b#c", "models/a%3Fb%23c"), ("models/m", "models/m"), ("tunedModels/t", "tunedModels/t")):
        url = drive(GEMINI, KEY, [reply], use, model=model)
        assert url.endswith(f"/v1beta/{path}:generateContent")
