"""Cassettes of whole pipelines: recorded below the policies, replayed through them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from wizard_dsl.core.errors import SpecError, WizardError
from wizard_dsl.core.http import ConnectFailed, HttpRequest, HttpResponse
from wizard_dsl.testing import virtual
from wizard_dsl.testing.cassettes import Cassette, CassetteMiss, open_recorded
from wizard_dsl.testing.transport import Reply, ScriptedTransport

KEY = "sk-proj-Ab12Cd34Ef56Gh78Ij90"
ENV = {"KEY": KEY}
FILE = """
version: 1
inputs: {q: {type: string}}
providers:
  a: {type: openai, api_key: "${env:KEY}"}
  b: {type: anthropic, api_key: "${env:KEY}"}
  m: {type: mock, reply: "one two three four", latency: 1s, per_chunk: 200ms, chunk: 4}
chains:
  default: {targets: [a/one, b/two]}
  mock: {targets: [m]}
steps: {answer: {prompt: {user: "{{ q }}"}, params: {max_tokens: 9}}}
"""


def chat(text: str) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}


def whole(text: str = "hello", **fields: Any) -> Reply:
    return Reply(headers={"content-type": "application/json"}, body=json.dumps(chat(text)).encode(), **fields)


def streamed(*pieces: str, every: float = 0.5, **fields: Any) -> Reply:
    said: list[dict[str, Any]] = [{"choices": [{"delta": {"content": each}}]} for each in pieces]
    said.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    chunks = tuple((every, f"data: {json.dumps(each)}\n\n".encode()) for each in said)
    return Reply(headers={"content-type": "text/event-stream"}, chunks=chunks, **fields)


class Bench:
    """A file, its cassette, and runs of it in virtual time."""

    def __init__(self, folder: Path, file: str = FILE) -> None:
        self.file = folder / "case.yaml"
        self.cassette = folder / "case.cassette.jsonl"
        self.file.write_text(file)
        self.tape: Cassette | None = None

    def run(
        self, record: Any = "none", replies: Any = (), *, stream: bool = False, asked: Any = ("hi",), **options: Any
    ) -> list[Any]:
        """The result of each run, or its error."""
        env = options.pop("env", {} if record == "none" else ENV)

        async def main() -> list[Any]:
            transport = ScriptedTransport(replies)
            opened = open_recorded(
                self.file, self.cassette, record=record, env=env, transport=transport, seed=0, **options
            )
            async with opened as (pipeline, self.tape):
                return [await self._one(pipeline, q, stream) for q in asked]

        return virtual.run(main())

    async def _one(self, pipeline: Any, q: str, stream: bool) -> Any:
        try:
            if not stream:
                return await pipeline.run(q=q)
            async with pipeline.stream(q=q) as made:
                pieces = [(delta.text, asyncio.get_running_loop().time()) async for delta in made]
                return pieces, made.result
        except WizardError as error:
            return error

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.cassette.read_text().splitlines()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def story(result: Any) -> Any:
    """What a run came to, without its id."""
    plain = result.to_json()
    del plain["run_id"]
    return plain


def test_a_replay_runs_the_policies_again_with_the_same_waits_and_the_same_bytes(bench: Bench) -> None:
    late = Reply(status=429, headers={"Retry-After": "1", "Set-Cookie": "sid=1"}, body=b"busy", delay=0.25)
    (live,) = bench.run("all", [Reply(status=503, delay=0.1), late, whole("hello", delay=0.4)])
    (again,) = bench.run()
    assert [row.kind for row in again.attempts] == ["server", "rate_limited", "ok"]
    assert story(again) == story(live)
    assert bench.tape is not None and bench.tape.tape.unused == []
    first, second = bench.run()[0].encode(), bench.run()[0].encode()
    assert first == second


def test_a_line_is_one_attempt_without_keys_and_with_the_headers_that_matter(bench: Bench) -> None:
    secret = {"Set-Cookie": "sid=1", "X-Request-Id": "r-1", "Openai-Organization": "acme", "X-Ratelimit-Reset": "1s"}
    reply = whole(f"your key is {KEY}, jane@firm.com", delay=0.1)
    reply = Reply(headers={**reply.headers, **secret}, body=reply.body, delay=0.1)
    bench.run("all", [reply], asked=("I am jane@firm.com",))
    header, line = bench.lines()
    assert header["cassette"] == 1
    assert header["recorded_at"] == "2026-01-01T00:00:00Z"
    asked = {"max_tokens": 9, "model": "one", "stream": False}
    asked["messages"] = [{"role": "user", "content": "I am redacted@example.com"}]
    assert line["request"] == {"method": "POST", "path": "/chat/completions", "body": asked}
    assert set(line["headers"]) == {"content-type", "x-request-id", "x-ratelimit-reset", "date"}
    assert (line["target"], line["answered"], line["status"], line["end"]) == ("a/one", 100, 200, 100)
    assert json.loads(line["chunks"][0][1]) == chat("your key is ***, redacted@example.com")
    assert KEY not in bench.cassette.read_text()


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_streamed_is_replayed_in_its_pieces_and_as_a_whole(bench: Bench, stream: bool) -> None:
    ((pieces, live),) = bench.run("all", [streamed("one ", "two ", "three", delay=0.2)], stream=True)
    assert [at for _, at in pieces if _][:3] == [0.7, 1.2, 1.7]
    (again,) = bench.run(stream=stream)
    if stream:
        assert again[0] == pieces
        again = again[1]
    assert (again.text, again.elapsed) == (live.text, live.elapsed)


def test_what_was_recorded_whole_is_replayed_as_a_stream(bench: Bench) -> None:
    bench.run("all", [whole("one two", delay=0.5)])
    ((pieces, again),) = bench.run(stream=True)
    assert ([text for text, _ in pieces if text], again.text) == (["one two"], "one two")


def test_a_request_that_changed_is_told_with_the_nearest_and_what_differs(bench: Bench) -> None:
    bench.run("all", [whole(), whole()], asked=("My invoice is wrong, please help me", "Something else"))
    (miss,) = bench.run(asked=("My invoice is late, please help me",))
    assert isinstance(miss, CassetteMiss)
    assert (miss.kind, miss.exit_code, miss.retryable) == ("spec", 3, False)
    assert "to a/one; the nearest, line 2, differs" in miss.message
    assert miss.difference == (
        "body.messages[0].content:",
        '  - "My invoice is wrong, please help me"',
        '  + "My invoice is late, please help me"',
    )


def test_a_miss_is_neither_repeated_nor_given_to_the_next_target(bench: Bench) -> None:
    bench.run("all", [Reply(status=503), Reply(status=503), whole()])
    (miss,) = bench.run(asked=("changed",))
    assert [row["kind"] for row in miss.result.to_json()["attempts"]] == ["spec"]
    assert bench.tape is not None and bench.tape.misses == [miss]


def test_a_miss_that_a_race_hides_is_remembered(bench: Bench) -> None:
    answer = {"content": [{"type": "text", "text": "b"}], "stop_reason": "end_turn"}
    body = json.dumps(answer).encode()
    only = FILE.replace("[a/one, b/two]}", "[b/two]}")
    bench.file.write_text(only)
    bench.run("all", [Reply(headers={"content-type": "application/json"}, body=body)])
    race = "{strategy: {type: parallel, n: 2}, targets: [b/two, a/one]}"
    bench.file.write_text(FILE.replace("{targets: [a/one, b/two]}", race))
    (result,) = bench.run()
    assert result.text == "b"
    assert bench.tape is not None
    assert ["holds no exchange with a/one" in miss.message for miss in bench.tape.misses] == [True]


def test_a_request_made_once_more_than_recorded_is_told(bench: Bench) -> None:
    bench.run("all", [Reply(status=503), whole()])
    first, second = bench.run(asked=("hi", "hi"))
    assert first.text == "hello"
    assert "made once more often than in case.cassette.jsonl, which answers it in lines 2, 3" in second.message


def test_a_target_without_exchanges_is_told(bench: Bench) -> None:
    bench.run("all", [whole()])
    bench.file.write_text(FILE.replace("[a/one, b/two]", "[b/two]"))
    (miss,) = bench.run()
    assert "holds no exchange with b/two, only with a/one" in miss.message


def test_missing_adds_what_is_not_there_and_leaves_the_rest(bench: Bench) -> None:
    bench.run("all", [whole("first")])
    old = bench.lines()
    results = bench.run("missing", [whole("second")], asked=("hi", "ho"))
    assert [each.text for each in results] == ["first", "second"]
    new = bench.lines()
    assert new[1] == old[1]
    assert [line["request"]["body"]["messages"][0]["content"] for line in new[1:]] == ["hi", "ho"]
    before = bench.cassette.stat().st_mtime_ns, bench.cassette.stat().st_ino
    bench.run("missing", asked=("hi", "ho"))
    assert (bench.cassette.stat().st_mtime_ns, bench.cassette.stat().st_ino) == before


def test_all_replaces_what_is_there_and_nothing_by_nothing(bench: Bench) -> None:
    bench.run("all", [whole("first")])
    bench.run("all", [whole("anew")])
    assert [each.text for each in bench.run()] == ["anew"]
    before = bench.cassette.read_bytes()
    bench.run("all", asked=())
    assert bench.cassette.read_bytes() == before


def test_a_run_that_fails_or_is_cancelled_is_recorded_as_far_as_it_came(bench: Bench) -> None:
    async def main() -> None:
        transport = ScriptedTransport([streamed("one ", "two ", "three ", every=1.0)])
        opened = open_recorded(bench.file, bench.cassette, record="all", env=ENV, transport=transport)
        async with opened as (pipeline, _):
            async with asyncio.timeout(2.5):
                async with pipeline.stream(q="hi") as stream:
                    _ = [delta async for delta in stream]

    with pytest.raises(TimeoutError):
        virtual.run(main())
    (line,) = bench.lines()[1:]
    assert ([at for at, _ in line["chunks"]], line["cancelled"]) == ([1000, 2000], 2500)


def test_the_loser_of_a_hedge_loses_again(bench: Bench) -> None:
    race = "{strategy: {type: hedged, after: 1s}, targets: [a/one, a/two]}"
    bench.file.write_text(FILE.replace("{targets: [a/one, b/two]}", race))
    (live,) = bench.run("all", [whole("slow", delay=3.0), whole("fast", delay=0.5)])
    assert (live.text, live.elapsed) == ("fast", 1.5)
    lost, won = bench.lines()[1:]
    assert (lost["target"], lost["cancelled"], won["target"], won["end"]) == ("a/one", 1500, "a/two", 500)
    assert story(bench.run()[0]) == story(live)


@pytest.mark.parametrize("rule", ["restart", "continue"])
def test_a_stream_that_broke_is_resumed_again(bench: Bench, rule: str) -> None:
    resumed = f"{{on_mid_stream_error: {rule}, targets: [a/one, a/two]}}"
    bench.file.write_text(FILE.replace("{targets: [a/one, b/two]}", resumed))
    broken = streamed("Once upon", " a time", lost="body")
    broken = Reply(headers=broken.headers, chunks=broken.chunks[:2], lost="body")
    ((pieces, live),) = bench.run("all", [broken, streamed(" there was", " a key")], stream=True)
    ((again, result),) = bench.run(stream=True)
    assert [text for text, _ in again] == [text for text, _ in pieces]
    assert story(result) == story(live)
    assert [row.kind for row in result.attempts] == ["mid_stream", "ok"]
    assert bench.tape is not None and bench.tape.tape.unused == []


def test_a_breaker_opens_again(bench: Bench) -> None:
    rule = "[a/one, a/two], policies: {retry: off, circuit_breaker: 2}}"
    bench.file.write_text(FILE.replace("[a/one, b/two]}", rule))
    down = Reply(status=503)
    asked = ("one", "two", "three")
    live = bench.run("all", [down, whole(), down, whole(), whole()], asked=asked)
    again = bench.run(asked=asked)
    assert [[row.target for row in each.attempts] for each in live][-1] == ["a/two"], "its breaker is open"
    assert [story(each) for each in again] == [story(each) for each in live]


def test_an_attempt_that_timed_out_times_out_again(bench: Bench) -> None:
    bench.file.write_text(FILE.replace("[a/one, b/two]}", "[a/one], policies: {timeout: 2s, retry: 2}}"))
    stalls = Reply(headers={"content-type": "application/json"}, stall=True)
    (live,) = bench.run("all", [Reply(delay=60.0), stalls])
    (again,) = bench.run()
    assert [row["kind"] for row in again.result.to_json()["attempts"]] == ["timeout", "timeout"]
    assert again.result.to_json()["attempts"] == live.result.to_json()["attempts"]
    assert [line.get("cancelled") for line in bench.lines()[1:]] == [2000, 2000]


def test_waiting_longer_than_when_it_was_recorded_is_told(bench: Bench) -> None:
    short = FILE.replace("[a/one, b/two]}", "[a/one], policies: {timeout: 2s, retry: off}}")
    bench.file.write_text(short)
    bench.run("all", [Reply(delay=60.0)])
    bench.file.write_text(short.replace("timeout: 2s", "timeout: 20s"))
    (miss,) = bench.run()
    assert "line 2 of case.cassette.jsonl was given up after 2 s when it was recorded" in miss.message


@pytest.mark.parametrize("reply", [Reply(refuse=True), Reply(lost=True), Reply(lost="stale"), whole(lost="body")])
def test_broken_connections_break_again(bench: Bench, reply: Reply) -> None:
    bench.file.write_text(FILE.replace("[a/one, b/two]}", "[a/one], policies: {retry: off}}"))
    (live,) = bench.run("all", [reply])
    (again,) = bench.run()
    assert again.to_json() == live.to_json()
    assert story(again.result) == story(live.result)


class Talkative(ScriptedTransport):
    """Names the key where it fails."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        raise ConnectFailed(f"the proxy does not like {request.headers.get('authorization')}")


