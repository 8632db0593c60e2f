"""The primary comes back, all breakers are open, a target is switched off: what a chain does and says."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from wizard_dsl.core.errors import AuthError, CircuitOpen, ContractViolated, ServerError, WizardError
from wizard_dsl.core.events import PrimaryRecovered, TargetSkipped
from wizard_dsl.core.run import Failure
from wizard_dsl.core.target import Primary, Target, TargetState
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.strategies._outage import is_out, note
from wizard_dsl.strategies.hedged import HEDGED
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

Commit = Literal["end", "content"]
BREAKER = [(CIRCUIT_BREAKER, {"failure_threshold": 1})]
FOREVER = {"reply": "hello", "times": "forever"}


@pytest.fixture(params=["end", "content"])
def commit(request: pytest.FixtureRequest) -> Commit:
    return request.param


async def failure(chain: ScriptedChain, **options: Any) -> WizardError:
    with pytest.raises(WizardError) as caught:
        await chain.answer(**options)
    return caught.value


# -- the primary comes back ---------------------------------------------------------------------------


def test_that_the_primary_answers_again_is_told_once(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [503, FOREVER], "b": [FOREVER]}, BREAKER)
        for _ in range(3):
            await chain.answer(commit=commit)
            assert chain.events(PrimaryRecovered) == []
            await chain.clock.sleep(5)
        await chain.clock.sleep(15)
        await chain.answer(commit=commit)
        assert chain.events(PrimaryRecovered) == [PrimaryRecovered(path="chains.chain", target="a", away=30.0, calls=3)]
        await chain.answer(commit=commit)
        assert chain.events(PrimaryRecovered) == []

    run(main())


def test_a_hedge_that_overtakes_is_no_outage_of_the_primary() -> None:
    async def main() -> None:
        slow = {"reply": "x", "delay": "9s"}
        chain = build_chain({"a": [slow, FOREVER], "b": [FOREVER]}, strategy=HEDGED, strategy_config={"after": "1s"})
        await chain.answer()
        assert chain.transcript.attempts[-1].target == "b"
        await chain.answer()
        assert chain.events(PrimaryRecovered) == []

    run(main())


def test_what_the_request_is_to_blame_for_is_no_outage() -> None:
    assert not is_out(ContractViolated("no", violations=()))
    assert is_out(ServerError("503")) and is_out(AuthError("401")) and is_out(CircuitOpen("open"))


def test_the_state_of_the_primary_in_numbers() -> None:
    first, second = (Target(name, at, TargetState(name)) for at, name in enumerate("ab"))
    primary, out = Primary(), [Failure(0, "a", ServerError("503"))]
    assert note(primary, first, [], 1.0, "p") is None
    assert note(primary, second, [], 2.0, "p") is None and primary.since is None
    assert note(primary, second, out, 3.0, "p") is None
    assert note(primary, second, out, 4.0, "p") is None
    assert note(primary, first, [], 9.0, "p") == PrimaryRecovered(path="p", target="a", away=6.0, calls=2)
    assert note(primary, first, [], 9.5, "p") is None


# -- all breakers are open ----------------------------------------------------------------------------


async def all_open(scripts: dict[str, Any], *more: Any, when: Literal["fail", "probe_first"]) -> ScriptedChain:
    chain = build_chain(scripts, [*BREAKER, *more])
    await failure(chain)
    chain.chain.when_all_open = when
    await chain.clock.sleep(10)
    return chain


def test_by_default_a_call_fails_with_the_time_that_is_left() -> None:
    async def main() -> None:
        chain = await all_open({"a": [503], "b": [503]}, when="fail")
        error = await failure(chain)
        assert isinstance(error, CircuitOpen) and error.retry_after == 20.0 and chain.attempts == []

    run(main())


def test_one_call_is_let_through_to_the_first_target_and_closes_its_breaker(commit: Commit) -> None:
    async def main() -> None:
        chain = await all_open({"a": [503, FOREVER], "b": [503]}, when="probe_first")
        assert (await chain.answer(commit=commit)).text == "hello"
        assert chain.story() == "a ok"
        assert chain.targets["a"].closed_for(chain.clock.now()) is None

    run(main())


def test_a_probe_that_fails_is_not_repeated_and_opens_the_breaker_for_longer(commit: Commit) -> None:
    async def main() -> None:
        retry = (RETRY, {"max_attempts": 3})
        chain = await all_open({"a": [503, 503], "b": [503]}, retry, when="probe_first")
        error = await failure(chain, commit=commit)
        assert error.kind == "server" and chain.story() == "a 503"
        assert chain.targets["a"].closed_for(chain.clock.now()) == 60.0

    run(main())


def test_calls_at_once_share_the_leases_of_the_probe() -> None:
    from asyncio import gather

    async def main() -> None:
        slow = {"reply": "hello", "delay": "3s"}
        chain = await all_open({"a": [503, slow], "b": [503]}, when="probe_first")
        results = await gather(*(chain.answer() for _ in range(3)), return_exceptions=True)
        assert [type(each).__name__ for each in results] == ["Completion", "CircuitOpen", "CircuitOpen"]

    run(main())


def test_a_target_that_a_429_blocks_is_no_open_breaker() -> None:
    async def main() -> None:
        chain = await all_open({"a": [503], "b": [503]}, when="probe_first")
        chain.targets["b"].state.block(chain.clock.now() + 1000, "rate_limited")
        error = await failure(chain)
        assert error.kind == "rate_limited" and chain.attempts == []

    run(main())


def test_who_is_closed_by_hand_is_not_probed_and_the_next_one_is() -> None:
    async def main() -> None:
        chain = await all_open({"a": [503], "b": [503, FOREVER], "c": [503]}, when="probe_first")
        chain.targets["a"].state.disabled = True
        await chain.answer()
        assert chain.story() == "b ok"

    run(main())


# -- switched off -------------------------------------------------------------------------------------


def test_a_target_that_is_switched_off_is_skipped_for_that_reason(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [FOREVER], "b": [FOREVER]})
        chain.targets["a"].state.disabled = True
        response = await chain.ask(commit=commit)
        await response.read()
        assert response.served.target == "b"
        assert chain.events(TargetSkipped) == [TargetSkipped(path="chains.chain", target="a", reason="disabled")]
        chain.targets["b"].state.disabled = True
        error = await failure(chain, commit=commit)
        assert error.kind == "circuit_open" and error.retry_after is None and "switched off" in error.message
        chain.targets["a"].state.disabled = False
        assert (await chain.ask(commit=commit)).served.target == "a"

    run(main())


def test_a_retry_leaves_a_target_that_is_switched_off_while_it_waits() -> None:
    async def main() -> None:
        chain = build_chain({"a": [503], "b": [FOREVER]}, [(RETRY, {"base": "5s", "jitter": "none"})])
        state = chain.targets["a"].state
        chain.clock.call_at(2.0, setattr, state, "disabled", True)
        await chain.answer()
        assert chain.story() == "a 503 → b ok"

    run(main())
