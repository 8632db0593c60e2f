"""Timeouts: which phase each of them limits, and what stands still while a reader holds back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from compiler_kit import compile_text
from semantics_kit import WIRED, Commit, ask, failure, file, refusal, warnings, wire
from server_kit import RawServer, response

from wizard_dsl.core.errors import AttemptTimeout, ConnectError, StreamBroken, WizardError
from wizard_dsl.policies.timeout import TIMEOUT
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.runtime.runtime import running
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.transport import Reply, ScriptedTransport
from wizard_dsl.testing.virtual import run

#: Bytes that arrive so many seconds after those before them.
Chunk = tuple[float, bytes]
ANSWER = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}'
PING = b": ping\n\n"


def delta(**fields: Any) -> bytes:
    return (
        b"data: " + msgspec.json.encode({"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}) + b"\n\n"
    )


ROLE, REASONING, CONTENT = delta(role="assistant", content=""), delta(reasoning_content="hm"), delta(content="hi")
DONE = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


def streamed(*chunks: Chunk) -> Reply:
    return Reply(headers={"content-type": "text/event-stream"}, chunks=(*chunks, (0, DONE)))


def timed(timeout: str) -> str:
    return file(f"{{targets: [a], policies: {{use: none, timeout: {timeout}}}}}", head=WIRED)


def now() -> float:
    return asyncio.get_running_loop().time()


def build(item: Any, **limits: str) -> ScriptedChain:
    return build_chain({"a": [item]}, [(TIMEOUT, limits)])


@pytest.mark.server
async def test_t1_connect_limits_the_way_to_a_usable_connection(tmp_path: Path, commit: Commit) -> None:
    """A handshake that hangs is on the way; an answer that takes longer than that is not."""
    body = response(
        b"data: " + ANSWER.replace(b"message", b"delta") + b"\n\ndata: [DONE]\n\n", type="text/event-stream"
    )
    async with RawServer([[0.3, body if commit == "content" else response(ANSWER)]]) as server:
        for scheme, connect in (("https", "100ms"), ("http", "200ms")):
            text = timed(f"{{connect: {connect}, first_chunk: 9s}}")
            text = text.replace("http://provider.test", server.url.replace("http", scheme))
            async with running(compile_text(text, tmp_path), Registry(plugins=False)) as pipeline:
                if scheme == "http":
                    assert (await ask(pipeline, commit)).text == "hi"
                    continue
                error = await refusal(pipeline, commit)
                assert isinstance(error, ConnectError) and error.sent is False
                assert "none within 0.1 s (timeout.connect)" in error.message


def test_t2_first_chunk_limits_streamed_attempts_up_to_the_first_content(tmp_path: Path) -> None:
    """Pings and role events do not stop it."""

    async def work(pipeline: Pipeline, transport: ScriptedTransport) -> None:
        error = await refusal(pipeline, "content")
        assert isinstance(error, AttemptTimeout) and (error.phase, now()) == ("first_chunk", 10)
        assert (await ask(pipeline, "content")).text == "hi" and now() == 35
        assert (await ask(pipeline, "end")).text == "hi" and now() == 55

    prelude = [(1.0, ROLE), (4.0, PING), (4.0, ROLE)]
    replies = [streamed(*prelude, (2, CONTENT)), streamed(*prelude, (0.5, CONTENT), (15.5, PING))]
    wire(timed("{first_chunk: 10s}"), tmp_path, [*replies, Reply(body=ANSWER, delay=20)], work)


@pytest.mark.parametrize("wanted", [True, False])
def test_t3_reasoning_stops_it_if_the_consumer_gets_reasoning(wanted: bool, tmp_path: Path) -> None:
    async def work(pipeline: Pipeline, transport: ScriptedTransport) -> None:
        async with pipeline.stream(reasoning=wanted) as stream:
            if wanted:
                assert (await stream.finish()).text == "hi" and now() == 15
                return
            with pytest.raises(AttemptTimeout, match="first_chunk"):
                await stream.finish()
            assert now() == 10

    wire(timed("{first_chunk: 10s}"), tmp_path, [streamed((5, REASONING), (10, CONTENT))], work)


@pytest.mark.parametrize(
    ("chunks", "kind", "at"),
    [
        ([(1, CONTENT), (9, PING), (9, ROLE), (9, PING), (9, CONTENT)], None, 37),
        ([(1, CONTENT), (9, PING), (11, CONTENT)], "mid_stream", 20),
        ([(15, ROLE), (9, PING), (11, CONTENT)], "timeout", 34),
    ],
    ids=["events of any kind", "after the first content", "before it, from the first event on"],
)
def test_t4_idle_limits_the_time_between_two_events_of_any_kind(
    chunks: list[Chunk], kind: str | None, at: float, tmp_path: Path
) -> None:
    async def work(pipeline: Pipeline, transport: ScriptedTransport) -> None:
        if kind is None:
            assert (await ask(pipeline, "content")).text == "hihi"
        else:
            error = await refusal(pipeline, "content")
            assert error.kind == kind and "timeout.idle" in str(error)
        assert now() == at

    wire(timed("{idle: 10s}"), tmp_path, [streamed(*chunks)], work)


def test_t5_total_limits_the_whole_attempt_and_after_the_first_content_its_passing_is_mid_stream(
    commit: Commit,
) -> None:
    async def main() -> None:
        chain = build({"reply": "a b c", "chunk_every": "15s"}, total="20s")
        error = await failure(chain, commit=commit)
        assert chain.clock.now() == 20
        if commit == "content":
            assert isinstance(error, StreamBroken) and error.partial is not None and error.partial.text == "a b"
        else:
            assert isinstance(error, AttemptTimeout) and error.phase == "total"
        late = build({"reply": "a", "delay": "21s"}, total="20s")
        error = await failure(late, commit=commit)
        assert isinstance(error, AttemptTimeout) and late.clock.now() == 40

    run(main())


@pytest.mark.parametrize(
    ("item", "limits", "deadline", "kind", "at"),
    [
        ({"chunk_every": "2s"}, {"idle": "3s", "total": "20s"}, 600, "ok", 66),
        ({"stall_after": 2}, {"idle": "3s"}, 600, "mid_stream", 63),
        ({"chunk_every": "2s"}, {"total": "5s"}, 600, "mid_stream", 65),
        ({"chunk_every": "2s"}, {}, 30, "deadline", 30),
    ],
    ids=["none passes", "idle", "total", "deadline"],
)
def test_t6_while_our_reader_holds_a_stream_back_the_providers_timers_stand_still_and_the_deadline_never(
    item: dict[str, str], limits: dict[str, str], deadline: float, kind: str, at: float
) -> None:
    """The reader takes the first delta and comes back a minute later."""

    async def main() -> None:
        chain = build({"reply": "a b c d e", **item}, **limits)
        ended = "ok"
        async with await chain.ask(commit="content", deadline=deadline) as answer:
            try:
                async for _ in answer.deltas():
                    if chain.clock.now() == 0:
                        await asyncio.sleep(60)
            except WizardError as error:
                ended = error.kind
        assert (ended, chain.attempts[0].elapsed) == (kind, at)

    run(main())


@pytest.mark.parametrize(
    ("policies", "told"),
    [
        ("deadline: 40s, timeout: 40s", "timeout.total 40s of a is not below the deadline 40s"),
        ("deadline: 45s", "timeout.total 5m (built-in) of a is not below the deadline 45s"),
        ("deadline: 41s, timeout: 40s", None),
        ("deadline: 45s, timeout: {total: off}", None),
    ],
)
def test_t7_a_file_in_which_an_attempts_total_is_not_below_the_deadline_gets_a_warning(
    policies: str, told: str | None, tmp_path: Path
) -> None:
    found = [each for each in warnings(file(f"{{targets: [a], policies: {{{policies}}}}}"), tmp_path) if "W110" in each]
    assert [each.partition("W110 ")[2] for each in found] == ([told] if told else [])


@pytest.mark.parametrize(
    ("item", "limits", "deadline"),
    [
        ({"first_chunk": "10s"}, {"total": "10s"}, 600),
        ({"first_chunk": "10s"}, {"first_chunk": "10s"}, 600),
        ({"chunk_every": "10s"}, {"idle": "10s"}, 600),
        ({"chunk_every": "5s"}, {"total": "10s"}, 600),
        ({"delay": "10s"}, {}, 10),
        ({"chunk_every": "5s"}, {}, 10),
    ],
)
def test_t8_when_data_and_a_timer_fall_on_the_same_instant_the_data_wins(
    item: dict[str, str], limits: dict[str, str], deadline: float, commit: Commit
) -> None:
    async def main() -> None:
        chain = build({"reply": "a b c", **item}, **limits)
        assert (await chain.answer(commit=commit, deadline=deadline)).text == "a b c"
        assert chain.clock.now() == (20 if "idle" in limits else 10)

    run(main())