def test_a_key_in_the_message_of_an_error_is_not_written(bench: Bench) -> None:
    async def main() -> None:
        opened = open_recorded(bench.file, bench.cassette, record="all", env=ENV, transport=Talkative())
        async with opened as (pipeline, _):
            with pytest.raises(WizardError):
                await pipeline.run(q="hi")

    virtual.run(main())
    assert bench.lines()[1]["failed"]["message"] == "the proxy does not like Bearer ***"
    assert KEY not in bench.cassette.read_text()


def test_a_key_of_a_file_that_a_step_runs_is_not_written(bench: Bench) -> None:
    inner = bench.file.with_name("inner.yaml")
    inner.write_text(FILE.replace("${env:KEY}", "${env:INNER}").replace("version: 1", "version: 1\nname: inner"))
    bench.file.write_text(
        "version: 1\ninputs: {q: {type: string}}\n"
        'steps: {facts: {type: pipeline, file: inner.yaml, inputs: {q: "{{ q }}"}}}\n'
    )
    odd = "plain words that are a key"
    bench.run("all", [whole(f"you sent {odd}")], env={"INNER": odd})
    assert odd not in bench.cassette.read_text()
    assert bench.run(env={"INNER": "none"})[0].text == "you sent ***"


@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_without_http_is_recorded_as_its_deltas(bench: Bench, stream: bool) -> None:
    bench.file.write_text(FILE.replace("prompt: {user", "chain: mock, prompt: {user"))
    (live,) = bench.run("all", stream=stream)
    (again,) = bench.run(stream=stream)
    if stream:
        assert [text for text, _ in again[0]] == [text for text, _ in live[0]]
        assert [at for _, at in again[0]] == pytest.approx([at for _, at in live[0]])
        live, again = live[1], again[1]
    assert (again.text, again.usage) == (live.text, live.usage)
    (line,) = bench.lines()[1:]
    assert "status" not in line
    assert line["request"]["body"]["messages"][0]["parts"] == [{"type": "text", "text": "hi"}]


