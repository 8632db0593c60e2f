"""`circuit_breaker.probe`: an open breaker without traffic notices that its target is back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wizard_dsl.core.errors import CircuitOpen, WizardError
from wizard_dsl.core.events import BreakerChanged, BreakerProbed
from wizard_dsl.policies._breaker import Breaker
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.rate_limit import RATE_LIMIT
from wizard_dsl.policies.retry_budget import RETRY_BUDGET
from wizard_dsl.policies.timeout import TIMEOUT
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.virtual import Stalled, run

HANGS = {"reply": "x", "first_chunk": "9h"}


def build(script: list[Any], *more: Any, **config: Any) -> ScriptedChain:
    keys = {"failure_threshold": 1, "probe": True, **config}
    return build_chain({"a": script}, [(CIRCUIT_BREAKER, keys), (TIMEOUT, {"total": "10s"}), *more])


def breaker_of(chain: ScriptedChain) -> Breaker:
    (breaker,) = chain.shared.of("circuit_breaker").values()
    return breaker


def calls(chain: ScriptedChain) -> int:
    return len(chain.scripts["a"].calls)


async def opened(chain: ScriptedChain) -> None:
    with pytest.raises(WizardError):
        await chain.answer()
    assert breaker_of(chain).state.state == "open"


def test_the_first_probe_is_due_when_the_breaker_may_be_half_open_and_closes_it() -> None:
    async def main() -> None:
        chain = build([503, "ok", "hello"])
        await opened(chain)
        await asyncio.sleep(29.9)
        assert calls(chain) == 1
        await asyncio.sleep(0.2)
        assert calls(chain) == 2 and breaker_of(chain).state.state == "closed"
        assert (await chain.answer()).text == "hello"

    run(main())


def test_later_probes_come_every_thirty_seconds_however_long_it_has_grown_to_stay_open() -> None:
    async def main() -> None:
        chain = build([503, 503, 503, 503, "ok"])
        await opened(chain)
        await asyncio.sleep(119)
        assert calls(chain) == 4
        assert breaker_of(chain).state.closed_for(chain.clock.now()) == pytest.approx(90 + 240 - 119)
        await asyncio.sleep(2)
        assert calls(chain) == 5 and breaker_of(chain).state.state == "closed"
        await asyncio.sleep(1e6)
        assert calls(chain) == 5

    run(main())


def test_a_short_reset_timeout_is_followed_while_it_grows() -> None:
    async def main() -> None:
        chain = build([503] * 5, reset_timeout="5s")
        await opened(chain)
        seen = []
        for _ in range(70):
            await asyncio.sleep(1.001)
            seen.append(calls(chain))
        assert [seen.index(count) for count in (2, 3, 4, 5)] == [4, 14, 34, 64]

    run(main())


def test_it_asks_for_one_token_on_a_run_of_its_own() -> None:
    async def main() -> None:
        chain = build([503, "ok"])
        await opened(chain)
        await asyncio.sleep(31)
        request, of = chain.scripts["a"].calls[1]
        assert request.params == {"max_tokens": 1}
        assert of.scope.run_id == "" and of.transcript is not chain.transcript
        assert [(row.target, row.kind) for row in of.transcript.attempts] == [("a", "ok")]
        told = [event for _, _, event in of.transcript.events if isinstance(event, BreakerProbed | BreakerChanged)]
        path = "chains.chain.targets[0].circuit_breaker"
        assert told == [
            BreakerChanged(path=path, target="a", before="open", after="half_open"),
            BreakerChanged(path=path, target="a", before="half_open", after="closed"),
            BreakerProbed(path=path, target="a", kind="ok"),
        ]
        assert len(chain.attempts) == 1

    run(main())


def test_it_has_the_targets_timeouts_and_is_a_half_open_lease() -> None:
    async def main() -> None:
        chain = build([503, HANGS, "ok"])
        await opened(chain)
        await asyncio.sleep(31)
        with pytest.raises(CircuitOpen):
            await chain.answer()
        await asyncio.sleep(10)
        (probed,) = [
            event
            for _, _, event in chain.scripts["a"].calls[1][1].transcript.events
            if isinstance(event, BreakerProbed)
        ]
        assert probed.kind == "timeout" and breaker_of(chain).state.state == "open"
        await asyncio.sleep(30)
        assert breaker_of(chain).state.state == "closed"

    run(main())


def test_a_call_that_has_the_lease_is_left_to_it() -> None:
    async def main() -> None:
        chain = build([503, 401, {"reply": "slow", "first_chunk": "8s"}])
        await opened(chain)
        await asyncio.sleep(55)
        assert breaker_of(chain).state.state == "half_open" and calls(chain) == 2
        call = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(6)  # a probe was due at 60
        assert breaker_of(chain).state.state == "half_open" and calls(chain) == 3
        assert (await call).text == "slow" and breaker_of(chain).state.state == "closed"
        await asyncio.sleep(1e5)
        assert calls(chain) == 3

    run(main())


def test_a_neutral_answer_leaves_it_half_open_and_it_is_asked_again() -> None:
    async def main() -> None:
        chain = build([503, 401, "ok"])
        await opened(chain)
        await asyncio.sleep(31)
        assert breaker_of(chain).state.state == "half_open"
        await asyncio.sleep(30)
        assert breaker_of(chain).state.state == "closed"

    run(main())


def test_it_takes_no_token_of_a_limit_and_deposits_no_retry() -> None:
    async def main() -> None:
        limits = (RATE_LIMIT, {"rate": "1/h", "burst": 2}), (RETRY_BUDGET, {"ratio": "100%", "floor": "0.0001/s"})
        chain = build([503, 503, "ok", "hello"], *limits)
        await opened(chain)
        await asyncio.sleep(61)
        assert breaker_of(chain).state.state == "closed"
        assert (await chain.answer()).text == "hello"  # the second token is still there

    run(main())


@pytest.mark.parametrize("control", ["force_open", "force_close", "reset"])
def test_a_breaker_that_a_person_holds_is_not_probed(control: str) -> None:
    async def main() -> None:
        chain = build([503])
        await opened(chain)
        getattr(breaker_of(chain), control)()
        await asyncio.sleep(1e5)
        assert calls(chain) == 1

    run(main())


@pytest.mark.parametrize("kind", ["rate_limited", "quota_exhausted"])
def test_a_target_that_a_refusal_blocks_is_not_probed_before_its_time(kind: str) -> None:
    async def main() -> None:
        chain = build([503, "ok"])
        await opened(chain)
        chain.targets["a"].state.block(chain.clock.now() + 3600, kind)
        await asyncio.sleep(3590)
        assert calls(chain) == 1
        await asyncio.sleep(40)
        assert calls(chain) == 2 and breaker_of(chain).state.state == "closed"

    run(main())


def test_a_target_that_is_switched_off_is_not_probed_until_it_is_on_again() -> None:
    async def main() -> None:
        chain = build([503, "ok"])
        await opened(chain)
        state = chain.targets["a"].state
        state.disabled = True
        await asyncio.sleep(3600)
        assert calls(chain) == 1
        state.disabled = False
        await asyncio.sleep(30)
        assert calls(chain) == 2 and breaker_of(chain).state.state == "closed"

    run(main())


def test_it_is_not_probed_without_being_asked_to() -> None:
    async def main() -> None:
        chain = build([503], probe=False)
        await opened(chain)
        await asyncio.sleep(1e5)
        assert calls(chain) == 1

    run(main())


def test_a_probe_that_meets_a_bug_is_told_and_probing_goes_on() -> None:
    async def main() -> None:
        chain = build([503])  # the script is used up: no policy catches that
        await opened(chain)
        await asyncio.sleep(61)
        assert calls(chain) == 3

    run(main())


def test_a_timer_that_keeps_watch_does_not_hide_a_lost_wake_up() -> None:
    async def main() -> None:
        chain = build([503, {"status": 503, "times": "forever"}])
        await opened(chain)
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stalled):
        run(main(), max_steps=10_000)


def test_closing_leaves_nothing_behind() -> None:
    async def main() -> None:
        chain = build([503, HANGS])
        await opened(chain)
        await asyncio.sleep(31)  # the probe hangs
        await chain.shared.state("background", "", lambda: None).close()  # type: ignore[attr-defined]
        await chain.shared.close()
        assert chain.clock.now() == 32 and breaker_of(chain).timer is None
        assert len(asyncio.all_tasks()) == 1

    run(main())
