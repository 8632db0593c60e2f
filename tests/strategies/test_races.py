"""Races under any faults and cancellations: they end in time, and leave nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from race_kit import nothing_is_held

from wizard_dsl.core.component import StrategyType
from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.run import Attempt
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.concurrency import CONCURRENCY
from wizard_dsl.policies.rate_limit import RATE_LIMIT
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.policies.retry_budget import RETRY_BUDGET
from wizard_dsl.policies.timeout import TIMEOUT
from wizard_dsl.strategies.hedged import HEDGED
from wizard_dsl.strategies.parallel import PARALLEL
from wizard_dsl.testing.cancelling import cancelled_at_every_step
from wizard_dsl.testing.chains import Policy, ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

Commit = Literal["end", "content"]
TOKENS = 50
FULL: list[Policy] = [
    (RETRY, {"jitter": "none"}),
    (RETRY_BUDGET, {}),
    (RATE_LIMIT, {"rate": "1/hour", "burst": TOKENS}),
    (CONCURRENCY, {"limit": 1}),
    (CIRCUIT_BREAKER, {"failure_threshold": 3, "reset_timeout": "5s"}),
    (TIMEOUT, {"first_chunk": "4s", "idle": "3s", "total": "8s"}),
]
RACES: dict[str, tuple[StrategyType, dict[str, Any]]] = {
    "hedged": (HEDGED, {"after": "2s"}),
    "at once": (HEDGED, {"after": "0s"}),
    "parallel": (PARALLEL, {"n": 2}),
}
STORIES: dict[str, dict[str, list[Any]]] = {
    "overtaken": {"a": [{"reply": "x y", "delay": "6s"}], "b": [{"reply": "x y", "delay": "1s", "chunk_every": "1s"}]},
    "same instant": {"a": [{"reply": "x y", "delay": "3s"}], "b": [{"reply": "x y", "delay": "1s"}]},
    "both at 3": {"a": [{"reply": "x y", "delay": "3s"}], "b": [{"reply": "x y", "delay": "3s"}]},
    "retries": {"a": [503, 503, {"reply": "x y", "delay": "3s"}], "b": [503, {"refuse": True}, "x y"]},
    "all fail": {"a": [401], "b": [{"status": 400, "delay": "3s"}]},
    "timeouts": {"a": [{"reply": "x", "delay": "9s", "times": 3}], "b": [{"reply": "x", "delay": "9s"}, "x y", "x"]},
    "429": {"a": [{"status": 429, "retry_after": "9s"}, "x y"], "b": [{"status": 429, "retry_after": "20s"}, "y"]},
}  # fmt: skip


@pytest.fixture(params=["end", "content"])
def commit(request: pytest.FixtureRequest) -> Commit:
    return request.param


async def read(chain: ScriptedChain, commit: Commit) -> None:
    async with await chain.ask(commit=commit) as response:
        async for _ in response.deltas():
            pass


def tokens_match(chain: ScriptedChain) -> None:
    """Every attempt that was sent took one token, and nothing else did."""
    for name, line in chain.shared.of("rate_limit").items():
        sent = [row for row in chain.attempts if row.target == name and row.kind != "connect"]
        assert line._gate.level(chain.clock.now()) == pytest.approx(TOKENS - len(sent), abs=0.1)


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("race", RACES)
def test_a_race_cancelled_at_any_step_leaves_no_place_token_lease_or_task(
    race: str, story: str, commit: Commit
) -> None:
    strategy, config = RACES[race]

    async def once(watch: Callable[..., asyncio.Task[Any]]) -> bool:
        chain = build_chain(STORIES[story], FULL, strategy=strategy, strategy_config=config)
        task = watch(read(chain, commit))
        await asyncio.wait([task])
        nothing_is_held(chain)
        tokens_match(chain)
        return task.cancelled()

    assert cancelled_at_every_step(once) >= 3


FAULTS: list[Any] = [
    503, 401, 429,
    {"refuse": True},
    {"status": 429, "retry_after": "1s"},
    {"status": 429, "retry_after": "10s"},
    {"status": 503, "delay": "1s"},
    {"status": 503, "delay": "2s"},
    {"reply": "late", "delay": "9s"},
    {"reply": "a b", "delay": "2s"},
    {"reply": "a b", "delay": "1s", "chunk_every": "1s"},
    {"reply": "a b", "stall_after": 1},
    {"reply": "a b c", "cut_after": 1},
    {"reply": ""},
    "a b",
]  # fmt: skip


def most_at_once(rows: list[Attempt]) -> int:
    """How many attempts were under way at the same time, before any of them had committed."""
    spans = [(row.started, row.first_chunk or row.started + (row.elapsed or 0)) for row in rows]
    return max((sum(began <= at < ended for began, ended in spans) for at, _ in spans), default=0)


@given(
    race=st.sampled_from(sorted(RACES)),
    scripts=st.lists(st.lists(st.sampled_from(FAULTS), min_size=30, max_size=30), min_size=1, max_size=4),
    twice=st.booleans(),
    more=st.lists(
        st.sampled_from(
            [(RETRY_BUDGET, {"floor": "0.2/s"}), (RATE_LIMIT, {"rate": "1/s", "burst": 1}), (CONCURRENCY, {"limit": 1})]
        ),
        max_size=2,
        unique_by=lambda policy: policy[0].name,
    ),
    attempts=st.integers(1, 3),
    deadline=st.sampled_from([3.0, 15.0, 60.0, 500.0]),
    commits=st.lists(st.sampled_from(["end", "content"]), min_size=2, max_size=3),
)
@settings(max_examples=150)
def test_a_race_ends_in_time_asks_no_more_than_it_may_and_holds_nothing(
    race: str,
    scripts: list[list[Any]],
    twice: bool,
    more: list[Policy],
    attempts: int,
    deadline: float,
    commits: list[Any],
) -> None:
    strategy, config = RACES[race]
    policies: list[Policy] = [
        (RETRY, {"max_attempts": attempts}),
        (CIRCUIT_BREAKER, {"failure_threshold": 3, "reset_timeout": "5s"}),
        (TIMEOUT, {"first_chunk": "4s", "idle": "3s", "total": "8s"}),
        *more,
    ]

    async def main() -> None:
        played = {name: items * 4 for name, items in zip("abcd", scripts, strict=False)}
        listed = [*played, "a"] if twice and strategy.repeats else None
        chain = build_chain(played, policies, strategy=strategy, strategy_config=config, listed=listed)
        for commit in commits:
            began, answered = chain.clock.now(), True
            try:
                await chain.answer(commit=commit, deadline=deadline)
            except WizardError:
                answered = False
            assert chain.clock.now() <= began + deadline + 1e-6
            rows = chain.attempts
            assert sum(row.kind == "ok" for row in rows) >= answered
            assert most_at_once(rows) <= 2
            for name in played:
                times = (listed or list(played)).count(name)
                assert sum(row.target == name for row in rows) <= attempts * times
            nothing_is_held(chain)

    run(main())
