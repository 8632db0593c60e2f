"""Limits shared by several processes, in virtual time: each process is a chain of its own with the same state."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.errors import ConnectError, RateLimitExceeded, ServerError
from wizard_dsl.core.events import LimitRefused, LimitWaited
from wizard_dsl.policies._shared_line import SharedBucket
from wizard_dsl.policies.rate_limit import RATE_LIMIT
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.shared import MemoryKeeper
from wizard_dsl.testing.virtual import run


def processes(
    count: int, limit: dict[str, Any], script: Sequence[Any] = ("hello",) * 999
) -> tuple[MemoryKeeper, list[ScriptedChain]]:
    clock = LoopClock()
    keeper = MemoryKeeper(clock)
    members = [keeper.member() for _ in range(count)]
    return keeper, [build_chain({"a": script}, [(RATE_LIMIT, limit)], state=each) for each in members]


async def sent(chain: ScriptedChain, calls: int) -> list[float]:
    """When the attempts of so many calls at once began."""

    async def one() -> float:
        run = chain.run()
        await (await chain.handler(await request(), run)).read()
        return run.transcript.started + run.transcript.attempts[0].started

    return list(await asyncio.gather(*(one() for _ in range(calls))))


async def request() -> Any:
    from wizard_dsl.core.messages import Request, message

    return Request(messages=(message("user", "hello"),))


async def all_sent(chains: list[ScriptedChain], calls: int) -> list[float]:
    return sorted(at for each in await asyncio.gather(*(sent(chain, calls) for chain in chains)) for at in each)


def test_processes_share_one_bucket() -> None:
    async def main() -> None:
        keeper, chains = processes(4, {"rate": "10/s", "burst": 4})
        assert await all_sent(chains, 6) == pytest.approx([0.0] * 4 + [n / 10 for n in range(1, 21)])
        assert sum(keeper.batches) == 24, "one decision an admission"

    run(main())


def test_a_wait_that_cannot_fit_is_refused_at_once_and_takes_nothing() -> None:
    async def main() -> None:
        _, (mine, yours) = processes(2, {"rate": "1/s", "burst": 1, "max_wait": "500ms"})
        await mine.answer()
        with pytest.raises(RateLimitExceeded) as refused:
            await yours.answer()
        assert refused.value.retry_after == pytest.approx(1.0)
        assert next(type(each) for each in yours.events()) is LimitRefused
        await asyncio.sleep(0.5)
        await yours.answer()
        assert yours.attempts[0].waited == pytest.approx(0.5)
        assert [type(each) for each in yours.events(LimitWaited)] == [LimitWaited]

    run(main())


def test_without_waiting_a_free_token_is_still_taken() -> None:
    async def main() -> None:
        _, (mine, yours) = processes(2, {"rate": "1/s", "burst": 2, "max_wait": "0s"})
        await mine.answer()
        await yours.answer()
        with pytest.raises(RateLimitExceeded):
            await mine.answer()

    run(main())


def test_what_was_never_sent_is_given_back_to_all() -> None:
    async def main() -> None:
        _, (mine, yours) = processes(2, {"rate": "1/s", "burst": 1, "max_wait": "0s"}, [{"refuse": True}])
        for chain in (mine, yours):  # the second would be refused by the limit
            with pytest.raises(ConnectError):
                await chain.answer()
            await asyncio.sleep(0)

    run(main())


def test_a_cancelled_wait_gives_its_token_to_those_who_come_later() -> None:
    async def main() -> None:
        _, (mine, yours) = processes(2, {"rate": "1/s", "burst": 1})
        await mine.answer()
        waits = asyncio.ensure_future(mine.answer())
        await asyncio.sleep(0.2)
        waits.cancel()
        await asyncio.sleep(0.1)
        await yours.answer()
        assert LoopClock().now() == pytest.approx(1.0)

    run(main())


def test_alone_each_goes_on_with_its_share_and_no_burst_is_had_twice() -> None:
    async def main() -> None:
        keeper, chains = processes(4, {"rate": "20/s", "burst": 4})
        await all_sent(chains, 1)
        await all_sent(chains, 1)  # each knows of the four now
        keeper.away = True
        began = LoopClock().now()
        times = await all_sent(chains, 50)
        for end in (1.0, 2.0, 5.0, 9.0):
            assert sum(at <= began + end for at in times) <= 20 * end + 4
        assert times[-1] - began == pytest.approx(200 / 20, rel=0.03)
        assert len(keeper.told) == 4, "each process says it once"

    run(main())


def test_at_the_return_what_was_booked_alone_is_handed_in() -> None:
    async def main() -> None:
        keeper, chains = processes(2, {"rate": "10/s", "burst": 10})
        await all_sent(chains, 1)
        await all_sent(chains, 1)  # each knows of the other now
        keeper.away = True
        alone = asyncio.ensure_future(all_sent(chains, 24))  # 5 a second each: booked until about 4 s from now
        await asyncio.sleep(2.0)
        keeper.away = False
        keeper.rows.clear()
        times = await all_sent(chains, 20) + await alone
        for end in range(1, 10):
            assert sum(at <= end for at in times) <= 10 + 10 * end
        assert max(times) == pytest.approx(8.0, abs=1.5), "and little is lost"

    run(main())


def test_what_was_booked_while_the_return_was_under_way_is_refilled_in_time_and_then_no_longer_owed() -> None:
    async def main() -> None:
        clock = LoopClock()
        keeper = MemoryKeeper(clock)
        context: Any = SimpleNamespace(clock=clock, spawn=asyncio.ensure_future)
        bucket = SharedBucket(1.0, 1.0, "limit", keeper.member(), context)
        await bucket.book(1.0, clock.now() + 60)
        keeper.away = True
        for _ in range(2):
            await bucket.book(1.0, clock.now() + 60)
        keeper.away, keeper.delay = False, 0.1
        await asyncio.sleep(30)  # the outage is over, and the state is asked again
        for _ in range(3):
            bucket._book_alone(1.0, clock.now() + 60)
        back = asyncio.ensure_future(bucket.book(1.0, clock.now() + 60))
        await asyncio.sleep(0.05)
        bucket._book_alone(2.0, clock.now() + 60)
        await back
        assert not bucket.is_idle(clock.now()), "two tokens were booked that nobody else knows of"
        await asyncio.sleep(1.0)
        assert not bucket.is_idle(clock.now())
        await asyncio.sleep(1.0)
        assert bucket.is_idle(clock.now()), "they are there again, and handing them in would take them twice"

    run(main())


def test_a_slow_state_delays_a_call_by_its_patience_once_and_never_fails_it() -> None:
    async def main() -> None:
        keeper, (mine,) = processes(1, {"rate": "1000/s", "burst": 1000})
        keeper.delay = 5.0
        times = await sent(mine, 5)
        assert max(times) == pytest.approx(0.25, abs=0.02)
        assert await sent(mine, 1) == [pytest.approx(max(times), abs=0.02)]

    run(main())


def test_a_streamed_call_takes_one_token_too() -> None:
    async def main() -> None:
        _, (mine, yours) = processes(2, {"rate": "1/s", "burst": 1, "max_wait": "0s"})
        async with await mine.ask(commit="content") as response:
            await response.read()
        with pytest.raises(RateLimitExceeded):
            await yours.ask(commit="content")

    run(main())


def test_what_failed_at_the_provider_keeps_its_token() -> None:
    async def main() -> None:
        _, (mine, yours) = processes(2, {"rate": "1/s", "burst": 1, "max_wait": "0s"}, [503, 503])
        with pytest.raises(ServerError):
            await mine.answer()
        with pytest.raises(RateLimitExceeded):
            await yours.answer()

    run(main())


def test_what_a_provider_says_is_left_of_its_limit_holds_before_a_shared_one() -> None:
    async def main() -> None:
        headers = {"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "30s"}
        script = [{"reply": "one", "headers": headers}, {"refuse": True}, "two", "three", "four"]
        _, (mine,) = processes(1, {"rate": "10/s", "burst": 2, "follow_headers": True}, script)
        await mine.answer()
        with pytest.raises(ConnectError):
            await mine.answer()  # what is told holds, also for what was never sent
        await mine.answer()
        assert mine.clock.now() == 30 and mine.attempts[0].waited == 30
        await mine.answer()
        assert mine.clock.now() == pytest.approx(30, abs=0.2)

    run(main())


def test_a_shared_limit_that_refuses_gives_back_what_stands_before_it() -> None:
    async def main() -> None:
        _, (mine,) = processes(1, {"rate": "0.1/s", "burst": 1, "max_wait": "0s", "follow_headers": True})
        await mine.answer()
        with pytest.raises(RateLimitExceeded):
            await mine.answer()
        (gate,) = mine.shared.of("told").values()
        assert gate._flying == {"requests": 0, "tokens": 0}

    run(main())


def test_a_run_that_does_not_wait_is_refused_by_a_shared_limit_too() -> None:
    async def main() -> None:
        _, (mine,) = processes(1, {"rate": "0.1/s", "burst": 1})
        await mine.answer(patient=False)
        with pytest.raises(RateLimitExceeded) as refused:
            await mine.answer(patient=False)
        assert "does not wait" in refused.value.message and mine.clock.now() == 0
        (line,) = mine.shared.of("rate_limit").values()
        (figures,) = line.figures(0.0)
        assert (figures.name, figures.of, figures.available, figures.capacity) == ("rate_limit", "a", 0, 1)
        assert figures.retry_after == pytest.approx(10)

    run(main())
