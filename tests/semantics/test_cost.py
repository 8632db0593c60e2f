"""Cost: what stands in the ledger, what a budget reserves, and what becomes of it."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from run_kit import play
from semantics_kit import CALM, Commit, ask, failure, forever, refused, story

from wizard_dsl.core.budget import Entry, MemoryBook
from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.errors import BudgetExceeded, ServerError
from wizard_dsl.core.events import BudgetApproaching, RetryScheduled, TargetSkipped
from wizard_dsl.core.target import Facts, Prices
from wizard_dsl.policies.budget import BUDGET
from wizard_dsl.policies.timeout import TIMEOUT
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.runtime.services import SharedState
from wizard_dsl.stores._book_sqlite import SqliteBook
from wizard_dsl.stores._worker import Inline
from wizard_dsl.strategies.parallel import PARALLEL
from wizard_dsl.testing import virtual
from wizard_dsl.testing.chains import Policy, ScriptedChain, build_chain

#: A dollar for each output token, nothing for input: an attempt costs 10 at most.
DEAR = Facts(max_output=10, prices=Prices(0.0, 1e6))
CHEAP = Facts(max_output=1, prices=Prices(0.0, 1e6))
#: A millionth for each token, prompt and answer.
PLAIN = {"a": Facts(prices=Prices(1.0, 1.0))}
PRICED = """\
version: 1
inputs: {q: {type: string, default: hello}}
providers:
  a: {type: mock, model: m, models: {m: {max_output: 10, prices: {input: $0, output: $1000000}}}}
  b: {type: mock, model: n, models: {n: {max_output: 10, prices: {input: $0, output: $1000000}}}}
