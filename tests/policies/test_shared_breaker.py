"""A breaker that several processes share, in virtual time: each process is a chain of its own with the same state."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import pytest

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.errors import CircuitOpen, WizardError
from wizard_dsl.core.events import BreakerChanged
from wizard_dsl.policies._breaker import Breaker
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.timeout import TIMEOUT
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.shared import MemoryKeeper
from wizard_dsl.testing.virtual import run

Commit = Literal["end", "content"]
FAILS = {"status": 503, "times": "forever"}


@pytest.fixture(params=["end", "content"])
def commit(request: pytest.FixtureRequest) -> Commit:
    return request.param


def processes(*scripts: Sequence[Any], **config: Any) -> tuple[MemoryKeeper, list[ScriptedChain]]:
    keeper = MemoryKeeper(LoopClock())
    policies = [(CIRCUIT_BREAKER, {"failure_threshold": 3, **config}), (TIMEOUT, {"total": "10s"})]
    return keeper, [build_chain({"a": script}, policies, state=keeper.member()) for script in scripts]


def breaker_of(chain: ScriptedChain) -> Breaker:
    (breaker,) = chain.shared.of("circuit_breaker").values()
    return breaker


async def fails(chain: ScriptedChain, times: int, commit: Commit = "end") -> WizardError:
    for _ in range(times):
        with pytest.raises(WizardError) as caught:
            await chain.answer(commit=commit)
    return caught.value


async def refused(chain: ScriptedChain, commit: Commit = "end") -> CircuitOpen:
    error = await fails(chain, 1, commit)
    assert isinstance(error, CircuitOpen), error
    assert chain.attempts == []
    return error


def test_failures_of_all_processes_count_together_and_open_it_for_all_within_one_call(commit: Commit) -> None:
    async def main() -> None:
        _, (mine, yours) = processes([FAILS], ["hello"])
        await fails(mine, 2, commit)
        await yours.answer(commit=commit)
        await fails(mine, 1, commit)
        assert (await refused(yours, commit)).retry_after == pytest.approx(30)
        changed = yours.events(BreakerChanged)
        assert [(each.before, each.after) for each in changed] == [("closed", "open")]  # type: ignore[attr-defined]
        assert yours.targets["a"].closed_for(LoopClock().now()) == pytest.approx(30), "the gate knows without asking"

    run(main())


def test_one_success_closes_it_for_all(commit: Commit) -> None:
    async def main() -> None:
        _, (mine, yours) = processes([{"status": 503, "times": 3}, "hello", "hello"], ["hello"])
        await fails(mine, 3, commit)
        await refused(yours, commit)
        await asyncio.sleep(30)
        await mine.answer(commit=commit)
        await mine.answer(commit=commit)
        await yours.answer(commit=commit)

    run(main())


def test_only_one_process_probes_and_a_lease_of_one_that_died_is_free_when_it_expires(commit: Commit) -> None:
    async def main() -> None:
        _, (mine, yours) = processes([{"status": 503, "times": 3}], ["hello"])
        await fails(mine, 3, commit)
        await asyncio.sleep(30)
        dying = await breaker_of(mine).state.ask(11.0, forced=False, until=1e9)  # type: ignore[attr-defined]
        assert dying is not None and dying.lease
        assert (await refused(yours, commit)).retry_after == pytest.approx(11)
        await asyncio.sleep(10.9)
        await refused(yours, commit)
        await asyncio.sleep(0.1)
        await yours.answer(commit=commit)

    run(main())


def test_a_stream_that_breaks_after_closing_it_opens_it_again_for_twice_as_long() -> None:
    async def main() -> None:
        broken = {"reply": "some words here", "cut_after": 2}
        _, (mine, yours) = processes([{"status": 503, "times": 3}, broken], ["hello"])
        await fails(mine, 3)
        await asyncio.sleep(30)
        await fails(mine, 1, "content")
        await asyncio.sleep(0.1)
        assert (await refused(yours)).retry_after == pytest.approx(60, abs=0.2)

    run(main())


def test_a_call_that_was_cancelled_gives_its_lease_back_and_says_nothing(commit: Commit) -> None:
    async def main() -> None:
        _, (mine, yours) = processes([{"status": 503, "times": 3}, {"reply": "hello", "delay": "5s"}], ["hello"])
        await fails(mine, 3, commit)
        await asyncio.sleep(30)
        call = asyncio.ensure_future(mine.answer(commit=commit))
        await asyncio.sleep(1)
        await refused(yours, commit)
        call.cancel()
        await asyncio.sleep(0.1)
        await yours.answer(commit=commit)

    run(main())


def test_away_it_goes_on_from_what_was_told_last_and_no_call_fails_for_it(commit: Commit) -> None:
    async def main() -> None:
        keeper, (mine, yours) = processes([{"status": 503, "times": 3}, "hello"], [503, 503, 503, "hello"])
        await fails(mine, 2, commit)
        keeper.away = True
        await fails(mine, 1, commit)
        await refused(mine, commit)
        await fails(yours, 2, commit)
        await asyncio.sleep(30)
        await mine.answer(commit=commit)
        assert breaker_of(mine).state.state == "closed"

    run(main())


def test_at_the_return_the_keepers_word_counts(commit: Commit) -> None:
    async def main() -> None:
        keeper, (mine, yours) = processes([FAILS], ["hello", "hello"])
        await yours.answer(commit=commit)
        keeper.away = True
        await fails(mine, 3, commit)
        await refused(mine, commit)
        keeper.away = False
        await asyncio.sleep(1.5)
        await yours.answer(commit=commit)
        await refused(mine, commit)  # it asks behind whether that is still so
        await asyncio.sleep(0.1)
        assert breaker_of(mine).state.state == "closed"

    run(main())


def test_a_keeper_that_forgot_is_told_what_was_known(commit: Commit) -> None:
    async def main() -> None:
        keeper, (mine, yours) = processes([FAILS], ["hello"])
        await fails(mine, 1, commit)
        keeper.away = True
        await fails(mine, 2, commit)
        keeper.away, keeper.rows = False, {}
        await asyncio.sleep(1.5)
        await refused(mine, commit)
        await asyncio.sleep(0.1)
        await refused(yours, commit)

    run(main())


def test_what_a_person_does_in_one_process_holds_for_all(commit: Commit) -> None:
    async def main() -> None:
        _, (mine, yours) = processes(["hello"], ["hello", "hello"])
        await yours.answer(commit=commit)
        breaker_of(mine).force_open()
        await asyncio.sleep(0.1)
        assert (await refused(yours, commit)).retry_after is None
        breaker_of(mine).reset()
        await asyncio.sleep(1.1)
        await refused(yours, commit)
        await asyncio.sleep(0.1)
        await yours.answer(commit=commit)

    run(main())
