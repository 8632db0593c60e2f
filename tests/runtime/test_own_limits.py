"""Our own limits from the Python API: looked at, not waited for, tried."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from run_kit import HEAD, play

from wizard_dsl.core.errors import AllFallbacksFailed, RateLimitExceeded, WizardError
from wizard_dsl.core.figures import LimitFigures
from wizard_dsl.runtime.pipeline import Pipeline

STEPS = "steps: {one: {prompt: {user: x}}}\n"
FOREVER = {"reply": "hello", "times": "forever"}
SLOW = {"reply": "hello", "first_chunk": "10s", "times": "forever"}


def chain(policies: str, targets: str = "[a]", more: str = "") -> str:
    return f"{HEAD}chains: {{default: {{targets: {targets}, policies: {{use: none, {policies}}}{more}}}}}\n{STEPS}"


def test_limits_shows_each_limit_without_taking_anything(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        for _ in range(2):
            assert pipeline.limits() == [
                LimitFigures("admission.pipeline", "case", "requests", "1/s", 5, 5, 0, 0.0),
                LimitFigures("rate_limit", "a", "requests", "60/minute", 60, 60, 0, 0.0),
                LimitFigures("rate_limit", "a", "tokens", "5000 tokens/minute", 5000, 5000, 0, 0.0),
                LimitFigures("concurrency", "a", "places", "2 at once", 2, 2, 0, 0.0),
            ]
        running = [asyncio.ensure_future(pipeline.run()) for _ in range(3)]
        await asyncio.sleep(1)
        admission, requests, tokens, places = pipeline.limits()
        assert (admission.available, admission.retry_after) == (3, 0)
        assert (requests.available, tokens.available) == (57, 5000 - 3 * 1001)
        assert (places.available, places.waiting, places.retry_after) == (0, 1, None)
        await asyncio.gather(*running)
        assert pipeline.limits()[2].available == 5000 - 3 * 3 and pipeline.limits()[3].available == 2

    text = chain(
        'admission: {pipeline: {rate: 1/s, burst: 5}}, rate_limit: {windows: ["60/minute", "5000 tokens/minute"]},'
        " concurrency: 2"
    )
    play(text, tmp_path, {"a": [SLOW]}, work)


def test_limits_tells_how_long_a_call_would_wait_in_virtual_time(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        await pipeline.run()
        (limit,) = pipeline.limits()
        assert (limit.available, limit.retry_after) == (0, 10)
        await asyncio.sleep(4)
        (limit,) = pipeline.limits()
        assert limit.available == pytest.approx(0.4) and limit.retry_after == pytest.approx(6)
        waiting = asyncio.ensure_future(pipeline.run())
        await asyncio.sleep(1)
        (limit,) = pipeline.limits()
        assert limit.waiting == 1 and limit.retry_after == pytest.approx(15)
        await waiting

    play(chain("rate_limit: {rate: 0.1/s, burst: 1}"), tmp_path, {"a": [FOREVER]}, work)


def test_limits_names_whose_calls_share_a_limit(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        assert [(each.name, each.of) for each in pipeline.limits()] == [
            ("admission.global", ""),
            ("rate_limit", "a"),
            ("rate_limit", "b"),
        ]

    text = chain("admission: {global: {}}, rate_limit: {per: endpoint}", "[a, b]").replace(
        "b: {type: mock, model: n}", "b: {type: mock, model: n, policies: {rate_limit: 5/s}}"
    )
    play(text, tmp_path, {"a": [], "b": []}, work)


@pytest.mark.parametrize(
    "policy", ["rate_limit: {rate: 0.1/s, burst: 1}", "admission: {global: {rate: 0.1/s, burst: 1}}"]
)
def test_a_run_that_does_not_wait_is_refused_with_retry_after_and_the_limit_that_applied(
    policy: str, tmp_path: Path
) -> None:
    async def work(pipeline: Pipeline) -> None:
        await pipeline.run(wait=False)
        with pytest.raises(RateLimitExceeded) as caught:
            await pipeline.run(wait=False)
        assert caught.value.retry_after == 10 and caught.value.limit == policy.partition(": {rate")[0].replace(
            ": {", "."
        )
        assert "does not wait" in caught.value.message and asyncio.get_running_loop().time() == 0
        await pipeline.run()
        assert asyncio.get_running_loop().time() == 10

    play(chain(policy), tmp_path, {"a": [FOREVER]}, work)


def test_a_try_that_has_no_room_gives_none_at_once_and_takes_nothing(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        first = await pipeline.try_run(q="hi")
        assert first is not None and first.text == "hello"
        assert await pipeline.try_run() is None
        assert asyncio.get_running_loop().time() == 0
        await asyncio.sleep(10)
        assert await pipeline.try_run() is not None

    play(chain("rate_limit: {rate: 0.1/s, burst: 1}"), tmp_path, {"a": [FOREVER]}, work)


def test_a_try_finds_no_place_while_another_call_holds_it(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        running = asyncio.ensure_future(pipeline.run())
        await asyncio.sleep(1)
        assert await pipeline.try_run() is None
        await running
        assert await pipeline.try_run() is not None

    play(chain("concurrency: 1"), tmp_path, {"a": [SLOW]}, work)


def test_a_try_is_answered_by_a_fallback_where_the_chain_asks_for_that(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        served = [await pipeline.try_run() for _ in range(3)]
        assert [each and each.served_by for each in served] == ["a", "b", None]

    text = chain("rate_limit: {rate: 0.1/s, burst: 1}", "[a, b]", ", fallback_on: {local_limit: true}")
    play(text, tmp_path, {"a": [FOREVER], "b": [FOREVER]}, work)


def test_a_try_raises_what_a_provider_did(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        with pytest.raises(WizardError) as caught:
            await pipeline.try_run()
        assert caught.value.kind == "auth" and not isinstance(caught.value, AllFallbacksFailed)

    play(chain("rate_limit: 1/s"), tmp_path, {"a": [401]}, work)
