"""Hedged: when the next target is asked besides, who wins, and what is left of the others."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from race_kit import answered, nothing_is_held
from run_kit import play

from wizard_dsl.core.bound import Bound, BoundFacts, Figure
from wizard_dsl.core.errors import AllFallbacksFailed, Cancelled, RateLimitExceeded, ServerError, WizardError
from wizard_dsl.core.events import (
    BranchCancelled,
    DeadlineCut,
    FallbackTriggered,
    HedgeStarted,
    HedgeWithheld,
    LossAccepted,
    TargetSkipped,
)
from wizard_dsl.core.messages import Request, message
from wizard_dsl.core.run import Failure, Run
from wizard_dsl.core.target import Facts, RateLimitRule, RetryAllowance
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.concurrency import CONCURRENCY
from wizard_dsl.policies.contract import CONTRACT
from wizard_dsl.policies.rate_limit import RATE_LIMIT
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.policies.retry_budget import RETRY_BUDGET
from wizard_dsl.policies.timeout import TIMEOUT
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.strategies.hedged import HEDGED, HedgedConfig
from wizard_dsl.testing.chains import Policy, ScriptedChain, build_chain
from wizard_dsl.testing.scripted import ScriptExhausted
from wizard_dsl.testing.virtual import run

Commit = Literal["end", "content"]
HANGS = {"reply": "late", "delay": "100s"}


def slow(seconds: float, text: str = "hello") -> dict[str, Any]:
    return {"reply": text, "delay": f"{seconds}s"}


def hedged(
    scripts: Mapping[str, Sequence[Any]], policies: Sequence[Policy] = (), after: str = "3s", **more: Any
) -> ScriptedChain:
    return build_chain(scripts, policies, strategy=HEDGED, strategy_config={"after": after}, **more)


@pytest.fixture(params=["end", "content"])
def commit(request: pytest.FixtureRequest) -> Commit:
    return request.param


async def failure(chain: ScriptedChain, *ask: Any, **options: Any) -> WizardError:
    with pytest.raises(WizardError) as caught:
        await chain.answer(*ask, **options)
    return caught.value


# -- when ------------------------------------------------------------------------------------------------


def test_who_answers_in_time_is_not_hedged(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [slow(2.9)], "b": []})
        assert (await chain.answer(commit=commit)).text == "hello"
        assert chain.story() == "a ok" and chain.clock.now() == 2.9
        assert not chain.events(HedgeStarted, BranchCancelled, HedgeWithheld)
        nothing_is_held(chain)

    run(main())


def test_the_next_is_asked_besides_where_one_is_late_and_answers_if_it_is_first(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [HANGS], "b": [slow(1)]})
        response = await answered(chain, commit=commit)
        served = response.served
        assert (served.target, served.position) == ("b", 1) and chain.clock.now() == 4
        assert (await response.read()).text == "hello"
        first, second = chain.attempts
        assert (first.target, first.kind, first.confidence, first.hedge) == ("a", "cancelled", "unknown", False)
        assert (first.started, first.elapsed, first.cost) == (0, 4, None)
        assert (second.target, second.kind, second.hedge, second.started) == ("b", "ok", True, 3)
        path = "chains.chain"
        assert chain.events(HedgeStarted, BranchCancelled, FallbackTriggered) == [
            HedgeStarted(path=path, target="a", to="b", after=3),
            BranchCancelled(path=path, target="a", by="b", reason="answered"),
        ]
        nothing_is_held(chain)

    run(main())


def test_the_first_may_still_win_and_the_hedge_is_cancelled(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [slow(3.5)], "b": [HANGS]}, [(CIRCUIT_BREAKER, {})])
        assert (await answered(chain, commit=commit)).served.target == "a"
        assert [(row.target, row.kind, row.hedge) for row in chain.attempts[1:]] == [("b", "cancelled", True)]
        assert chain.targets["b"].state.estimate.count(9) == 0, "that it came too late says nothing about it"
        nothing_is_held(chain)

    run(main())


def test_at_most_one_more_is_under_way(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [HANGS], "b": [slow(20)], "c": []})
        assert (await answered(chain, commit=commit)).served.target == "b"
        assert chain.clock.now() == 23 and len(chain.attempts) == 2

    run(main())


def test_an_answer_on_the_instant_of_the_hedge_comes_first(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [slow(3)], "b": []})
        assert (await chain.answer(commit=commit)).text == "hello"
        assert chain.story() == "a ok"

    run(main())


def test_of_two_that_answer_on_the_same_instant_the_earlier_one_wins_and_the_other_is_closed(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [slow(4, "one two")], "b": [slow(1, "one two")]}, [(CONCURRENCY, {"limit": 1})])
        async with await chain.ask(commit=commit) as response:
            assert response.served.target == "a"
            await response.read()
        assert [(row.target, row.kind) for row in chain.attempts] == [
            ("a", "ok"), ("b", "ok" if commit == "end" else "cancelled"),
        ]  # fmt: skip
        assert chain.clock.now() == 4
        nothing_is_held(chain)

    run(main())


def test_a_stream_that_has_committed_is_not_hedged_and_is_read_after_its_branch_has_ended() -> None:
    async def main() -> None:
        words = {"reply": "one two three four", "first_chunk": "1s", "chunk_every": "2s"}
        chain = hedged({"a": [words], "b": []}, [(TIMEOUT, {"idle": "3s", "total": "20s"})])
        async with await chain.ask(commit="content") as response:
            assert chain.clock.now() == 1 and len(asyncio.all_tasks()) == 1
            assert (await response.read()).text == "one two three four"
        assert chain.story() == "a ok" and chain.clock.now() == 7

    run(main())


@pytest.mark.parametrize(
    ("item", "limits", "kind", "at"),
    [
        ({"reply": "a b c", "stall_after": 1}, {"idle": "3s"}, "mid_stream", 6 + 1),
        ({"reply": "a b c d", "chunk_every": "2s"}, {"total": "3s"}, "mid_stream", 4 + 3),
        ({"reply": "a b c d", "chunk_every": "2s"}, {}, "deadline", 5),
    ],
    ids=["idle", "total", "deadline"],
)
def test_the_limits_of_a_hedges_stream_hold_after_its_branch_has_ended(
    item: dict[str, Any], limits: dict[str, str], kind: str, at: float
) -> None:
    async def main() -> None:
        off = {"connect": "off", "first_chunk": "off", "idle": "off", "total": "off"}
        chain = hedged(
            {"a": [HANGS], "b": [item]}, overrides={"a": [], "b": [(TIMEOUT, {**off, **limits})]}, after="4s"
        )
        error = await failure(chain, commit="content", deadline=5 if kind == "deadline" else 60)
        assert (error.kind, chain.clock.now()) == (kind, at)
        nothing_is_held(chain)

    run(main())


def test_a_hedge_of_0_seconds_asks_two_at_once() -> None:
    async def main() -> None:
        chain = hedged({"a": [slow(2)], "b": [slow(1)], "c": []}, after="0s")
        assert (await answered(chain)).served.target == "b"
        assert [row.started for row in chain.attempts] == [0, 0] and chain.clock.now() == 1

    run(main())


def test_the_same_target_may_be_listed_twice(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [HANGS, "hello"]}, [(CIRCUIT_BREAKER, {})], listed=["a", "a"])
        response = await answered(chain, commit=commit)
        assert (response.served.target, response.served.position) == ("a", 1)
        assert [(row.target, row.kind, row.hedge) for row in chain.attempts[:1]] == [("a", "cancelled", False)]
        await response.read()
        nothing_is_held(chain)

    run(main())


# -- the observed p95 ------------------------------------------------------------------------------------


def test_p95_is_what_the_newest_target_did_lately_and_nothing_before_ten_attempts(commit: Commit) -> None:
    async def main() -> None:
        words = {"reply": "one two", "delay": "1s", "chunk_every": "1s", "times": 10}
        chain = hedged({"a": [words, HANGS], "b": [{"reply": "x", "times": "forever"}]}, after="p95")
        for _ in range(9):
            await chain.answer(commit=commit)
        at = chain.clock.now()
        a = chain.targets["a"].state.estimate
        assert a.count(at) == 9 and not chain.events(HedgeStarted)
        await chain.answer(commit=commit)
        assert (await answered(chain, commit=commit)).served.target == "b"
        p95 = 1 if commit == "content" else 2
        assert chain.events(HedgeStarted) == [HedgeStarted(path="chains.chain", target="a", to="b", after=p95)]
        assert a.count(chain.clock.now()) == 11, "the overtaken one took at least its time"

    run(main())


def test_what_streams_did_says_nothing_about_whole_answers() -> None:
    async def main() -> None:
        chain = hedged({"a": [{"reply": "x", "times": 10}, slow(9)], "b": []}, after="p95")
        for _ in range(10):
            await chain.answer(commit="content")
        assert (await answered(chain, commit="end")).served.target == "a"
        assert chain.clock.now() == 9 and chain.story() == "a ok"

    run(main())


def test_streams_and_whole_answers_have_a_p95_each() -> None:
    async def main() -> None:
        words = {"reply": "one two", "delay": "1s", "chunk_every": "4s", "times": 20}
        chain = hedged({"a": [words, HANGS, HANGS], "b": [slow(1), slow(1)]}, after="p95")
        for commit in ("end", "content"):
            for _ in range(10):
                await chain.answer(commit=commit)
        for commit, after in (("content", 1), ("end", 5)):
            await chain.answer(commit=commit)
            assert [event.after for event in chain.events(HedgeStarted)] == [pytest.approx(after)]

    run(main())


@pytest.mark.parametrize("seen", [0, 9])
def test_with_fewer_than_ten_observations_a_target_that_hangs_is_not_hedged(seen: int, commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [*["x"] * seen, slow(50)], "b": []}, after="p95")
        for _ in range(seen):
            await chain.answer(commit=commit)
        assert (await answered(chain, commit=commit)).served.target == "a" and len(chain.attempts) == 1

    run(main())


# -- failures --------------------------------------------------------------------------------------------


def test_a_failure_before_the_hedge_moves_on_at_once_as_in_a_sequence(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [503], "b": [slow(1)], "c": []})
        response = await answered(chain, commit=commit)
        assert (response.served.target, chain.clock.now()) == ("b", 1)
        assert chain.events(FallbackTriggered) == [
            FallbackTriggered(path="chains.chain", target="a", kind="server", to="b")
        ]
        (failed,) = response.served.failures
        assert (failed.target, failed.called) == ("a", True)
        assert not chain.attempts[1].hedge

    run(main())


def test_a_branch_that_fails_is_dropped_while_another_runs(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [{"status": 503, "delay": "4s"}], "b": [slow(6)]})
        response = await answered(chain, commit=commit)
        assert (response.served.target, chain.clock.now()) == ("b", 9)
        assert [each.target for each in response.served.failures] == ["a"]
        other = hedged({"a": [slow(8)], "b": [503]})
        assert (await answered(other, commit=commit)).served.target == "a"
        assert other.story() == "a ok → b 503"

    run(main())


def test_where_the_hedge_failed_the_third_is_asked_after_another_while(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [HANGS], "b": [{"status": 503, "delay": "1s"}], "c": [slow(1)]})
        response = await answered(chain, commit=commit)
        assert (response.served.target, [row.started for row in chain.attempts]) == ("c", [0, 3, 6])
        assert [event.target for event in chain.events(HedgeStarted)] == ["a", "a"]

    run(main())


def test_when_none_runs_any_more_the_next_begins_at_once(commit: Commit) -> None:
    async def main() -> None:
        failing = {"status": 503, "delay": "4s"}
        chain = hedged({"a": [failing], "b": [{"status": 503, "delay": "2s"}], "c": [slow(1)]})
        assert (await answered(chain, commit=commit)).served.target == "c"
        assert [row.started for row in chain.attempts] == [0, 3, 5] and not chain.attempts[2].hedge

    run(main())


@pytest.mark.parametrize("late", ["a", "b"])
def test_an_error_that_does_not_move_on_ends_everything(late: str, commit: Commit) -> None:
    async def main() -> None:
        fails = {"status": 401, "delay": "5s"}
        chain = hedged({"a": [fails if late == "b" else HANGS], "b": [HANGS if late == "b" else 401], "c": []})
        error = await failure(chain, commit=commit)
        assert error.kind == "auth" and not isinstance(error, AllFallbacksFailed)
        assert chain.clock.now() == (5 if late == "b" else 3)
        gone = "b" if late == "b" else "a"
        assert chain.events(BranchCancelled) == [
            BranchCancelled(path="chains.chain", target=gone, by="a" if late == "b" else "b", reason="failed")
        ]
        assert chain.targets["a"].state.estimate.count(9) == 0, "nobody was overtaken"
        nothing_is_held(chain)

    run(main())


def test_all_that_failed_leave_together(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [{"status": 503, "delay": "4s"}], "b": [{"status": 500, "delay": "4s"}]})
        error = await failure(chain, commit=commit)
        assert isinstance(error, AllFallbacksFailed) and error.kind == "server"
        assert [each.status for each in error.exceptions] == [503, 500]  # type: ignore[attr-defined]

    run(main())


def test_each_target_runs_its_own_retries(commit: Commit) -> None:
    async def main() -> None:
        retry = (RETRY, {"jitter": "none", "base": "2s"})
        chain = hedged({"a": [503, 503, "late"], "b": [503, slow(1)]}, [retry])
        response = await answered(chain, commit=commit)
        assert (response.served.target, chain.clock.now()) == ("a", 6)
        rows = [(row.target, row.started, row.hedge, row.retry_of, row.waited) for row in chain.attempts]
        assert rows == [
            ("a", 0, False, None, 0), ("a", 2, False, 0, 2), ("b", 3, True, None, 0), ("b", 5, True, 2, 2),
            ("a", 6, False, 1, 4),
        ]  # fmt: skip
        nothing_is_held(chain)

    run(main())


def test_a_bug_in_one_branch_ends_the_race_and_leaves_nothing_behind(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [HANGS], "b": []}, [(CONCURRENCY, {"limit": 1})])
        with pytest.raises(ScriptExhausted):
            await chain.answer(commit=commit)
        nothing_is_held(chain)

    run(main())


# -- what a hedge costs, and where there is none -----------------------------------------------------------


def test_a_hedge_takes_retry_budget_and_where_there_is_none_left_there_is_no_hedge(commit: Commit) -> None:
    async def main() -> None:
        scripts = {"a": [slow(5), slow(5)], "b": [HANGS]}
        chain = hedged(scripts, [(RETRY_BUDGET, {"ratio": "0%", "floor": "0.1/s"})])
        await chain.answer(commit=commit)
        assert chain.story() == "a ok → b cancelled"
        await chain.answer(commit=commit)
        assert chain.story() == "a ok"
        assert chain.events(HedgeWithheld) == [
            HedgeWithheld(path="chains.chain", target="a", reason="retry_budget_exhausted")
        ]

    run(main())


class SlowAllowance(RetryAllowance):
    """A budget that is asked elsewhere, which takes a second."""

    def __init__(self) -> None:
        self.deposits = 0
        self.out = 0

    def deposit(self, now: float) -> None:
        self.deposits += 1

    async def withdraw(self, now: float) -> bool:
        await asyncio.sleep(1)
        self.out += 1
        return True

    def give_back(self, now: float, taken: float) -> None:
        self.out -= 1


def test_who_answers_while_the_budget_is_asked_is_not_hedged_any_more(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [slow(3.5)], "b": []})
        chain.chain.allowance = allowance = SlowAllowance()
        assert (await answered(chain, commit=commit)).served.target == "a"
        assert allowance.out == 0
        assert chain.clock.now() == 4 and len(chain.attempts) == 1
        assert not chain.events(HedgeStarted, BranchCancelled)

    run(main())


def test_a_whole_call_deposits_once(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [HANGS], "b": ["x"]})
        chain.chain.allowance = allowance = SlowAllowance()
        await chain.answer(commit=commit)
        assert allowance.deposits == 1 and allowance.out == 1 and len(chain.attempts) == 2

    run(main())


def test_there_is_no_hedge_that_could_not_end_before_the_deadline(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [slow(3.8)], "b": []})
        await chain.answer(commit=commit, deadline=3.9)
        assert chain.events(HedgeWithheld) == [HedgeWithheld(path="chains.chain", target="a", reason="deadline")]
        assert not chain.events(DeadlineCut)

    run(main())


def test_the_deadline_cuts_both(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [HANGS], "b": [HANGS]}, [(CONCURRENCY, {"limit": 1}), (CIRCUIT_BREAKER, {})])
        error = await failure(chain, commit=commit, deadline=10)
        assert (error.kind, chain.clock.now()) == ("deadline", 10)
        assert {row.kind for row in chain.attempts} <= {"deadline", "cancelled"}
        nothing_is_held(chain)

    run(main())


def test_a_target_that_is_closed_is_no_hedge_and_keeps_its_turn(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [{"status": 503, "delay": "9s"}], "b": ["b"], "c": []}, listed=["a", "b"])
        chain.targets["b"].gates.append(lambda now: 6.0 - now if now < 6 else None)
        assert (await answered(chain, commit=commit)).served.target == "b"
        assert [row.started for row in chain.attempts] == [0, 9] and not chain.events(TargetSkipped)
        assert chain.events(HedgeWithheld) == [HedgeWithheld(path="chains.chain", target="a", reason="closed")]

    run(main())


def test_where_a_hedge_was_withheld_the_next_that_begins_may_be_hedged_again(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [{"status": 503, "delay": "9s"}], "b": [HANGS], "c": ["c"]})
        for name in "bc":
            chain.targets[name].gates.append(lambda now: 6.0 - now if now < 6 else None)
        assert (await answered(chain, commit=commit)).served.target == "c"
        assert [row.started for row in chain.attempts] == [0, 9, 12]

    run(main())


def test_the_next_but_one_is_the_hedge_where_the_next_may_not_be_called(commit: Commit) -> None:
    async def main() -> None:
        request = Request(messages=(message("system", "x"), message("user", "hi")))
        facts = {"b": Facts(system=False)}
        chain = hedged({"a": [HANGS], "b": [], "c": ["c"]}, facts=facts)
        assert (await answered(chain, request, commit=commit)).served.target == "c"
        allowed = hedged({"a": [HANGS], "b": ["b"], "c": []}, facts=facts, allow_loss=["system"])
        response = await answered(allowed, request, commit=commit)
        assert (response.served.target, response.served.losses) == ("b", ("system",))
        assert allowed.events(LossAccepted) == [LossAccepted(path="chains.chain", target="b", lost=("system",))]
        assert [each.role for each in allowed.scripts["b"].calls[0][0].messages] == ["user"]

    run(main())


def test_a_hedge_queues_for_its_token_like_any_attempt(commit: Commit) -> None:
    async def main() -> None:
        limit = [(RATE_LIMIT, {"rate": "6/minute", "burst": 1})]
        chain = hedged({"a": [slow(14), slow(14)], "b": ["x", "b"]}, overrides={"a": [], "b": limit})
        assert (await answered(chain, commit=commit)).served.target == "b"
        assert (await answered(chain, commit=commit)).served.target == "b"
        assert [row.started for row in chain.attempts] == [0, 10], "its bucket has the next token then"
        nothing_is_held(chain)

    run(main())


def test_a_hedge_that_our_own_limit_refuses_is_dropped_and_the_first_goes_on(commit: Commit) -> None:
    async def main() -> None:
        limit = [(CONCURRENCY, {"limit": 1, "max_wait": "0s"})]
        chain = hedged({"a": [slow(9)], "b": [HANGS]}, overrides={"a": [], "b": limit})
        holder = build_chain({"b": [HANGS]}, limit, shared=chain.shared)
        holding = asyncio.ensure_future(holder.answer())
        await asyncio.sleep(0)
        assert (await answered(chain, commit=commit)).served.target == "a"
        assert chain.events(TargetSkipped) == [TargetSkipped(path="chains.chain", target="b", reason="local_limit")]
        holding.cancel()
        await asyncio.wait([holding])

    run(main())


def test_a_limit_that_refuses_the_only_one_under_way_ends_the_call_as_in_a_sequence() -> None:
    async def main() -> None:
        limit = [(CONCURRENCY, {"limit": 1, "max_wait": "0s"})]
        chain = hedged({"a": [], "b": []}, overrides={"a": limit, "b": []})
        holder = build_chain({"a": [HANGS]}, limit, shared=chain.shared)
        holding = asyncio.ensure_future(holder.answer())
        await asyncio.sleep(0)
        assert isinstance(await failure(chain), RateLimitExceeded)
        holding.cancel()
        await asyncio.wait([holding])

    run(main())


def test_all_closed_is_told_as_in_a_sequence() -> None:
    async def main() -> None:
        chain = hedged({"a": [], "b": []})
        for target in chain.targets.values():
            target.gates.append(lambda now: 5.0)
        error = await failure(chain)
        assert (error.kind, error.retry_after) == ("circuit_open", 5)

    run(main())


def test_without_time_for_the_next_the_real_error_leaves_with_the_mark() -> None:
    async def main() -> None:
        chain = hedged({"a": [{"status": 503, "delay": "2s"}], "b": []})
        error = await failure(chain, deadline=2.5)
        assert isinstance(error, ServerError) and error.marks == ("deadline",)

    run(main())


def test_where_none_is_left_the_one_that_a_429_blocks_is_waited_for(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [{"status": 429, "retry_after": "20s"}, "a"], "b": [503]}, [(RETRY, {"max_attempts": 2})])
        chain.targets["b"].max_attempts = 1
        chain.scripts["b"]._items.append(chain.scripts["b"]._items[0])
        response = await answered(chain, commit=commit)
        assert (response.served.target, chain.clock.now()) == ("a", 20)
        assert chain.attempts[-1].retry_of == 0

    run(main())


def test_a_429_that_fails_is_waited_for_in_place_and_nobody_else_is_asked(commit: Commit) -> None:
    async def main() -> None:
        rule = RateLimitRule(wait_up_to=30.0, then="fail")
        chain = hedged(
            {"a": [{"status": 429, "retry_after": "20s"}, "a"], "b": []}, [(RETRY, {})], rate_limit=rule, after="60s"
        )
        assert (await answered(chain, commit=commit)).served.target == "a"

    run(main())


def test_a_429_that_fails_and_asks_for_too_long_is_not_waited_for(commit: Commit) -> None:
    async def main() -> None:
        rule = RateLimitRule(wait_up_to=2.0, then="fail")
        scripts = {"a": [{"status": 429, "retry_after": "20s"}], "b": []}
        chain = hedged(scripts, [(RETRY, {})], rate_limit=rule)
        error = await failure(chain, commit=commit)
        assert (error.kind, error.retry_after, chain.clock.now()) == ("rate_limited", 20, 0)

    run(main())


# -- the verdict on who was overtaken ---------------------------------------------------------------------


def test_a_target_that_hangs_behind_hedges_is_taken_out_by_its_breaker(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [HANGS] * 10, "b": [{"reply": "x", "times": "forever"}]}, [(CIRCUIT_BREAKER, {})])
        for _ in range(10):
            assert (await answered(chain, commit=commit)).served.target == "b"
        at = chain.clock.now()
        assert (await answered(chain, commit=commit)).served.target == "b"
        assert chain.clock.now() == at and chain.story().startswith("b"), "nobody asked a any more"

    run(main())


def test_an_overtaken_target_took_at_least_its_time(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [HANGS], "b": [slow(1)]})
        await chain.answer(commit=commit)
        estimate = chain.targets["a"].state.estimate
        assert (estimate.mean(9), estimate.success(9)) == (4, None)

    run(main())


# -- repairs ----------------------------------------------------------------------------------------------

SCHEMA = {"type": "object", "required": ["n"]}


def test_a_repair_asks_just_the_target_that_answered_and_is_not_hedged() -> None:
    async def main() -> None:
        request = Request(messages=(message("user", "hi"),), schema=SCHEMA)
        chain = hedged({"a": [HANGS], "b": ["no", slow(50, '{"n": 1}')], "c": []}, [(CONTRACT, {})])
        assert (await answered(chain, request)).served.target == "b"
        assert chain.story() == "a cancelled → b ok → b ok"

    run(main())


def test_after_a_repair_that_did_not_help_only_those_not_yet_tried_are_asked() -> None:
    async def main() -> None:
        request = Request(messages=(message("user", "hi"),), schema=SCHEMA)
        chain = hedged({"a": [HANGS], "b": ["no", "no"], "c": ['{"n": 1}']}, [(CONTRACT, {})])
        response = await answered(chain, request)
        assert response.served.target == "c"
        assert [(each.target, each.error.kind) for each in response.served.failures] == [
            ("a", "cancelled"), ("b", "contract"),
        ]  # fmt: skip
        assert chain.story() == "a cancelled → b ok → b ok → c ok"

    run(main())


def test_one_that_only_queued_was_not_tried() -> None:
    async def main() -> None:
        request = Request(messages=(message("user", "hi"),), schema=SCHEMA)
        limit = [(RATE_LIMIT, {"rate": "6/minute", "burst": 1})]
        chain = hedged(
            {"a": [slow(4, "no"), "no"], "b": ["x", '{"n": 1}']}, [(CONTRACT, {})], overrides={"a": [], "b": limit}
        )
        await build_chain({"b": ["x"]}, limit, shared=chain.shared).answer()
        chain.scripts["b"]._items.pop(0)
        response = await answered(chain, request)
        assert response.served.target == "b" and chain.story() == "a ok → a ok → b ok"

    run(main())


def test_a_failure_that_does_not_move_on_ends_the_call_that_is_entered_again() -> None:
    async def main() -> None:
        chain = hedged({"a": [], "b": []})
        refused = Failure(0, "a", Cancelled("gone"), called=True)
        assert isinstance(await failure(chain, failures=(refused,)), Cancelled)

    run(main())


# -- nothing is left behind -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scripts",
    [
        {"a": [{"reply": "x", "delay": "20s", "times": "forever"}], "b": [{"reply": "x", "times": "forever"}]},
        {"a": [{"status": 503, "delay": "4s", "times": "forever"}], "b": [{"status": 503, "times": "forever"}]},
        {"a": [{"reply": "x", "delay": "20s", "times": "forever"}], "b": [{"status": 401, "times": "forever"}]},
    ],
    ids=["overtaken", "all fail", "one ends it"],
)
def test_a_race_leaves_no_cycle_for_the_collector(scripts: Any, commit: Commit) -> None:
    async def main() -> int:
        chain = hedged(scripts, [(RETRY, {"max_attempts": 1}), (CONCURRENCY, {"limit": 1})])

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

    assert run(main()) == 0


@pytest.mark.parametrize(("listed", "fallback"), [(["a", "b"], True), (["a", "a"], False)])
def test_a_hedge_on_another_target_is_a_fallback_and_one_on_the_same_is_not(
    listed: list[str], fallback: bool, commit: Commit
) -> None:
    async def main() -> None:
        chain = hedged({"a": [HANGS, "a"], "b": ["b"]}, listed=listed)
        served = (await answered(chain, commit=commit)).served
        assert (served.position, served.fallback) == (1, fallback)

    run(main())


# -- declared ----------------------------------------------------------------------------------------------


def test_the_bound_sums_the_targets_and_has_two_in_flight() -> None:
    one = Bound(attempts=Figure(3), latency=Figure(10), cost=Figure(1), tokens=Figure(5))
    total = HEDGED.bound(HedgedConfig(), [one, one, one], BoundFacts(max_retry_after=60))
    assert (total.attempts.value, total.latency.value, total.cost.value, total.in_flight.value) == (
        9,
        30 + (9 + 3) * 60,
        3,
        2,
    )
    assert HEDGED.bound(HedgedConfig(), [one], BoundFacts()).in_flight.value == 1


FILE = """
version: 1
inputs: {q: {type: string, default: hello}}
providers: {a: {type: mock, model: m}}
chains:
  default:
    strategy: {type: hedged, after: 2s}
    targets: [a, a]
    policies: {concurrency: 8}
