"""Retry, sentence by sentence of SEMANTICS "Retry" and "What leaves a chain"."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

import pytest

from wizard_dsl.core.bound import Bound, BoundFacts, Figure
from wizard_dsl.core.errors import (
    AuthError,
    ConnectError,
    DeadlineExceeded,
    MaxRetriesExceeded,
    RateLimited,
    ServerError,
    WizardError,
)
from wizard_dsl.core.events import DeadlineCut, RetriesEnded, RetryScheduled
from wizard_dsl.core.target import RateLimitRule
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.concurrency import CONCURRENCY
from wizard_dsl.policies.deadline import DEADLINE
from wizard_dsl.policies.retry import RETRY, RetryConfig
from wizard_dsl.policies.retry_budget import RETRY_BUDGET
from wizard_dsl.policies.timeout import TIMEOUT
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

Commit = Literal["end", "content"]


@pytest.fixture(params=["end", "content"])
def commit(request: pytest.FixtureRequest) -> Commit:
    return request.param


def plain(**keys: Any) -> Mapping[str, Any]:
    """Retry without jitter, so that times can be written down."""
    return {"jitter": "none", **keys}


async def failure(chain: ScriptedChain, **options: Any) -> WizardError:
    with pytest.raises(WizardError) as caught:
        await chain.answer(**options)
    return caught.value


def test_a_failed_attempt_is_repeated_after_its_delay(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [503, 500, "hello"]}, [(RETRY, plain())])
        assert (await chain.answer(commit=commit)).text == "hello"
        assert chain.story() == "a 503 → a 500 → a ok"
        assert [row.started for row in chain.attempts] == [0, 1, 3]
        assert [row.waited for row in chain.attempts] == [0, 1, 2]
        assert [row.retry_of for row in chain.attempts] == [None, 0, 1]

    run(main())


def test_a_stream_cut_before_its_first_content_is_repeated(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [{"reply": "one two", "cut_after": 0}, "hello"]}, [(RETRY, plain())])
        assert (await chain.answer(commit=commit)).text == "hello"
        assert chain.attempts[0].kind == "server"

    run(main())


def test_a_stream_cut_where_nobody_sees_the_deltas_is_repeated_and_one_that_is_seen_is_not() -> None:
    async def main() -> None:
        script = [{"reply": "one two three", "cut_after": 2}, "hello"]
        chain = build_chain({"a": script}, [(RETRY, plain())])
        assert (await chain.answer(commit="end")).text == "hello"
        chain = build_chain({"a": script}, [(RETRY, plain())])
        error = await failure(chain, commit="content")
        assert error.kind == "mid_stream" and error.partial is not None and error.partial.text == "one two"

    run(main())


def test_max_attempts_counts_all_calls_the_first_included(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [503] * 4}, [(RETRY, plain(max_attempts=3))])
        error = await failure(chain, commit=commit)
        assert isinstance(error, MaxRetriesExceeded)
        assert (error.attempts, error.kind, len(chain.attempts)) == (3, "server", 3)
        assert isinstance(error.last, ServerError) and error.last.status == 503
        assert error.__cause__ is error.last

    run(main())


def test_a_chain_of_one_target_raises_the_plain_error_after_one_attempt(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [401]}, [(RETRY, plain())])
        error = await failure(chain, commit=commit)
        assert isinstance(error, AuthError) and not chain.events(RetriesEnded)
        chain = build_chain({"a": [503]}, [(RETRY, plain(max_attempts=1))])
        assert isinstance(await failure(chain), ServerError)

    run(main())


def test_a_later_kind_that_is_not_repeated_ends_the_target_with_that_kind() -> None:
    async def main() -> None:
        chain = build_chain({"a": [503, 401]}, [(RETRY, plain())])
        error = await failure(chain)
        assert isinstance(error, MaxRetriesExceeded) and (error.kind, error.attempts) == ("auth", 2)

    run(main())


@pytest.mark.parametrize("status", [400, 401, 402, 404, 409, 413, 422, 501, 505, 302])
def test_these_statuses_are_not_repeated(status: int) -> None:
    async def main() -> None:
        chain = build_chain({"a": [status, "hello"]}, [(RETRY, plain())])
        await failure(chain)
        assert len(chain.attempts) == 1

    run(main())


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504, 520, 529])
def test_these_statuses_are_repeated(status: int) -> None:
    async def main() -> None:
        chain = build_chain({"a": [status, "hello"]}, [(RETRY, plain())])
        assert (await chain.answer()).text == "hello"

    run(main())


def test_a_refused_connection_is_repeated_at_once_the_first_time_then_with_back_off() -> None:
    async def main() -> None:
        chain = build_chain({"a": [{"refuse": True}] * 3 + ["hello"]}, [(RETRY, plain(max_attempts=4))])
        await chain.answer()
        assert [row.started for row in chain.attempts] == [0, 0, 2, 6]

    run(main())


def test_a_connection_refused_after_another_failure_is_still_repeated_at_once() -> None:
    async def main() -> None:
        chain = build_chain({"a": [503, {"refuse": True}, "hello"]}, [(RETRY, plain())])
        await chain.answer()
        assert [row.started for row in chain.attempts] == [0, 1, 1]

    run(main())


def test_the_backoff_map_sets_the_shape_by_kind() -> None:
    async def main() -> None:
        config = plain(backoff={"server": "linear", "connect": "none"}, base="2s", max_attempts=5)
        chain = build_chain({"a": [503, {"refuse": True}, {"refuse": True}, 503, "hello"]}, [(RETRY, config)])
        await chain.answer()
        assert [row.waited for row in chain.attempts] == [0, 2, 0, 0, 8]

    run(main())


def test_an_override_by_status_wins_over_one_by_kind() -> None:
    async def main() -> None:
        config = plain(retry_on={"server": False, "503": True, "404": True})
        chain = build_chain({"a": [503, 404, 500, "hello"]}, [(RETRY, config)])
        assert (await failure(chain)).kind == "server"
        assert chain.story() == "a 503 → a 404 → a 500"

    run(main())


def test_x_should_retry_false_forbids_the_repeat_in_place_but_not_the_next_target() -> None:
    async def main() -> None:
        refused = {"status": 503, "headers": {"X-Should-Retry": "false"}}
        chain = build_chain({"a": [refused], "b": ["hello"]}, [(RETRY, plain())])
        await chain.answer()
        assert chain.story() == "a 503 → b ok"

    run(main())


def test_retry_after_on_a_503_is_waited_for_if_it_is_longer_than_the_back_off() -> None:
    async def main() -> None:
        chain = build_chain({"a": [{"status": 503, "retry_after": "1500ms"}, "hello"]}, [(RETRY, plain())])
        await chain.answer()
        assert chain.attempts[1].started == 1.5
        chain = build_chain({"a": [{"status": 529, "retry_after": "500ms"}, "hello"]}, [(RETRY, plain())])
        await chain.answer()
        assert chain.attempts[1].waited == 1

    run(main())


def test_retry_after_on_a_503_beyond_wait_up_to_moves_on_and_blocks_nobody() -> None:
    async def main() -> None:
        chain = build_chain({"a": [{"status": 503, "retry_after": "20s"}], "b": ["hello"]}, [(RETRY, plain())])
        await chain.answer()
        assert chain.story() == "a 503 → b ok" and chain.clock.now() == 0
        assert chain.targets["a"].closed_for(0.0) is None

    run(main())


def test_it_never_sleeps_past_the_deadline_and_says_so(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [503, "hello"]}, [(RETRY, plain(base="8s"))])
        error = await failure(chain, commit=commit, deadline=8.9)
        assert isinstance(error, ServerError) and error.status == 503
        assert error.marks == ("deadline",) and error.exit_code == 5
        assert chain.clock.now() == 0
        path = "chains.chain.targets[0].retry"
        assert chain.events(DeadlineCut) == [DeadlineCut(path=path, what="retry", needed=9.0, left=8.9)]

    run(main())


def test_a_delay_that_exactly_fits_the_deadline_is_slept() -> None:
    async def main() -> None:
        chain = build_chain({"a": [503, "hello"]}, [(RETRY, plain(base="8s"))])
        assert (await chain.answer(deadline=9)).text == "hello"

    run(main())


def test_min_attempt_is_what_the_deadline_policy_says() -> None:
    async def main() -> None:
        policies = [(RETRY, plain()), (DEADLINE, {"after": "5s", "min_attempt": "4500ms"})]
        chain = build_chain({"a": [503, "hello"]}, policies)
        assert (await failure(chain)).marks == ("deadline",)

    run(main())


def test_an_attempt_cut_by_the_deadline_has_kind_deadline_unless_its_own_timeout_was_due_first() -> None:
    async def main() -> None:
        slow = {"reply": "late", "first_chunk": "1h"}
        chain = build_chain({"a": [slow]}, [(TIMEOUT, {"total": "9s"})])
        assert isinstance(await failure(chain, deadline=5), DeadlineExceeded)
        chain = build_chain({"a": [slow]}, [(TIMEOUT, {"total": "4s"})])
        assert (await failure(chain, deadline=5)).kind == "timeout"

    run(main())


def test_the_loop_leaves_at_once_if_this_attempt_opened_the_breaker() -> None:
    async def main() -> None:
        policies = [(RETRY, plain()), (CIRCUIT_BREAKER, {"failure_threshold": 2})]
        chain = build_chain({"a": [503] * 5}, policies)
        error = await failure(chain)
        assert error.marks == ("breaker_opened",) and error.kind == "server"
        assert len(chain.attempts) == 2 and chain.clock.now() == 1

    run(main())


def test_a_breaker_that_others_open_during_the_sleep_ends_the_loop_with_the_last_real_error() -> None:
    async def main() -> None:
        policies = [(RETRY, plain(base="10s")), (CIRCUIT_BREAKER, {"failure_threshold": 3})]
        chain = build_chain({"a": [503] * 9}, policies)
        waiting = asyncio.ensure_future(failure(chain))
        await asyncio.sleep(1)
        transcript = chain.transcript
        await asyncio.gather(*(failure(chain) for _ in range(2)))
        error = await waiting
        assert isinstance(error, ServerError) and error.marks == ("breaker_opened",)
        assert [row.kind for row in transcript.attempts] == ["server"]

    run(main())


def test_a_repeat_that_our_own_limit_refuses_leaves_the_last_real_error() -> None:
    async def main() -> None:
        policies = [(RETRY, plain()), (CONCURRENCY, {"limit": 1, "max_wait": "0s"})]
        chain = build_chain({"a": [503, {"reply": "slow", "first_chunk": "1m"}]}, policies)
        first = asyncio.ensure_future(failure(chain))
        await asyncio.sleep(0.5)
        other = asyncio.ensure_future(chain.answer())
        assert (await first).kind == "server"
        assert (await other).text == "slow"

    run(main())


def test_exhausted_budget_means_no_repeat_and_a_mark_but_the_next_target_is_tried() -> None:
    async def main() -> None:
        policies = [(RETRY, plain()), (RETRY_BUDGET, {"ratio": "0%", "floor": "0.1/s"})]
        chain = build_chain({"a": [503] * 3}, policies)
        error = await failure(chain)
        assert error.marks == ("retry_budget_exhausted",) and chain.story() == "a 503 → a 503"
        chain = build_chain({"a": [503] * 2, "b": ["hello"]}, policies)
        await chain.answer()
        assert chain.story() == "a 503 → a 503 → b ok"

    run(main())


def test_the_same_seed_gives_the_same_delays_and_another_seed_others() -> None:
    async def delays(seed: int) -> list[float]:
        chain = build_chain({"a": [503, 503, "hello"]}, [(RETRY, {})], seed=seed)
        await chain.answer()
        return [event.delay for event in chain.events(RetryScheduled)]  # type: ignore[attr-defined]

    first, again, other = run(delays(1)), run(delays(1)), run(delays(2))
    assert first == again != other
    assert 0.75 <= first[0] <= 1.25 and 1.5 <= first[1] <= 2.5


def test_attempts_made_before_on_this_target_count() -> None:
    async def main() -> None:
        chain = build_chain({"a": [503] * 3}, [(RETRY, plain(max_attempts=3))])
        error = await failure(chain, used=1, retry_of=7)
        assert isinstance(error, MaxRetriesExceeded) and error.attempts == 3
        assert [row.retry_of for row in chain.attempts] == [7, 0]
        assert chain.attempts[1].waited == 2  # the second repeat, not the first

    run(main())


def test_an_exception_that_is_no_error_of_ours_is_not_repeated() -> None:
    async def main() -> None:
        chain = build_chain({"a": []}, [(RETRY, plain())])
        with pytest.raises(AssertionError, match="script is used up"):
            await chain.answer()
        assert len(chain.attempts) == 1

    run(main())


def test_cancelling_a_sleeping_retry_ends_it_at_once() -> None:
    async def main() -> None:
        chain = build_chain({"a": [503, "hello"]}, [(RETRY, plain(base="20s"))])
        task = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert chain.clock.now() == 5 and len(chain.attempts) == 1

    run(main())


def test_what_was_scheduled_and_why_it_ended_is_told() -> None:
    async def main() -> None:
        chain = build_chain({"a": [503, 503]}, [(RETRY, plain(max_attempts=2))])
        await failure(chain)
        path = "chains.chain.targets[0].retry"
        assert chain.events(RetryScheduled, RetriesEnded) == [
            RetryScheduled(path=path, target="a", kind="server", retry=1, delay=1.0),
            RetriesEnded(path=path, target="a", kind="server", attempts=2, reason="attempts"),
        ]

    run(main())


def test_a_429_within_wait_up_to_is_waited_for_in_place(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [{"status": 429, "retry_after": "2s"}, "hello"], "b": []}, [(RETRY, plain())])
        await chain.answer(commit=commit)
        assert chain.story() == "a 429 → a ok" and chain.attempts[1].waited == 2

    run(main())


def test_a_429_is_not_repeated_in_place_where_the_file_forbids_it() -> None:
    async def main() -> None:
        chain = build_chain(
            {"a": [{"status": 429, "retry_after": "1s"}], "b": ["hello"]},
            [(RETRY, plain(retry_on={"rate_limited": False}))],
        )
        await chain.answer()
        assert chain.story() == "a 429 → b ok"

    run(main())


def test_a_429_that_the_file_asks_to_repeat_is_waited_for_up_to_max_retry_after() -> None:
    async def main() -> None:
        rule = RateLimitRule(max_retry_after=60)
        policies = [(RETRY, plain(retry_on={"429": True}))]
        chain = build_chain({"a": [{"status": 429, "retry_after": "50s"}, "hi"], "b": []}, policies, rate_limit=rule)
        await chain.answer()
        assert chain.attempts[1].started == 50
        chain = build_chain({"a": [{"status": 429, "retry_after": "70s"}], "b": ["hi"]}, policies, rate_limit=rule)
        await chain.answer()
        assert chain.story() == "a 429 → b ok"

    run(main())


def test_the_bound_is_attempts_and_the_largest_delays() -> None:
    inner = Bound(attempts=Figure(1), latency=Figure(10), cost=Figure(2), tokens=Figure(5))
    bounded = RETRY.bound(RetryConfig(), inner, BoundFacts())
    assert (bounded.attempts.value, bounded.cost.value) == (3, 6)
    assert bounded.latency.value == pytest.approx(30 + 1.25 + 2.5)
    assert RETRY.bound(RetryConfig(), inner, BoundFacts(max_retry_after=60)).latency.value == 150


@pytest.mark.parametrize(
    ("when", "most"),
    [
        ("attempt < 3", 3),
        ("attempt != 1", 1),
        ("attempt < 9", 5),
        ("1 / (2 - attempt)", 2),
        ("attempt < 3 or error.kind == 'server'", 5),
        ("false", 1),
    ],
)
def test_the_bound_counts_the_attempts_that_when_leaves(when: str, most: int) -> None:
    """What fails with its values repeats nothing; what looks at the error may always be true."""
    inner = Bound(attempts=Figure(1), latency=Figure(10), cost=Figure(2), tokens=Figure(5))
    assert RETRY.bound(RetryConfig(max_attempts=5, when=when), inner, BoundFacts()).attempts.value == most


def test_a_max_delay_below_base_is_pointed_out() -> None:
    assert RETRY.check(RetryConfig()) == []
    assert "max_delay (1s) is shorter than base (2s)" in RETRY.check(RetryConfig(base="2s", max_delay="1s"))[0]


def test_nothing_was_sent_is_a_connect_error_that_costs_nothing() -> None:
    async def main() -> None:
        chain = build_chain({"a": [{"refuse": True}]})
        error = await failure(chain)
        assert isinstance(error, ConnectError) and error.sent is False
        assert chain.attempts[0].cost == 0

    run(main())


def test_a_429_of_a_chain_without_retry_is_final() -> None:
    async def main() -> None:
        chain = build_chain({"a": [{"status": 429, "retry_after": "1s"}]})
        error = await failure(chain)
        assert isinstance(error, RateLimited) and error.retry_after == 1
        assert chain.clock.now() == 0

    run(main())
