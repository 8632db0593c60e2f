"""Limits: what waits, what is refused, and what is given back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from run_kit import play
from semantics_kit import CALM, Commit, ask, failure, file, forever

from wizard_dsl.core.errors import RateLimitExceeded
from wizard_dsl.core.events import RateLimitApproaching
from wizard_dsl.core.messages import Request, message
from wizard_dsl.policies.admission import ADMISSION
from wizard_dsl.policies.cache import CACHE
from wizard_dsl.policies.concurrency import CONCURRENCY
from wizard_dsl.policies.contract import CONTRACT
from wizard_dsl.policies.rate_limit import RATE_LIMIT
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.testing.chains import Policy, ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

#: One at once, and one more after ten seconds.
TIGHT = {"rate": "0.1/s", "burst": 1}
#: One at once, and no other while a test lasts.
ONE = {"rate": "1/h", "burst": 1}
TOKENS = {"windows": ["1000 tokens/minute"]}


def build(script: list[Any], *policies: Policy) -> ScriptedChain:
    return build_chain({"a": script}, policies)


def asking(max_tokens: int) -> Request:
    """A prompt of 10 tokens by our estimate, and an answer of at most so many."""
    return Request(messages=(message("user", "x" * 40),), params={"max_tokens": max_tokens})


def available(chain: ScriptedChain, kind: str = "rate_limit") -> float:
    """What the chain's only limit has room for."""
    (line,) = chain.shared.of(kind).values()
    (level,) = line.levels(chain.clock.now())
    return float(level.available)


async def until(moment: float, chain: ScriptedChain) -> None:
    await chain.clock.sleep(moment - chain.clock.now())


async def ends(chain: ScriptedChain, calls: int, commit: Commit) -> list[float]:
    """When each of `calls` that begin together has its answer, in seconds since."""
    began = chain.clock.now()

    async def one() -> float:
        await chain.answer(commit=commit)
        return chain.clock.now() - began

    return [round(each, 3) for each in await asyncio.gather(*(one() for _ in range(calls)))]


def test_l1_a_token_bucket_admits_burst_at_once_and_rate_a_second_for_ever_after(commit: Commit) -> None:
    async def main() -> None:
        chain = build(forever("hello"), (RATE_LIMIT, {"rate": "2/s", "burst": 3}))
        for _ in range(2):
            assert await ends(chain, 8, commit) == [0, 0, 0, 0.5, 1, 1.5, 2, 2.5]
            await asyncio.sleep(86_400)  # a day of rest saves up no more than burst

    run(main())


def test_l2_sliding_windows_are_not_aligned_to_the_calendar_and_small_ones_are_exact(commit: Commit) -> None:
    """Four at the end of a minute leave no room for any at the start of the next."""

    async def main() -> None:
        chain = build(forever("hello"), (RATE_LIMIT, {"windows": ["4/minute"]}))
        await until(59, chain)
        assert await ends(chain, 8, commit) == [0, 0, 0, 0, 60, 60, 60, 60]

    run(main())


def test_l3_first_come_first_served_and_each_is_woken_when_its_own_token_is_due(commit: Commit) -> None:
    async def main() -> None:
        chain = build(forever("hello"), (RATE_LIMIT, {"rate": "1/minute", "burst": 1}))
        ended: list[tuple[str, float]] = []

        async def one(name: str) -> None:
            await chain.answer(commit=commit)
            ended.append((name, chain.clock.now()))

        calls = []
        for name in "abcde":
            calls.append(asyncio.ensure_future(one(name)))
            await asyncio.sleep(1)
        calls[2].cancel()  # those behind move up
        await asyncio.wait(calls)
        assert ended == [("a", 0), ("b", 60), ("d", 120), ("e", 180)]

    run(main(), max_steps=200)  # nothing polls


@pytest.mark.parametrize(
    ("policy", "first"),
    [
        ((CONCURRENCY, {"limit": 1}), {"reply": "a", "delay": "5s"}),
        ((CONCURRENCY, {"limit": 1}), {"status": 503, "delay": "5s"}),
        ((RATE_LIMIT, {"rate": "0.01/s", "burst": 1}), {"refuse": True, "delay": "5s"}),
        ((RATE_LIMIT, TOKENS), {"reply": "a", "delay": "5s", "usage": {"output_tokens": 10}}),
    ],
    ids=["place", "place of a failure", "token", "LLM tokens"],
)
def test_l4_a_release_makes_room_at_once_for_the_next_in_line(policy: Policy, first: Any, commit: Commit) -> None:
    async def main() -> None:
        chain = build([first, "hello"], policy)
        calls = []
        for _ in range(2):
            calls.append(asyncio.ensure_future(chain.answer(asking(900), commit=commit)))
            await asyncio.sleep(1)
        assert (await calls[1]).text == "hello" and chain.clock.now() == 5
        await asyncio.wait(calls)
        assert chain.attempts[-1].waited == 4

    run(main())