steps: {one: {prompt: {user: "{{ q }}"}}}
"""


@pytest.mark.parametrize("streamed", [False, True])
def test_a_file_hedges_a_target_against_itself(tmp_path: Path, streamed: bool) -> None:
    async def work(pipeline: Pipeline) -> list[tuple[str, float, str | None, bool]]:
        async with pipeline.stream() if streamed else pipeline.start() as started:
            result = await started.finish()
        assert result.output == "hello"
        return [(row.target, row.started, row.kind, row.hedge) for row in started.transcript.attempts]

    rows, _ = play(FILE, tmp_path, {"a": [HANGS, slow(1)]}, work)
    assert rows == [("a", 0, "cancelled", False), ("a", 2, "ok", True)]


def test_a_hedge_that_was_never_sent_gives_its_token_back_though_its_twin_was_sent(commit: Commit) -> None:
    """Both branches stand before one target, and the attempt that the other one made is not the hedge's."""
    limits: list[Policy] = [(RATE_LIMIT, {"rate": "1/hour", "burst": 9}), (CONCURRENCY, {"limit": 1})]

    async def main() -> None:
        chain = hedged({"a": [slow(5)] * 6}, limits, after="1s", listed=["a", "a"])
        runs = [chain.run(commit=commit) for _ in range(3)]

        async def ask(each: Run) -> None:
            await (await chain.handler(Request((message("user", "x"),)), each)).read()

        await asyncio.gather(*map(ask, runs))
        (line,) = chain.shared.of("rate_limit").values()
        sent = sum(len(each.transcript.attempts) for each in runs)
        assert line.levels(chain.clock.now())[0].available == pytest.approx(9 - sent, abs=0.01)
        assert sent < 6
        nothing_is_held(chain)

    run(main())
