"""Windows, places and retry budgets that several processes share, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.component import PolicyType
from wizard_dsl.core.errors import RateLimitExceeded, WizardError
from wizard_dsl.core.messages import Request, message
from wizard_dsl.policies.admission import ADMISSION
from wizard_dsl.policies.concurrency import CONCURRENCY
from wizard_dsl.policies.rate_limit import RATE_LIMIT
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.policies.retry_budget import RETRY_BUDGET
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.shared import MemoryKeeper
from wizard_dsl.testing.virtual import run

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


def test_alone_each_keeps_its_share_of_a_window() -> None:
    async def main() -> None:
        keeper, chains = processes(2, [(RATE_LIMIT, {"windows": ["10/minute"]})])
        await all_began(chains, 1)
        await all_began(chains, 1)
        keeper.away = True
        times = await all_began(chains, 8)
        assert sum(at < 60 for at in times) == 10

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


def test_alone_each_goes_by_its_own_attempts_and_its_share_of_the_floor() -> None:
    async def main() -> None:
        keeper, chains = failing(2, ratio="0%", floor="1/s", window="10s")
        await attempts(chains, 1)
        await attempts(chains, 1)
        await asyncio.sleep(20)
        keeper.away = True
        assert await attempts(chains, 20) == 40 + 10

    run(main())
