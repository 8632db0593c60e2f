"""The breaker in a ladder: verdicts, the gate, streams, what is told."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pybreaker
import pytest

from wizard_dsl.core.errors import AllFallbacksFailed, CircuitOpen, ServerError, WizardError
from wizard_dsl.core.events import BreakerChanged, ObserverFailed, TargetSkipped
from wizard_dsl.core.run import Branch
from wizard_dsl.policies._breaker import Breaker
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER, CircuitBreakerConfig
from wizard_dsl.policies.concurrency import CONCURRENCY
from wizard_dsl.policies.rate_limit import RATE_LIMIT
from wizard_dsl.policies.timeout import TIMEOUT
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.virtual import EPOCH, run

Commit = Literal["end", "content"]


@pytest.fixture(params=["end", "content"])
def commit(request: pytest.FixtureRequest) -> Commit:
    return request.param


def build(script: list[Any], timeout: str = "10s", **config: Any) -> ScriptedChain:
    return build_chain({"a": script}, [(CIRCUIT_BREAKER, config), (TIMEOUT, {"total": timeout})])


def breaker_of(chain: ScriptedChain) -> Breaker:
    (breaker,) = chain.shared.of("circuit_breaker").values()
    return breaker


async def failure(chain: ScriptedChain, **options: Any) -> WizardError:
    with pytest.raises(WizardError) as caught:
        await chain.answer(**options)
    return caught.value


async def kinds(chain: ScriptedChain, times: int, **options: Any) -> list[str]:
    return [(await failure(chain, **options)).kind for _ in range(times)]


def test_it_opens_after_five_failures_and_refuses_without_a_call(commit: Commit) -> None:
    async def main() -> None:
        chain = build([503] * 9)
        assert await kinds(chain, 6, commit=commit) == ["server"] * 5 + ["circuit_open"]
        assert len(chain.scripts["a"].calls) == 5
        error = await failure(chain)
        assert isinstance(error, CircuitOpen) and error.retry_after == 30 and "30 s more" in error.message

    run(main())


def test_it_closes_after_a_successful_probe(commit: Commit) -> None:
    async def main() -> None:
        chain = build([503] * 5 + ["hello"] * 3)
        await kinds(chain, 5)
        await asyncio.sleep(30)
        for _ in range(3):
            assert (await chain.answer(commit=commit)).text == "hello"
        assert breaker_of(chain).state.state == "closed"

    run(main())


@pytest.mark.parametrize(
    "neutral",
    [
        401,
        404,
        400,
        {"status": 429, "retry_after": "1us"},
        {"status": 400, "body": '{"error": {"code": "context_length_exceeded", "message": "m"}}'},
    ],
)
def test_a_neutral_kind_never_opens_it(neutral: Any) -> None:
    async def main() -> None:
        chain = build([neutral] * 9, failure_threshold=1)
        assert "circuit_open" not in await kinds(chain, 3)
        assert breaker_of(chain).state.state == "closed"

    run(main())


@pytest.mark.parametrize(
    ("failing", "kind"),
    [
        (503, "server"),
        ({"refuse": True}, "connect"),
        ({"reply": "x", "stall_after": 0}, "timeout"),
        ({"reply": ""}, "malformed_response"),
        ({"reply": "a b", "cut_after": 0}, "server"),
    ],
)
def test_these_failures_open_it(failing: Any, kind: str, commit: Commit) -> None:
    async def main() -> None:
        chain = build([failing] * 2, failure_threshold=1)
        assert await kinds(chain, 2, commit=commit) == [kind, "circuit_open"]

    run(main())


def test_a_429_opens_it_only_if_trip_on_names_it() -> None:
    async def main() -> None:
        refused = {"status": 429, "retry_after": "1us"}
        chain = build([refused] * 2, failure_threshold=1, trip_on={"rate_limited": True})
        assert (await failure(chain)).kind == "rate_limited"
        assert breaker_of(chain).state.state == "open"

    run(main())


def test_a_status_in_trip_on_wins_over_its_kind() -> None:
    async def main() -> None:
        chain = build([503, 500], failure_threshold=1, trip_on={"server": False, "500": True})
        await failure(chain)
        assert breaker_of(chain).state.state == "closed"
        await failure(chain)
        assert breaker_of(chain).state.state == "open"

    run(main())


def test_a_stream_is_a_success_at_its_first_content_and_a_break_takes_its_place() -> None:
    async def main() -> None:
        chain = build([{"reply": "one two", "chunk_every": "1s", "cut_after": 1}] * 2, failure_threshold=1)
        response = await chain.ask(commit="content")
        state = breaker_of(chain).state
        assert (state.counts.first, state.counts.second) == (1, 0)
        with pytest.raises(WizardError):
            await response.read()
        assert state.state == "open"

    run(main())


def test_a_stream_that_the_consumer_leaves_stays_a_success() -> None:
    async def main() -> None:
        chain = build([{"reply": "one two", "chunk_every": "1s"}])
        async with await chain.ask(commit="content"):
            pass
        state = breaker_of(chain).state
        assert (state.counts.first, state.counts.second) == (1, 0)

    run(main())


def test_a_stream_cut_by_the_deadline_stays_a_success() -> None:
    async def main() -> None:
        chain = build([{"reply": "one two", "chunk_every": "1h"}])
        assert (await failure(chain, commit="content", deadline=5)).kind == "deadline"
        state = breaker_of(chain).state
        assert (state.counts.first, state.counts.second) == (1, 0)

    run(main())


def test_a_probe_whose_stream_breaks_opens_it_again_for_twice_as_long() -> None:
    async def main() -> None:
        chain = build([503, {"reply": "a b", "chunk_every": "1s", "cut_after": 1}], failure_threshold=1)
        await failure(chain)
        await asyncio.sleep(30)
        response = await chain.ask(commit="content")
        assert breaker_of(chain).state.state == "closed"
        with pytest.raises(WizardError):
            await response.read()
        assert breaker_of(chain).state.closed_for(chain.clock.now()) == 60

    run(main())


def test_half_open_others_get_circuit_open_at_once_without_a_queue() -> None:
    async def main() -> None:
        chain = build([503, {"reply": "slow", "first_chunk": "5s"}], failure_threshold=1)
        await failure(chain)
        await asyncio.sleep(30)
        probe = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(1)
        assert (await failure(chain)).kind == "circuit_open"
        assert chain.clock.now() == 31
        assert (await probe).text == "slow"

    run(main())


def test_a_cancelled_probe_gives_its_lease_back() -> None:
    async def main() -> None:
        chain = build([503, {"reply": "slow", "first_chunk": "5s"}, "hello"], failure_threshold=1)
        await failure(chain)
        await asyncio.sleep(30)
        probe = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(1)
        probe.cancel()
        await asyncio.wait([probe])
        assert breaker_of(chain).state.state == "half_open"
        assert (await chain.answer()).text == "hello"

    run(main())


def test_a_lease_expires_after_the_attempts_total_timeout_and_a_second() -> None:
    async def main() -> None:
        chain = build([503], timeout="10s", failure_threshold=1)
        await failure(chain)
        state = breaker_of(chain).state
        assert chain.targets["a"].total == 10
        await asyncio.sleep(30)
        assert state.admit(30, (chain.targets["a"].total or 0) + 1) is not None
        assert state.closed_for(40.5) == 0.5 and state.closed_for(41) is None

    run(main())


def test_a_refusal_after_the_wait_gives_the_token_back_and_moves_on() -> None:
    """Two calls pass the peek; the second waits for a place while the first takes the only lease."""

    async def main() -> None:
        policies = [
            (CIRCUIT_BREAKER, {"failure_threshold": 1}),
            (RATE_LIMIT, {"rate": "1/minute", "burst": 3}),
        ]
        chain = build_chain({"a": [503, {"reply": "slow", "first_chunk": "5s"}], "b": ["b1", "b2"]}, policies)
        assert (await chain.answer()).text == "b1"
        (line,) = [line for key, line in chain.shared.of("rate_limit").items() if key == "a"]
        before = line._gate.level(chain.clock.now())
        await asyncio.sleep(30)
        handler = chain.targets["a"]
        probe = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        handler.gates.clear()  # the second call looked before the first took the lease
        assert (await chain.answer()).text == "b2"
        assert line._gate.level(30.0) == pytest.approx(before + 0.5 - 1)
        assert [event.reason for event in chain.events(TargetSkipped)] == ["circuit_open"]  # type: ignore[attr-defined]
        assert (await probe).text == "slow"

    run(main())


def test_our_own_limits_and_cancelled_calls_never_count() -> None:
    async def main() -> None:
        slow = {"reply": "slow", "first_chunk": "5s"}
        policies = [(CIRCUIT_BREAKER, {"failure_threshold": 1}), (CONCURRENCY, {"limit": 1, "max_wait": "0s"})]
        chain = build_chain({"a": [slow, slow]}, policies)
        first = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(1)
        assert (await failure(chain)).kind == "local_limit"
        first.cancel()
        await asyncio.wait([first])
        state = breaker_of(chain).state
        assert state.state == "closed" and (state.counts.first, state.counts.second) == (0, 0)

    run(main())


def test_one_state_per_target_is_shared_by_all_chains_that_use_it_unless_per_chain() -> None:
    async def main() -> None:
        first = build_chain({"a": [503]}, [(CIRCUIT_BREAKER, {"failure_threshold": 1})])
        same = [(CIRCUIT_BREAKER, {"failure_threshold": 1})]
        second = build_chain({"a": ["hello"]}, same, shared=first.shared, name="second")
        own = [(CIRCUIT_BREAKER, {"failure_threshold": 1, "per": "chain"})]
        third = build_chain({"a": ["hello"]}, own, shared=first.shared, name="third")
        await failure(first)
        assert (await failure(second)).kind == "circuit_open"
        assert (await third.answer()).text == "hello"

    run(main())


def test_each_transition_is_told_once_to_events_and_to_pybreakers_listeners() -> None:
    class Listener(pybreaker.CircuitBreakerListener):
        seen: list[tuple[str, str]] = []

        def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
            self.seen.append((old_state.name, new_state.name))

    async def main() -> None:
        chain = build([503, "hello"], failure_threshold=1)
        breaker_of(chain).add_listener(Listener())
        await failure(chain)
        path = "chains.chain.targets[0].circuit_breaker"
        assert chain.events(BreakerChanged) == [BreakerChanged(path=path, target="a", before="closed", after="open")]
        await asyncio.sleep(30)
        await chain.answer()
        told = [(event.before, event.after) for event in chain.events(BreakerChanged)]  # type: ignore[attr-defined]
        assert told == [("open", "half_open"), ("half_open", "closed")]
        assert Listener.seen == [("closed", "open"), ("open", "half-open"), ("half-open", "closed")]
        opened_at = breaker_of(chain)._circuit._state_storage.opened_at
        assert opened_at.timestamp() == EPOCH

    run(main())


def test_a_listener_that_comes_late_finds_the_breaker_as_it_is_and_hears_what_follows() -> None:
    seen: list[tuple[str, str, str]] = []

    class Listener(pybreaker.CircuitBreakerListener):
        def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
            seen.append((old_state.name, new_state.name, cb.current_state))

    async def main() -> None:
        chain = build([503, "hello"], failure_threshold=1)
        await failure(chain)
        await asyncio.sleep(10)
        breaker_of(chain).add_listener(Listener())
        circuit = breaker_of(chain)._circuit
        assert circuit.current_state == "open" and circuit._state_storage.opened_at.timestamp() == EPOCH
        await asyncio.sleep(20)
        await chain.answer()
        assert seen == [("open", "half-open", "half-open"), ("half-open", "closed", "closed")]

    run(main())


def test_a_listener_that_raises_is_reported_and_holds_no_lease(commit: Commit) -> None:
    class Broken(pybreaker.CircuitBreakerListener):
        def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
            raise RuntimeError("a bug of the listener")

    async def main() -> None:
        chain = build([500, "x"], failure_threshold=1, reset_timeout="5s")
        breaker = breaker_of(chain)
        breaker.add_listener(Broken())
        with pytest.raises(ServerError):
            await chain.answer(commit=commit)
        await asyncio.sleep(5)
        assert (await chain.answer(commit=commit)).text == "x"
        names = [event.name for event in chain.events(BreakerChanged, ObserverFailed)]
        assert names == ["circuit_changed", "observer_failed"] * 2 and not breaker.state._leases

    run(main())


async def overtaken(chain: ScriptedChain, reason: Literal["", "overtaken"], commit: Commit) -> None:
    """An attempt that is cancelled after a second, for `reason`."""
    cell = Branch()
    loser = asyncio.ensure_future(chain.ask(commit=commit, branch=cell))
    await asyncio.sleep(1)
    cell.reason = reason
    loser.cancel()
    await asyncio.wait([loser])
    assert loser.cancelled()


def test_a_hanging_target_does_not_hide_behind_hedges(commit: Commit) -> None:
    async def main() -> None:
        chain = build([{"reply": "slow", "first_chunk": "5s", "times": "forever"}])
        for _ in range(12):
            await overtaken(chain, "", commit)
        assert breaker_of(chain).state.slow.first == 0
        for _ in range(10):
            await overtaken(chain, "overtaken", commit)
        told = [(event.before, event.after) for event in chain.events(BreakerChanged)]  # type: ignore[attr-defined]
        assert told == [("closed", "open")]

    run(main())


def test_first_content_later_than_slow_after_is_slow_and_a_success(commit: Commit) -> None:
    async def main() -> None:
        on_time, late = {"reply": "a", "first_chunk": "2s"}, {"reply": "a", "first_chunk": "2001ms"}
        chain = build([on_time, late, late], slow_after="2s", slow_ratio="60%", minimum_calls=3)
        for seen in ((1, 0), (2, 1)):
            await chain.answer(commit=commit)
            state = breaker_of(chain).state
            assert (state.counts.first, state.slow.second) == seen
        await chain.answer(commit=commit)
        assert state.state == "open"

    run(main())


def test_the_rest_of_a_stream_may_take_its_time() -> None:
    async def main() -> None:
        chain = build([{"reply": "a b c", "chunk_every": "3s"}], slow_after="2s")
        await chain.answer(commit="content")
        assert breaker_of(chain).state.slow.second == 0

    run(main())


def test_manual_control_opens_closes_and_resets() -> None:
    async def main() -> None:
        chain = build(["hello", 503, 503, "hello"], failure_threshold=1)
        breaker = breaker_of(chain)
        breaker.force_open()
        error = await failure(chain)
        assert error.kind == "circuit_open" and error.retry_after is None
        await asyncio.sleep(1e6)
        assert (await failure(chain)).kind == "circuit_open"
        breaker.force_close()
        await chain.answer()
        assert await kinds(chain, 2) == ["server", "server"]
        breaker.reset()
        assert (await chain.answer()).text == "hello"

    run(main())


def test_all_targets_open_is_circuit_open_with_the_smallest_remaining_time() -> None:
    async def main() -> None:
        chain = build_chain({"a": [503], "b": [503]}, [(CIRCUIT_BREAKER, {"failure_threshold": 1})])
        assert isinstance(await failure(chain), AllFallbacksFailed)
        await asyncio.sleep(10)
        error = await failure(chain)
        assert isinstance(error, CircuitOpen) and error.retry_after == 20

    run(main())


def test_keys_that_do_not_fit_together_are_pointed_out() -> None:
    def check(**keys: Any) -> list[str]:
        return list(CIRCUIT_BREAKER.check(CircuitBreakerConfig(**keys)))

    assert check() == []
    assert "can ever open" in check(failure_threshold="off")[0]
    assert check(failure_threshold="off", slow_after="5s") == []
    assert "below reset_timeout" in check(max_reset_timeout="1s")[0]
    assert "at most 100%" in check(failure_ratio="150%")[0]
    assert "slow_ratio" in check(slow_ratio="0%")[0]
