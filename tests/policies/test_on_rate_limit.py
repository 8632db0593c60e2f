"""429, sentence by sentence of SEMANTICS "429"."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest

from wizard_dsl.core.errors import (
    AllFallbacksFailed,
    CircuitOpen,
    MaxRetriesExceeded,
    RateLimited,
    TargetBlocked,
    WizardError,
)
from wizard_dsl.core.events import AttemptStarted, RateLimitProlonged, RateLimitWaited, TargetSkipped
from wizard_dsl.core.events import TargetBlocked as Blocked
from wizard_dsl.core.target import Facts, RateLimitRule
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.rate_limit import RATE_LIMIT
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.policies.retry_budget import RETRY_BUDGET
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

Commit = Literal["end", "content"]
CALM = [(RETRY, {"jitter": "none"})]


def refused(after: str | None = None) -> dict[str, Any]:
    return {"status": 429} | ({"retry_after": after} if after else {})


@pytest.fixture(params=["end", "content"])
def commit(request: pytest.FixtureRequest) -> Commit:
    return request.param


async def failure(chain: ScriptedChain, **options: Any) -> WizardError:
    with pytest.raises(WizardError) as caught:
        await chain.answer(**options)
    return caught.value


def test_up_to_wait_up_to_it_waits_and_repeats_beyond_it_moves_on(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [refused("2s"), refused("2100ms")], "b": ["hello"]}, CALM)
        await chain.answer(commit=commit)
        assert chain.story() == "a 429 → a 429 → b ok" and chain.clock.now() == 2

    run(main())


def test_without_a_header_it_is_linear_and_counts_as_the_announced_time(commit: Commit) -> None:
    async def waits() -> list[float]:
        rule = RateLimitRule(wait_up_to=60)
        chain = build_chain({"a": [refused(), refused(), "x"]}, CALM, rate_limit=rule)
        await chain.answer(commit=commit)
        return [row.waited for row in chain.attempts]

    assert run(waits()) == [0, 1, 2]


def test_an_unannounced_time_keeps_the_clamp_and_jitter_of_the_retry() -> None:
    async def seconds(**config: Any) -> float:
        chain = build_chain({"a": [refused()]}, [(RETRY, {"max_attempts": 1, **config})])
        return (await failure(chain)).retry_after or 0.0

    assert run(seconds(jitter="none", base="40s")) == 30
    assert 0.75 <= run(seconds()) <= 1.25
    assert run(seconds(jitter="none", backoff={"rate_limited": "none"})) == 0


def test_without_a_retry_an_unannounced_429_still_blocks_for_a_while() -> None:
    async def main() -> None:
        chain = build_chain({"a": [refused()]})
        error = await failure(chain)
        assert isinstance(error, RateLimited) and 0.75 <= (error.retry_after or 0) <= 1.25
        assert chain.targets["a"].blocked_for(0.0) == error.retry_after

    run(main())


def test_the_target_is_remembered_as_blocked_and_all_calls_of_all_chains_skip_it(commit: Commit) -> None:
    async def main() -> None:
        first = build_chain({"a": [refused("30s"), "a again"], "b": ["b1", "b2"]}, CALM)
        second = build_chain({"a": ["never"], "c": ["c"]}, CALM, shared=first.shared, name="second")
        await first.answer(commit=commit)
        assert (await first.answer(commit=commit)).text == "b2"
        assert (await second.answer(commit=commit)).text == "c"
        assert second.events(TargetSkipped) == [TargetSkipped(path="chains.second", target="a", reason="rate_limited")]
        await asyncio.sleep(30)
        assert (await first.answer(commit=commit)).text == "a again"

    run(main())


def test_a_block_is_told_once_with_its_seconds() -> None:
    async def main() -> None:
        chain = build_chain({"a": [refused("30s")], "b": ["b"]}, CALM)
        await chain.answer()
        path = "chains.chain.targets[0].on_rate_limit"
        assert chain.events(Blocked) == [Blocked(path=path, target="a", reason="rate_limited", seconds=30.0)]

    run(main())


def test_a_429_never_opens_the_breaker() -> None:
    async def main() -> None:
        chain = build_chain({"a": [refused("1ms")] * 9}, [(CIRCUIT_BREAKER, {"failure_threshold": 1})])
        for _ in range(5):
            assert isinstance(await failure(chain), RateLimited)
            await asyncio.sleep(1)

    run(main())


def test_without_an_untried_target_it_waits_for_the_one_free_first(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [refused("30s")], "b": [refused("20s"), "hello"]}, CALM)
        await chain.answer(commit=commit)
        assert chain.story() == "a 429 → b 429 → b ok" and chain.clock.now() == 20
        assert chain.attempts[2].waited == 20 and chain.attempts[2].retry_of == 1
        assert chain.events(RateLimitWaited) == [RateLimitWaited(path="chains.chain", target="b", delay=20.0)]

    run(main())


def test_ties_are_broken_by_declaration() -> None:
    async def main() -> None:
        chain = build_chain({"a": [refused("20s"), "hello"], "b": [refused("20s")]}, CALM)
        await chain.answer()
        assert chain.story() == "a 429 → b 429 → a ok"

    run(main())


def test_it_also_waits_when_another_target_failed_otherwise() -> None:
    async def main() -> None:
        chain = build_chain(
            {"a": [refused("20s"), "hello"], "b": [503]}, CALM, overrides={"b": []}, rate_limit=RateLimitRule()
        )
        await chain.answer()
        assert chain.story() == "a 429 → b 503 → a ok" and chain.clock.now() == 20

    run(main())


def test_a_target_that_another_call_saw_blocked_is_waited_for_too() -> None:
    async def main() -> None:
        chain = build_chain({"a": [refused("20s"), "x", "y"]}, [(RETRY, {"max_attempts": 1})])
        assert isinstance(await failure(chain), RateLimited)
        await asyncio.sleep(5)
        assert (await chain.answer()).text == "x" and chain.clock.now() == 20
        assert chain.attempts[0].waited == 15 and chain.attempts[0].retry_of is None

    run(main())


def test_it_does_not_wait_if_the_attempts_are_used_up() -> None:
    async def main() -> None:
        chain = build_chain({"a": [refused("20s")] * 3}, [(RETRY, {"max_attempts": 2})])
        error = await failure(chain)
        assert isinstance(error, MaxRetriesExceeded) and error.attempts == 2 and error.retry_after == 20
        assert chain.clock.now() == 20

    run(main())


def test_it_does_not_wait_if_the_deadline_does_not_allow_it_and_fails_with_retry_after() -> None:
    async def main() -> None:
        chain = build_chain({"a": [refused("20s")]}, CALM)
        error = await failure(chain, deadline=20.9)
        assert isinstance(error, RateLimited) and error.retry_after == 20
        assert error.marks == ("deadline",) and chain.clock.now() == 0
        chain = build_chain({"a": [refused("20s"), "hello"]}, CALM)
        assert (await chain.answer(deadline=21)).text == "hello"

    run(main())


def test_above_max_retry_after_it_is_believed_and_never_waited_for() -> None:
    async def main() -> None:
        chain = build_chain({"a": [refused("301s")]}, CALM)
        error = await failure(chain)
        assert isinstance(error, RateLimited) and chain.clock.now() == 0
        assert chain.targets["a"].blocked_for(0.0) == 301
        chain = build_chain({"a": [refused("300s"), "hello"]}, CALM)
        await chain.answer()
        assert chain.clock.now() == 300

    run(main())


def test_then_fail_leaves_at_once_beyond_wait_up_to() -> None:
    async def main() -> None:
        rule = RateLimitRule(then="fail")
        chain = build_chain({"a": [refused("3s")], "b": ["never"]}, CALM, rate_limit=rule)
        error = await failure(chain)
        assert isinstance(error, RateLimited) and error.retry_after == 3 and chain.story() == "a 429"
        error = await failure(chain)
        assert isinstance(error, TargetBlocked) and error.retry_after == 3 and chain.clock.now() == 0

    run(main())


def test_then_fail_waits_for_a_block_that_is_nearly_over() -> None:
    async def main() -> None:
        rule = RateLimitRule(then="fail")
        chain = build_chain({"a": [refused("3s"), "hello"], "b": ["never"]}, CALM, rate_limit=rule)
        await failure(chain)
        await asyncio.sleep(1)
        assert (await chain.answer()).text == "hello" and chain.clock.now() == 3

    run(main())


def test_an_exhausted_quota_blocks_for_quota_block_and_moves_on() -> None:
    async def main() -> None:
        body = '{"error": {"code": "insufficient_quota", "message": "no credit"}}'
        chain = build_chain({"a": [{"status": 429, "body": body}, "a"], "b": ["b1", "b2"]}, CALM)
        await chain.answer()
        assert chain.attempts[0].kind == "quota_exhausted"
        await chain.answer()
        assert chain.story() == "b ok"
        assert chain.events(TargetSkipped)[0].reason == "quota_exhausted"  # type: ignore[attr-defined]
        await asyncio.sleep(3600)
        assert (await chain.answer()).text == "a"

    run(main())


def test_a_single_target_without_quota_is_circuit_open_and_not_waited_for() -> None:
    async def main() -> None:
        chain = build_chain({"a": [402]}, CALM)
        assert (await failure(chain)).kind == "quota_exhausted"
        error = await failure(chain)
        assert isinstance(error, CircuitOpen) and error.retry_after == 3600 and "quota" in error.message

    run(main())


def test_all_skipped_is_rate_limited_with_the_smallest_retry_after_if_any_block_came_from_a_429() -> None:
    async def main() -> None:
        chain = build_chain({"a": [refused("400s")], "b": [503]}, [(CIRCUIT_BREAKER, {"failure_threshold": 1})])
        assert isinstance(await failure(chain), AllFallbacksFailed)
        error = await failure(chain)
        assert isinstance(error, TargetBlocked) and error.kind == "rate_limited" and error.retry_after == 30
        assert not chain.attempts

    run(main())


@pytest.mark.parametrize("status", [429, 503])
def test_no_wait_is_longer_than_max_retry_after_whatever_wait_up_to_says(status: int, commit: Commit) -> None:
    async def story(after: str) -> str:
        rule = RateLimitRule(wait_up_to=60, max_retry_after=10)
        script = {"a": [{"status": status, "retry_after": after}, "x"], "b": ["y"]}
        chain = build_chain(script, CALM, rate_limit=rule)
        await chain.answer(commit=commit)
        return f"{chain.story()} after {chain.clock.now():g} s"

    assert run(story("10s")) == f"a {status} → a ok after 10 s"
    assert run(story("11s")) == f"a {status} → b ok after 0 s"


def test_a_block_that_is_waited_for_alone_is_no_longer_than_max_retry_after() -> None:
    async def second(after: str) -> str:
        rule = RateLimitRule(wait_up_to=60, max_retry_after=10, then="fail")
        chain = build_chain({"a": [refused(after), "x"], "b": []}, [], rate_limit=rule)
        assert isinstance(await failure(chain), RateLimited)
        try:
            return f"{(await chain.answer()).text} after {chain.clock.now():g} s"
        except TargetBlocked as error:
            return f"blocked for {error.retry_after:g} s"

    assert run(second("10s")) == "x after 10 s"
    assert run(second("11s")) == "blocked for 11 s"


def test_a_longer_block_that_is_known_already_stays() -> None:
    async def main() -> None:
        chain = build_chain({"a": [{**refused("1s"), "delay": "5s"}, "x"], "b": ["b"]}, CALM)
        call = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(1)
        chain.targets["a"].state.block(100.0, "rate_limited")
        assert (await call).text == "b"
        assert chain.targets["a"].blocked_for(5.0) == 95

    run(main())


def test_a_block_that_grows_while_it_is_waited_for_is_waited_for_anew() -> None:
    async def main() -> None:
        chain = build_chain({"a": [refused("20s"), "x"]}, CALM)
        call = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(10)
        chain.targets["a"].state.block(50.0, "rate_limited")
        await call
        assert chain.clock.now() == 50

    run(main())


def test_a_wait_that_grows_is_one_repeat_for_the_retry_budget() -> None:
    async def main() -> None:
        budget = (RETRY_BUDGET, {"ratio": "0%", "floor": "0.1/s"})  # one repeat in ten seconds
        chain = build_chain({"a": [refused("20s"), "x"]}, [*CALM, budget])
        call = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(19)
        chain.targets["a"].state.block(21.0, "rate_limited")
        assert await chain.chain.allowance.withdraw(19.0)
        assert (await call).text == "x" and chain.clock.now() == 21

    run(main())


@pytest.mark.parametrize("status", [429, 503])
def test_a_provider_that_forbids_the_repeat_is_not_waited_for(status: int, commit: Commit) -> None:
    async def main() -> None:
        final = {"status": status, "retry_after": "1s", "headers": {"x-should-retry": "false"}}
        chain = build_chain({"a": [final, "never"], "b": [500]}, overrides={"a": CALM, "b": []})
        with pytest.raises(AllFallbacksFailed):
            await chain.answer(commit=commit)
        assert chain.story() == f"a {status} → b 500" and chain.clock.now() == 0

    run(main())


def test_a_target_whose_window_proved_too_small_meanwhile_is_not_waited_for(commit: Commit) -> None:
    async def main() -> None:
        facts = {"a": Facts(context=4000), "b": Facts(context=8000)}
        too_long = {"status": 413, "body": '{"error": {"message": "too many tokens"}}'}
        chain = build_chain({"a": [refused("5s"), "never"], "b": [too_long]}, CALM, facts=facts)
        with pytest.raises(AllFallbacksFailed) as caught:
            await chain.answer(commit=commit)
        assert caught.value.kind == "context_length" and chain.clock.now() == 0

    run(main())


def test_cancelling_the_wait_ends_it_at_once() -> None:
    async def main() -> None:
        chain = build_chain({"a": [refused("20s")]}, CALM)
        call = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(3)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled() and chain.clock.now() == 3

    run(main())


def test_a_503_with_retry_after_is_waited_for_too_where_no_untried_target_is_left() -> None:
    async def main() -> None:
        chain = build_chain({"a": [{"status": 503, "retry_after": "20s"}, "hello"]}, CALM)
        await chain.answer()
        assert chain.story() == "a 503 → a ok" and chain.clock.now() == 20

    run(main())


def test_a_breaker_that_opens_during_the_wait_ends_it_with_the_last_real_error() -> None:
    async def main() -> None:
        chain = build_chain({"a": [refused("20s")]}, CALM)
        call = asyncio.ensure_future(failure(chain))
        await asyncio.sleep(10)
        chain.targets["a"].gates.append(lambda now: 99.0)
        assert isinstance(await call, RateLimited) and chain.clock.now() == 20

    run(main())


def test_an_error_after_the_wait_that_does_not_move_on_leaves_at_once() -> None:
    async def main() -> None:
        chain = build_chain({"a": [refused("20s"), 401], "b": [refused("30s"), "never"]}, CALM)
        error = await failure(chain)
        assert isinstance(error, AllFallbacksFailed) and error.kind == "auth" and chain.clock.now() == 20

    run(main())


def test_an_error_after_the_wait_that_moves_on_lets_the_next_free_one_try() -> None:
    async def main() -> None:
        chain = build_chain({"a": [refused("20s"), 402], "b": [refused("30s"), "hello"]}, CALM)
        assert (await chain.answer()).text == "hello" and chain.clock.now() == 30

    run(main())


def test_a_refusal_of_ours_after_the_wait_leaves_the_real_error() -> None:
    async def main() -> None:
        limit = [(RATE_LIMIT, {"rate": "0.001/s", "burst": 1})]
        chain = build_chain({"a": [refused("20s")]}, [*CALM, *limit])
        error = await failure(chain)
        assert isinstance(error, RateLimited) and chain.clock.now() == 20
        chain = build_chain({"a": ["x"], "b": [503]}, [(RETRY, {"max_attempts": 1}), *limit])
        await chain.answer()
        chain.targets["a"].state.block(40.0, "rate_limited")
        assert (await failure(chain)).kind == "server" and chain.clock.now() == 40

    run(main())


def test_a_429_seen_again_after_the_wait_is_waited_for_again_while_attempts_last() -> None:
    async def main() -> None:
        chain = build_chain({"a": [refused("20s"), refused("20s"), "hello"]}, CALM)
        assert (await chain.answer()).text == "hello" and chain.clock.now() == 40
        assert [row.retry_of for row in chain.attempts] == [None, 0, 1]

    run(main())


def test_a_429_inside_the_queue_of_our_own_limit_is_a_skip() -> None:
    async def main() -> None:
        policies = [(RETRY, {"max_attempts": 1}), (RATE_LIMIT, {"rate": "1/s", "burst": 1})]
        chain = build_chain({"a": ["x", "y"]}, policies)
        await chain.answer()
        call = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(0.5)
        chain.targets["a"].state.block(20.0, "rate_limited")
        assert (await call).text == "y" and chain.clock.now() == 20

    run(main())


def test_one_that_became_free_while_another_was_tried_is_called_without_a_wait() -> None:
    async def main() -> None:
        chain = build_chain(
            {"a": [refused("20s"), "hello"], "b": [refused("10s"), {"status": 402, "delay": "15s"}]}, CALM
        )
        await chain.answer()
        assert chain.story() == "a 429 → b 429 → b 402 → a ok" and chain.clock.now() == 25
        assert len(chain.events(RateLimitWaited)) == 1

    run(main())


def storm(refusals: int, told: list[tuple[int, Any]], max_attempts: int = 4) -> ScriptedChain:
    return build_chain(
        {"a": [{**refused("5s"), "times": refusals}, {"reply": "x", "times": "forever"}]},
        [(RETRY, {"max_attempts": max_attempts, "jitter": "none"})],
        sinks=[lambda run, event: told.append((run.scope.number, event))],
    )


def test_in_a_storm_one_asks_for_all_and_the_others_are_not_woken() -> None:
    async def main() -> None:
        told: list[tuple[int, Any]] = []
        chain = storm(3, told)
        await asyncio.gather(*(chain.answer() for _ in range(100)))
        waits = [event for _, event in told if isinstance(event, RateLimitWaited)]
        assert len(waits) == 100 + 2 and asyncio.get_running_loop().time() == 15
        assert sum(isinstance(event, Blocked) for _, event in told) == 3

    run(main())


def test_who_waits_for_a_block_that_is_prolonged_says_so_once_with_its_seconds() -> None:
    async def main() -> None:
        told: list[tuple[int, Any]] = []
        chain = storm(3, told)
        await asyncio.gather(*(chain.answer() for _ in range(3)))
        prolonged = [(number, event) for number, event in told if isinstance(event, RateLimitProlonged)]
        path = "chains.chain"
        assert prolonged == [
            (2, RateLimitProlonged(path=path, target="a", delay=5.0)),
            (3, RateLimitProlonged(path=path, target="a", delay=10.0)),
            (1, RateLimitProlonged(path=path, target="a", delay=5.0)),
        ], "the first asks at 5, the second at 10, the third at 15, and the first again, which waits since 5"

    run(main())


def test_waiters_ask_in_the_order_in_which_they_came_and_one_that_is_refused_waits_behind_them() -> None:
    async def main() -> None:
        told: list[tuple[int, Any]] = []
        chain = storm(4, told)
        await asyncio.gather(*(chain.answer() for _ in range(3)))
        asked = [number for number, event in told if isinstance(event, AttemptStarted)]
        assert asked == [1, 1, 2, 3, 1, 2, 3]

    run(main())


def test_who_cannot_wait_for_the_longer_block_leaves_when_the_known_one_ends(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [refused("5s"), refused("20s"), {"reply": "x", "times": "forever"}]}, CALM)
        loop, ended = asyncio.get_running_loop(), []

        async def call(deadline: float) -> None:
            try:
                ended.append((deadline, (await chain.answer(commit=commit, deadline=deadline)).text, loop.time()))
            except WizardError as error:
                ended.append((deadline, error.kind, loop.time()))

        await asyncio.gather(*(call(deadline) for deadline in (60, 10, 30)))
        assert ended == [(10, "rate_limited", 5), (30, "x", 25), (60, "x", 25)]

    run(main())


def test_a_block_that_is_prolonged_beyond_another_target_sends_the_waiters_there() -> None:
    async def main() -> None:
        chain = build_chain({"a": ["never"], "b": ["hello"]}, CALM)
        for name, until in (("a", 10.0), ("b", 20.0)):
            chain.targets[name].state.block(until, "rate_limited")
        call = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(5)
        chain.targets["a"].state.block(30.0, "rate_limited")
        assert (await call).text == "hello" and chain.clock.now() == 20

    run(main())


def test_quota_that_runs_out_during_the_wait_ends_it() -> None:
    async def main() -> None:
        chain = build_chain({"a": ["never"]}, CALM)
        chain.targets["a"].state.block(10.0, "rate_limited")
        call = asyncio.ensure_future(failure(chain))
        await asyncio.sleep(5)
        chain.targets["a"].state.block(3600.0, "quota_exhausted")
        assert (await call).kind == "rate_limited" and chain.clock.now() == 10

    run(main())


def test_a_waiter_that_is_cancelled_leaves_the_others_their_turn_and_nothing_behind() -> None:
    async def main() -> None:
        chain = build_chain({"a": [{"reply": "x", "times": "forever"}]}, CALM)
        chain.targets["a"].state.block(10.0, "rate_limited")
        calls = [asyncio.ensure_future(chain.answer()) for _ in range(3)]
        await asyncio.sleep(5)
        calls[0].cancel()
        await asyncio.sleep(5)
        calls[1].cancel()
        assert (await calls[2]).text == "x" and chain.clock.now() == 10
        chain.targets["a"].state.block(20.0, "rate_limited")
        call = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(1)
        call.cancel()
        await asyncio.wait([call])
        assert asyncio.get_running_loop().timers() == []  # type: ignore[attr-defined]

    run(main())
