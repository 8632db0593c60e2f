"""429: what is read, how long is waited, and for whom a target is blocked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from compiler_kit import program
from run_kit import play
from semantics_kit import CALM, Commit, failure, file, refusal, refused, starts, story

from wizard_dsl.core.errors import AllFallbacksFailed, CircuitOpen, MaxRetriesExceeded, RateLimited, TargetBlocked
from wizard_dsl.core.events import RateLimitWaited, TargetSkipped
from wizard_dsl.core.target import RateLimitRule
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.policies.retry_budget import RETRY_BUDGET
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.testing.chains import build_chain
from wizard_dsl.testing.virtual import run

ONCE = [(RETRY, {"jitter": "none", "max_attempts": 1})]
NEW_YEAR = "Thu, 01 Jan 2026 00:00:0{} GMT"  # virtual time begins at its second 0
NO_REQUESTS = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "30s"}
NO_TOKENS = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m30s"}


async def announced(headers: dict[str, str], commit: Commit) -> float | None:
    """The time that one 429 with these headers means, which is also how long it blocks its target."""
    chain = build_chain({"a": [refused(headers=headers)]}, ONCE)
    error = await failure(chain, commit=commit)
    assert isinstance(error, RateLimited) and chain.targets["a"].blocked_for(0.0) == error.retry_after
    return error.retry_after


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": NEW_YEAR.format(9)}, 9),
        ({"retry-after": NEW_YEAR.format(9), "date": NEW_YEAR.format(5)}, 4),
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7),
        ({"retry-after": "7", **NO_REQUESTS}, 7),
        (NO_REQUESTS, 30),
        ({**NO_TOKENS, **NO_REQUESTS, "x-ratelimit-remaining-requests": "5"}, 90),
        (
            {
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-01-01T00:00:12Z",
                "anthropic-ratelimit-requests-remaining": "9",
                "anthropic-ratelimit-requests-reset": "2026-01-01T00:01:00Z",
            },
            12,
        ),
    ],
    ids=str,
)
def test_q1_milliseconds_come_first_then_retry_after_then_the_reset_of_what_is_exhausted(
    headers: dict[str, str], seconds: float, commit: Commit
) -> None:
    assert run(announced(headers, commit)) == seconds


@pytest.mark.parametrize("value", ["soon", "", "0", "-5", "3601", "nan", "inf", "Wed, 31 Dec 2025 23:59:59 GMT"])
def test_q2_what_is_no_number_not_positive_above_an_hour_or_past_is_no_header(value: str, commit: Commit) -> None:
    assert run(announced({"retry-after": value}, commit)) == 1, "as where there is no header: base × 1"
    assert run(announced({"retry-after": value, **NO_REQUESTS}, commit)) == 30
    assert run(announced({"retry-after": "3600"}, commit)) == 3600


def test_q3_above_max_retry_after_it_is_believed_and_never_waited_for(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [refused("300s"), "x", refused("301s"), "y"]}, CALM)
        assert (await chain.answer(commit=commit)).text == "x" and chain.clock.now() == 300
        error = await failure(chain, commit=commit)
        assert isinstance(error, RateLimited) and error.retry_after == 301 and chain.clock.now() == 300
        await asyncio.sleep(0.5)  # 300.5 s are left
        assert isinstance(await failure(chain, commit=commit), TargetBlocked) and chain.attempts == []
        await asyncio.sleep(0.5)  # 300 s are
        assert (await chain.answer(commit=commit)).text == "y" and chain.clock.now() == 601

    run(main())


def test_q4_without_a_header_it_is_linear_with_the_same_clamp_and_jitter_and_counts_as_announced(
    commit: Commit,
) -> None:
    async def waited(seed: int = 0, **config: Any) -> list[float]:
        policies = [(RETRY, {"max_attempts": 4, "base": "10s", "max_delay": "25s", **config})]
        script = {"a": [refused(), refused(), refused(), "x"]}
        chain = build_chain(script, policies, rate_limit=RateLimitRule(wait_up_to=60), seed=seed)
        await chain.answer(commit=commit)
        return [row.waited for row in chain.attempts]

    async def main() -> None:
        assert await waited(jitter="none") == [0, 10, 20, 25]
        spread = [(await waited(seed, jitter=0.5))[1:] for seed in range(40)]
        assert 5 <= min(each[0] for each in spread) < 6.5 and 13.5 < max(each[0] for each in spread) <= 15
        assert max(each[1] for each in spread) == 25, "clamped again"
        chain = build_chain({"a": [refused()] * 3, "b": ["b", "b again"]}, [(RETRY, {"jitter": "none"})])
        await chain.answer(commit=commit)
        assert chain.story() == "a 429 → a 429 → a 429 → b ok" and starts(chain) == [0, 1, 3, 3]
        assert (await chain.answer(commit=commit)).text == "b again" and chain.story() == "b ok", "blocked, 3 s long"
        now = chain.clock.now()
        assert chain.targets["a"].blocked_for(now) == 3

    run(main())


def test_q5_up_to_wait_up_to_the_call_waits_and_repeats_beyond_it_moves_on(tmp_path: Path, commit: Commit) -> None:
    plan = program(file("{targets: [a]}"), tmp_path).chains["default"]
    assert plan.rate_limit == RateLimitRule(wait_up_to=2, then="fallback", max_retry_after=300, quota_block=3600)

    async def main() -> None:
        chain = build_chain({"a": [refused("2s"), refused("2001ms")], "b": ["hello"]}, CALM)
        await chain.answer(commit=commit)
        assert chain.story() == "a 429 → a 429 → b ok" and starts(chain) == [0, 2, 2]
        rule = RateLimitRule(wait_up_to=5)
        chain = build_chain({"a": [refused("5s"), "a"], "b": ["never"]}, CALM, rate_limit=rule)
        await chain.answer(commit=commit)
        assert chain.story() == "a 429 → a ok" and starts(chain) == [0, 5]

    run(main())


def test_q6_without_an_untried_target_it_waits_for_the_one_free_first(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [refused("30s")], "b": [refused("20s"), "b"]}, CALM)
        assert (await chain.answer(commit=commit)).text == "b" and chain.clock.now() == 20
        assert chain.events(RateLimitWaited) == [RateLimitWaited(path="chains.chain", target="b", delay=20.0)]
        chain = build_chain({"a": [refused("20s"), "a"], "b": [refused("20s"), "never"]}, CALM)
        assert (await chain.answer(commit=commit)).text == "a", "ties by declaration"
        for deadline, waits in ((21, True), (20.9, False)):
            chain = build_chain({"a": [refused("20s"), "a"], "b": [refused("20s")]}, CALM)
            if waits:
                assert (await chain.answer(commit=commit, deadline=deadline)).text == "a"
            else:
                error = await failure(chain, commit=commit, deadline=deadline)
                assert (error.kind, error.retry_after, error.marks) == ("rate_limited", 20, ("deadline",))
        chain = build_chain({"a": [refused("20s")] * 3}, [(RETRY, {"max_attempts": 2})])
        error = await failure(chain, commit=commit)
        assert isinstance(error, MaxRetriesExceeded) and error.attempts == 2 and starts(chain) == [0, 20]

    run(main())


def test_q7_it_does_so_also_when_another_target_failed_otherwise_else_it_fails_with_retry_after(
    commit: Commit,
) -> None:
    async def main() -> None:
        chain = build_chain({"a": [refused("20s"), "a"], "b": [503]}, overrides={"a": CALM, "b": ONCE})
        assert (await chain.answer(commit=commit)).text == "a"
        assert chain.story() == "a 429 → b 503 → a ok" and starts(chain) == [0, 0, 20]
        spent = (RETRY_BUDGET, {"ratio": "0%", "floor": "0.01/s"})
        chain = build_chain({"b": [503], "a": [refused("20s")]}, [spent], overrides={"a": CALM, "b": ONCE})
        now, error = chain.clock.now(), await failure(chain, commit=commit)
        assert isinstance(error, AllFallbacksFailed) and (error.kind, error.retry_after) == ("rate_limited", 20)
        assert chain.clock.now() == now and error.marks == ("retry_budget_exhausted",)

    run(main())


def test_q8_a_blocked_target_is_skipped_at_once_by_all_calls_of_all_chains(commit: Commit) -> None:
    async def main() -> None:
        first = build_chain({"a": [refused("30s"), "back"], "b": ["b1", "b2"]}, CALM)
        second = build_chain({"a": ["never"], "c": ["c"]}, CALM, shared=first.shared, name="second")
        await first.answer(commit=commit)
        await asyncio.sleep(29)
        assert (await first.answer(commit=commit)).text == "b2"
        assert (await second.answer(commit=commit)).text == "c" and second.clock.now() == 29
        skip = TargetSkipped(path="chains.second", target="a", reason="rate_limited")
        assert second.events(TargetSkipped) == [skip] and second.scripts["a"].calls == []
        await asyncio.sleep(1)
        assert (await first.answer(commit=commit)).text == "back"

    run(main())


@pytest.mark.parametrize("trips", [False, True])
def test_q9_a_429_never_opens_a_breaker_unless_trip_on_names_it(trips: bool, commit: Commit) -> None:
    async def main() -> None:
        config = {"failure_threshold": 3, **({"trip_on": {"rate_limited": True}} if trips else {})}
        chain = build_chain({"a": [refused("1s")] * 4}, [(CIRCUIT_BREAKER, config)])
        for _ in range(3):
            assert isinstance(await failure(chain, commit=commit), RateLimited)
            await asyncio.sleep(1)
        assert type(await failure(chain, commit=commit)) is (CircuitOpen if trips else RateLimited)

    run(main())


def test_q10_then_fail_leaves_instead_of_moving_on(tmp_path: Path, commit: Commit) -> None:
    text = file("{targets: [a, b], on_rate_limit: {then: fail}}")

    async def work(pipeline: Pipeline) -> None:
        error = await refusal(pipeline, commit)
        assert isinstance(error, RateLimited) and error.retry_after == 3 and story(error.result) == "a 429"
        error = await refusal(pipeline, commit)
        assert isinstance(error, TargetBlocked) and error.retry_after == 3 and error.result.attempts == []
        assert error.result.elapsed == 0

    play(text, tmp_path, {"a": [refused("3s"), "never"], "b": ["never"]}, work)
