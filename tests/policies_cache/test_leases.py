"""Equal calls of several processes, in virtual time: each process is a chain of its own with the same state."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.errors import DeadlineExceeded, InvalidRequest, ServerError, StreamBroken, WizardError
from wizard_dsl.core.events import CacheHit, CacheMissed, CacheShared, CacheStored
from wizard_dsl.policies import _leases
from wizard_dsl.policies._lease_state import decide
from wizard_dsl.policies.cache import CACHE
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.shared import MemoryKeeper
from wizard_dsl.testing.virtual import run

SLOW = {"reply": "the answer", "first_chunk": "2s", "usage": {"input_tokens": 3, "output_tokens": 2}}

both = pytest.mark.parametrize("commit", ["end", "content"])


def processes(
    count: int, script: Sequence[Any] = (SLOW,), keeper: MemoryKeeper | None = None, **config: Any
) -> tuple[MemoryKeeper, list[ScriptedChain]]:
    keeper = keeper or MemoryKeeper(LoopClock())
    cache: Mapping[str, Any] = {"ttl": "1h", "ttl_jitter": "0%", **config}
    return keeper, [build_chain({"a": script}, [(CACHE, cache)], state=keeper.member()) for _ in range(count)]


async def told(chain: ScriptedChain, **options: Any) -> str:
    """The answer, or the kind of the error."""
    try:
        async with await chain.ask("same", **options) as response:
            return (await response.read()).text + (" (shared)" if response.served.shared else "")
    except WizardError as error:
        return error.kind


async def all_told(chains: Sequence[ScriptedChain], **options: Any) -> list[str]:
    return list(await asyncio.gather(*(told(each, **options) for each in chains)))


def asked(chains: Sequence[ScriptedChain]) -> list[int]:
    return [len(each.attempts) for each in chains]


@both
def test_one_process_asks_and_the_others_give_its_answer(commit: Any) -> None:
    async def main() -> None:
        keeper, chains = processes(4)
        clock = LoopClock()
        answers = await all_told(chains, commit=commit)
        assert answers == ["the answer"] + ["the answer (shared)"] * 3
        assert asked(chains) == [1, 0, 0, 0]
        assert clock.now() == pytest.approx(2.0, abs=_leases.LONGEST)
        for each in chains[1:]:
            assert [type(event) for event in each.events()] == [CacheShared]
        await clock.sleep(3)
        assert all(until <= clock.wall() for _, until in keeper.rows.values()), "nothing is left behind"

    run(main())


def test_who_follows_shows_what_the_answer_took_and_who_gave_it() -> None:
    async def main() -> None:
        _, (first, second) = processes(2)
        leading = asyncio.ensure_future(told(first))
        await LoopClock().sleep(0.1)
        async with await second.ask("same") as response:
            completion = await response.read()
            assert (response.served.target, response.served.shared, response.served.cached) == ("a", True, False)
        assert (completion.usage.input_tokens, completion.usage.output_tokens) == (3, 2)
        await leading

    run(main())


def test_calls_of_one_process_follow_its_own_flight_and_ask_nobody() -> None:
    async def main() -> None:
        keeper, (one, _) = processes(2)
        leading = asyncio.ensure_future(told(one))
        await LoopClock().sleep(0.1)
        before = len(keeper.batches)
        assert await all_told([one] * 5) == ["the answer (shared)"] * 5
        assert len(keeper.batches) - before <= 3, "two renewals and the end"
        await leading

    run(main())


@both
def test_an_error_is_shared_once_and_not_kept(commit: Any) -> None:
    async def main() -> None:
        _, chains = processes(3, [{"status": 503, "delay": "1s", "retry_after": "7s"}, "later"])
        results = await asyncio.gather(*(chain.ask("same", commit=commit) for chain in chains), return_exceptions=True)
        for each in results:
            assert isinstance(each, ServerError)
            assert (each.status, each.retry_after) == (503, 7.0)
        assert asked(chains) == [1, 0, 0]
        assert await told(chains[1], commit=commit) == "server"
        assert asked(chains) == [1, 1, 0], "who comes later asks"

    run(main())


def test_an_answer_that_is_not_stored_is_not_shared_and_those_who_waited_go_alone() -> None:
    async def main() -> None:
        _, chains = processes(3, [{**SLOW, "finish_reason": "length"}])
        assert await all_told(chains) == ["the answer"] * 3
        assert asked(chains) == [1, 1, 1]
        assert LoopClock().now() < 4.5, "at the same time"

    run(main())


def test_without_a_time_to_live_nobody_waits() -> None:
    async def main() -> None:
        keeper, chains = processes(3, ttl="0s")
        assert await all_told(chains) == ["the answer"] * 3
        assert LoopClock().now() == pytest.approx(2.0)
        assert keeper.batches == []

    run(main())


def test_a_leader_that_is_cancelled_or_out_of_time_is_followed_by_another() -> None:
    async def main() -> None:
        _, chains = processes(4)
        clock = LoopClock()
        leading = asyncio.ensure_future(told(chains[0]))
        await clock.sleep(0.5)
        others = asyncio.ensure_future(all_told(chains[1:]))
        await clock.sleep(0.5)
        leading.cancel()
        assert sorted(await others) == ["the answer", "the answer (shared)", "the answer (shared)"]
        assert sum(asked(chains)) == 2
        assert clock.now() == pytest.approx(3.0, abs=2 * _leases.LONGEST)

    run(main())


def test_a_leader_that_dies_is_followed_by_another_when_its_lease_ends() -> None:
    async def main() -> None:
        keeper, chains = processes(3, [{**SLOW, "first_chunk": "20s"}])
        clock = LoopClock()
        dead, (heir, *_) = keeper.member(), chains
        key = await _key(heir)
        lasts = {"what": "take", "owner": "dead", "following": "", "lasts": _leases.LASTS}
        await dead.decide(_leases.LEASE, key, lasts)
        answers = await all_told(chains)
        assert sorted(answers) == ["the answer"] + ["the answer (shared)"] * 2
        assert clock.now() == pytest.approx(20 + _leases.LASTS, abs=2 * _leases.LONGEST), "and it renews its own"
        assert sum(asked(chains)) == 1

    run(main())


async def _key(chain: ScriptedChain) -> str:
    """The key of the lease of a call of `told`."""
    keeper, (probe,) = processes(1, ["x"])
    await told(probe)
    return next(iter(keeper.rows))


def test_a_follower_has_its_own_deadline() -> None:
    async def main() -> None:
        _, (first, second) = processes(2)
        leading = asyncio.ensure_future(told(first))
        await LoopClock().sleep(0.1)
        with pytest.raises(DeadlineExceeded, match="another process"):
            await second.ask("same", deadline=1.0)
        assert LoopClock().now() == pytest.approx(1.1)
        assert await leading == "the answer"

    run(main())


def test_a_follower_that_is_cancelled_leaves_nothing_behind() -> None:
    async def main() -> None:
        keeper, (first, second) = processes(2)
        keeper.delay = 0.1
        for moment in (0.05, 0.15, 0.4):  # while it asks, and while it waits
            going = asyncio.ensure_future(told(second))
            await LoopClock().sleep(moment)
            going.cancel()
            await LoopClock().sleep(1)
        keeper.delay = 0.0
        began = LoopClock().now()
        assert await told(first) == "the answer"
        assert LoopClock().now() - began == pytest.approx(2.0), "no lease stood in the way"

    run(main())


@both
def test_a_cancel_at_every_await_leaves_no_lease(commit: Any) -> None:
    """Of three equal calls of three processes, any one is cancelled at any step of the loop: the others get their
    answer, and one after all finds no lease in its way."""

    async def main(victim: int, steps: int) -> bool:
        keeper, chains = processes(3, [{**SLOW, "times": "forever"}], ttl_jitter="0%")
        clock = LoopClock()
        tasks = [asyncio.ensure_future(told(each, commit=commit)) for each in chains]
        for _ in range(steps):
            await asyncio.sleep(0)
        cancelled = tasks[victim].cancel()
        others = [await each for index, each in enumerate(tasks) if index != victim]
        assert {each.removesuffix(" (shared)") for each in others} == {"the answer"}
        await clock.sleep(_leases.LINGERS + _leases.LASTS + 1)
        assert all(until <= clock.wall() for _, until in keeper.rows.values())
        assert chains[0].shared.of("leases")["chains.chain.cache"]._timer is None
        return cancelled

    for victim in range(3):
        for steps in range(40):
            if not run(main(victim, steps)):
                break


def test_while_the_state_is_away_each_process_goes_alone_at_once() -> None:
    async def main() -> None:
        keeper, chains = processes(3)
        keeper.away = True
        assert await all_told(chains) == ["the answer"] * 3
        assert LoopClock().now() == pytest.approx(2.0)

    run(main())


def test_state_that_goes_away_under_a_flight_costs_no_call() -> None:
    async def main() -> None:
        keeper, chains = processes(3)
        going = asyncio.ensure_future(all_told(chains))
        await LoopClock().sleep(1)
        keeper.away = True
        assert await going == ["the answer"] * 3
        assert LoopClock().now() < 1 + 2 + 2 * _leases.LONGEST

    run(main())


@pytest.mark.parametrize("reply", [None, ["error", "{"], ["answer", "{"], ["what", "x"], [1, 2]])
def test_a_reply_that_makes_no_sense_costs_no_call(reply: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from msgspec.structs import replace

    monkeypatch.setattr(_leases, "LEASE", replace(_leases.LEASE, apply=lambda row, now, arguments: (None, reply, 0.0)))

    async def main() -> None:
        _, chains = processes(2)
        assert await all_told(chains) == ["the answer"] * 2

    run(main())


def test_a_large_answer_is_looked_for_in_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores in memory are each process's own here, so that who follows goes alone in the end."""
    monkeypatch.setattr(_leases, "HANDED", 10)

    async def main() -> None:
        keeper, chains = processes(2)
        assert await all_told(chains) == ["the answer"] * 2
        assert "the answer" not in str(keeper.rows)

    run(main())


