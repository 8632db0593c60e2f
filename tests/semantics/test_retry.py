"""Retry: how often, after which delay, within what, and what leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from semantics_kit import CALM, Commit, failure, forever, refused, starts

from wizard_dsl.core.errors import AllFallbacksFailed, DeadlineExceeded, MaxRetriesExceeded, ServerError
from wizard_dsl.core.events import DeadlineCut, RetriesEnded, RetryScheduled
from wizard_dsl.core.messages import Request, message
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.contract import CONTRACT
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.policies.retry_budget import RETRY_BUDGET
from wizard_dsl.policies.timeout import TIMEOUT
from wizard_dsl.strategies.hedged import HEDGED
from wizard_dsl.strategies.parallel import PARALLEL
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

#: One repeat in ten seconds.
ONE_REPEAT = (RETRY_BUDGET, {"ratio": "0%", "floor": "0.1/s"})


def scheduled(chain: ScriptedChain) -> list[float]:
    return [event.delay for event in chain.events(RetryScheduled)]  # type: ignore[attr-defined]


async def delays(commit: Commit, seed: int, attempts: int = 3, **config: Any) -> list[float]:
    """The delays of a target that never recovers."""
    chain = build_chain({"a": forever(503)}, [(RETRY, {"max_attempts": attempts, **config})], seed=seed)
    await failure(chain, commit=commit)
    slept = [later - before for before, later in zip(starts(chain), starts(chain)[1:], strict=False)]
    assert slept == pytest.approx(scheduled(chain))
    return scheduled(chain)


def test_r1_max_attempts_counts_all_calls_on_a_target_the_first_included(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [503] * 4, "b": [503] * 4}, CALM)
        error = await failure(chain, commit=commit)
        assert isinstance(error, AllFallbacksFailed)
        assert [each.attempts for each in error.exceptions] == [3, 3]  # type: ignore[attr-defined]
        assert [row.target for row in chain.attempts] == ["a"] * 3 + ["b"] * 3
        chain = build_chain({"a": [503] * 4}, [(RETRY, {"max_attempts": 1})])
        assert type(await failure(chain, commit=commit)) is ServerError and len(chain.attempts) == 1

    run(main())


def test_r2_the_kth_delay_grows_by_the_multiplier_is_jittered_and_clamped_again(commit: Commit) -> None:
    async def main() -> None:
        grown = {"base": "1s", "multiplier": 3.0, "max_delay": "20s", "jitter": "none"}
        assert await delays(commit, 0, 6, **grown) == [1, 3, 9, 20, 20]
        spread = [(await delays(commit, seed, 2, base="9s", max_delay="10s", jitter=0.5))[0] for seed in range(40)]
        assert max(spread) == 10 and spread.count(10) > 5 and 4.5 <= min(spread) < 6

    run(main())


@pytest.mark.parametrize(
    ("jitter", "low", "high"),
    [(0.25, 7.5, 12.5), ("full", 0, 10), ("equal", 5, 10), ("decorrelated", 10, 30), ("none", 10, 10)],
)
def test_r3_jitter_spreads_a_delay_by_its_method(jitter: Any, low: float, high: float, commit: Commit) -> None:
    async def main() -> None:
        drawn = [await delays(commit, seed, base="10s", jitter=jitter, max_delay="80s") for seed in range(60)]
        first = [each[0] for each in drawn]
        edge = (high - low) / 10
        assert low <= min(first) <= low + edge and high - edge <= max(first) <= high
        assert sum(first) / 60 == pytest.approx((low + high) / 2, abs=edge)
        if jitter == "decorrelated":
            assert all(10 <= later <= min(80, 3 * before) for before, later in drawn)
            assert any(later > 30 for _, later in drawn), "of the previous delay, not of the base"

    run(main())


def test_r4_k_counts_the_targets_retries_of_whatever_kind(commit: Commit) -> None:
    async def main() -> None:
        script = [{"refuse": True}, 503, {"reply": ""}, 408, "hello"]
        chain = build_chain({"a": script}, [(RETRY, {"jitter": "none", "max_attempts": 5})])
        await chain.answer(commit=commit)
        assert [row.waited for row in chain.attempts] == [0, 0, 2, 4, 8]

    run(main())


@pytest.mark.parametrize("status", [503, 529])
def test_r5_retry_after_makes_the_delay_the_longer_of_both_and_beyond_wait_up_to_moves_on(
    status: int, commit: Commit
) -> None:
    async def main() -> None:
        for after, waited in (("1500ms", 1.5), ("500ms", 1), ("2s", 2)):
            chain = build_chain({"a": [{"status": status, "retry_after": after}, "x"], "b": []}, CALM)
            await chain.answer(commit=commit)
            assert chain.attempts[1].waited == waited and chain.story() == f"a {status} → a ok"
        now = chain.clock.now()
        chain = build_chain({"a": [{"status": status, "retry_after": "2001ms"}, "x"], "b": ["b"]}, CALM)
        assert (await chain.answer(commit=commit)).text == "b"
        assert (await chain.answer(commit=commit)).text == "x", "not blocked for others"
        assert chain.clock.now() == now

    run(main())


@pytest.mark.parametrize("status", [503, 429])
def test_r6_x_should_retry_false_forbids_the_repeat_in_place_never_the_next_target(status: int, commit: Commit) -> None:
    async def main() -> None:
        final = {"status": status, "retry_after": "1s", "headers": {"X-Should-Retry": "false"}}
        chain = build_chain({"a": [final, "never"], "b": ["b"]}, CALM)
        await chain.answer(commit=commit)
        assert chain.story() == f"a {status} → b ok" and chain.clock.now() == 0
        chain = build_chain({"a": [{**final, "headers": {"X-Should-Retry": "true"}}, "x"]}, CALM)
        assert (await chain.answer(commit=commit)).text == "x"

    run(main())


def test_r7_a_delay_that_leaves_less_than_min_attempt_before_the_deadline_is_not_slept(commit: Commit) -> None:
    async def main() -> None:
        policies = [(RETRY, {"jitter": "none", "base": "8s"})]
        chain = build_chain({"a": [503, "hello"]}, policies)
        await failure(chain, commit=commit, deadline=8.9)
        assert chain.clock.now() == 0
        path = "chains.chain.targets[0].retry"
        assert chain.events(DeadlineCut) == [DeadlineCut(path=path, what="retry", needed=9.0, left=8.9)]
        chain = build_chain({"a": [503, "hello"]}, policies)
        assert (await chain.answer(commit=commit, deadline=9)).text == "hello", "what ends at the deadline fits it"

    run(main())


def test_r8_where_no_delay_fits_the_next_untried_target_is_tried_if_min_attempt_fits(commit: Commit) -> None:
    async def main() -> None:
        late = {"status": 503, "delay": "8s"}
        for deadline, left in ((9, True), (8.9, False)):
            chain = build_chain({"a": [late, "never"], "b": ["b"]}, CALM)
            if left:
                assert (await chain.answer(commit=commit, deadline=deadline)).text == "b"
                assert chain.story() == "a 503 → b ok" and starts(chain) == [0, 8]
            else:
                error = await failure(chain, commit=commit, deadline=deadline)
                assert (error.kind, error.marks, len(chain.attempts)) == ("server", ("deadline",), 1)

    run(main())


def test_r9_the_last_real_error_leaves_with_its_kind_and_the_mark_deadline(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [500, 503, "never"], "b": [529, "never"]}, CALM)
        error = await failure(chain, commit=commit, deadline=2.5)
        assert isinstance(error, AllFallbacksFailed) and error.exceptions[-1].status == 529  # type: ignore[attr-defined]
        assert (error.kind, error.exit_code, error.marks) == ("server", 5, ("deadline",))
        assert starts(chain) == [0, 1, 1] and chain.clock.now() == 1

    run(main())


def test_r10_kind_deadline_is_raised_only_where_nothing_was_called_or_it_cut_the_last_attempt(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": ["never"]}, CALM)
        error = await failure(chain, commit=commit, deadline=0)
        assert type(error) is DeadlineExceeded and error.exit_code == 8 and chain.attempts == []
        chain = build_chain({"a": [503, {"reply": "x", "delay": "9s"}]}, CALM)
        error = await failure(chain, commit=commit, deadline=5)
        assert isinstance(error, MaxRetriesExceeded) and (error.kind, error.exit_code) == ("deadline", 8)
        assert [row.kind for row in chain.attempts] == ["server", "deadline"] and chain.clock.now() == 5

    run(main())


@pytest.mark.parametrize("words", [0, 1])
@pytest.mark.parametrize(("total", "kind"), [("4s", "timeout"), ("5s", "deadline"), ("6s", "deadline")])
def test_r11_an_attempt_that_the_deadline_cuts_has_kind_deadline_unless_its_timeout_was_due_first(
    total: str, kind: str, words: int, commit: Commit
) -> None:
    async def main() -> None:
        policies = [(TIMEOUT, {"total": total}), (CIRCUIT_BREAKER, {"failure_threshold": 1})]
        chain = build_chain({"a": [{"reply": "a b", "stall_after": words}]}, policies)
        error = await failure(chain, commit=commit, deadline=5)
        late = kind == "timeout" and words and commit == "content"
        assert error.kind == chain.attempts[0].kind == ("mid_stream" if late else kind)
        assert chain.clock.now() == min(5, int(total[0]))
        assert (chain.targets["a"].closed_for(5) is None) is (kind == "deadline"), "which says nothing of the target"

    run(main())


def test_r12_a_breaker_that_opened_ends_the_loop(commit: Commit) -> None:
    async def main() -> None:
        breaker = (CIRCUIT_BREAKER, {"failure_threshold": 2})
        chain = build_chain({"a": [503, 529, "never"]}, [*CALM, breaker])
        error = await failure(chain, commit=commit)
        assert isinstance(error, MaxRetriesExceeded) and error.last.status == 529  # type: ignore[attr-defined]
        assert (error.kind, error.marks, chain.clock.now()) == ("server", ("breaker_opened",), 1)
        assert chain.events(RetriesEnded)[0].reason == "breaker_opened"  # type: ignore[attr-defined]

    run(main())


@pytest.mark.parametrize(("calls", "repeats"), [(20, 30), (100, 30), (300, 60)])
def test_r13_in_ten_seconds_a_chain_repeats_at_most_a_fifth_or_three_a_second(
    calls: int, repeats: int, commit: Commit
) -> None:
    async def main() -> None:
        chain = build_chain({"a": forever(503), "b": forever(503)}, [*CALM, (RETRY_BUDGET, {})])
        for _ in range(2):
            before = len(chain.scripts["a"].calls) + len(chain.scripts["b"].calls)
            await asyncio.gather(*(failure(chain, commit=commit) for _ in range(calls)))
            made = len(chain.scripts["a"].calls) + len(chain.scripts["b"].calls) - before
            assert made == 2 * calls + repeats
            await asyncio.sleep(15)

    run(main())


async def spent(scripts: Mapping[str, list[Any]], policies: list[Any], commit: Commit, **options: Any) -> bool:
    """Whether an answered call left nothing of a budget of one repeat."""
    schema = {"type": "object"} if any(each[0] is CONTRACT for each in policies) else None
    chain = build_chain(scripts, [*policies, ONE_REPEAT], **options)
    await chain.answer(Request(messages=(message("user", "x"),), schema=schema), commit=commit)
    assert len(chain.attempts) == 2
    return not await chain.chain.allowance.withdraw(chain.clock.now())


def test_r14_waits_hedges_and_restarts_withdraw_and_fallbacks_branches_and_repairs_do_not(commit: Commit) -> None:
    slow = {"reply": "x", "delay": "5s"}
    cut = {"reply": "a b", "cut_after": 1}

    async def main() -> None:
        assert await spent({"a": [503, "x"]}, CALM, commit)
        assert await spent({"a": [refused("1s"), "x"]}, CALM, commit), "a wait in place"
        assert await spent({"a": [refused("3s"), "x"]}, CALM, commit), "a wait for the one free first"
        hedged = {"strategy": HEDGED, "strategy_config": {"after": "1s"}}
        assert await spent({"a": [slow], "b": ["x"]}, [], commit, **hedged)
        assert await spent({"a": [cut, "x"]}, CALM, commit, on_mid_stream_error="restart")
        assert not await spent({"a": [402], "b": ["x"]}, CALM, commit), "a fallback"
        parallel = {"strategy": PARALLEL, "strategy_config": {"n": 2}}
        assert not await spent({"a": [slow], "b": ["x"]}, [], commit, **parallel)
        assert not await spent({"a": ["no json", "{}"]}, [*CALM, (CONTRACT, {})], commit), "a repair"

    run(main())


def test_r15_a_spent_budget_forbids_the_repeat_never_the_next_target_and_is_told(commit: Commit) -> None:
    async def main() -> None:
        policies = [*CALM, ONE_REPEAT]
        chain = build_chain({"a": [503] * 3, "b": ["b"]}, policies)
        assert (await chain.answer(commit=commit)).text == "b" and chain.story() == "a 503 → a 503 → b ok"
        chain = build_chain({"a": [503] * 3, "b": [529] * 3}, policies)
        error = await failure(chain, commit=commit)
        assert chain.story() == "a 503 → a 503 → b 529"
        assert (error.kind, error.marks) == ("server", ("retry_budget_exhausted",))

    run(main())


def test_r16_when_decides_by_the_error_and_the_attempts_number(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [503, 503, "never"]}, [(RETRY, {"when": "attempt < 2"})])
        error = await failure(chain, commit=commit)
        assert chain.story() == "a 503 → a 503"
        assert isinstance(error, MaxRetriesExceeded) and error.attempts == 2
        assert chain.events(RetriesEnded)[0].reason == "when"  # type: ignore[attr-defined]
        when = {"when": "error.kind == 'server' and error.status != 503"}
        chain = build_chain({"a": [529, 503, "never"]}, [(RETRY, when)])
        await failure(chain, commit=commit)
        assert chain.story() == "a 529 → a 503"
        chain = build_chain({"a": [401, "never"]}, [(RETRY, {"when": "true"})])
        assert (await failure(chain, commit=commit)).kind == "auth", "the table comes first"

    run(main())


@pytest.mark.parametrize(
    ("mode", "waited"),
    [("exponential", [2, 6, 18]), ("linear", [2, 4, 6]), ("immediate", [0, 6, 18]), ("none", [0, 0, 0])],
)
def test_r17_the_strategy_of_delays_is_set_by_kind(mode: str, waited: list[float], commit: Commit) -> None:
    async def main() -> None:
        config = {"jitter": "none", "base": "2s", "multiplier": 3.0, "max_attempts": 4}
        chain = build_chain({"a": [503, 529, 500, "x"]}, [(RETRY, {**config, "backoff": {"server": mode}})])
        await chain.answer(commit=commit)
        assert [row.waited for row in chain.attempts] == [0, *waited]
        chain = build_chain({"a": [408, 408, 408, "x"]}, [(RETRY, {**config, "backoff": {"server": mode}})])
        await chain.answer(commit=commit)
        assert [row.waited for row in chain.attempts] == [0, 2, 6, 18], "that of another kind stays"

    run(main())
