"""Kinds: what a failure is, what it may do, and what leaves a chain."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from compiler_kit import compile_text
from run_kit import play
from semantics_kit import (
    CALM,
    PRICED,
    WIRED,
    Commit,
    ask,
    failure,
    file,
    forever,
    refusal,
    refused,
    starts,
    story,
    wire,
)

from wizard_dsl.core.errors import (
    TABLE,
    AllFallbacksFailed,
    AuthError,
    CircuitOpen,
    MaxRetriesExceeded,
    ServerError,
    StreamBufferFull,
    TargetBlocked,
    Unsupported,
)
from wizard_dsl.core.events import CacheStored, TargetSkipped
from wizard_dsl.core.messages import Request, Tool, message
from wizard_dsl.core.target import Facts
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.concurrency import CONCURRENCY
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.policies.timeout import TIMEOUT
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.testing import virtual
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.transport import Reply, ScriptedTransport

TWICE = [(RETRY, {"jitter": "none", "max_attempts": 2})]
BREAKER = (CIRCUIT_BREAKER, {"failure_threshold": 1})
#: SEMANTICS "Errors and their kinds": retried in place, next target, breaker verdict.
TABLED = """
connect yes yes failure
timeout yes yes failure
server yes yes failure
rate_limited rule rule neutral
quota_exhausted no yes neutral
auth no no neutral
not_found no no neutral
context_length no rule neutral
content_filter no no neutral
invalid_request no no neutral
malformed_response yes yes failure
contract rule rule neutral
mid_stream rule rule failure
unsupported no no neutral
local_limit no no neutral
circuit_open no yes none
cancelled no no neutral
deadline no no neutral
budget no rule neutral
safety no no neutral
stream_buffer no no neutral
input no no none
session no no none
spec no no none
"""


def says(status: int, code: str, text: str = "m") -> dict[str, Any]:
    return {"status": status, "body": msgspec.json.encode({"error": {"code": code, "message": text}}).decode()}


TOO_LONG = says(413, "request_too_large", "too many tokens")
FILTERED = says(400, "content_filter")


def is_open(chain: ScriptedChain) -> bool:
    """Whether the breaker of target a is."""
    return chain.targets["a"].gates[0](chain.clock.now()) is not None


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        *(({"refuse": True}, "connect"), (525, "connect"), (408, "timeout"), (425, "server"), (503, "server")),
        *((529, "server"), (402, "quota_exhausted"), (401, "auth"), (403, "auth"), (404, "not_found")),
        *((TOO_LONG, "context_length"), (FILTERED, "content_filter"), (400, "invalid_request")),
        *((409, "invalid_request"), (says(409, "", "it is locked"), "server"), (501, "invalid_request")),
        *((302, "invalid_request"), (says(200, "?"), "malformed_response"), ({"reply": ""}, "malformed_response")),
    ],
    ids=str,
)  # fmt: skip
def test_k1_a_failure_has_one_kind_and_one_table_says_what_it_may_do(item: Any, kind: str, commit: Commit) -> None:
    told = [f"{name} {row.retry} {row.fallback} {row.verdict}" for name, row in TABLE.items()]
    assert told == TABLED.split("\n")[1:-1]
    row = TABLE[kind]

    async def main() -> None:
        chain = build_chain({"a": [item, item], "b": ["b"]}, overrides={"a": TWICE, "b": []})
        if row.fallback == "no":
            assert (await failure(chain, commit=commit)).kind == kind
        else:
            await chain.answer(commit=commit)
        tried = [kind] * (2 if row.retry == "yes" else 1) + ["ok"] * (row.fallback != "no")
        assert [each.kind for each in chain.attempts] == tried
        chain = build_chain({"a": [item]}, [BREAKER])
        await failure(chain, commit=commit)
        assert is_open(chain) is (row.verdict == "failure")

    virtual.run(main())


def test_k2_each_default_can_be_overridden_by_kind_or_status_and_a_status_wins(commit: Commit) -> None:
    said = {"auth": True, "403": False, "server": False, "503": True}

    async def main() -> None:
        for item, yes in ((401, True), (403, False), (500, False), (503, True)):
            chain = build_chain({"a": [item, "again"]}, [(RETRY, {"retry_on": said})])
            if yes:
                assert (await chain.answer(commit=commit)).text == "again"
            else:
                assert (await failure(chain, commit=commit)).status == item  # type: ignore[attr-defined]
            chain = build_chain({"a": [item], "b": ["b"]}, fallback_on=said)
            if yes:
                assert (await chain.answer(commit=commit)).text == "b"
            else:
                assert (await failure(chain, commit=commit)).status == item  # type: ignore[attr-defined]
            chain = build_chain({"a": [item]}, [(CIRCUIT_BREAKER, {"failure_threshold": 1, "trip_on": said})])
            await failure(chain, commit=commit)
            assert is_open(chain) is yes

    virtual.run(main())


def test_k3_connect_is_repeated_at_once_the_first_time_then_with_back_off_and_moves_on(commit: Commit) -> None:
    async def main() -> None:
        config = {"jitter": "none", "max_attempts": 4}
        chain = build_chain({"a": [{"refuse": True}] * 4, "b": ["b"]}, [(RETRY, config)])
        await chain.answer(commit=commit)
        assert [row.kind for row in chain.attempts] == ["connect"] * 4 + ["ok"]
        assert starts(chain) == [0, 0, 2, 6, 6]
        chain = build_chain({"a": [503, {"refuse": True}, "x"]}, CALM)
        assert (await chain.answer(commit=commit)).text == "x"
        assert starts(chain) == [0, 1, 1], "the first of its kind, whatever came before"

    virtual.run(main())


@pytest.mark.parametrize(
    ("item", "kind", "lasts"),
    [({"reply": "x", "stall_after": 0}, "timeout", 5), (502, "server", 0), ({"reply": ""}, "malformed_response", 0)],
)
def test_k4_timeout_server_and_malformed_response_are_repeated_and_move_on(
    item: Any, kind: str, lasts: float, commit: Commit
) -> None:
    async def main() -> None:
        chain = build_chain({"a": [item] * 2, "b": ["b"]}, [*TWICE, (TIMEOUT, {"total": "5s"})])
        await chain.answer(commit=commit)
        assert [row.kind for row in chain.attempts] == [kind, kind, "ok"]
        assert starts(chain) == [0, lasts + 1, 2 * lasts + 1]

    virtual.run(main())


@pytest.mark.parametrize("item", [says(429, "insufficient_quota"), 402, says(403, "billing_not_active")], ids=str)
def test_k5_a_quota_that_is_exhausted_blocks_the_target_for_an_hour(item: Any, commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [item, "back"], "b": forever("b")}, CALM)
        await chain.answer(commit=commit)
        assert [row.kind for row in chain.attempts] == ["quota_exhausted", "ok"] and chain.clock.now() == 0
        await asyncio.sleep(3599)
        assert (await chain.answer(commit=commit)).text == "b"
        assert chain.events(TargetSkipped)[0].reason == "quota_exhausted"  # type: ignore[attr-defined]
        await asyncio.sleep(1)
        assert (await chain.answer(commit=commit)).text == "back"

    virtual.run(main())


@pytest.mark.parametrize("status", [401, 403, 404])
def test_k6_a_dead_key_and_an_unknown_model_are_neither_repeated_nor_hidden(status: int, commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [status, "never"], "b": ["never"]}, CALM)
        error = await failure(chain, commit=commit)
        assert error.kind == ("not_found" if status == 404 else "auth") and not isinstance(error, AllFallbacksFailed)
        assert chain.story() == f"a {status}" and chain.clock.now() == 0

    virtual.run(main())


def test_k7_context_length_moves_on_only_to_a_larger_window_that_is_large_enough(commit: Commit) -> None:
    windows = {"a": None, "same": 4000, "small": 4001, "b": 100_000}
    long = Request(messages=(message("user", "word " * 5000),))

    async def main() -> None:
        facts = {name: Facts(context=window) for name, window in windows.items()}
        facts["a"] = Facts(context=4000)
        chain = build_chain({"a": [TOO_LONG], "same": [], "small": ["fits"]}, CALM, facts=facts)
        assert (await chain.answer(commit=commit)).text == "fits" and chain.story() == "a 413 → small ok"
        facts["a"] = Facts()  # its window is unknown, so it is asked
        chain = build_chain({"a": [TOO_LONG], "small": [], "b": ["b"]}, CALM, facts=facts)
        assert (await chain.answer(long, commit=commit)).text == "b" and chain.story() == "a 413 → b ok"
        chain = build_chain({"a": [TOO_LONG], "small": []}, CALM, facts=facts)
        assert (await failure(chain, long, commit=commit)).kind == "context_length" and chain.story() == "a 413"

    virtual.run(main())


@pytest.mark.parametrize("item", [FILTERED, 400, 422, 409, 302])
def test_k8_content_filter_and_invalid_request_end_the_call(item: Any, commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [item, "never"], "b": ["never"]}, CALM)
        error = await failure(chain, commit=commit)
        assert error.kind == ("content_filter" if item == FILTERED else "invalid_request")
        assert len(chain.attempts) == 1 and chain.clock.now() == 0

    virtual.run(main())


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("overloaded_error", "server"),
        ("rate_limit_error", "rate_limited"),
        ("insufficient_quota", "quota_exhausted"),
        ("invalid_api_key", "auth"),
        ("context_length_exceeded", "context_length"),
        ("nobody_knows", "malformed_response"),
    ],
)
def test_k9_an_error_inside_a_200_has_the_kind_of_the_error_it_names(
    code: str, kind: str, tmp_path: Path, commit: Commit
) -> None:
    payload = msgspec.json.encode({"error": {"type": code, "message": "m"}})
    event = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\ndata: %s\n\n' % payload
    reply = (
        Reply(headers={"content-type": "application/json"}, body=payload)
        if commit == "end"
        else Reply(headers={"content-type": "text/event-stream"}, body=event)
    )

    async def work(pipeline: Pipeline, transport: ScriptedTransport) -> None:
        error = await refusal(pipeline, commit)
        assert error.kind == kind and [row.status for row in error.result.attempts] == [200]

    wire(file("{targets: [a], policies: {use: none}}", head=WIRED), tmp_path, [reply], work)


@pytest.mark.parametrize("allowed", [False, True])
def test_k10_an_empty_answer_that_claims_to_have_stopped_is_malformed_unless_it_is_allowed(
    allowed: bool, tmp_path: Path, commit: Commit
) -> None:
    text = file("{targets: [a], policies: {use: none, retry: 2}}")
    text = text.replace("one: {", "one: {output: {allow_empty: true}, ") if allowed else text

    async def work(pipeline: Pipeline) -> None:
        result = await ask(pipeline, commit)
        assert [row.kind for row in result.attempts] == (["ok"] if allowed else ["malformed_response", "ok"])
        assert result.text == ("" if allowed else "hello")

    play(text, tmp_path, {"a": [{"reply": ""}, "hello"]}, work)


def test_k11_an_empty_answer_that_was_cut_by_its_length_is_an_answer_and_never_stored(
    tmp_path: Path, commit: Commit
) -> None:
    async def work(pipeline: Pipeline) -> None:
        for _ in range(2):
            async with pipeline.stream() if commit == "content" else pipeline.start() as started:
                result = await started.finish()
            assert result.ok and result.text == "" and story(result) == "a ok"
            assert not [event for _, _, event in started.transcript.events if isinstance(event, CacheStored)]

    script = [{"reply": "", "finish_reason": "length", "times": 2}]
    play(file("{targets: [a], policies: {cache: 1h}}"), tmp_path, {"a": script}, work)


def test_k12_a_kept_connection_that_proves_dead_is_connect_and_its_repeat_an_attempt_of_its_own(
    tmp_path: Path, commit: Commit
) -> None:
    answer = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'
    words = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    kind, body = ("application/json", answer) if commit == "end" else ("text/event-stream", words)

    dead = Reply(lost="stale")
    text = file("{targets: [a], policies: {use: none, retry: 2}}", head=WIRED)
    replies = [dead, Reply(headers={"content-type": kind}, body=body), dead, dead]

    async def work(pipeline: Pipeline, transport: ScriptedTransport) -> None:
        result = await ask(pipeline, commit)
        first, second = result.attempts
        assert (first.kind, second.kind, result.text, len(transport.sent)) == ("connect", "ok", "hi", 2)
        assert (second.started, second.waited, second.retry_of) == (0, 0, 0)
        assert first.confidence == "unknown", "it was perhaps sent, and billed"
        error = await refusal(pipeline, commit)
        assert isinstance(error, MaxRetriesExceeded) and error.last.sent is None  # type: ignore[attr-defined]

    wire(text, tmp_path, replies, work)


def test_k13_a_chain_of_one_target_raises_the_plain_error_after_one_attempt(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [503, 401, 401]}, CALM)
        error = await failure(chain, commit=commit)
        assert isinstance(error, MaxRetriesExceeded) and (error.kind, error.attempts) == ("auth", 2)
        assert isinstance(error.last, AuthError) and error.__cause__ is error.last
        assert type(await failure(chain, commit=commit)) is AuthError

    virtual.run(main())


def test_k14_a_chain_of_several_raises_all_of_them_once_two_were_tried(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [503], "b": [503, 402], "c": [402]}, [BREAKER])
        await failure(build_chain({"b": [503]}, [BREAKER], shared=chain.shared), commit=commit)
        error = await failure(chain, commit=commit)
        assert isinstance(error, AllFallbacksFailed) and error.kind == "quota_exhausted"
        assert [each.kind for each in error.exceptions] == ["server", "circuit_open", "quota_exhausted"]
        chain = build_chain({"a": [503], "b": ["never"]}, [BREAKER], shared=chain.shared, name="other")
        assert isinstance(await failure(chain, commit=commit), CircuitOpen), "skips count where nothing was called"
        await asyncio.sleep(31)
        chain = build_chain({"a": [503], "c": ["never"]}, [BREAKER], shared=chain.shared, name="third")
        assert type(await failure(chain, commit=commit)) is ServerError, "c is out of quota, and was skipped"

    virtual.run(main())


@pytest.mark.parametrize(("of_b", "kind"), [(refused("400s"), "rate_limited"), (402, "circuit_open")])
def test_k15_where_all_were_skipped_a_429_decides_the_kind_and_the_smallest_time_is_told(
    of_b: Any, kind: str, commit: Commit
) -> None:
    async def main() -> None:
        chain = build_chain({"a": [503], "b": [of_b]}, [BREAKER])
        assert isinstance(await failure(chain, commit=commit), AllFallbacksFailed)
        await asyncio.sleep(10)
        error = await failure(chain, commit=commit)
        assert isinstance(error, TargetBlocked if kind == "rate_limited" else CircuitOpen)
        assert (error.kind, error.retry_after, chain.attempts) == (kind, 20, [])

    virtual.run(main())


def test_k16_unsupported_sends_nothing(commit: Commit) -> None:
    tool = Tool(name="clock", description="tells the time", parameters={"type": "object"})
    request = Request(messages=(message("user", "hi"),), tools=(tool,))

    async def main() -> None:
        facts = {"a": Facts(tools=False), "b": Facts(tools=False)}
        chain = build_chain({"a": ["never"], "b": ["never"]}, CALM, facts=facts)
        error = await failure(chain, request, commit=commit)
        assert isinstance(error, Unsupported) and error.kind == "unsupported" and error.lost == ("tools",)
        assert chain.attempts == [] and chain.scripts["a"].calls == chain.scripts["b"].calls == []

    virtual.run(main())


OURS = "{targets: [a], policies: {use: none, circuit_breaker: CIRCUIT_BREAKER}}"


async def unharmed_by_limit_cancellation_and_deadline(commit: Commit) -> None:
    slow = {"reply": "a b", "delay": "5s", "times": 3}
    chain = build_chain({"a": [slow]}, [BREAKER, (CONCURRENCY, {"limit": 1, "max_wait": "0s"})])
    task = asyncio.ensure_future(chain.answer(commit=commit))
    await asyncio.sleep(1)
    assert (await failure(chain, commit=commit)).kind == "local_limit"
    task.cancel()
    await asyncio.wait([task])
    assert (await failure(chain, commit=commit, deadline=2)).kind == "deadline"
    assert not is_open(chain) and (await chain.answer(commit=commit)).text == "a b"


async def unharmed_by_refused_answer(pipeline: Pipeline, commit: Commit) -> None:
    assert (await refusal(pipeline, commit)).kind == "safety"
    assert (await ask(pipeline, commit)).text == "good"


async def unharmed_by_slow_reader(pipeline: Pipeline, commit: Commit) -> None:
    async with pipeline.stream() as started:
        await asyncio.sleep(60)
        with pytest.raises(StreamBufferFull):
            await started.finish()
    assert (await ask(pipeline, commit)).text == "good"


async def unharmed_by_spent_budget(pipeline: Pipeline, commit: Commit) -> None:
    await ask(pipeline, commit, session="one")
    assert (await refusal(pipeline, commit, session="one")).kind == "budget"
    assert (await ask(pipeline, commit, session="two")).text == "good"


def test_k17_what_is_our_own_affair_never_counts_for_a_breaker(tmp_path: Path, commit: Commit) -> None:
    once = OURS.replace("CIRCUIT_BREAKER", "1")
    virtual.run(unharmed_by_limit_cancellation_and_deadline(commit))
    text = file(once, "safety: {block_when: \"'bad' in text\"}")
    play(text, tmp_path, {"a": ["bad", "good"]}, lambda pipeline: unharmed_by_refused_answer(pipeline, commit))
    text = file(once, "stream: {buffer: 2, when_full: error}")
    scripts: dict[str, list[Any]] = {"a": [{"reply": "a b c d e f", "chunk_every": "1s"}, "good"]}
    play(text, tmp_path, scripts, lambda pipeline: unharmed_by_slow_reader(pipeline, commit))
    text = file(once, "budgets: {session: $12}", head=PRICED)
    scripts = {"a": [{"reply": "x", "usage": {"output_tokens": 3}}, "good"]}
    play(text, tmp_path, scripts, lambda pipeline: unharmed_by_spent_budget(pipeline, commit))
    for kind in ("local_limit", "deadline", "budget", "safety", "stream_buffer", "cancelled"):
        assert TABLE[kind].verdict == "neutral"
        asked = OURS.replace("CIRCUIT_BREAKER", f"{{trip_on: {{{kind}: true}}}}")
        assert compile_text(file(asked), tmp_path).program is None, "nor can a file ask for it"