"""
DAY = 86400.0


def costs(dollars: int, **more: Any) -> dict[str, Any]:
    return {"reply": "x", "usage": {"output_tokens": dollars}, **more}


def limits(*each: tuple[str, int] | tuple[str, int, dict[str, str]]) -> Policy:
    """Each is a scope, dollars, and perhaps more keys."""
    return BUDGET, {"limits": [{"scope": scope, "limit": f"${most}", **dict(*more)} for scope, most, *more in each]}


def spending(scripts: Mapping[str, list[Any]], *policies: Policy, **options: Any) -> ScriptedChain:
    return build_chain(scripts, policies, **{"facts": dict.fromkeys(scripts, DEAR), **options})


async def booked(chain: ScriptedChain, scope: str = "day") -> tuple[float, float]:
    """Dollars spent and reserved on the accounts of one scope."""
    book = chain.shared.state("book", "", MemoryBook)
    entries: list[Entry] = [*(await book.entries(f"{scope}/")).values()]
    return sum(each.spent for each in entries) / 1e9, sum(each.reserved for each in entries) / 1e9


def test_e1_there_is_one_row_for_each_attempt_none_for_hits_and_skips_and_totals_are_sums(
    tmp_path: Path, commit: Commit
) -> None:
    policies = "{use: none, cache: 1h, retry: {max_attempts: 2, jitter: none}, circuit_breaker: {failure_threshold: 2}}"
    text = f"{PRICED}chains: {{default: {{targets: [a, b], policies: {policies}}}}}\n"
    text += 'steps: {one: {prompt: {user: "{{ q }}"}}, two: {prompt: {user: "{{ steps.one.text }}"}}}\n'
    text += 'output: "{{ steps.two.text }}"\n'

    async def work(pipeline: Pipeline) -> None:
        result = await ask(pipeline, commit)
        assert story(result) == "a 503 → a 503 → b ok → b ok"  # the second step skips a
        assert [row.cost for row in result.attempts] == [0, 0, 3, 4]
        assert (result.cost.usd, result.usage.output_tokens) == (7, 7)
        assert [result.steps[name].cost.usd for name in ("one", "two")] == [3, 4]
        hit = await ask(pipeline, commit)
        assert (hit.attempts, hit.cost.usd, hit.usage.output_tokens) == ([], 0, 0)

    play(text, tmp_path, {"a": [503, 503], "b": [costs(3, reply="y"), costs(4)]}, work)


@pytest.mark.parametrize(
    ("item", "confidence"),
    [({"refuse": True}, "reported"), *((status, "reported") for status in (400, 401, 404, 408, 429)),
     *((status, "estimated") for status in (500, 503, 529))],
)  # fmt: skip
def test_e2_connect_and_4xx_cost_nothing_and_a_5xx_nothing_as_an_estimate(
    item: Any, confidence: str, commit: Commit
) -> None:
    async def main() -> None:
        chain = spending({"a": [item]}, limits(("day", 50)))
        await failure(chain, commit=commit, deadline=1.0)
        (row,) = chain.attempts
        assert (row.cost, row.confidence) == (0, confidence)
        assert await booked(chain) == (0, 0)

    virtual.run(main())


@pytest.mark.parametrize("kind", ["mid_stream", "timeout", "deadline", "cancelled"])
def test_e3_what_was_cut_costs_what_was_seen_and_its_confidence_is_unknown(kind: str, commit: Commit) -> None:
    """Of `one two three` two words are seen where it is streamed, and none where it is not: two tokens, and two of the
    prompt."""
    item = {"reply": "one two three", "stall_after": 2}
    if kind == "mid_stream":
        item = {"reply": "one two three", "cut_after": 2}

    async def main() -> None:
        total = [(TIMEOUT, {"total": "5s"})] if kind == "timeout" else []
        chain = build_chain({"a": [item]}, total, facts=PLAIN)
        deadline = 5.0 if kind == "deadline" else 600.0
        task = asyncio.ensure_future(chain.answer(commit=commit, deadline=deadline))
        await asyncio.sleep(1)
        if kind == "cancelled":
            task.cancel()
        await asyncio.wait([task])
        (row,) = chain.attempts
        seen = commit == "content"
        assert row.kind == {("mid_stream", False): "server", ("timeout", True): "mid_stream"}.get((kind, seen), kind)
        assert (row.cost, row.confidence) == (4e-6 if seen else None, "unknown")

    virtual.run(main())


def test_e4_the_worst_case_is_reserved_before_an_attempt_and_before_any_sleep(commit: Commit) -> None:
    async def main() -> None:
        for first, wait in ((503, 1), (refused("9s"), 9)):
            chain = spending({"a": [first, costs(3, delay="5s")]}, *CALM, limits(("day", 10)))
            began = chain.clock.now()
            task = asyncio.ensure_future(chain.answer(commit=commit))
            for at in (0.5, wait + 1):
                await asyncio.sleep(began + at - chain.clock.now())
                assert await booked(chain) == (0, 10)  # while it sleeps, and while it calls
            await task
            assert await booked(chain) == (3, 0)
        chain = spending({"a": [{"reply": "x y", "cut_after": 0}]}, *CALM, limits(("day", 19)))  # may have cost 10
        began = chain.clock.now()
        error = await failure(chain, commit=commit)
        assert isinstance(error, BudgetExceeded) and (error.left, error.needed) == (9, 10)
        assert chain.clock.now() == began and not chain.events(RetryScheduled)

    virtual.run(main())


def test_e5_targets_that_do_not_fit_are_skipped_and_kind_budget_is_raised_only_if_none_fits(commit: Commit) -> None:
    async def main() -> None:
        chain = spending({"a": [], "b": [costs(1)]}, limits(("day", 5)), facts={"a": DEAR, "b": CHEAP})
        assert (await chain.answer(commit=commit)).text == "x"
        skips = [event for event in chain.events(TargetSkipped) if isinstance(event, TargetSkipped)]
        assert [(event.target, event.reason) for event in skips] == [("a", "budget")]
        for scripts, facts, kind, cause in (
            ({"a": [], "b": []}, (DEAR, DEAR), "budget", type(None)),
            ({"a": [503], "b": []}, (CHEAP, DEAR), "budget", ServerError),
            ({"a": [], "b": [503]}, (DEAR, CHEAP), "server", type(None)),
        ):
            chain = spending(scripts, limits(("day", 5)), facts=dict(zip("ab", facts, strict=True)))
            error = await failure(chain, commit=commit)
            assert error.kind == kind and isinstance(error.__cause__, cause)

    virtual.run(main())


def test_e6_unknown_cost_stays_reserved_and_known_cost_replaces_its_reservation(commit: Commit) -> None:
    async def main() -> None:
        items = [costs(3), {"reply": "x", "stall_after": 0}, 503, costs(4)]
        chain = spending({"a": items}, limits(("day", 30)), (TIMEOUT, {"total": "5s"}))
        sums = []
        for answers in (True, False, False, True):
            await (chain.answer(commit=commit) if answers else failure(chain, commit=commit))
            sums.append(sum(await booked(chain)))
        assert sums == [3, 13, 13, 17]
        assert (await booked(chain, "month")) == (0, 0)

    virtual.run(main())


def process(scripts: Mapping[str, list[Any]], file: Path, most: int) -> ScriptedChain:
    """A chain whose books lie in a file, as those of a process do."""
    shared, clock = SharedState(), LoopClock()
    shared.state("book", "", lambda: SqliteBook(file, clock, lambda: Inline(clock)))
    return spending(scripts, limits(("day", most)), shared=shared)


def test_e7_what_was_spent_or_reserved_survives_a_crash(tmp_path: Path, commit: Commit) -> None:
    async def main() -> None:
        first = process({"a": [costs(3), costs(1, delay="1h")]}, tmp_path / "budgets.db", 30)
        await first.answer(commit=commit)
        under_way = asyncio.ensure_future(first.answer(commit=commit))
        await asyncio.sleep(1)
        for part in tmp_path.iterdir():  # what a crash in this moment would leave behind
            shutil.copy(part, tmp_path / f"left-{part.name.removeprefix('budgets')}")
        second = process({"a": [costs(2)]}, tmp_path / "left-.db", 24)
        assert await booked(second) == (3, 10)
        await second.answer(commit=commit)
        error = await failure(second, commit=commit)
        assert isinstance(error, BudgetExceeded) and error.left == 24 - 3 - 10 - 2
        await asyncio.sleep(600 + 60)  # a minute after the deadline of its run it is spent
        await failure(second, commit=commit)
        assert await booked(second) == (3 + 10 + 2, 0)
        under_way.cancel()
        await asyncio.wait([under_way])
        for each in (first, second):
            await each.shared.state("book", "", MemoryBook).aclose()

    virtual.run(main())


def test_e8_a_warning_is_told_once_and_degrade_goes_on_with_the_cheapest_target_only(commit: Commit) -> None:
    async def main() -> None:
        chain = spending({"a": forever(costs(5))}, limits(("day", 60, {"warn_at": "25%"})))
        told = []
        for _ in range(6):
            await chain.answer(commit=commit)
            told.append(len(chain.events(BudgetApproaching)))
        assert told == [0, 0, 1, 0, 0, 0]  # 15 of 60 are spent with the third
        degrade = limits(("day", 15, {"then": "degrade"}))
        for options in ({}, {"strategy": PARALLEL, "listed": ["b", "a"]}):
            scripts = {"a": [costs(8)], "b": forever(costs(1, delay="9s"))}
            chain = spending(scripts, degrade, facts={"a": DEAR, "b": CHEAP}, **options)
            await chain.answer(commit=commit)
            for _ in range(20):
                await chain.answer(commit=commit)
                assert [row.target for row in chain.attempts] == ["b"]

    virtual.run(main())


@pytest.fixture
def far_west(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """It is yesterday there."""
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_west")
@pytest.mark.parametrize(("scope", "days"), [("day", 1), ("month", 31)])
def test_e9_day_and_month_are_those_of_utc(scope: str, days: int, commit: Commit) -> None:
    async def main() -> None:
        chain = spending({"a": forever(costs(9))}, limits((scope, 10)))  # from 2026-01-01T00:00Z on
        await chain.answer(commit=commit)
        for left in (days * DAY, DAY / 2, 0.001):
            await asyncio.sleep(days * DAY - left - chain.clock.now())
            error = await failure(chain, commit=commit)
            assert error.kind == "budget" and error.retry_after == pytest.approx(left, abs=1e-4)
        await asyncio.sleep(days * DAY - chain.clock.now())
        await chain.answer(commit=commit)
        book = chain.shared.state("book", "", MemoryBook)
        dates = {"day": ["day/2026-01-01/", "day/2026-01-02/"], "month": ["month/2026-01/", "month/2026-02/"]}
        assert [*(await book.entries())] == dates[scope]

    virtual.run(main())
