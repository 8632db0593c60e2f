"""Windows, places and retry budgets that several processes share, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.component import PolicyType
from wizard_dsl.core.errors import RateLimitExceeded, WizardError
from wizard_dsl.core.messages import Request, message
from wizard_dsl.policies._shared_queue import PLACES
from wizard_dsl.policies._shared_windows import WINDOWS
from wizard_dsl.policies.admission import ADMISSION
from wizard_dsl.policies.concurrency import CONCURRENCY
from wizard_dsl.policies.rate_limit import RATE_LIMIT
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.policies.retry_budget import RETRY_BUDGET
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.shared import MemoryKeeper
from wizard_dsl.testing.virtual import EPOCH, run

Policies = Sequence[tuple[PolicyType, dict[str, Any]]]
ALWAYS = {"reply": "hello", "times": "forever"}
LONG = {"reply": "hello", "delay": "5s", "times": "forever"}


def processes(count: int, policies: Policies, item: Any = ALWAYS) -> tuple[MemoryKeeper, list[ScriptedChain]]:
    keeper = MemoryKeeper(LoopClock())
    return keeper, [build_chain({"a": [item]}, policies, state=keeper.member()) for _ in range(count)]


async def began(chain: ScriptedChain, calls: int) -> list[float]:
    """When the attempts of so many calls at once began."""

    async def one() -> float:
        run = chain.run()
        await (await chain.handler(Request(messages=(message("user", "hello"),)), run)).read()
        return run.transcript.started + run.transcript.attempts[0].started

    return list(await asyncio.gather(*(one() for _ in range(calls))))


async def all_began(chains: list[ScriptedChain], calls: int) -> list[float]:
    return sorted(at for each in await asyncio.gather(*(began(chain, calls) for chain in chains)) for at in each)


# -- windows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("window", "form"), [("6/minute", "2:"), ("600/minute", ""), ("6 tokens/minute", "")])
def test_a_row_that_an_older_release_would_misread_has_a_key_of_its_own(window: str, form: str) -> None:
    async def main() -> None:
        keeper, (chain,) = processes(1, [(RATE_LIMIT, {"windows": [window], "token_estimate": 1})])
        old = msgspec.msgpack.encode({"queue": [], "windows": [[int(EPOCH // 60), 1, 1]]})
        await began(chain, 1)
        (key,) = keeper.rows
        kind, _, rest = key.partition(":")
        assert kind == "rate_limit" and rest.startswith(form) and ":" not in rest.removeprefix(form)
        keeper.rows[f"rate_limit:{rest.removeprefix(form)}"] = (old, EPOCH + 1e6)
        await began(chain, 1)
        assert len(keeper.rows) == (2 if form else 1) and not keeper.told
        assert (old in [row for row, _ in keeper.rows.values()]) is bool(form)

    run(main())


def test_processes_share_one_window_and_pass_in_the_order_they_came() -> None:
    async def main() -> None:
        _, chains = processes(2, [(RATE_LIMIT, {"windows": ["6/minute"]})])
        times = await all_began(chains, 6)
        alone = [build_chain({"a": [ALWAYS]}, [(RATE_LIMIT, {"windows": ["6/minute"]})])]
        await asyncio.sleep(600 - LoopClock().now())
        assert times == pytest.approx([at - 600 for at in await all_began(alone, 12)], abs=1e-3)

    run(main())


def test_a_window_refuses_what_cannot_fit_and_says_when_it_could() -> None:
    async def main() -> None:
        _, (mine, yours) = processes(2, [(RATE_LIMIT, {"windows": ["1/minute"], "max_wait": "1s"})])
        await mine.answer()
        with pytest.raises(RateLimitExceeded) as refused:
            await yours.answer()
        assert refused.value.retry_after == pytest.approx(120, abs=60)

    run(main())


def test_tokens_are_reserved_in_one_process_and_reconciled_for_all() -> None:
    async def main() -> None:
        limit = {"windows": ["1000 tokens/minute"], "token_estimate": 900, "max_wait": "0s"}
        _, (mine, yours) = processes(2, [(RATE_LIMIT, limit)], LONG)
        call = asyncio.ensure_future(mine.answer())
        await asyncio.sleep(1)
        with pytest.raises(RateLimitExceeded):
            await yours.answer()
        await call
        await asyncio.sleep(0.1)
        await yours.answer()

    run(main())


def test_a_cancelled_wait_leaves_the_line() -> None:
    async def main() -> None:
        _, (mine, yours) = processes(2, [(RATE_LIMIT, {"windows": ["1/s"]})])
        await mine.answer()
        first = asyncio.ensure_future(mine.answer())
        await asyncio.sleep(0.1)
        first.cancel()
        await asyncio.sleep(0.1)
        at = await began(yours, 1)
        assert at[0] <= 2.01

    run(main())


@pytest.mark.parametrize("limit", [10, 110])
def test_alone_each_has_its_share_of_a_window_and_of_what_was_counted(limit: int) -> None:
    async def main() -> None:
        keeper, chains = processes(2, [(RATE_LIMIT, {"windows": [f"{limit}/minute"]})])
        await all_began(chains, 1)
        await all_began(chains, 1)
        keeper.away = True
        times = await all_began(chains, limit // 2 + 3)
        assert sum(at < 60 for at in times) == limit - 4

    run(main())


@pytest.mark.parametrize("forgotten", [False, True])
def test_at_the_return_what_was_counted_alone_is_handed_in(forgotten: bool) -> None:
    async def main() -> None:
        keeper, chains = processes(2, [(RATE_LIMIT, {"windows": ["10/minute"], "max_wait": "0s"})])
        await all_began(chains, 2)
        await chains[0].answer()
        keeper.away = True
        await all_began(chains, 2)
        await asyncio.sleep(5)
        keeper.away = False
        if forgotten:
            keeper.rows.clear()
        await chains[0].answer()  # 5 before, 4 alone, and this one
        for chain in reversed(chains):
            with pytest.raises(RateLimitExceeded):
                await chain.answer()

    run(main())


@pytest.mark.parametrize("limit", [100, 101])
def test_no_window_is_exceeded_through_an_outage_and_little_is_lost(limit: int) -> None:
    async def main() -> None:
        keeper, chains = processes(4, [(RATE_LIMIT, {"windows": [f"{limit}/minute"]})])
        calls = asyncio.ensure_future(all_began(chains, 100))
        await all_began(chains, 1)
        for away, until in [(True, 70.0), (False, 130.0), (True, 170.0), (False, 190.0)]:
            keeper.away = away
            keeper.rows.clear()
            await asyncio.sleep(until - LoopClock().now())
        times = await calls
        for minute in range(5):
            assert sum(60 * minute <= at < 60 * minute + 60 for at in times) <= 110, f"minute {minute}"
        assert times[-1] < 400

    run(main())


@pytest.mark.parametrize("forgotten", [False, True])
def test_what_a_call_used_in_the_end_is_handed_in_after_an_outage(forgotten: bool) -> None:
    async def main() -> None:
        limit = {"windows": ["1000 tokens/minute"], "token_estimate": 600, "max_wait": "0s"}
        keeper, (mine,) = processes(1, [(RATE_LIMIT, limit)], LONG)
        call = asyncio.ensure_future(mine.answer())
        await asyncio.sleep(1)
        keeper.away = True
        await call
        await mine.answer()  # the first used fewer than it had reserved
        await asyncio.sleep(2)
        keeper.away = False
        if forgotten:
            keeper.rows.clear()
        await mine.answer()
        (line,) = mine.shared.of("rate_limit").values()
        await asyncio.sleep(0.1)
        assert 0 <= 1000 - line.levels(0.0)[0].available < 900, "no reservation is left behind"
        assert line.is_idle(0.0)

    run(main())


def test_what_was_counted_alone_is_handed_in_once_also_by_calls_that_come_together_and_after_each_outage() -> None:
    async def main() -> None:
        keeper = MemoryKeeper(LoopClock())
        state = keeper.member()
        mine = build_chain({"a": [ALWAYS]}, [(RATE_LIMIT, {"windows": ["20/minute"], "max_wait": "0s"})], state=state)
        for _ in range(2):
            keeper.away = True
            await began(mine, 4)
            await asyncio.sleep(3)
            keeper.away = False
            await state.decide(PLACES, "other", {"event": "renew", "ids": [], "hold": 1.0, "kept": 1.0})
            await began(mine, 6)
            (line,) = mine.shared.of("rate_limit").values()
            assert line.is_idle(0.0)
        assert line.levels(0.0)[0].available == 0
        with pytest.raises(RateLimitExceeded):
            await mine.answer()

    run(main())


def test_alone_a_process_goes_by_what_its_calls_used_in_the_end() -> None:
    async def main() -> None:
        limit = {"windows": ["1000 tokens/minute"], "token_estimate": 600, "max_wait": "0s"}
        keeper, (mine,) = processes(1, [(RATE_LIMIT, limit)])
        await mine.answer()
        await asyncio.sleep(1)
        keeper.away = True
        await mine.answer()

    run(main())


@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.floats(0, 0.4), st.sampled_from(["take", "take", "again", "leave", "give"])), max_size=80),
)
def test_no_stretch_of_the_length_of_a_small_shared_window_holds_more_than_its_limit(
    limit: int, steps: list[tuple[float, str]]
) -> None:
    windows = [[60, limit, False, True]]
    row, now, due = None, EPOCH, dict[int, float]()
    admitted: list[float] = []
    for id, (gap, what) in enumerate(steps):
        now += gap * 60
        if what == "again" and due:
            id, when = due.popitem()
            now = max(now, when)
        event: dict[str, Any] = {"event": what, "id": id, "at": 0.0, "requests": -1, "tokens": 0}
        if what in ("take", "again"):
            event |= {"event": "take", "patience": 1e9, "hold": 1.0, "carry": [], "known": []}
        elif what == "give":
            event |= {"event": "change", "at": admitted.pop() if admitted else 0.0}
        row, (said, at, wait, _), _ = WINDOWS.apply(row, now, {**event, "windows": windows})
        if said == "taken":
            admitted.append(at)
        elif said == "wait":
            due[id] = now + wait
            assert wait > 0 and sum(at + 60 > now for at in admitted) + len(row["queue"]) > limit
    assert all(first + 60 <= last for first, last in zip(admitted, admitted[limit:], strict=False))


# -- what both hand in ------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [{"windows": ["4/minute"]}, {"rate": "0.1/s", "burst": 1}])
def test_a_line_that_has_something_to_hand_in_is_not_made_anew(limit: dict[str, Any]) -> None:
    async def main() -> None:
        keeper, (mine,) = processes(1, [(RATE_LIMIT, limit)])
        await mine.answer()
        (line,) = mine.shared.of("rate_limit").values()
        assert line.is_idle(LoopClock().now())
        keeper.away = True
        calls = asyncio.ensure_future(began(mine, 2))
        await asyncio.sleep(1)
        assert not line.is_idle(LoopClock().now())
        keeper.away = False
        await asyncio.sleep(2)
        await mine.answer()
        await calls
        assert line.is_idle(LoopClock().now())

    run(main())


@pytest.mark.parametrize("limit", [{"windows": ["4/minute"]}, {"rate": "1/s", "burst": 4}])
def test_a_call_that_is_cancelled_while_it_hands_in_leaves_that_to_the_next(limit: dict[str, Any]) -> None:
    async def main() -> None:
        keeper, (mine,) = processes(1, [(RATE_LIMIT, limit)])
        await mine.answer()
        keeper.away = True
        await began(mine, 2)
        await asyncio.sleep(2)
        keeper.away, keeper.delay = False, 0.1
        carries = asyncio.ensure_future(mine.answer())
        await asyncio.sleep(0.05)
        carries.cancel()
        keeper.garbage = b"lost"
        await asyncio.sleep(3)
        keeper.away, keeper.garbage = False, None
        keeper.rows.clear()
        await mine.answer()
        (row,) = (msgspec.msgpack.decode(row) for row, _ in keeper.rows.values())
        assert sum(requests for _, requests in row["windows"][0]) == 4 if "windows" in limit else row[0] < 0

    run(main())


# -- admission --------------------------------------------------------------------------------------


def test_admission_counts_the_calls_of_all_processes() -> None:
    async def main() -> None:
        _, chains = processes(2, [(ADMISSION, {"global": {"rate": "1/s", "burst": 1}})])
        assert await all_began(chains, 2) == pytest.approx([0, 1, 2, 3])

    run(main())


# -- places -----------------------------------------------------------------------------------------


def test_processes_share_the_places_of_a_target() -> None:
    async def main() -> None:
        _, chains = processes(2, [(CONCURRENCY, {"limit": 2})], LONG)
        times = await all_began(chains, 2)
        assert times[:2] == [0.0, 0.0]
        assert all(5.0 <= at <= 5.3 for at in times[2:])

    run(main())


def test_a_place_of_a_long_call_is_renewed_and_that_of_a_dead_process_is_free_after_ten_seconds() -> None:
    async def main() -> None:
        _, (mine, yours) = processes(2, [(CONCURRENCY, {"limit": 1})], {"reply": "x", "delay": "100s"})
        call = asyncio.ensure_future(mine.answer())
        waits = asyncio.ensure_future(began(yours, 1))
        await asyncio.sleep(50)
        assert not waits.done()
        (line,) = mine.shared.of("concurrency").values()
        await line.aclose()  # as if it had died: nothing is renewed, and nothing given back
        line._held.clear()
        line.give = lambda taken: None
        call.cancel()
        (at,) = await waits
        assert 53 <= at <= 60.5

    run(main())


def test_a_call_that_never_waits_is_refused_where_all_places_are_taken() -> None:
    async def main() -> None:
        _, (mine, yours) = processes(2, [(CONCURRENCY, {"limit": 1, "max_wait": "0s"})], LONG)
        call = asyncio.ensure_future(mine.answer())
        await asyncio.sleep(1)
        with pytest.raises(RateLimitExceeded):
            await yours.answer()
        await call
        await asyncio.sleep(0.1)
        await yours.answer()

    run(main())


def test_a_wait_that_ends_with_the_deadline_leaves_the_line() -> None:
    async def main() -> None:
        keeper, (mine,) = processes(1, [(CONCURRENCY, {"limit": 1})], LONG)
        call = asyncio.ensure_future(mine.answer())
        await asyncio.sleep(1)
        (line,) = mine.shared.of("concurrency").values()
        assert await line.stand(4.0, deadline=4.0) is None
        await asyncio.sleep(0.01)
        (row,) = [msgspec.msgpack.decode(row) for key, (row, _) in keeper.rows.items() if "concurrency" in key]
        assert row["queue"] == [] and len(row["leases"]) == 1
        await call

    run(main())


def test_alone_each_has_its_share_of_the_places() -> None:
    async def main() -> None:
        keeper, chains = processes(2, [(CONCURRENCY, {"limit": 4})], LONG)
        await all_began(chains, 1)
        await all_began(chains, 1)
        start = LoopClock().now()
        keeper.away = True
        times = await all_began(chains, 3)
        assert sum(at - start < 1 for at in times) == 4

    run(main())


# -- retry budget -----------------------------------------------------------------------------------


def failing(count: int, **budget: Any) -> tuple[MemoryKeeper, list[ScriptedChain]]:
    policies = [(RETRY, {"max_attempts": 2, "base": "1ms"}), (RETRY_BUDGET, budget)]
    return processes(count, policies, {"status": 503, "times": "forever"})


async def attempts(chains: list[ScriptedChain], calls: int) -> int:
    """All attempts of so many calls in each process, one after the other in turn."""
    total = 0
    for _ in range(calls):
        for chain in chains:
            with pytest.raises(WizardError):
                await chain.answer()
            total += len(chain.attempts)
        await asyncio.sleep(0.2)
    return total


def test_processes_share_one_retry_budget() -> None:
    async def main() -> None:
        _, chains = failing(2, ratio="50%", floor="0.1/s", window="10s")
        assert await attempts(chains, 10) == 20 + 10

    run(main())


def test_a_repeat_that_is_given_back_is_there_for_another_process() -> None:
    async def main() -> None:
        _, (mine, yours) = failing(2, ratio="0%", floor="0.1/s", window="10s")
        mine, yours = mine.chain.allowance, yours.chain.allowance
        assert await mine.withdraw(0.0) and not await yours.withdraw(0.0)
        mine.give_back(0.0, 0.0)
        await asyncio.sleep(0.2)
        assert await yours.withdraw(0.2) and not await mine.withdraw(0.2)

    run(main())


def test_a_repeat_that_is_allowed_when_its_caller_is_gone_is_given_back() -> None:
    async def main() -> None:
        _, (mine, yours) = failing(2, ratio="0%", floor="0.1/s", window="10s")
        asking = asyncio.ensure_future(mine.chain.allowance.withdraw(0.0))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.sleep(0.2)
        assert asking.cancelled()
        assert await yours.chain.allowance.withdraw(0.2) and not await yours.chain.allowance.withdraw(0.2)

    run(main())


def test_alone_each_goes_by_its_own_attempts_and_its_share_of_the_floor() -> None:
    async def main() -> None:
        keeper, chains = failing(2, ratio="0%", floor="1/s", window="10s")
        await attempts(chains, 1)
        await attempts(chains, 1)
        await asyncio.sleep(20)
        keeper.away = True
        assert await attempts(chains, 20) == 40 + 10

    run(main())
