"""Parallel: so many at once, the first that commits, and the next round where all failed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from msgspec.structs import force_setattr
from race_kit import answered, nothing_is_held
from run_kit import play

from wizard_dsl.core.bound import Bound, BoundFacts, Figure
from wizard_dsl.core.errors import AllFallbacksFailed, WizardError
from wizard_dsl.core.events import BranchCancelled, FallbackTriggered, HedgeStarted, TargetSkipped
from wizard_dsl.core.messages import Request, message
from wizard_dsl.core.target import RateLimitRule, RetryAllowance
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.concurrency import CONCURRENCY
from wizard_dsl.policies.contract import CONTRACT
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.strategies.parallel import PARALLEL, ParallelConfig
from wizard_dsl.testing.chains import Policy, ScriptedChain, build_chain
from wizard_dsl.testing.scripted import ScriptExhausted
from wizard_dsl.testing.virtual import run

Commit = Literal["end", "content"]
HANGS = {"reply": "late", "delay": "100s"}


def slow(seconds: float, text: str = "hello") -> dict[str, Any]:
    return {"reply": text, "delay": f"{seconds}s"}


def failing(seconds: float, status: int = 503) -> dict[str, Any]:
    return {"status": status, "delay": f"{seconds}s"}


def parallel(
    scripts: Mapping[str, Sequence[Any]], policies: Sequence[Policy] = (), n: int = 2, **more: Any
) -> ScriptedChain:
    return build_chain(scripts, policies, strategy=PARALLEL, strategy_config={"n": n}, **more)


@pytest.fixture(params=["end", "content"])
def commit(request: pytest.FixtureRequest) -> Commit:
    return request.param


async def failure(chain: ScriptedChain, **options: Any) -> WizardError:
    with pytest.raises(WizardError) as caught:
        await chain.answer(**options)
    return caught.value


@pytest.mark.parametrize("first", ["a", "b"])
def test_the_first_that_commits_answers_and_the_others_are_cancelled(first: str, commit: Commit) -> None:
    async def main() -> None:
        policies: list[Policy] = [(CONCURRENCY, {"limit": 1}), (CIRCUIT_BREAKER, {})]
        chain = parallel({name: [slow(1 if name == first else 2)] for name in "ab"} | {"c": []}, policies)
        assert (await answered(chain, commit=commit)).served.target == first
        assert chain.clock.now() == 1 and [row.started for row in chain.attempts] == [0, 0]
        (lost,) = [row for row in chain.attempts if row.target != first]
        assert (lost.kind, lost.confidence, lost.cost, lost.hedge) == ("cancelled", "unknown", None, False)
        assert chain.events(BranchCancelled, FallbackTriggered, HedgeStarted) == [
            BranchCancelled(path="chains.chain", target=lost.target, by=first, reason="answered")
        ]
        assert chain.targets[lost.target].state.estimate.count(9) == 0, "equals tell nothing about each other"
        nothing_is_held(chain)

    run(main())


def test_of_those_that_commit_on_the_same_instant_the_first_of_the_file_answers(commit: Commit) -> None:
    async def main() -> None:
        chain = parallel({name: [slow(1, f"{name} more")] for name in "abc"}, [(CONCURRENCY, {"limit": 1})], n=3)
        response = await answered(chain, commit=commit)
        assert response.served.target == "a" and (await response.read()).text == "a more"
        nothing_is_held(chain)

    run(main())


def test_n_is_how_many_begin_at_once_and_no_more_than_there_are(commit: Commit) -> None:
    async def main() -> None:
        for n, begun in ((1, 1), (2, 2), (3, 3), (9, 3)):
            chain = parallel({name: [slow(1)] for name in "abc"}, n=n)
            await answered(chain, commit=commit)
            assert len(chain.attempts) == begun

    run(main())


def test_one_that_fails_is_dropped_while_others_are_under_way(commit: Commit) -> None:
    async def main() -> None:
        chain = parallel({"a": [failing(1)], "b": [slow(5)], "c": []})
        response = await answered(chain, commit=commit)
        assert (response.served.target, chain.clock.now()) == ("b", 5)
        assert [(each.target, each.called) for each in response.served.failures] == [("a", True)]

    run(main())


def test_when_all_have_failed_the_next_round_begins(commit: Commit) -> None:
    async def main() -> None:
        chain = parallel({"a": [failing(1)], "b": [failing(3)], "c": [failing(1)], "d": [slow(2)], "e": []})
        assert (await answered(chain, commit=commit)).served.target == "d"
        assert [row.started for row in chain.attempts] == [0, 0, 3, 3]
        moves = [(event.target, event.to) for event in chain.events(FallbackTriggered)]  # type: ignore[attr-defined]
        assert moves == [("b", "c"), ("b", "d")]

    run(main())


def test_an_error_that_does_not_move_on_lets_the_others_of_its_round_end_and_is_the_last_round(commit: Commit) -> None:
    async def main() -> None:
        chain = parallel({"a": [failing(1, 401), failing(1, 401)], "b": [slow(5), failing(5)], "c": []})
        assert (await answered(chain, commit=commit)).served.target == "b"
        error = await failure(chain, commit=commit)
        assert isinstance(error, AllFallbacksFailed) and error.kind == "server"
        assert [each.kind for each in error.exceptions] == ["auth", "server"]  # type: ignore[attr-defined]
        nothing_is_held(chain)

    run(main())


def test_those_that_may_not_be_called_now_do_not_count(commit: Commit) -> None:
    async def main() -> None:
        chain = parallel({"a": [], "b": [HANGS], "c": [slow(1)], "d": []})
        chain.targets["a"].gates.append(lambda now: 5.0)
        assert (await answered(chain, commit=commit)).served.target == "c"
        assert chain.events(TargetSkipped) == [TargetSkipped(path="chains.chain", target="a", reason="circuit_open")]
        assert len(chain.attempts) == 2

    run(main())


def test_a_skip_that_does_not_move_on_begins_nothing_more_and_lets_what_runs_end() -> None:
    async def main() -> None:
        chain = parallel({"a": [slow(2), 503], "b": [], "c": []}, fallback_on={"circuit_open": False})
        chain.targets["b"].gates.append(lambda now: 50.0)
        assert (await answered(chain)).served.target == "a"
        assert (await failure(chain)).kind == "server"
        chain.targets["a"].gates.append(lambda now: 50.0)
        assert (await failure(chain)).kind == "circuit_open" and not chain.attempts

    run(main())


def test_each_runs_its_own_retries_and_books_its_own_waits(commit: Commit) -> None:
    async def main() -> None:
        chain = parallel({"a": [503, slow(9)], "b": [503, 503, slow(1)]}, [(RETRY, {"jitter": "none"})])
        assert (await answered(chain, commit=commit)).served.target == "b"
        rows = [(row.target, row.started, row.waited, row.retry_of) for row in chain.attempts]
        assert rows == [("a", 0, 0, None), ("b", 0, 0, None), ("a", 1, 1, 0), ("b", 1, 1, 1), ("b", 3, 2, 3)]

    run(main())


class Counted(RetryAllowance):
    def __init__(self) -> None:
        self.deposits = self.taken = 0

    def deposit(self, now: float) -> None:
        self.deposits += 1

    async def withdraw(self, now: float) -> bool:
        self.taken += 1
        return True


def test_a_race_is_one_call_for_the_retry_budget_and_takes_nothing_from_it(commit: Commit) -> None:
    async def main() -> None:
        chain = parallel({"a": [503], "b": [503], "c": ["x"], "d": [HANGS]})
        chain.chain.allowance = allowance = Counted()
        await answered(chain, commit=commit)
        assert (allowance.deposits, allowance.taken, len(chain.attempts)) == (1, 0, 4)

    run(main())


def test_what_was_waited_before_the_race_is_booked_on_the_first_attempt() -> None:
    async def main() -> None:
        chain = parallel({"a": [slow(1)], "b": [slow(2)]})
        asked = chain.run()
        asked.call.waited = 7.0
        async with await chain.handler(Request(messages=(message("user", "hi"),)), asked) as response:
            await response.read()
        assert [row.waited for row in chain.attempts] == [7, 0]

    run(main())


def test_the_deadline_cuts_all(commit: Commit) -> None:
    async def main() -> None:
        chain = parallel({"a": [HANGS], "b": [HANGS], "c": []}, [(CONCURRENCY, {"limit": 1})])
        error = await failure(chain, commit=commit, deadline=10)
        assert (error.kind, chain.clock.now()) == ("deadline", 10)
        nothing_is_held(chain)

    run(main())


def test_where_all_failed_the_one_that_a_429_blocks_is_waited_for(commit: Commit) -> None:
    async def main() -> None:
        limited = {"status": 429, "retry_after": "20s"}
        own: dict[str, list[Policy]] = {"a": [(RETRY, {"max_attempts": 2})], "b": []}
        chain = parallel({"a": [limited, "a"], "b": [503]}, overrides=own)
        response = await answered(chain, commit=commit)
        assert (response.served.target, chain.clock.now()) == ("a", 20)
        assert chain.attempts[-1].retry_of == 0

    run(main())


def test_losers_get_no_verdict_of_their_breaker(commit: Commit) -> None:
    async def main() -> None:
        chain = parallel({"a": [HANGS] * 30, "b": [{"reply": "x", "times": "forever"}]}, [(CIRCUIT_BREAKER, {})])
        for _ in range(30):
            await answered(chain, commit=commit)
        assert len(chain.attempts) == 2, "a is asked every time"

    run(main())


def test_a_repair_asks_just_the_target_that_answered_and_losers_are_not_asked_again() -> None:
    async def main() -> None:
        request = Request(messages=(message("user", "hi"),), schema={"type": "object", "required": ["n"]})
        chain = parallel({"a": [HANGS], "b": ["no", "no"], "c": ['{"n": 1}']}, [(CONTRACT, {})])
        assert (await answered(chain, request)).served.target == "c"
        assert chain.story() == "a cancelled → b ok → b ok → c ok"

    run(main())


def test_a_bug_in_one_of_them_ends_the_race_and_leaves_nothing_behind(commit: Commit) -> None:
    async def main() -> None:
        chain = parallel({"a": [HANGS], "b": []}, [(CONCURRENCY, {"limit": 1})])
        with pytest.raises(ScriptExhausted):
            await chain.answer(commit=commit)
        nothing_is_held(chain)

    run(main())


def test_who_cancels_again_while_losers_end_waits_for_them_all_the_same(commit: Commit) -> None:
    async def main() -> None:
        chain = parallel({"a": [HANGS], "b": [slow(1, "x y")]}, [(CONCURRENCY, {"limit": 1})])

        async def stubborn(request: Request, run: Any) -> Any:
            try:
                await asyncio.sleep(100)
            finally:
                await asyncio.sleep(5)

        race = chain.handler.__self__  # type: ignore[attr-defined]
        force_setattr(race._branches[0], "handler", stubborn)
        task = asyncio.ensure_future(chain.ask(commit=commit))
        await asyncio.sleep(2)
        task.cancel()
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() and chain.clock.now() == 6
        nothing_is_held(chain)

    run(main())


def test_an_answer_of_the_first_round_is_none_of_a_fallback(commit: Commit) -> None:
    async def main() -> None:
        chain = parallel({"a": [HANGS, 503], "b": ["b", 503], "c": ["c"]})
        assert not (await answered(chain, commit=commit)).served.fallback
        assert (await answered(chain, commit=commit)).served.fallback

    run(main())


def test_the_bound_is_a_sum_for_targets_that_were_blocked_come_one_after_the_other() -> None:
    def bound(latency: float) -> Bound:
        return Bound(attempts=Figure(3), latency=Figure(latency), cost=Figure(1), tokens=Figure(5))

    five = [bound(10), bound(40), bound(20), bound(5), bound(5)]
    total = PARALLEL.bound(ParallelConfig(n=2), five, BoundFacts(max_retry_after=60))
    assert (total.attempts.value, total.cost.value, total.in_flight.value) == (15, 5, 2)
    assert total.latency.value == 80 + (15 + 5) * 60
    assert PARALLEL.bound(ParallelConfig(n=9), five, BoundFacts()).latency.value == 80


def test_a_target_whose_block_has_passed_is_asked_after_the_others_without_a_wait() -> None:
    async def main() -> None:
        fails = {"status": 503, "delay": "3s"}
        chain = build_chain(
            {"a": [{"status": 429, "retry_after": "1s"}, fails], "b": [fails]},
            [(RETRY, {"max_attempts": 2, "jitter": "none", "retry_on": {"server": False}})],
            strategy=PARALLEL,
            rate_limit=RateLimitRule(wait_up_to=0, max_retry_after=0),
        )
        with pytest.raises(WizardError):
            await chain.answer()
        assert chain.story() == "a 429 → b 503 → a 503"
        assert chain.clock.now() == 6

    run(main())


FILE = """
version: 1
inputs: {q: {type: string, default: hello}}
providers: {a: {type: mock, model: m}, b: {type: mock, model: n}}
chains: {default: {strategy: {type: parallel, n: 2}, targets: [a, b]}}
steps: {one: {prompt: {user: "{{ q }}"}}}
"""


@pytest.mark.parametrize("streamed", [False, True])
def test_a_file_asks_two_at_once(tmp_path: Path, streamed: bool) -> None:
    async def work(pipeline: Pipeline) -> list[tuple[str, float, str | None]]:
        async with pipeline.stream() if streamed else pipeline.start() as started:
            result = await started.finish()
        assert result.output == "hello"
        return [(row.target, row.started, row.kind) for row in started.transcript.attempts]

    rows, _ = play(FILE, tmp_path, {"a": [HANGS], "b": [slow(1)]}, work)
    assert rows == [("a", 0, "cancelled"), ("b", 0, "ok")]