@pytest.mark.parametrize(("deadline", "keys"), [(10, {}), (600, {"max_wait": "10s"})], ids=["deadline", "max_wait"])
def test_l5_a_wait_that_cannot_fit_the_deadline_or_max_wait_is_refused_at_once_with_retry_after(
    deadline: float, keys: dict[str, Any], commit: Commit
) -> None:
    async def main() -> None:
        chain = build(forever("hello"), (RATE_LIMIT, {**TIGHT, **keys}))
        await chain.answer(commit=commit)
        fits = asyncio.ensure_future(chain.answer(commit=commit, deadline=deadline))
        await asyncio.sleep(0.5)
        error = await failure(chain, commit=commit, deadline=deadline)
        assert isinstance(error, RateLimitExceeded) and error.retry_after == 19.5 and chain.clock.now() == 0.5
        assert (await fits).text == "hello" and chain.clock.now() == 10  # what ends at the limit fits it

    run(main())


@pytest.mark.parametrize(("output", "left"), [(20, 970), (900, 90)], ids=["less", "more"])
def test_l6_llm_tokens_reserve_prompt_and_largest_answer_and_reconcile_with_the_reported_usage(
    output: int, left: int, commit: Commit
) -> None:
    async def main() -> None:
        item = {"reply": "hello", "delay": "5s", "usage": {"input_tokens": 10, "output_tokens": output}}
        chain = build([item], (RATE_LIMIT, TOKENS))
        call = asyncio.ensure_future(chain.answer(asking(100), commit=commit))
        await asyncio.sleep(1)
        assert available(chain) == 1000 - 10 - 100
        await call
        assert available(chain) == left

    run(main())


def test_l7_a_reservation_larger_than_the_limit_is_a_local_limit_error_that_says_so(commit: Commit) -> None:
    async def main() -> None:
        chain = build(["hello"], (RATE_LIMIT, TOKENS))
        error = await failure(chain, asking(991), commit=commit)
        assert (error.kind, error.retry_after, chain.clock.now()) == ("local_limit", None, 0)
        assert "reserves 1001 tokens" in error.message and "more than 1000 tokens/minute ever allows" in error.message
        assert (await chain.answer(asking(990), commit=commit)).text == "hello"

    run(main())


@pytest.mark.parametrize(("first", "kept"), [({"refuse": True}, False), (503, True)], ids=["not sent", "sent"])
def test_l8_a_request_token_is_given_back_if_nothing_was_sent(first: Any, kept: bool, commit: Commit) -> None:
    async def main() -> None:
        chain = build([first], (RATE_LIMIT, ONE))
        assert (await failure(chain, commit=commit)).kind in {"connect", "server"}
        assert available(chain) == (0 if kept else 1)

    run(main())


#: An answer of 20 tokens by our estimate, and more.
LONG = {"reply": "x" * 80 + " more", "chunk_every": "5s"}


@pytest.mark.parametrize(
    ("item", "cancel", "used"),
    [
        (503, None, 0),
        ({**LONG, "cut_after": 0}, None, 0),
        ({**LONG, "delay": "5s"}, 2, 0),
        ({**LONG, "cut_after": 1}, None, 30),
        (LONG, 2, 30),
    ],
    ids=["failed", "cut at once", "cancelled at once", "cut", "cancelled"],
)
def test_l9_llm_tokens_are_given_back_whole_before_any_output_and_reconciled_to_what_was_seen_after_it(
    item: Any, cancel: float | None, used: int, commit: Commit
) -> None:
    """Of an answer that nobody reads along, nothing was seen before it is whole."""

    async def main() -> None:
        chain = build([item], (RATE_LIMIT, TOKENS))
        call = asyncio.ensure_future(chain.answer(asking(500), commit=commit))
        await asyncio.sleep(cancel or 0)
        if cancel:
            assert available(chain) == 1000 - 510
            call.cancel()
        await asyncio.wait([call])
        assert available(chain) == 1000 - (used if commit == "content" else 0)

    run(main())


