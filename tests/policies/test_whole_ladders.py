"""What SEMANTICS promises of policies together: whole ladders, unary and streamed, cancelled at every step."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from run_kit import play

from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.events import CacheStored
from wizard_dsl.core.messages import Request, message
from wizard_dsl.core.target import MidStream
from wizard_dsl.policies.cache import CACHE
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.concurrency import CONCURRENCY
from wizard_dsl.policies.contract import CONTRACT
from wizard_dsl.policies.deadline import DEADLINE
from wizard_dsl.policies.rate_limit import RATE_LIMIT
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.policies.retry_budget import RETRY_BUDGET
from wizard_dsl.policies.timeout import TIMEOUT
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.testing import virtual
from wizard_dsl.testing.cancelling import cancelled_at_every_step
from wizard_dsl.testing.chains import Policy, ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

Commit = Literal["end", "content"]
TOKENS = 50
FULL: list[Policy] = [
    (DEADLINE, {"after": "60s"}),
    (CACHE, {}),
    (CONTRACT, {"repairs": 1}),
    (RETRY, {"jitter": "none"}),
    (RETRY_BUDGET, {}),
    (RATE_LIMIT, {"rate": "1/hour", "burst": TOKENS}),
    (CONCURRENCY, {"limit": 1}),
    (CIRCUIT_BREAKER, {"failure_threshold": 3, "reset_timeout": "5s"}),
    (TIMEOUT, {"first_chunk": "4s", "idle": "3s", "total": "8s"}),
]
SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}


@pytest.fixture(params=["end", "content"])
def commit(request: pytest.FixtureRequest) -> Commit:
    return request.param


def nothing_is_held(chain: ScriptedChain) -> None:
    for line in chain.shared.of("concurrency").values():
        assert line._gate.taken == 0 and not line._queue
    for line in chain.shared.of("rate_limit").values():
        assert not line._queue and line._timer is None
    for breaker in chain.shared.of("circuit_breaker").values():
        assert not breaker.state._leases
    for flights in chain.shared.of("flights").values():
        assert not flights._open
    assert len(asyncio.all_tasks()) == 1


def tokens_match(chain: ScriptedChain, rows: list[Any]) -> None:
    """Every attempt that was sent took one token, and nothing else did."""
    for name, line in chain.shared.of("rate_limit").items():
        sent = [row for row in rows if row.target == name and row.kind != "connect"]
        assert line._gate.level(chain.clock.now()) == pytest.approx(TOKENS - len(sent), abs=0.1)


async def read(chain: ScriptedChain, request: Request | str, commit: Commit, rows: list[Any]) -> None:
    response = await chain.ask(request, commit=commit)
    rows.append(chain.transcript)
    async with response:
        async for _ in response.deltas():
            pass


STORIES: dict[str, dict[str, list[Any]]] = {
    "retries": {"a": [503, {"refuse": True}, {"reply": "one two three", "chunk_every": "1s"}]},
    "timeouts": {"a": [{"reply": "x", "delay": "9s"}, {"reply": "x y", "first_chunk": "1s"}]},
    "429": {"a": [429, {"status": 429, "retry_after": "9s"}, "x y"], "b": [503, 503, 503]},
    "breaker": {"a": [500, 500, 500], "b": [{"reply": "one two", "delay": "1s"}]},
    "cut": {"a": [{"reply": "a b c", "cut_after": 0}, {"reply": "a b c", "cut_after": 2}, "a"]},
    "stall": {"a": [{"reply": "a b c", "stall_after": 1}, {"reply": "a b c", "delay": "1s"}]},
    "contract": {"a": ["no", 503, {"reply": "no", "delay": "1s"}], "b": [{"reply": '{"n": 1}', "delay": "1s"}]},
}  # fmt: skip


@pytest.mark.parametrize("name", STORIES)
def test_a_call_cancelled_at_any_step_leaves_no_place_token_lease_flight_or_task(name: str, commit: Commit) -> None:
    schema = SCHEMA if name == "contract" else None
    request = Request(messages=(message("user", "hi"),), schema=schema)

    async def story(watch: Callable[..., asyncio.Task[Any]]) -> bool:
        chain = build_chain(STORIES[name], FULL)
        task = watch(read(chain, request, commit, []))
        await asyncio.wait([task])
        nothing_is_held(chain)
        assert all(row.kind is not None and row.elapsed is not None for row in chain.attempts)
        tokens_match(chain, chain.attempts)
        return task.cancelled()

    assert cancelled_at_every_step(story) >= 3


@pytest.mark.parametrize("mode", ["restart", "continue"])
@pytest.mark.parametrize("name", ["cut", "stall", "moves on"])
def test_a_call_cancelled_at_any_step_of_a_resumed_stream_leaves_nothing_either(name: str, mode: MidStream) -> None:
    late = {"reply": "a b", "delay": "1s", "chunk_every": "1s"}
    moves_on = {"a": [late | {"cut_after": 1}, 503, late | {"stall_after": 1}], "b": [late | {"cut_after": 1}, 401]}
    scripts = STORIES.get(name, moves_on)

    async def story(watch: Callable[..., asyncio.Task[Any]]) -> bool:
        chain = build_chain(scripts, FULL, on_mid_stream_error=mode)
        task = watch(read(chain, "hi", "content", []))
        await asyncio.wait([task])
        nothing_is_held(chain)
        assert all(row.kind is not None and row.elapsed is not None for row in chain.attempts)
        tokens_match(chain, chain.attempts)
        return task.cancelled()

    assert cancelled_at_every_step(story) >= 5


def test_of_two_who_read_a_resumed_stream_one_is_cancelled_at_any_step_and_the_other_gets_all_of_it() -> None:
    late = {"reply": "a b", "delay": "1s", "chunk_every": "1s"}

    async def story(watch: Callable[..., asyncio.Task[Any]]) -> bool:
        scripts = {"a": [late | {"cut_after": 1}, 503, late | {"times": "forever"}]}
        chain = build_chain(scripts, FULL, on_mid_stream_error="restart")
        first = watch(read(chain, "x", "content", []))
        second = asyncio.ensure_future(read(chain, "x", "content", []))
        await asyncio.wait([first, second])
        nothing_is_held(chain)
        assert second.exception() is None
        return first.cancelled()

    assert cancelled_at_every_step(story) >= 5


@pytest.mark.parametrize("limits", [[(RATE_LIMIT, {"rate": "1/s", "burst": 1})], [(CONCURRENCY, {"limit": 1})]])
def test_one_of_several_that_queue_is_cancelled_at_any_step_and_the_others_are_served(
    limits: list[Policy], commit: Commit
) -> None:
    script = [{"reply": "a b", "chunk_every": "1s", "times": "forever"}]

    async def story(watch: Callable[..., asyncio.Task[Any]]) -> bool:
        chain = build_chain({"a": script}, [*FULL[3:5], *limits, *FULL[7:]])
        others = [asyncio.ensure_future(read(chain, "x", commit, [])) for _ in range(2)]
        await asyncio.sleep(0)
        task = watch(read(chain, "y", commit, []))
        others.append(asyncio.ensure_future(read(chain, "z", commit, [])))
        await asyncio.wait([task, *others])
        assert all(each.exception() is None for each in others)
        await asyncio.sleep(1)
        nothing_is_held(chain)
        return task.cancelled()

    assert cancelled_at_every_step(story) > 4


def test_a_leader_or_a_follower_cancelled_at_any_step_leaves_the_other_its_answer(commit: Commit) -> None:
    for victim in ("leader", "follower"):

        async def story(watch: Callable[..., asyncio.Task[Any]], victim: str = victim) -> bool:
            chain = build_chain({"a": [503, {"reply": "a b", "chunk_every": "1s", "times": "forever"}]}, FULL)
            started: list[asyncio.Task[Any]] = []
            for who in ("leader", "follower", "other"):
                work = read(chain, "x", commit, [])
                started.append(watch(work) if who == victim else asyncio.ensure_future(work))
            await asyncio.wait(started)
            nothing_is_held(chain)
            ended = [task.cancelled() or task.exception() for task in started]
            assert ended.count(None) + ended.count(False) >= 2, ended
            return any(task.cancelled() for task in started)

        assert cancelled_at_every_step(story) >= 3


def test_a_half_open_probe_cancelled_at_any_step_gives_its_lease_to_the_next_call(commit: Commit) -> None:
    async def story(watch: Callable[..., asyncio.Task[Any]]) -> bool:
        chain = build_chain(
            {"a": [500, 500, 500, {"reply": "a b", "delay": "1s", "chunk_every": "1s"}, "c", "d"]}, FULL
        )
        with pytest.raises(WizardError):
            await chain.answer("first")
        await asyncio.sleep(6)
        task = watch(read(chain, "x", commit, []))
        await asyncio.wait([task])
        nothing_is_held(chain)
        await chain.answer("next")
        assert chain.targets["a"].closed_for(chain.clock.now()) is None
        return task.cancelled()

    assert cancelled_at_every_step(story) > 3


def test_a_wait_for_a_token_that_is_cancelled_while_half_open_holds_no_lease(commit: Commit) -> None:
    async def main() -> None:
        policies = [*FULL[3:5], (RATE_LIMIT, {"rate": "6/minute", "burst": 3}), *FULL[6:]]
        chain = build_chain({"a": [500, 500, 500, "x"]}, policies)
        with pytest.raises(WizardError):
            await chain.answer("first", commit=commit)
        await asyncio.sleep(8 - chain.clock.now())
        queued = asyncio.ensure_future(read(chain, "x", commit, []))
        other = asyncio.ensure_future(read(chain, "y", commit, []))
        await asyncio.sleep(1)
        queued.cancel()
        await asyncio.wait([queued, other])
        assert queued.cancelled() and other.exception() is None and chain.clock.now() == 10
        nothing_is_held(chain)

    run(main())


def test_a_response_that_is_opened_and_never_read_gives_everything_back() -> None:
    async def main() -> None:
        chain = build_chain({"a": [{"reply": "a b c", "chunk_every": "1s"}, "x"]}, FULL)
        async with await chain.ask("one", commit="content"):
            assert chain.shared.of("concurrency")["a"]._gate.taken == 1
        nothing_is_held(chain)
        assert chain.attempts[0].kind == "cancelled"
        assert (await chain.answer("two")).text == "x"

    run(main())


@pytest.mark.parametrize(("last", "kind"), [("x", "ok"), ({"reply": "a b", "cut_after": 1}, "mid_stream")])
def test_an_observer_that_raises_is_reported_and_releases_everything_all_the_same(last: Any, kind: str) -> None:
    def broken(*args: Any) -> None:
        raise RuntimeError("a bug of ours")

    async def main() -> None:
        chain = build_chain({"a": [last]}, FULL)
        async with await chain.ask("one", commit="content") as response:
            response.on_delta(broken)
            response.on_end(broken)
            with suppress(WizardError):
                await response.read()
        nothing_is_held(chain)
        assert chain.attempts[0].kind == kind
        assert "observer_failed" in [event.name for event in chain.events()]

    run(main())


@pytest.mark.parametrize(
    "scripts",
    [
        {"a": [{"status": 503, "times": "forever"}], "b": [{"reply": "x", "times": "forever"}]},
        {"a": [{"status": 503, "times": "forever"}], "b": [{"status": 400, "times": "forever"}]},
        {"a": [{"status": 400, "times": "forever"}]},
        {"a": [{"reply": "x", "delay": "20s", "times": "forever"}], "b": [{"reply": "x", "times": "forever"}]},
    ],
    ids=["fallback", "all fail", "one fails", "timeout"],
)
def test_a_call_that_fails_or_moves_on_leaves_no_cycle_for_the_collector(scripts: Any, commit: Commit) -> None:
    policies = [each for each in FULL[3:] if each[0] is not CIRCUIT_BREAKER]

    async def main() -> int:
        chain = build_chain(scripts, policies)

        async def once() -> None:
            with suppress(WizardError):
                await chain.answer(commit=commit)

        for _ in range(3):
            await once()
        gc.collect()
        gc.disable()
        try:
            await once()
            return gc.collect()
        finally:
            gc.enable()

    assert virtual.run(main()) == 0


PROVIDER = """
version: 1
inputs: {q: {type: string, default: hello}}
providers: {a: {type: mock, policies: {KIND}}}
chains:
  default: {targets: [a/m], policies: {use: none, OWN}}
  other: {targets: [a/n], policies: {use: none}}
