"""rate_limit and concurrency in a ladder."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest

from wizard_dsl.core.bound import Bound, BoundFacts, Figure
from wizard_dsl.core.component import PolicyType
from wizard_dsl.core.errors import DeadlineExceeded, RateLimitExceeded, WizardError
from wizard_dsl.core.events import LimitRefused, LimitWaited
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.concurrency import CONCURRENCY, ConcurrencyConfig
from wizard_dsl.policies.rate_limit import RATE_LIMIT, RateLimitConfig
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

Commit = Literal["end", "content"]
FOREVER = {"reply": "hello there", "times": "forever"}
SLOW = {"reply": "hello there", "first_chunk": "5s", "chunk_every": "5s", "times": "forever"}


@pytest.fixture(params=["end", "content"])
def commit(request: pytest.FixtureRequest) -> Commit:
    return request.param


def build(type: PolicyType, script: list[Any], **config: Any) -> ScriptedChain:
    return build_chain({"a": script}, [(type, config)])


async def failure(chain: ScriptedChain, **options: Any) -> WizardError:
    with pytest.raises(WizardError) as caught:
        await chain.answer(**options)
    return caught.value


async def finished(chain: ScriptedChain, calls: int, **options: Any) -> list[float]:
    """When each of `calls` that begin together had its answer."""

    async def one() -> float:
        await chain.answer(**options)
        return round(chain.clock.now(), 6)

    return list(await asyncio.gather(*(one() for _ in range(calls))))


def test_a_burst_goes_at_once_and_then_one_token_at_a_time(commit: Commit) -> None:
    async def main() -> None:
        chain = build(RATE_LIMIT, [FOREVER], rate="2/s", burst=2)
        assert await finished(chain, 5, commit=commit) == [0, 0, 0.5, 1.0, 1.5]

    run(main())


def test_every_attempt_takes_a_token_repeats_included() -> None:
    async def main() -> None:
        policies = [(RETRY, {"jitter": "none"}), (RATE_LIMIT, {"rate": "1/minute", "burst": 1})]
        chain = build_chain({"a": [503, "hello"]}, policies)
        await chain.answer()
        assert [row.started for row in chain.attempts] == [0, 60]
        assert chain.attempts[1].waited == 60

    run(main())


def test_the_wait_is_booked_and_told() -> None:
    async def main() -> None:
        chain = build(RATE_LIMIT, [FOREVER], rate="1/s", burst=1)
        await chain.answer()
        await chain.answer()
        assert chain.attempts[0].waited == 1
        assert chain.events(LimitWaited) == [
            LimitWaited(path="chains.chain.targets[0].rate_limit", limit="rate_limit", seconds=1.0)
        ]

    run(main())


def test_windows_replace_the_bucket(commit: Commit) -> None:
    async def main() -> None:
        chain = build(RATE_LIMIT, [FOREVER], windows=["3/s", "5/minute"], rate="1000/s", burst=1000)
        times = await finished(chain, 6, commit=commit)
        assert times[:3] == [0, 0, 0]
        assert times[3] == pytest.approx(1.0, abs=1e-3)
        assert times[5] == pytest.approx(60.0, abs=1e-3)

    run(main())


@pytest.mark.parametrize(("options", "why"), [({"deadline": 9}, "deadline"), ({"max_wait": "9s"}, "max_wait")])
def test_a_wait_that_cannot_fit_is_refused_at_once_with_retry_after(options: dict[str, Any], why: str) -> None:
    async def main() -> None:
        deadline = options.pop("deadline", 600)
        chain = build(RATE_LIMIT, [FOREVER], rate="0.1/s", burst=1, **options)
        await chain.answer()
        error = await failure(chain, deadline=deadline)
        assert isinstance(error, RateLimitExceeded) and error.retry_after == 10 and error.exit_code == 6
        assert why in error.message and error.limit == "rate_limit" and chain.clock.now() == 0
        assert chain.events(LimitRefused) and not chain.attempts

    run(main())


def test_a_wait_that_exactly_fits_is_waited() -> None:
    async def main() -> None:
        chain = build(RATE_LIMIT, [FOREVER], rate="0.1/s", burst=1, max_wait="10s")
        await chain.answer()
        await chain.answer()
        assert chain.clock.now() == 10

    run(main())


def test_max_wait_zero_never_waits() -> None:
    async def main() -> None:
        for type, config in ((RATE_LIMIT, {"rate": "1/s", "burst": 1}), (CONCURRENCY, {"limit": 1})):
            chain = build(type, [SLOW], max_wait="0s", **config)
            first = asyncio.ensure_future(chain.answer())
            await asyncio.sleep(0.1)
            before = chain.clock.now()
            error = await failure(chain)
            assert isinstance(error, RateLimitExceeded) and error.limit == type.name
            assert error.retry_after == (pytest.approx(0.9) if type is RATE_LIMIT else None)
            assert chain.clock.now() == before
            await first

    run(main())


def test_a_request_that_was_never_sent_gives_its_token_back() -> None:
    async def main() -> None:
        chain = build(RATE_LIMIT, [{"refuse": True}, "hello", "never"], rate="0.001/s", burst=1)
        assert (await failure(chain)).kind == "connect"
        assert (await chain.answer()).text == "hello"
        assert isinstance(await failure(chain), RateLimitExceeded)

    run(main())


def test_a_request_that_failed_after_it_was_sent_keeps_its_token() -> None:
    async def main() -> None:
        chain = build(RATE_LIMIT, [503, "never"], rate="0.001/s", burst=1)
        await failure(chain)
        assert isinstance(await failure(chain), RateLimitExceeded)

    run(main())


def test_a_call_cancelled_below_before_it_was_sent_gives_its_token_back() -> None:
    async def main() -> None:
        policies = [(RATE_LIMIT, {"rate": "0.001/s", "burst": 2}), (CONCURRENCY, {"limit": 1})]
        chain = build_chain({"a": [SLOW]}, policies)
        first = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(1)
        queued = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(1)
        queued.cancel()
        await asyncio.wait([queued])
        await first
        assert (await chain.answer()).text == "hello there"

    run(main())


def test_a_call_cancelled_after_it_was_sent_keeps_its_token() -> None:
    async def main() -> None:
        chain = build(RATE_LIMIT, [SLOW], rate="0.001/s", burst=1)
        sent = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(1)
        sent.cancel()
        await asyncio.wait([sent])
        assert isinstance(await failure(chain), RateLimitExceeded)

    run(main())


def test_a_target_that_a_429_blocked_during_the_wait_is_not_called() -> None:
    async def main() -> None:
        chain = build_chain({"a": [SLOW], "b": ["b"]}, [(RATE_LIMIT, {"rate": "1/s", "burst": 1})])
        first = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(0)
        waiting = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(0.5)
        chain.targets["a"].state.block(30.0, "rate_limited")
        assert (await waiting).text == "b" and chain.clock.now() == 1
        await first

    run(main())


@pytest.mark.parametrize(("type", "config"), [(CONCURRENCY, {"limit": 1}), (RATE_LIMIT, {"rate": "0.1/s", "burst": 1})])
def test_a_turn_of_a_call_whose_target_closed_meanwhile_goes_to_the_next(
    type: PolicyType, config: dict[str, Any]
) -> None:
    async def main() -> None:
        chain = build_chain({"a": [SLOW], "b": ["b"]}, [], overrides={"a": [(type, config)], "b": []})
        first = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(1)
        waiting = [asyncio.ensure_future(chain.answer())]
        await asyncio.sleep(1)
        gate = chain.targets["a"].gates
        gate.append(lambda now: 1.0)
        assert (await waiting[0]).text == "b" and chain.clock.now() == 10
        gate.clear()
        await first
        assert (await chain.answer()).text == "hello there" and chain.clock.now() == 20

    run(main())


def test_the_limit_is_per_target_and_shared_by_the_chains_that_use_it() -> None:
    async def main() -> None:
        config = [(RATE_LIMIT, {"rate": "0.001/s", "burst": 1})]
        first = build_chain({"a": [FOREVER]}, config)
        second = build_chain({"a": [FOREVER]}, config, shared=first.shared, name="second")
        own = [(RATE_LIMIT, {"rate": "0.001/s", "burst": 1, "per": "chain"})]
        third = build_chain({"a": [FOREVER]}, own, shared=first.shared, name="third")
        await first.answer()
        assert isinstance(await failure(second), RateLimitExceeded)
        await third.answer()

    run(main())


def test_at_most_so_many_at_once_and_each_end_lets_the_next_one_in(commit: Commit) -> None:
    async def main() -> None:
        chain = build(CONCURRENCY, [SLOW], limit=2)
        assert await finished(chain, 5, commit=commit) == [10, 10, 20, 20, 30]

    run(main())


def test_a_streamed_attempt_holds_its_place_until_the_stream_ends() -> None:
    async def main() -> None:
        chain = build(CONCURRENCY, [SLOW, FOREVER], limit=1, max_wait="0s")
        response = await chain.ask(commit="content")
        assert isinstance(await failure(chain), RateLimitExceeded)
        await response.aclose()
        assert (await chain.answer()).text == "hello there"

    run(main())


@pytest.mark.parametrize("script", [[503], [{"reply": "a b", "cut_after": 1}], [{"refuse": True}]])
def test_a_failure_gives_the_place_back(script: list[Any], commit: Commit) -> None:
    async def main() -> None:
        chain = build(CONCURRENCY, [*script, FOREVER], limit=1, max_wait="0s")
        await failure(chain, commit=commit)
        assert (await chain.answer(commit=commit)).text == "hello there"

    run(main())


@pytest.mark.parametrize("after", [0.0, 2.5, 5.0, 7.5])
def test_a_cancelled_call_gives_the_place_back_whenever_it_is_cancelled(after: float, commit: Commit) -> None:
    async def main() -> None:
        chain = build(CONCURRENCY, [SLOW], limit=1)
        calls = [asyncio.ensure_future(chain.answer(commit=commit)) for _ in range(3)]
        await asyncio.sleep(after)
        calls[1].cancel()
        calls[0].cancel()
        await asyncio.wait(calls[:2])
        await calls[2]
        (line,) = chain.shared.of("concurrency").values()
        assert line.is_idle(chain.clock.now())

    run(main())


def test_a_place_that_never_comes_free_ends_with_max_wait_or_the_deadline() -> None:
    async def main() -> None:
        chain = build(CONCURRENCY, [SLOW], limit=1, max_wait="3s")
        first = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(0)
        error = await failure(chain)
        assert isinstance(error, RateLimitExceeded) and chain.clock.now() == 3
        await first
        chain = build(CONCURRENCY, [SLOW], limit=1)
        first = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(0)
        assert isinstance(await failure(chain, deadline=4), DeadlineExceeded)
        assert chain.clock.now() == 14
        await first

    run(main())


def test_limits_stand_under_retry_and_a_refusal_is_final_unless_asked_for() -> None:
    async def main() -> None:
        policies = [(RETRY, {}), (RATE_LIMIT, {"rate": "0.001/s", "burst": 1}), (CIRCUIT_BREAKER, {})]
        scripts = {"a": [FOREVER], "b": [FOREVER]}
        chain = build_chain(scripts, policies)
        await chain.answer()
        assert isinstance(await failure(chain), RateLimitExceeded)
        chain = build_chain(scripts, policies, fallback_on={"local_limit": True})
        await chain.answer()
        await chain.answer()
        assert chain.story() == "b ok"
        error = await failure(chain)
        assert isinstance(error, RateLimitExceeded) and error.retry_after == pytest.approx(1000)

    run(main())


def test_the_bound_grows_by_max_wait_else_by_the_deadline() -> None:
    inner = Bound(attempts=Figure(1), latency=Figure(10), cost=Figure(1), tokens=Figure(1))
    facts = BoundFacts(deadline=90)
    assert RATE_LIMIT.bound(RateLimitConfig(max_wait="5s"), inner, facts).latency.value == 15
    open_ended = CONCURRENCY.bound(ConcurrencyConfig(limit=1), inner, facts).latency
    assert open_ended.value == 100 and "max_wait" in open_ended.reason
    assert not RATE_LIMIT.bound(RateLimitConfig(), inner, BoundFacts()).latency.bounded


def test_a_window_that_counts_parts_of_requests_is_pointed_out() -> None:
    assert RATE_LIMIT.check(RateLimitConfig(windows=["60/minute"])) == []
    assert "whole requests" in RATE_LIMIT.check(RateLimitConfig(windows=["0.5/s"]))[0]


def test_libraries_are_not_imported_until_a_window_is_built() -> None:
    import subprocess
    import sys

    code = (
        "import sys, wizard_dsl.policies.rate_limit, wizard_dsl.policies.circuit_breaker, wizard_dsl.policies.contract,"
        " wizard_dsl.policies.retry, wizard_dsl.strategies.sequential;"
        "print([m for m in ('asyncio', 'limits', 'pybreaker', 'jsonschema', 'aiohttp') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_call_whose_deadline_has_passed_is_not_queued() -> None:
    async def main() -> None:
        chain = build(RATE_LIMIT, [FOREVER], rate="0.1/s", burst=1)
        await chain.answer()
        assert isinstance(await failure(chain, deadline=0.0), DeadlineExceeded)

    run(main())