@both
def test_a_stream_that_breaks_is_an_error_of_all(commit: Any) -> None:
    async def main() -> None:
        _, chains = processes(2, [{**SLOW, "cut_after": 1}, "later"])
        with pytest.raises(StreamBroken):
            async with await chains[0].ask("same", commit="content") as response:
                waiting = asyncio.ensure_future(told(chains[1], commit=commit))
                await LoopClock().sleep(0.1)
                await response.read()
        assert await waiting == "mid_stream"
        assert asked(chains) == [1, 0]

    run(main())


def test_a_refused_request_is_remembered_by_the_leader_and_shared_meanwhile() -> None:
    async def main() -> None:
        _, chains = processes(2, [{"status": 400, "delay": "1s"}], negative="10s")
        results = await asyncio.gather(*(chain.ask("same") for chain in chains), return_exceptions=True)
        assert all(isinstance(each, InvalidRequest) for each in results)
        assert asked(chains) == [1, 0]

    run(main())


def test_with_single_flight_off_and_for_hits_no_lease_is_sought() -> None:
    async def main() -> None:
        keeper, chains = processes(2, single_flight=False)
        assert await all_told(chains) == ["the answer"] * 2
        assert keeper.batches == []
        keeper, (chain,) = processes(1)
        await told(chain)
        await LoopClock().sleep(1)
        before = list(keeper.batches)
        await told(chain)
        assert chain.events(CacheHit, CacheMissed, CacheStored)[0].name == "cache_hit"
        assert keeper.batches == before

    run(main())