def test_what_a_provider_without_http_refuses_is_refused_again(bench: Bench) -> None:
    mock = "{type: mock, latency: 1s, reply: [{match: hi, status: 429}, {match: ho, refuse: true}]}"
    text = FILE.replace("prompt: {user", "chain: mock, prompt: {user").replace(
        '{type: mock, reply: "one two three four", latency: 1s, per_chunk: 200ms, chunk: 4}', mock
    )
    bench.file.write_text(text)
    live = bench.run("all", asked=("hi", "ho"))
    again = bench.run(asked=("hi", "ho"))
    assert [each.to_json() for each in again] == [each.to_json() for each in live]
    assert [line["failed"]["kind"] for line in bench.lines()[1:]][:1] == ["rate_limited"]


def test_embeddings_of_a_provider_without_http_are_recorded(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path,
        """
version: 1
inputs: {q: {type: string}}
providers: {m: {type: mock}}
chains: {default: {targets: [m]}}
steps: {vectors: {type: embed, texts: ["{{ q }}", other]}}
""",
    )
    (live,) = bench.run("all")
    (again,) = bench.run()
    assert story(again) == story(live)


def test_a_replay_needs_no_key_and_a_word_that_is_one_in_the_environment_changes_nothing(bench: Bench) -> None:
    bench.run("all", [whole()], asked=("this is a test of the key",))
    for env in ({}, {"KEY": "test"}, ENV, {"KEY": "other-key-0123456789"}):
        (again,) = bench.run(env=env, asked=("this is a test of the key",))
        assert again.text == "hello"


