"""The queue before a gate: order, waking, patience, and leaving without a trace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.units import Rate
from wizard_dsl.policies._bucket import Bucket
from wizard_dsl.policies._line import Line, Taken
from wizard_dsl.policies._windows import Windows
from wizard_dsl.policies.concurrency import Places
from wizard_dsl.testing.virtual import run

NEVER = 1e9


async def noted(name: int, wait: Awaitable[Taken | None], log: list[tuple[int, float]]) -> Taken | None:
    token = await wait
    if token is not None:
        log.append((name, round(asyncio.get_running_loop().time(), 6)))
    return token


def test_first_come_first_served_each_woken_when_its_own_token_is_due() -> None:
    async def main() -> None:
        line, log = Line(Bucket(2.0, 1), LoopClock()), list[tuple[int, float]]()
        assert line.take(0.0) is not None
        assert line.take(0.0) is None
        await asyncio.gather(*(noted(name, line.stand(NEVER), log) for name in range(4)))
        assert log == [(0, 0.5), (1, 1.0), (2, 1.5), (3, 2.0)]

    run(main())


def test_nobody_overtakes_those_who_wait() -> None:
    async def main() -> None:
        line = Line(Places(1), LoopClock())
        token = line.take(0.0)
        waiter = asyncio.ensure_future(line.stand(NEVER))
        await asyncio.sleep(1)
        assert token is not None
        line.give(token)
        assert line.take(1.0) is None
        assert await waiter is not None

    run(main())


def test_a_release_wakes_the_next_one_at_once() -> None:
    async def main() -> None:
        line, log = Line(Places(1), LoopClock()), list[tuple[int, float]]()
        token = line.take(0.0)
        waiters = [asyncio.ensure_future(noted(name, line.stand(NEVER), log)) for name in range(2)]
        await asyncio.sleep(3)
        assert token is not None
        line.give(token)
        second = await waiters[0]
        await asyncio.sleep(2)
        assert second is not None
        line.give(second)
        await waiters[1]
        assert log == [(0, 3), (1, 5)]

    run(main())


def test_a_cancelled_waiter_gives_its_place_back_and_later_ones_move_up() -> None:
    async def main() -> None:
        line, log = Line(Bucket(1.0, 1), LoopClock()), list[tuple[int, float]]()
        line.take(0.0)
        waiters = [asyncio.ensure_future(noted(name, line.stand(NEVER), log)) for name in range(3)]
        await asyncio.sleep(0.5)
        waiters[0].cancel()
        await asyncio.wait(waiters)
        assert log == [(1, 1.0), (2, 2.0)]

    run(main())


def test_one_cancelled_on_the_very_instant_of_its_turn_passes_the_turn_on() -> None:
    async def main() -> None:
        line, log = Line(Places(1), LoopClock()), list[tuple[int, float]]()
        token = line.take(0.0)
        waiters = [asyncio.ensure_future(noted(name, line.stand(NEVER), log)) for name in range(2)]
        await asyncio.sleep(1)
        assert token is not None
        line.give(token)  # the first one's turn has come, but it has not run yet
        waiters[0].cancel()
        await asyncio.wait(waiters)
        assert waiters[0].cancelled() and log == [(1, 1.0)]

    run(main())


def test_patience_ends_at_its_time_and_the_others_move_up() -> None:
    async def main() -> None:
        line, log = Line(Places(1), LoopClock()), list[tuple[int, float]]()
        token = line.take(0.0)
        impatient = asyncio.ensure_future(line.stand(2.0))
        patient = asyncio.ensure_future(noted(1, line.stand(NEVER), log))
        assert await impatient is None
        assert asyncio.get_running_loop().time() == 2
        assert token is not None
        line.give(token)
        await patient
        assert log == [(1, 2.0)]

    run(main())


def test_a_turn_that_comes_on_the_last_instant_of_patience_is_taken() -> None:
    async def main() -> None:
        line = Line(Bucket(0.5, 1), LoopClock())
        line.take(0.0)
        assert await line.stand(2.0) is not None

    run(main())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 3), st.one_of(st.none(), st.floats(0.01, 5)), st.one_of(st.none(), st.floats(0.01, 5))),
        max_size=25,
    ),
    st.floats(0.2, 5),
)
def test_whatever_is_cancelled_or_gives_up_order_holds_and_nothing_is_lost(
    plan: list[tuple[float, float | None, float | None]], rate: float
) -> None:
    """Callers arrive after a gap, some are cancelled, some have little patience."""

    async def main() -> None:
        clock = LoopClock()
        bucket = Bucket(rate, 2)
        line, log = Line(bucket, clock), list[tuple[int, float]]()
        tasks = []
        for name, (gap, cancel, patience) in enumerate(plan):
            await asyncio.sleep(gap)
            if line.take(clock.now()) is not None:
                log.append((name, clock.now()))
                continue
            until = NEVER if patience is None else clock.now() + patience
            task = asyncio.ensure_future(noted(name, line.stand(until), log))
            if cancel is not None:
                clock.call_at(clock.now() + cancel, task.cancel)
            tasks.append(task)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert [name for name, _ in log] == sorted(name for name, _ in log)
        for first, (_, start) in enumerate(log):
            for last, (_, end) in enumerate(log[first:], first):
                assert last - first + 1 <= 2 + rate * (end - start) + 1e-4
        assert not line._queue and line._timer is None
        stayed = {name for name, (_, cancel, patience) in enumerate(plan) if cancel is None and patience is None}
        assert stayed <= {name for name, _ in log}

    run(main())


def test_patience_that_ends_just_after_the_turn_came_changes_nothing() -> None:
    async def main() -> None:
        line = Line(Places(1), LoopClock())
        token = line.take(0.0)
        waiter = asyncio.ensure_future(line.stand(2.0))
        await asyncio.sleep(0)
        await asyncio.sleep(2.0)
        assert token is not None
        line.give(token)
        assert await waiter is not None

    run(main())


def test_one_cancelled_on_the_very_instant_its_patience_ends_gives_nothing_back() -> None:
    async def main() -> None:
        places = Places(1)
        line = Line(places, LoopClock())
        line.take(0.0)
        waiter = asyncio.ensure_future(line.stand(NEVER))
        await asyncio.sleep(0)
        line._late(next(iter(line._queue)))
        waiter.cancel()
        await asyncio.wait([waiter])
        assert waiter.cancelled() and places.taken == 1

    run(main())


def test_cancelling_all_leaves_nothing_behind() -> None:
    async def main() -> None:
        line = Line(Places(1), LoopClock())
        line.take(0.0)
        waiters = [asyncio.ensure_future(line.stand(NEVER)) for _ in range(50)]
        await asyncio.sleep(1)
        for waiter in reversed(waiters):
            waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiters[0]
        await asyncio.wait(waiters)
        assert not line._queue and line._timer is None

    run(main())


def test_one_who_needs_many_tokens_is_not_overtaken_by_those_who_need_few() -> None:
    async def main() -> None:
        clock = LoopClock()
        line, log = Line(Windows([Rate(100, 60, True)], clock.wall), clock), list[tuple[int, float]]()
        first = line.take(0.0, 80)
        waiters = [
            asyncio.ensure_future(noted(name, line.stand(NEVER, need), log)) for name, need in enumerate((90, 5))
        ]
        await asyncio.sleep(1)
        assert line.take(clock.now(), 1) is None
        assert line.wait(clock.now(), 5) == pytest.approx(106.4, abs=0.01)
        assert first is not None
        line.settle(first, 10)  # room for 90 and no more
        await waiters[0]
        assert log == [(0, 1.0)]
        await waiters[1]
        assert [name for name, _ in log] == [0, 1] and log[1][1] > 60

    run(main())


def test_a_cancelled_reservation_at_the_head_lets_the_small_ones_pass_at_once() -> None:
    async def main() -> None:
        clock = LoopClock()
        line, log = Line(Windows([Rate(100, 60, True)], clock.wall), clock), list[tuple[int, float]]()
        line.take(0.0, 80)
        waiters = [
            asyncio.ensure_future(noted(name, line.stand(NEVER, need), log)) for name, need in enumerate((90, 5))
        ]
        await asyncio.sleep(1)
        waiters[0].cancel()
        await asyncio.wait(waiters)
        assert log == [(1, 1.0)] and line._queued == 0

    run(main())
