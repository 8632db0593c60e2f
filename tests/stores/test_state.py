"""State shared with other processes, as one of them sees it: batches, patience and outages."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.events import StateDegraded, StateRestored
from wizard_dsl.core.state import Decided, Decision, State, StateUnavailable
from wizard_dsl.testing.shared import MemoryKeeper
from wizard_dsl.testing.virtual import run

COUNT = Decision("count", Path("unused"), lambda row, now, add: ((row or 0) + add["by"], (row or 0) + add["by"], 60.0))


async def count(state: State, by: int = 1, **options: Any) -> Decided:
    return await state.decide(COUNT, "k", {"by": by}, **options)


async def refused(state: State, **options: Any) -> None:
    with pytest.raises(StateUnavailable):
        await count(state, **options)


def test_decisions_of_two_processes_meet_in_one_row() -> None:
    async def main() -> None:
        keeper = MemoryKeeper(LoopClock())
        mine, yours = keeper.member(), keeper.member()
        assert (await count(mine)).reply == 1
        assert (await count(yours, 5)).reply == 6
        assert (await count(mine)).members == 2

    run(main())


def test_a_process_that_closes_is_a_member_no_more() -> None:
    async def main() -> None:
        keeper = MemoryKeeper(LoopClock())
        mine, yours = keeper.member(), keeper.member()
        await count(mine)
        await count(yours)
        await yours.close()
        assert (await count(mine)).members == 1

    run(main())


def test_decisions_that_come_while_others_are_under_way_leave_together() -> None:
    async def main() -> None:
        keeper = MemoryKeeper(LoopClock())
        keeper.delay = 0.01
        state = keeper.member()
        replies = await asyncio.gather(*(count(state) for _ in range(10)))
        assert sorted(each.reply for each in replies) == list(range(1, 11))
        assert keeper.batches == [1, 9]

    run(main())


def test_the_first_failure_is_told_once_and_for_a_second_nobody_asks() -> None:
    async def main() -> None:
        keeper = MemoryKeeper(LoopClock())
        state = keeper.member()
        keeper.away = True
        for _ in range(5):
            await refused(state)
        assert len(keeper.batches) == 1
        assert keeper.told == [StateDegraded(path="state", keeper="memory", reason="ConnectionError")]

    run(main())


def test_one_decision_probes_and_the_first_that_succeeds_says_that_the_state_is_back() -> None:
    async def main() -> None:
        keeper = MemoryKeeper(LoopClock())
        state = keeper.member()
        keeper.away = True
        await refused(state)
        keeper.away, keeper.delay = False, 0.1
        await asyncio.sleep(1.0)
        outcomes = await asyncio.gather(*(count(state) for _ in range(4)), return_exceptions=True)
        assert [type(each) for each in outcomes] == [Decided] + 3 * [StateUnavailable]
        assert keeper.told[1:] == [StateRestored(path="state", keeper="memory", seconds=pytest.approx(1.1))]
        assert (await count(state)).reply == 2

    run(main())


def test_the_pauses_between_probes_grow_to_five_seconds() -> None:
    async def main() -> None:
        clock = LoopClock()
        keeper = MemoryKeeper(clock)
        state = keeper.member()
        keeper.away = True
        asked = []
        for _ in range(300):
            before = len(keeper.batches)
            await refused(state)
            if len(keeper.batches) > before:
                asked.append(round(clock.now(), 1))
            await clock.sleep(0.1)
        assert [b - a for a, b in pairwise(asked)] == pytest.approx([1, 2, 4, 5, 5, 5, 5], abs=0.11)
        assert len(keeper.told) == 1

    run(main())


def test_a_reply_that_comes_too_late_is_a_failure_after_a_quarter_of_a_second() -> None:
    async def main() -> None:
        clock = LoopClock()
        keeper = MemoryKeeper(clock)
        keeper.delay = 5.0
        await refused(keeper.member())
        assert clock.now() == pytest.approx(0.25)
        assert keeper.told == [StateDegraded(path="state", keeper="memory", reason="no reply within 0.25 s")]

    run(main())


def test_who_has_less_time_is_let_go_at_its_end_and_that_is_no_outage() -> None:
    async def main() -> None:
        clock = LoopClock()
        keeper = MemoryKeeper(clock)
        keeper.delay = 0.2
        state = keeper.member()
        await refused(state, until=0.1)
        assert clock.now() == pytest.approx(0.1)
        await refused(state, until=clock.now())
        assert (await count(state)).reply == 2
        assert keeper.told == []

    run(main())


def test_a_reply_that_nobody_waits_for_any_more_is_handed_to_who_gives_it_back() -> None:
    async def main() -> None:
        keeper = MemoryKeeper(LoopClock())
        keeper.delay = 0.2
        state = keeper.member()
        lost: list[Any] = []
        await refused(state, until=0.1, lost=lambda decided: lost.append(decided.reply))
        cancelled = asyncio.ensure_future(count(state, lost=lambda decided: lost.append(decided.reply)))
        await asyncio.sleep(0.15)
        cancelled.cancel()
        await asyncio.sleep(0.3)
        assert (await count(state, lost=lost.append)).reply == 3
        assert lost == [1, 2]

    run(main())


@pytest.mark.parametrize("garbage", [b"+OK", b"\xc1", msgspec.msgpack.encode([1, 2]), msgspec.msgpack.encode("x")])
def test_garbage_is_a_failure(garbage: bytes) -> None:
    async def main() -> None:
        keeper = MemoryKeeper(LoopClock())
        keeper.garbage = garbage
        await refused(keeper.member())
        assert [type(each) for each in keeper.told] == [StateDegraded]
        assert "cannot be read" in keeper.told[0].reason  # type: ignore[attr-defined]

    run(main())


def test_a_row_that_nobody_used_for_its_time_is_gone() -> None:
    async def main() -> None:
        keeper = MemoryKeeper(LoopClock())
        state = keeper.member()
        await count(state)
        await asyncio.sleep(61)
        assert (await count(state)).reply == 1

    run(main())