def test_what_was_hidden_in_an_answer_is_hidden_in_the_prompt_that_quotes_it(tmp_path: Path) -> None:
    says = f"Mail jane.doe@firm.com, call +49 170 1234567, card 4111 1111 1111 1111, key {KEY}."
    file = FILE.replace("steps: {answer:", "steps: {first: {prompt: {user: '{{ q }}'}}, answer:")
    bench = Bench(tmp_path, file.replace('"{{ q }}"', '"<{{ steps.first.text }}> {{ steps.first.text }}"'))
    bench.run("all", [whole(says), whole("done")])
    assert [each.text for each in bench.run()] == ["done"]
    assert bench.tape is not None and bench.tape.tape.unused == []


def test_the_server_may_be_another_one(bench: Bench) -> None:
    bench.run("all", [whole()])
    bench.file.write_text(FILE.replace("{type: openai,", "{type: openai, base_url: http://127.0.0.1:1/proxy/v1,"))
    assert bench.run()[0].text == "hello"


def test_an_image_is_kept_as_its_hash(tmp_path: Path) -> None:
    file = FILE.replace(
        'prompt: {user: "{{ q }}"}',
        'prompt: {messages: [{role: user, content: [{text: what}, {image: "data:image/png;base64,{{ q }}"}]}]}',
    )
    bench = Bench(tmp_path, file)
    image = "iVBORw0KGgo" * 300
    bench.run("all", [whole()], asked=(image,))
    assert bench.run(asked=(image,))[0].text == "hello"
    assert "iVBORw0KGgoiVBORw0KGgo" not in bench.cassette.read_text()
    assert "sha256:" in bench.cassette.read_text()
    (miss,) = bench.run(asked=(image.replace("i", "j"),))
    assert isinstance(miss, CassetteMiss)