def test_l10_admission_limits_count_each_logical_call_once(commit: Commit) -> None:
    """Repeats, fallbacks and repairs take nothing more, hits nothing at all."""

    async def main() -> None:
        limit = {"global": {"rate": "1/h", "burst": 5}}
        above = [*CALM, (CACHE, {}), (ADMISSION, limit), (CONTRACT, {"repairs": 1})]
        chain = build_chain({"a": [503] * 3, "b": ["no JSON", "{}"]}, above)
        request = Request(messages=(message("user", "hi"),), schema={"type": "object"})
        assert (await chain.answer(request, commit=commit)).text == "{}"
        assert chain.story() == "a 503 → a 503 → a 503 → b ok → b ok"
        assert available(chain, "admission") == pytest.approx(4, abs=0.01)
        assert (await chain.answer(request, commit=commit)).text == "{}" and chain.story() == ""
        assert available(chain, "admission") == pytest.approx(4, abs=0.01)

    run(main())


def test_l11_adaptive_concurrency_grows_while_latency_is_good_and_shrinks_on_overload_within_its_bounds(
    commit: Commit,
) -> None:
    async def main() -> None:
        good, slow = {"reply": "hello", "delay": "1s"}, {"reply": "hello", "delay": "4s"}
        script = [{**good, "times": 66}, {"status": 503, "delay": "1s"}, {**slow, "times": "forever"}]
        chain = build(script, (CONCURRENCY, {"adaptive": {"min": 2, "max": 6}}))
        seen = []
        for calls in (6, 60, 1, *[2] * 7):
            asked = (chain.answer(commit=commit) for _ in range(calls))
            await asyncio.gather(*asked, return_exceptions=True)
            seen.append(available(chain, "concurrency"))
        assert seen == [3, 6, 5, 4, 4, 3, 3, 3, 2, 2]

    run(main())


def test_l12_available_tells_what_could_be_taken_and_takes_nothing(tmp_path: Path, commit: Commit) -> None:
    policies = 'use: none, rate_limit: {windows: ["3/minute", "5000 tokens/minute"]}, concurrency: 2'

    async def work(pipeline: Pipeline) -> None:
        for _ in range(9):
            assert [each.available for each in pipeline.limits()] == [3, 5000, 2]
        call = asyncio.ensure_future(ask(pipeline, commit))
        await asyncio.sleep(1)
        assert [each.available for each in pipeline.limits()] == [2, 5000 - 1002, 1]
        await call
        assert [each.available for each in pipeline.limits()] == [2, 5000 - 3, 2]

    play(
        file(f"{{targets: [a], policies: {{{policies}}}}}"),
        tmp_path,
        {"a": forever({"reply": "ok", "delay": "5s"})},
        work,
    )


@pytest.mark.parametrize(
    ("limit", "name", "after"),
    [
        ("rate_limit: {rate: 0.1/s, burst: 1}", "rate_limit", 9),
        ("concurrency: 1", "concurrency", None),
        ("admission: {pipeline: {rate: 0.1/s, burst: 1}}", "admission.pipeline", 9),
    ],
)
def test_l13_a_rejected_non_waiting_call_names_the_limit_and_retry_after(
    limit: str, name: str, after: float | None, tmp_path: Path
) -> None:
    async def work(pipeline: Pipeline) -> None:
        first = asyncio.ensure_future(pipeline.run())
        await asyncio.sleep(1)
        with pytest.raises(RateLimitExceeded) as caught:
            await pipeline.run(wait=False)
        assert (caught.value.limit, caught.value.retry_after) == (name, after)
        assert await pipeline.try_run() is None and asyncio.get_running_loop().time() == 1
        await first

    text = file(f"{{targets: [a], policies: {{use: none, {limit}}}}}")
    play(text, tmp_path, {"a": [{"reply": "hello", "delay": "5s"}]}, work)


def told(remaining: int, reset: str) -> dict[str, Any]:
    """An answer whose provider says how many of ten requests are left, and until when."""
    headers = {"x-ratelimit-limit-requests": "10", "x-ratelimit-remaining-requests": str(remaining)}
    return {"reply": "hello", "headers": {**headers, "x-ratelimit-reset-requests": reset}}


def test_l14_with_follow_headers_the_providers_own_limits_are_kept_to_and_nearing_one_is_told_once(
    commit: Commit,
) -> None:
    async def main(follow: bool) -> list[tuple[float, int]]:
        script = [told(9, "30s"), told(2, "30s"), told(1, "30s"), told(0, "30s"), "hello"]
        chain = build(script, (RATE_LIMIT, {"rate": "100/s", "burst": 100, "follow_headers": follow}))
        seen = []
        for _ in script:
            await chain.answer(commit=commit)
            seen.append((chain.clock.now(), len(chain.events(RateLimitApproaching))))
        return seen

    assert run(main(follow=True)) == [(0, 0), (0, 1), (0, 0), (0, 0), (30, 0)]
    assert run(main(follow=False)) == [(0, 0)] * 5
