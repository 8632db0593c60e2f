"""`follow_headers` and `warn_at`: what a provider says of its own limits, and limits that are nearly used up."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wizard_dsl.core.errors import RateLimitExceeded, WizardError
from wizard_dsl.core.events import RateLimitApproaching
from wizard_dsl.core.messages import Request, message
from wizard_dsl.policies._bucket import Bucket
from wizard_dsl.policies._line import Taken
from wizard_dsl.policies._told import Told
from wizard_dsl.policies.concurrency import CONCURRENCY
from wizard_dsl.policies.rate_limit import RATE_LIMIT
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

Commit = Literal["end", "content"]
WIDE = {"rate": "100/s", "burst": 100, "follow_headers": True}


@pytest.fixture(params=["end", "content"])
def commit(request: pytest.FixtureRequest) -> Commit:
    return request.param


def told(remaining: int, reset: str, *, limit: int = 10, **more: Any) -> dict[str, Any]:
    headers = {
        "X-RateLimit-Limit-Requests": str(limit),
        "X-RateLimit-Remaining-Requests": str(remaining),
        "X-RateLimit-Reset-Requests": reset,
    }
    return {"reply": "hello", "headers": headers, **more}


def build(script: list[Any], **config: Any) -> ScriptedChain:
    return build_chain({"a": script}, [(RATE_LIMIT, config)])


async def failure(chain: ScriptedChain, **options: Any) -> WizardError:
    with pytest.raises(WizardError) as caught:
        await chain.answer(**options)
    return caught.value


def warnings(chain: ScriptedChain) -> list[tuple[str, str, float]]:
    return [(each.whose, each.rule, each.used) for each in chain.events(RateLimitApproaching)]  # type: ignore[attr-defined]


def test_what_the_provider_says_is_left_holds_until_its_reset(commit: Commit) -> None:
    async def main() -> None:
        chain = build([told(1, "30s"), "two", "three"], **WIDE)
        await chain.answer(commit=commit)
        await chain.answer(commit=commit)
        assert chain.clock.now() == 0
        await chain.answer(commit=commit)
        assert chain.clock.now() == 30 and chain.attempts[0].waited == 30

    run(main())


def test_it_is_not_followed_unless_asked_for(commit: Commit) -> None:
    async def main() -> None:
        chain = build([told(0, "30s"), "two"], **{**WIDE, "follow_headers": False})
        await chain.answer(commit=commit)
        await chain.answer(commit=commit)
        assert chain.clock.now() == 0 and warnings(chain) == []

    run(main())


def test_it_never_allows_more_than_the_file() -> None:
    async def main() -> None:
        chain = build([told(1000, "30s", limit=1000, times="forever")], rate="1/s", burst=1, follow_headers=True)
        for _ in range(3):
            await chain.answer()
        assert chain.clock.now() == 2

    run(main())


def test_the_headers_of_a_failed_attempt_count_too() -> None:
    async def main() -> None:
        chain = build([{**told(0, "7s"), "status": 400}, "two"], **WIDE)
        await failure(chain)
        await chain.answer()
        assert chain.clock.now() == 7

    run(main())


@pytest.mark.parametrize("retry_after", ["12", "Thu, 01 Jan 2026 00:00:12 GMT"])
def test_a_429_leaves_no_request_to_any_model_of_the_provider_until_it_is_over(retry_after: str) -> None:
    async def main() -> None:
        chain = build([{"status": 429, "headers": {"Retry-After": retry_after}}], **WIDE)
        assert (await failure(chain)).kind == "rate_limited"
        (line,) = chain.shared.of("rate_limit").values()
        assert line.wait(chain.clock.now()) == 12 and line.levels(chain.clock.now())[0].available == 0
        assert line.levels(12.0)[0].available == 100

    run(main())


def test_tokens_that_the_provider_has_left_limit_the_next_reservation() -> None:
    async def main() -> None:
        headers = {
            "anthropic-ratelimit-tokens-remaining": "400",
            "anthropic-ratelimit-tokens-reset": "2026-01-01T00:00:20Z",
        }
        chain = build(
            [{"reply": "one", "headers": headers}, "two", "three"],
            windows=["100000 tokens/minute"],
            follow_headers=True,
        )
        small = Request(messages=(message("user", "hi"),), params={"max_tokens": 300})
        await chain.answer(small)
        await chain.answer(small)
        assert chain.clock.now() == 0
        await chain.answer(small)
        assert chain.clock.now() == 20

    run(main())


def test_what_is_under_way_is_taken_off_what_the_provider_says() -> None:
    async def main() -> None:
        slow = {"reply": "late", "first_chunk": "5s"}
        chain = build([slow, told(1, "60s"), "three"], **{**WIDE, "max_wait": "0s"})
        first = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(0)
        await chain.answer()
        assert isinstance(await failure(chain), RateLimitExceeded)
        await first

    run(main())


def test_those_who_wait_are_let_in_where_the_provider_says_that_there_is_room_again() -> None:
    async def main() -> None:
        chain = build([told(0, "60s"), "two", "three"], **WIDE)
        await chain.answer()
        waiting = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(5)
        (line,), (gate,) = chain.shared.of("rate_limit").values(), chain.shared.of("told").values()
        gate.tell("requests", 3, 60.0, Taken(0.0))
        line.look()
        await waiting
        assert chain.clock.now() == 5

    run(main())


def test_a_provider_limit_that_is_nearly_used_up_is_told_once_for_each_time_it_comes_near(commit: Commit) -> None:
    async def main() -> None:
        shares = [5, 2, 1, 1, 9, 2]
        chain = build([told(left, "1s") for left in shares], **WIDE)
        seen = []
        for _ in shares:
            await chain.answer(commit=commit)
            seen.append(warnings(chain))
            await asyncio.sleep(2)
        assert seen == [[], [("provider", "requests", 0.8)], [], [], [], [("provider", "requests", 0.8)]]

    run(main())


def test_our_own_limit_is_told_once_when_it_is_nearly_used_up() -> None:
    async def main() -> None:
        chain = build([{"reply": "x", "times": "forever"}], rate="1/s", burst=10, warn_at="50%")
        seen = []
        for _ in range(8):
            await chain.answer()
            seen.append(warnings(chain))
        assert [bool(each) for each in seen] == [False] * 4 + [True] + [False] * 3
        assert seen[4] == [("own", "1/s", 0.5)]
        await asyncio.sleep(8)
        for _ in range(5):
            await chain.answer()
        assert warnings(chain) == [("own", "1/s", 0.5)]

    run(main())


def test_a_limit_that_one_call_uses_up_is_always_near_which_is_no_news() -> None:
    async def main() -> None:
        chain = build([{"reply": "x", "times": "forever"}], rate="1/s", burst=1)
        for _ in range(3):
            await chain.answer()
            assert warnings(chain) == []

    run(main())


def test_reserved_tokens_count_as_used() -> None:
    async def main() -> None:
        chain = build(["x"], windows=["1000 tokens/minute", "100/minute"])
        await chain.answer(Request(messages=(message("user", "hi"),), params={"max_tokens": 899}))
        assert warnings(chain) == [("own", "1000 tokens/minute", 0.9)]

    run(main())


@given(
    st.lists(
        st.tuples(st.floats(0, 5), st.sampled_from(["take", "end", "tell"]), st.integers(0, 20), st.floats(0.1, 10)),
        max_size=60,
    )
)
def test_it_only_ever_tightens_and_whoever_waits_as_long_as_told_passes(
    steps: list[tuple[float, str, int, float]],
) -> None:
    gate, alone, now, flying = Told(Bucket(2.0, 10)), Bucket(2.0, 10), 0.0, list[Taken]()
    for gap, step, remaining, reset in steps:
        now += gap
        if step == "take":
            taken = gate.take(now, 0)
            if taken is not None:
                assert alone.take(now) is not None
                flying.append(taken)
        elif flying:
            if step == "tell":
                gate.tell("requests", remaining, now + reset, flying[0])
            gate.settle(flying.pop(0), 0, now)
        assert gate.levels(now)[0].available <= alone.level(now) + 1e-9
    wait = gate.wait(now, 1, 0, 0)
    assert wait is not None and gate.take(now + wait, 0) is not None


def test_concurrency_has_places_and_no_warning() -> None:
    async def main() -> None:
        chain = build_chain({"a": ["x"]}, [(CONCURRENCY, {"limit": 1})])
        await chain.answer()
        assert warnings(chain) == []

    run(main())


def test_a_request_that_was_never_sent_is_under_way_no_more() -> None:
    async def main() -> None:
        chain = build([{"refuse": True}, told(1, "60s"), "three", "four"], **{**WIDE, "max_wait": "0s"})
        await failure(chain)
        await chain.answer()
        await chain.answer()
        assert isinstance(await failure(chain), RateLimitExceeded)

    run(main())


def test_a_call_cancelled_under_way_is_under_way_no_more() -> None:
    async def main() -> None:
        chain = build([{"reply": "x", "first_chunk": "1h"}, told(1, "60s"), "three"], **{**WIDE, "max_wait": "0s"})
        call = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(1)
        call.cancel()
        await asyncio.wait([call])
        await chain.answer()
        assert (await chain.answer()).text == "three"

    run(main())