def test_recording_where_a_mock_would_answer_is_refused(bench: Bench) -> None:
    with pytest.raises(SpecError, match=r"recording needs the key of a: set KEY"):
        bench.run("all", [whole()], env={"WIZARD_ENV": "development"})
    assert not bench.cassette.exists()


def test_what_is_stale_is_told_as_warnings(bench: Bench) -> None:
    bench.run("all", [whole()])
    bench.run()
    assert bench.tape is not None
    day = 86_400
    assert bench.tape.stale(virtual.EPOCH + 90 * day) == []
    (old,) = bench.tape.stale(virtual.EPOCH + 91 * day)
    assert (old.code, old.severity, old.line) == ("W171", "warning", 1)
    assert "91 days ago" in old.message
    bench.file.write_text(FILE.replace("{{ q }}", "Answer: {{ q }}"))
    bench.run()
    assert [each.code for each in bench.tape.stale(virtual.EPOCH)] == ["W170"]


def test_a_prompt_file_that_changed_makes_a_cassette_stale_also_below_a_pipeline_step(tmp_path: Path) -> None:
    own = FILE.replace('{user: "{{ q }}"}', "{file: ask.md}")
    outer = (
        "version: 1\ninputs: {q: {type: string}}\nsteps: {s: {type: pipeline, file: in.yaml, inputs: {q: '{{ q }}'}}}\n"
    )
    for name, file in (("own", own), ("outer", outer)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "in.yaml").write_text(own)
        (folder / "ask.md").write_text("{{ q }}")
        bench = Bench(folder, file)
        bench.run("all", [whole()])
        assert bench.tape is not None
        bench.run()
        assert bench.tape.stale(virtual.EPOCH) == []
        (folder / "ask.md").write_text("Answer: {{ q }}")
        bench.run()
        assert [each.code for each in bench.tape.stale(virtual.EPOCH)] == ["W170"]


def test_a_cache_on_disk_hides_no_exchange_from_a_recording(bench: Bench) -> None:
    bench.file.write_text(FILE.replace("[a/one, b/two]}", "[a/one], policies: {cache: {store: disk}}}"))

    async def main(record: Any, replies: Any) -> str:
        transport = ScriptedTransport(replies)
        opened = open_recorded(bench.file, bench.cassette, record=record, env=ENV, transport=transport)
        async with opened as (pipeline, _):
            return str((await pipeline.run(q="hi")).text)

    assert asyncio.run(main("all", [whole("first")])) == "first"
    assert asyncio.run(main("all", [whole("second")])) == "second"
    assert bench.run()[0].text == "second"
