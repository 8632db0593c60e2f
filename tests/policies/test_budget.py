"""Budgets in virtual time: what is reserved, refused, released, and what leaves the chain."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wizard_dsl.core.bound import Bound, BoundFacts, Figure, unbounded
from wizard_dsl.core.budget import BookUnavailable, Entry, MemoryBook, Reserved, Told, nano, worst_case
from wizard_dsl.core.errors import (
    BudgetExceeded,
    CircuitOpen,
    MaxRetriesExceeded,
    RateLimited,
    ServerError,
    StreamBroken,
    WizardError,
)
from wizard_dsl.core.events import BudgetApproaching, BudgetUnavailable, RetryScheduled, TargetSkipped
from wizard_dsl.core.messages import Image, Message, Request, Tool, message
from wizard_dsl.core.run import Scope
from wizard_dsl.core.target import Facts, Prices, Tier
from wizard_dsl.policies.budget import BUDGET
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.runtime.services import SharedState
from wizard_dsl.testing import virtual
from wizard_dsl.testing.chains import ScriptedChain, build_chain

#: A dollar for each output token, nothing for input: an attempt costs 10 at most, and what it says.
PRICED = Facts(max_output=10, prices=Prices(0.0, 1e6))
CHEAP = Facts(max_output=1, prices=Prices(0.0, 1e6))
HANG = {"reply": "never", "delay": "1h"}


def costs(dollars: int, **more: Any) -> dict[str, Any]:
    return {"reply": "x", "usage": {"output_tokens": dollars}, **more}


def budgets(*limits: Any) -> tuple[Any, dict[str, Any]]:
    """Each limit is a scope and dollars, and perhaps more keys."""
    made = [{"scope": scope, "limit": f"${limit}", **(more[0] if more else {})} for scope, limit, *more in limits]
    return BUDGET, {"limits": made}


def chain_of(scripts: Any, *policies: Any, facts: Any = None, **options: Any) -> ScriptedChain:
    return build_chain(scripts, policies, facts=facts or dict.fromkeys(scripts, PRICED), **options)


def booked(chain: ScriptedChain) -> dict[str, Entry]:
    """Scope → what its account holds, the run's own among them."""
    books = [chain.shared.state("book", "", MemoryBook), chain.transcript.book or MemoryBook()]
    return {
        name.partition("/")[0]: Entry(account.spent // 10**9, account.reserved // 10**9)
        for book in books
        for name, account in book._accounts.items()
    }


both = pytest.mark.parametrize("commit", ["content", "end"])


# -- one attempt ----------------------------------------------------------------------------------


@both
def test_what_an_attempt_cost_takes_the_place_of_its_worst_case(commit):
    async def main():
        chain = chain_of({"a": [costs(3, chunk_every="1s")]}, budgets(("run", 50), ("day", 50)))
        async with await chain.ask(commit=commit) as response:
            if commit == "content":
                assert booked(chain) == {"run": Entry(0, 10), "day": Entry(0, 10)}
            await response.read()
        assert booked(chain) == {"run": Entry(3, 0), "day": Entry(3, 0)}

    virtual.run(main())


@both
def test_what_does_not_fit_is_not_sent(commit):
    async def main():
        chain = chain_of({"a": [costs(3), costs(3)]}, budgets(("day", 12)))
        await chain.answer(commit=commit)
        with pytest.raises(BudgetExceeded) as caught:
            await chain.answer(commit=commit)
        error = caught.value
        assert (error.scope, error.limit, error.left, error.needed) == ("day", 12.0, 9.0, 10.0)
        assert (error.exit_code, error.retry_after) == (6, 86400.0)
        assert "the day budget of $12 has $9.00 left, and an attempt on a may cost $10.00" in error.message
        assert len(chain.scripts["a"].calls) == 1
        assert chain.attempts == []

    virtual.run(main())


@pytest.mark.parametrize(
    ("item", "spent"),
    [
        ({"refuse": True}, 0),
        (401, 0),
        (503, 0),
        (HANG, 10),
        ({"reply": "a b c", "cut_after": 1}, 10),
        ({"reply": "a b c", "stall_after": 0}, 10),
    ],
)
@both
def test_what_was_not_billed_is_given_back_and_what_nobody_knows_stays_booked(item, spent, commit):
    async def main():
        chain = chain_of({"a": [item]}, budgets(("run", 50), ("month", 50)))
        with pytest.raises(WizardError):
            await chain.answer(commit=commit, total=5.0)
        assert booked(chain) == {"run": Entry(spent, 0), "month": Entry(spent, 0)}

    virtual.run(main())


@both
def test_who_is_cancelled_or_leaves_a_stream_keeps_the_worst_case_booked(commit):
    async def main():
        chain = chain_of(
            {"a": [costs(1, first_chunk="1h"), {"reply": "a b", "chunk_every": "1s"}]}, budgets(("day", 50))
        )
        task = asyncio.create_task(chain.answer(commit=commit))
        await asyncio.sleep(1)
        assert booked(chain)["day"] == Entry(0, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert booked(chain)["day"] == Entry(10, 0)
        if commit == "content":
            async with await chain.ask(commit=commit):
                pass
            assert booked(chain)["day"] == Entry(20, 0)

    virtual.run(main())


def test_what_is_refused_below_costs_nothing():
    async def main():
        chain = chain_of({"a": [503, costs(1)]}, budgets(("day", 50)), (CIRCUIT_BREAKER, {"failure_threshold": 1}))
        for expected in (ServerError, CircuitOpen):
            with pytest.raises(expected):
                await chain.answer()
        assert booked(chain)["day"] == Entry(0, 0)

    virtual.run(main())


# -- repeats, waits, fallbacks --------------------------------------------------------------------


@both
def test_a_repeat_that_cannot_be_paid_is_not_slept_for(commit):
    async def main():
        chain = chain_of({"a": [{"reply": "a b c", "cut_after": 0}, costs(1)]}, (RETRY, {}), budgets(("run", 19)))
        with pytest.raises(BudgetExceeded) as caught:
            await chain.answer(commit=commit)
        assert isinstance(caught.value.__cause__, ServerError)
        assert chain.clock.now() == 0.0
        assert chain.events(RetryScheduled) == []
        assert booked(chain)["run"] == Entry(10, 0)

    virtual.run(main())


def test_a_repeat_is_reserved_while_it_is_slept_for():
    async def main():
        chain = chain_of({"a": [503, costs(2)]}, (RETRY, {"jitter": "none"}), budgets(("run", 50), ("day", 50)))
        task = asyncio.create_task(chain.answer())
        await asyncio.sleep(0.5)
        assert booked(chain) == {"run": Entry(0, 10), "day": Entry(0, 10)}
        await task
        assert booked(chain) == {"run": Entry(2, 0), "day": Entry(2, 0)}

        chain = chain_of({"a": [503]}, (RETRY, {"jitter": "none"}), budgets(("run", 50)))
        task = asyncio.create_task(chain.answer())
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert booked(chain) == {"run": Entry(0, 0)}

    virtual.run(main())


def test_a_429_that_is_waited_for_is_reserved_or_not_waited_for():
    async def main():
        busy = {"status": 429, "retry_after": "60s"}
        chain = chain_of({"a": [busy, costs(2)]}, (RETRY, {}), budgets(("run", 10)))
        task = asyncio.create_task(chain.answer())
        await asyncio.sleep(30)
        assert booked(chain)["run"] == Entry(0, 10)
        await task
        assert chain.clock.now() == 60.0
        assert booked(chain)["run"] == Entry(2, 0)

        shared = SharedState()
        await chain_of({"a": [costs(3)]}, budgets(("day", 10)), shared=shared, facts={"a": CHEAP}).answer()
        late = {**busy, "delay": "1s"}
        chain = chain_of({"a": [late, costs(2)]}, (RETRY, {}), budgets(("day", 15)), shared=shared)
        other = chain_of({"b": [HANG]}, budgets(("day", 99)), shared=shared)
        meanwhile = asyncio.create_task(chain.answer())
        await asyncio.sleep(0.5)
        began, other = chain.clock.now(), asyncio.create_task(other.answer(total=9.0))
        with pytest.raises(BudgetExceeded) as caught:
            await meanwhile
        assert isinstance(caught.value.__cause__, RateLimited)
        assert chain.clock.now() == began + 0.5
        await asyncio.gather(other, return_exceptions=True)

    virtual.run(main())


def test_targets_that_do_not_fit_are_skipped_and_the_next_that_fits_is_asked():
    async def main():
        chain = chain_of({"a": [], "b": [costs(1)]}, budgets(("run", 5)), facts={"a": PRICED, "b": CHEAP})
        answer = await chain.ask()
        assert answer.served.target == "b"
        (skip,) = chain.events(TargetSkipped)
        assert (skip.target, skip.reason) == ("a", "budget")

    virtual.run(main())


def test_kind_budget_leaves_only_where_nothing_that_is_left_fits():
    async def main():
        both_dear = chain_of({"a": [], "b": []}, budgets(("run", 5)))
        with pytest.raises(BudgetExceeded) as caught:
            await both_dear.answer()
        assert caught.value.__cause__ is None

        then_dear = chain_of({"a": [503], "b": []}, budgets(("run", 5)), facts={"a": CHEAP, "b": PRICED})
        with pytest.raises(BudgetExceeded) as caught:
            await then_dear.answer()
        assert isinstance(caught.value.__cause__, ServerError)

        then_cheap = chain_of({"a": [], "b": [503]}, budgets(("run", 5)), facts={"a": PRICED, "b": CHEAP})
        with pytest.raises(ServerError):
            await then_cheap.answer()

        twice = chain_of(
            {"a": [503, 503], "b": []}, (RETRY, {"max_attempts": 2}), budgets(("run", 5)), facts={"a": CHEAP}
        )
        with pytest.raises(BudgetExceeded) as caught:
            await twice.answer()
        assert isinstance(caught.value.__cause__, ServerError)

    virtual.run(main())


def test_a_target_whose_repeat_cannot_be_paid_makes_room_for_a_cheaper_one():
    async def main():
        cut = {"reply": "a b c", "cut_after": 0}
        chain = chain_of(
            {"a": [cut], "b": [costs(1)]}, (RETRY, {}), budgets(("run", 15)), facts={"a": PRICED, "b": CHEAP}
        )
        assert (await chain.ask()).served.target == "b"
        assert booked(chain)["run"] == Entry(11, 0)

    virtual.run(main())


def test_attempts_that_fail_for_other_reasons_keep_their_kind():
    async def main():
        chain = chain_of({"a": [503, 503, 503]}, (RETRY, {}), budgets(("run", 50)))
        with pytest.raises(MaxRetriesExceeded) as caught:
            await chain.answer()
        assert caught.value.kind == "server"
        assert booked(chain)["run"] == Entry(0, 0)

    virtual.run(main())


# -- scopes, warnings, degrading ------------------------------------------------------------------


def test_a_day_and_a_month_begin_anew_in_utc_and_a_run_has_its_own():
    async def main():
        chain = chain_of({"a": [costs(9)] * 9}, budgets(("run", 10), ("day", 19), ("month", 100)))
        await chain.answer()
        await chain.answer()
        with pytest.raises(BudgetExceeded) as caught:
            await chain.answer()
        assert caught.value.scope == "day"
        await asyncio.sleep(86400.0)
        await chain.answer()
        await asyncio.sleep(31 * 86400.0)
        names = [*chain.shared.state("book", "", MemoryBook)._accounts]
        await chain.answer()
        later = [*chain.shared.state("book", "", MemoryBook)._accounts]
        assert names == ["day/2026-01-01/", "month/2026-01/", "day/2026-01-02/"]
        assert later[3:] == ["day/2026-02-02/", "month/2026-02/"]

    virtual.run(main())


def test_a_session_has_its_own_and_without_one_there_is_no_limit():
    async def main():
        chain = chain_of({"a": [costs(9)] * 9}, budgets(("session", 18)))
        for session, fits in [("s", True), ("s", False), ("t", True), (None, True), (None, True)]:
            scope = Scope(run_id="r", session=session)
            if fits:
                await chain.answer(scope=scope)
            else:
                with pytest.raises(BudgetExceeded):
                    await chain.answer(scope=scope)

    virtual.run(main())


def test_a_warning_is_given_once_when_most_is_spent():
    async def main():
        chain = chain_of({"a": [costs(5)] * 9}, budgets(("day", 40, {"warn_at": "25%"})))
        warned = []
        for _ in range(5):
            await chain.answer()
            warned.append(len(chain.events(BudgetApproaching)))
        assert warned == [0, 1, 0, 0, 0]

    virtual.run(main())


def test_a_warning_is_given_by_the_one_attempt_that_spends_most_of_it():
    async def main():
        chain = chain_of({"a": [costs(9), costs(1)]}, budgets(("day", 10), ("run", 10), ("month", 100)))
        await chain.answer()
        assert [each.budget for each in chain.events(BudgetApproaching)] == ["run", "day"]

    virtual.run(main())


def test_a_budget_that_degrades_asks_the_cheapest_target_only_and_goes_on():
    async def main():
        degrade = budgets(("day", 15, {"then": "degrade"}))
        chain = chain_of({"a": [costs(8)], "b": [costs(1)] * 9}, degrade, facts={"a": PRICED, "b": CHEAP})
        served = [(await chain.ask()).served.target for _ in range(9)]
        assert served == ["a", *["b"] * 8]
        assert booked(chain)["day"] == Entry(16, 0)

    virtual.run(main())


def test_a_budget_that_stops_stops_also_beside_one_that_degrades():
    async def main():
        limits = budgets(("day", 1, {"then": "degrade"}), ("month", 2))
        chain = chain_of({"a": [], "b": [costs(1)] * 9}, limits, facts={"a": PRICED, "b": CHEAP})
        for _ in range(2):
            await chain.answer()
        with pytest.raises(BudgetExceeded) as caught:
            await chain.answer()
        assert caught.value.scope in ("day", "month")

    virtual.run(main())


# -- worst cases ----------------------------------------------------------------------------------


def test_the_worst_case_is_a_token_a_byte_and_all_that_may_be_said():
    prices = Prices(1.0, 10.0)
    facts = Facts(context=1000, prices=prices)
    request = Request(messages=(message("user", "ü" * 500),))
    plain = worst_case(request, {}, facts).amount
    assert plain is not None
    assert plain >= nano((1000 * 1.0 + 1000 * 10.0) / 1e6)
    for params, tokens in [({"max_tokens": 7}, 7), ({"max_tokens": 7, "n": 3}, 21)]:
        amount = worst_case(request, params, facts).amount
        assert amount == plain - nano((1000 - tokens) * 10.0 / 1e6)
    tool = Tool("f", parameters={"type": "object"})
    image = Request(messages=(Message("user", (Image("https://e.invalid/i.png"),)),), tools=(tool,), schema={})
    assert (worst_case(image, {"max_tokens": 1}, facts).amount or 0) > nano(50_000 / 1e6)
    assert worst_case(Request(kind="embed", texts=("x",)), {}, Facts(prices=prices)).amount is not None


def test_a_long_prompt_is_reserved_at_the_prices_of_its_tier():
    facts = Facts(max_output=10, prices=Prices(1.0, 10.0, tiers=(Tier(1000, 2.0, 20.0),)))
    short, long = (worst_case(Request(messages=(message("user", "x" * size),)), {}, facts) for size in (800, 1000))
    assert short.amount == nano((880 * 1.0 + 10 * 10.0) / 1e6)
    assert long.amount == nano((1080 * 2.0 + 10 * 20.0) / 1e6)


@pytest.mark.parametrize(
    ("facts", "says"),
    [(Facts(max_output=1), "its price is not known"), (Facts(prices=Prices(1.0, 1.0)), "nothing bounds its answer")],
)
def test_a_target_whose_worst_case_has_no_bound_is_not_asked_under_a_budget_that_stops(facts, says):
    async def main():
        chain = chain_of({"a": [costs(1)]}, budgets(("run", 5)), facts={"a": facts})
        with pytest.raises(BudgetExceeded, match=says) as caught:
            await chain.answer()
        assert caught.value.needed is None
        assert caught.value.suggestion is not None
        soft = chain_of({"a": [costs(1)]}, budgets(("run", 5, {"then": "degrade"})), facts={"a": facts})
        await soft.answer()

    virtual.run(main())


def test_what_costs_nothing_fits_any_budget():
    async def main():
        free = Facts(prices=Prices(0.0, 0.0))
        chain = chain_of({"a": [costs(1)]}, budgets(("run", 0)), facts={"a": free})
        await chain.answer()

    virtual.run(main())


def test_an_attempt_costs_at_most_the_smallest_limit_that_stops():
    any_cost = Bound(attempts=Figure(1), latency=Figure(1), cost=unbounded("no price"), tokens=Figure(1))
    soft = {"scope": "run", "limit": "$1", "then": "degrade"}
    limits = [
        soft,
        {"scope": "session", "limit": "$2"},
        {"scope": "day", "limit": "$4"},
        {"scope": "month", "limit": "$3"},
    ]
    config = msgspec.convert({"limits": limits}, BUDGET.config)
    assert BUDGET.bound(config, any_cost, BoundFacts()).cost == Figure(3.0, "budgets.month")
    cheap = msgspec.structs.replace(any_cost, cost=Figure(0.5))
    assert BUDGET.bound(config, cheap, BoundFacts()) == cheap


# -- a book that cannot be used -------------------------------------------------------------------


class Broken(MemoryBook):
    """Says so once for each outage, as the real ones do."""

    def __init__(self) -> None:
        super().__init__()
        self.told = False

    async def reserve(self, *args: Any, **more: Any) -> Any:
        first, self.told = not self.told, True
        raise BookUnavailable("the budget database is gone", first=first)


def with_broken_book() -> SharedState:
    shared = SharedState()
    shared.state("book", "", Broken)
    return shared


def test_without_its_book_a_budget_that_stops_fails_closed_and_says_so_once():
    async def main():
        chain = chain_of({"a": []}, budgets(("run", 50), ("day", 50)), shared=with_broken_book())
        told = []
        for _ in range(2):
            with pytest.raises(BudgetExceeded, match="the day budget fails closed: the budget database is gone"):
                await chain.answer()
            told.append(len(chain.events(BudgetUnavailable)))
        assert told == [1, 0]
        assert booked(chain)["run"] == Entry(0, 0)

    virtual.run(main())


def test_without_its_book_a_budget_that_degrades_asks_the_cheapest():
    async def main():
        degrade = budgets(("day", 50, {"then": "degrade"}))
        chain = chain_of(
            {"a": [], "b": [costs(1)]}, degrade, facts={"a": PRICED, "b": CHEAP}, shared=with_broken_book()
        )
        assert (await chain.ask()).served.target == "b"

    virtual.run(main())


def test_without_its_book_the_run_alone_is_still_held_to_its_own_limit():
    async def main():
        chain = chain_of({"a": [costs(1)]}, budgets(("run", 50), ("session", 50)), shared=with_broken_book())
        await chain.answer()
        assert booked(chain)["run"] == Entry(1, 0)

    virtual.run(main())


# -- whatever happens -----------------------------------------------------------------------------


class Watched(MemoryBook):
    """Suspends, as a book in a file does, and looks at the limit after every move."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.most = limit
        self.settled: dict[str, int] = {}

    def look(self) -> None:
        for account in self._accounts.values():
            assert account.reserved >= 0
            assert account.spent + account.reserved <= self.most

    async def reserve(self, *args: Any, **more: Any) -> Any:
        await asyncio.sleep(0.01)
        answer = await super().reserve(*args, **more)
        self.look()
        if hasattr(answer, "id"):
            self.settled[answer.id] = 0
        return answer

    def settle(self, id: str, amount: int | None, told: Told | None = None) -> None:
        self.settled[id] += 1
        super().settle(id, amount, told)
        self.look()


ITEMS = st.sampled_from(
    [
        costs(1),
        costs(10),
        503,
        HANG,
        {"refuse": True},
        {"status": 429, "retry_after": "3s"},
        {"reply": "a b c", "cut_after": 1},
        {"reply": "a b c", "chunk_every": "1s"},
    ]
)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(ITEMS, min_size=8, max_size=8),
    st.lists(ITEMS, min_size=8, max_size=8),
    st.lists(st.tuples(st.sampled_from(["content", "end"]), st.floats(0, 20)), min_size=1, max_size=5),
)
def test_no_limit_is_exceeded_and_every_reservation_is_settled_once_whatever_happens(a, b, calls):
    """Several runs at once, each cancelled after some time, over two targets that fail in any way."""

    async def main():
        shared = SharedState()
        book = shared.state("book", "", lambda: Watched(40 * 10**9))
        forever = {"reply": "x", "times": "forever", "usage": {"output_tokens": 1}}
        chain = chain_of(
            {"a": [*a, forever], "b": [*b, forever]}, (RETRY, {}), budgets(("run", 25), ("day", 40)), shared=shared
        )

        async def one(commit: Any, patience: float) -> None:
            try:
                async with asyncio.timeout(patience):
                    await chain.answer(commit=commit, total=5.0)
            except (WizardError, TimeoutError):
                pass

        await asyncio.gather(*(one(*call) for call in calls))
        assert all(account.reserved == 0 for account in book._accounts.values())
        assert all(count == 1 for count in book.settled.values())

    virtual.run(main())


def test_the_errors_of_a_broken_stream_are_its_own():
    async def main():
        chain = chain_of({"a": [{"reply": "a b c", "cut_after": 1}]}, (RETRY, {}), budgets(("run", 10)))
        with pytest.raises(StreamBroken):
            await chain.answer(commit="content")
        with pytest.raises(RateLimited):
            await chain_of({"a": [429]}, budgets(("run", 10))).answer(deadline=0.5)

    virtual.run(main())


class Slow(Watched):
    """Suspends at every step, so that a cancellation finds each of them."""

    async def reserve(self, *args: Any, **more: Any) -> Any:
        await asyncio.sleep(0)
        answer = await MemoryBook.reserve(self, *args, **more)
        self.look()
        if isinstance(answer, Reserved):
            self.settled[answer.id] = 0
        try:
            await asyncio.sleep(0)
        except BaseException:  # as the protocol says: cancelled, it leaves nothing reserved
            if isinstance(answer, Reserved):
                self.settle(answer.id, 0)
            raise
        return answer


@both
def test_a_cancellation_at_any_await_settles_every_reservation_once(commit):
    async def main():
        script = [503, {"reply": "a b c", "cut_after": 0}, costs(1, chunk_every="1s")]
        for steps in range(60):
            shared = SharedState()
            book = shared.state("book", "", lambda: Slow(40 * 10**9))
            chain = chain_of(
                {"a": script, "b": [costs(1)]}, (RETRY, {"base": "1us"}), budgets(("day", 40)), shared=shared
            )
            task = asyncio.create_task(chain.answer(commit=commit))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert all(account.reserved == 0 for account in book._accounts.values())
            assert all(count == 1 for count in book.settled.values())

    virtual.run(main())