def test_the_lease_is_nobodys_after_its_time_and_its_end_counts_for_its_owner_alone() -> None:
    def take(owner: str, following: str = "") -> dict[str, Any]:
        return {"what": "take", "owner": owner, "lasts": 3.0, "following": following}

    end = {"what": "end", "lasts": 2.0, "kind": "answer", "value": "v"}
    row, reply, keep = decide(None, 10.0, take("a"))
    assert (reply, keep) == (["lead", ""], 3.0)
    assert decide(row, 12.9, take("b"))[1] == ["wait", "a"]
    assert decide(row, 12.9, take("a"))[1] == ["lead", ""], "again after a reply that was lost"
    assert decide(row, 13.0, take("b"))[1] == ["lead", ""]
    assert decide(row, 12.0, {**end, "owner": "b"})[:2] == (row, ["lost", ""])
    assert decide(row, 13.0, {**end, "owner": "a"})[:2] == (None, ["lost", ""])
    renewed, reply, keep = decide(row, 12.0, {"what": "renew", "owner": "a", "lasts": 3.0})
    assert (reply, keep) == (["held", ""], 3.0)
    ended, reply, keep = decide(renewed, 14.0, {**end, "owner": "a"})
    assert (reply, keep) == (["ended", ""], 2.0)
    assert decide(ended, 15.0, take("b", "a"))[1] == ["answer", "v"]
    assert decide(ended, 16.0, take("b", "a"))[1] == ["lead", ""]
    assert decide(ended, 15.0, take("c"))[1] == ["lead", "a"]
    taken, _, _ = decide(ended, 15.0, take("c"))
    assert decide(taken, 15.5, take("b", "a"))[1] == ["answer", "v"], "though the next one is under way"
    assert decide(renewed, 14.0, {**end, "owner": "a", "kind": "", "value": ""})[:2] == (None, ["ended", ""])