steps:
  one: {prompt: {user: x}, on_error: skip}
  two: {prompt: {user: y}, chain: other, needs: [one]}
  three: {prompt: {user: z}, needs: [two]}
"""


@pytest.mark.parametrize(
    ("kind", "own", "script", "story"),
    [
        ("rate_limit: {rate: 1/s, burst: 1}", "retry: 1", "x", [("a/m", 0), ("a/n", 1), ("a/m", 2)]),
        ("rate_limit: {rate: 1/s, burst: 9}", "rate_limit: {rate: 6/minute, burst: 1}", "x",
         [("a/m", 0), ("a/n", 0), ("a/m", 10)]),
        ("circuit_breaker: 1", "circuit_breaker: 9", 500, [("a/m", 0)]),
        ("circuit_breaker: 9", "circuit_breaker: 1", 500, [("a/m", 0), ("a/n", 0)]),
    ],
)  # fmt: skip
def test_a_policy_of_a_provider_has_one_state_for_its_key_and_applies_in_addition(
    tmp_path: Path, kind: str, own: str, script: Any, story: list[tuple[str, float]]
) -> None:
    async def work(pipeline: Pipeline) -> list[tuple[str, float]]:
        async with pipeline.start() as started:
            with suppress(WizardError):
                await started.finish()
        return [(row.target, row.started) for row in started.transcript.attempts]

    text = PROVIDER.replace("KIND", kind).replace("OWN", own)
    scripts = {"a/m": [{"status": script, "times": "forever"} if script == 500 else {"reply": "x", "times": "forever"}]}
    found, _ = play(text, tmp_path, {**scripts, "a/n": scripts["a/m"]}, work)
    assert found == story


STACKED = """
version: 1
inputs: {q: {type: string, default: hello}}
providers: {a: {type: mock, model: m}, b: {type: mock, model: n}}
chains:
  default:
    targets: [a, b]
    policies: {use: none, retry: 1, cache: {ttl_jitter: 0%, fallback_ttl: 60s}, stack: [retry, cache]}
steps: {one: {prompt: {user: x}}}
"""


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_of_a_fallback_target_is_used_for_fallback_ttl_also_where_the_cache_stands_under_the_strategy(
    tmp_path: Path, streamed: bool
) -> None:
    async def work(pipeline: Pipeline) -> list[float]:
        async with pipeline.stream() if streamed else pipeline.start() as started:
            await started.finish()
        return [event.ttl for _, _, event in started.transcript.events if isinstance(event, CacheStored)]

    assert play(STACKED, tmp_path, {"a": [500], "b": ["hello"]}, work)[0] == [60]
