"""The clock, the guard and virtual time."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.guard import Guard
from wizard_dsl.core.rng import uniform
from wizard_dsl.testing import virtual


def test_an_hour_of_sleep_takes_no_time_and_is_exact() -> None:
    async def main() -> tuple[float, float]:
        clock = LoopClock()
        await clock.sleep(3600)
        return clock.now(), clock.wall() - virtual.EPOCH

    assert virtual.run(main()) == (3600, 3600)


def test_the_clock_of_a_usual_loop_reads_what_its_timers_go_by() -> None:
    async def main() -> tuple[float, float, float]:
        loop = asyncio.get_running_loop()
        return loop.time(), LoopClock().now(), loop.time()

    before, read, after = asyncio.run(main())
    assert before <= read <= after


def test_the_clock_of_a_loop_with_a_time_of_its_own_reads_that() -> None:
    class Shifted(asyncio.SelectorEventLoop):
        def time(self) -> float:
            return super().time() + 1e9

    async def main() -> tuple[float, float, float]:
        loop = asyncio.get_running_loop()
        return loop.time(), LoopClock().now(), loop.time()

    with asyncio.Runner(loop_factory=Shifted) as runner:
        before, read, after = runner.run(main())
    assert before <= read <= after


def test_a_lost_wake_up_is_found() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(virtual.Stalled):
        virtual.run(main())


def test_an_endless_loop_is_stopped_by_the_step_limit() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(1)

    with pytest.raises(virtual.StepLimit):
        virtual.run(main(), max_steps=500)


def test_threads_and_sockets_are_refused() -> None:
    async def thread() -> None:
        await asyncio.to_thread(print)

    async def socket() -> None:
        await asyncio.open_connection("127.0.0.1", 9)

    for main in (thread, socket):
        with pytest.raises(virtual.RealWorld):
            virtual.run(main())


def test_a_guard_interrupts_and_takes_its_cancel_back() -> None:
    async def main() -> tuple[bool, int]:
        clock = LoopClock()
        guard = Guard(clock, 2).arm()
        with pytest.raises(asyncio.CancelledError):
            await clock.sleep(5)
        mine = guard.disarm()
        task = asyncio.current_task()
        assert task is not None
        await clock.sleep(1)
        return mine, task.cancelling()

    assert virtual.run(main()) == (True, 0)


def test_data_on_the_same_instant_wins_over_a_guard() -> None:
    async def main() -> bool:
        clock = LoopClock()
        guard = Guard(clock, 2).arm()
        await clock.sleep(2)
        return guard.disarm() or guard.fired

    assert virtual.run(main()) is False


def test_a_guard_that_fired_is_uncancelled_also_when_another_error_came_out() -> None:
    async def main() -> int:
        clock = LoopClock()
        guard = Guard(clock, 2).arm()
        with pytest.raises(ValueError, match="other"):
            try:
                await clock.sleep(5)
            except asyncio.CancelledError:
                raise ValueError("other") from None
        guard.disarm()
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert virtual.run(main()) == 0


def test_a_foreign_cancel_stays_one() -> None:
    async def guarded(clock: LoopClock) -> bool:
        guard = Guard(clock, 5).arm()
        try:
            await clock.sleep(10)
        except asyncio.CancelledError:
            return guard.disarm()
        return True

    async def main() -> bool:
        task = asyncio.create_task(guarded(LoopClock()))
        await asyncio.sleep(1)
        task.cancel()
        return await task

    assert virtual.run(main()) is False


class Watched(LoopClock):
    """A clock that counts the timers that were set."""

    def __init__(self) -> None:
        super().__init__()
        self.timers = 0
        call_at = self.call_at

        def counted(*arguments: Any) -> Any:
            self.timers += 1
            return call_at(*arguments)

        self.call_at = counted


def test_a_guard_over_work_that_never_waits_sets_no_timer() -> None:
    async def work() -> str:
        return "done"

    async def main() -> None:
        clock = Watched()
        guard = Guard(clock, 2)
        assert await guard.over(work()) == "done"
        assert clock.timers == 0 and guard.disarm() is False

    virtual.run(main())


def test_a_guard_over_work_interrupts_it_wherever_it_waits() -> None:
    async def work(clock: LoopClock, first: float, then: float) -> str:
        await clock.sleep(first)
        await clock.sleep(then)
        return "done"

    async def main() -> None:
        for first, then in ((5, 0), (1, 5)):
            clock = Watched()
            guard = Guard(clock, clock.now() + 2)
            with pytest.raises(asyncio.CancelledError):
                await guard.over(work(clock, first, then))
            assert guard.disarm() and clock.timers == 1
        guard = Guard(clock, clock.now() + 2)
        assert await guard.over(work(clock, 1, 1)) == "done"
        assert guard.disarm() is False

    virtual.run(main())


def test_work_under_a_guard_may_catch_its_first_interruption_and_go_on() -> None:
    async def work(clock: LoopClock) -> str:
        try:
            await clock.sleep(5)
        except asyncio.CancelledError:
            await clock.sleep(1)
            return "went on"
        return "late"

    async def main() -> None:
        clock = LoopClock()
        guard = Guard(clock, 2)
        assert await guard.over(work(clock)) == "went on"
        assert clock.now() == 3 and guard.fired
        guard.disarm()

    virtual.run(main())


def test_what_a_guard_interrupts_where_it_first_waits_is_let_go_of() -> None:
    class Held:
        pass

    held: list[weakref.ref[Held]] = []

    async def work(clock: LoopClock) -> None:
        mine = Held()
        held.append(weakref.ref(mine))
        await clock.sleep(5)

    async def main() -> None:
        clock = LoopClock()
        guard = Guard(clock, 2)
        with pytest.raises(asyncio.CancelledError):
            await guard.over(work(clock))
        assert guard.disarm()

    gc.disable()
    try:
        virtual.run(main())
        assert held[0]() is None, "without a search for garbage"
    finally:
        gc.enable()


def test_draws_are_a_function_of_their_key() -> None:
    assert uniform("7/a/0") == uniform("7/a/0")
    values = [uniform(f"7/a/{k}") for k in range(2000)]
    assert all(0 <= value < 1 for value in values)
    assert abs(sum(values) / len(values) - 0.5) < 0.03
