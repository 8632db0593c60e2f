"""Limits of LLM tokens: reserved before the attempt, and reconciled when it is over."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest

from wizard_dsl.core.errors import RateLimitExceeded, WizardError
from wizard_dsl.core.messages import Request, message
from wizard_dsl.core.target import Facts
from wizard_dsl.policies._windows import CountedWindow
from wizard_dsl.policies.rate_limit import RATE_LIMIT, RateLimitConfig
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

Commit = Literal["end", "content"]
USED = {"reply": "hello there", "usage": {"input_tokens": 10, "output_tokens": 20}, "times": "forever"}
SLOW = {"reply": "hello there", "first_chunk": "5s", "chunk_every": "5s", "times": "forever"}


@pytest.fixture(params=["end", "content"])
def commit(request: pytest.FixtureRequest) -> Commit:
    return request.param


def build(script: list[Any], *windows: str, facts: Facts | None = None, **config: Any) -> ScriptedChain:
    config = {"max_wait": "0s", **config}
    return build_chain(
        {"a": script}, [(RATE_LIMIT, {"windows": list(windows), **config})], facts={"a": facts or Facts()}
    )


def asking(text: str = "x" * 40, **params: Any) -> Request:
    """A prompt of 10 tokens by our estimate."""
    return Request(messages=(message("user", text),), params=params)


async def failure(chain: ScriptedChain, request: Request, **options: Any) -> WizardError:
    with pytest.raises(WizardError) as caught:
        await chain.answer(request, **options)
    return caught.value


def taken(chain: ScriptedChain) -> int:
    """LLM tokens that count in the only token window."""
    (line,) = chain.shared.of("rate_limit").values()
    (window,) = [each for each in line._gate._windows if isinstance(each, CountedWindow)]
    return int(window.counts.look(window.key, window.period)[2])


@pytest.mark.parametrize(
    ("params", "facts", "reserved"),
    [
        ({"max_tokens": 50}, Facts(max_output=400), 60),
        ({}, Facts(max_output=400), 410),
        ({}, Facts(), 710),
        ({"max_tokens": None}, Facts(), 710),
    ],
)
def test_reserved_are_the_prompt_and_max_tokens_else_the_largest_output_else_the_estimate(
    params: dict[str, Any], facts: Facts, reserved: int
) -> None:
    async def main() -> None:
        chain = build([SLOW], "1000 tokens/minute", facts=facts, token_estimate=700)
        call = asyncio.ensure_future(chain.answer(asking(**params)))
        await asyncio.sleep(1)
        assert taken(chain) == reserved
        await call

    run(main())


def test_a_target_that_sets_max_tokens_reserves_its_own() -> None:
    async def main() -> None:
        chain = build_chain(
            {"a": [SLOW]}, [(RATE_LIMIT, {"windows": ["1000 tokens/minute"]})], params={"a": {"max_tokens": 30}}
        )
        call = asyncio.ensure_future(chain.answer(asking(max_tokens=500)))
        await asyncio.sleep(1)
        assert taken(chain) == 40
        await call

    run(main())


def test_an_embedding_reserves_no_answer() -> None:
    async def main() -> None:
        chain = build([{"delay": "5s"}], "1000 tokens/minute")
        call = asyncio.ensure_future(chain.answer(Request(kind="embed", texts=("x" * 40,))))
        await asyncio.sleep(1)
        assert taken(chain) == 10
        await call

    run(main())


@pytest.mark.parametrize("output", [20, 900])
def test_the_real_usage_takes_the_place_of_the_estimate_be_it_less_or_more(output: int, commit: Commit) -> None:
    async def main() -> None:
        script = [{"reply": "hello", "usage": {"input_tokens": 10, "output_tokens": output}}]
        chain = build(script, "1000 tokens/minute")
        await chain.answer(asking(max_tokens=100), commit=commit)
        assert taken(chain) == 10 + output

    run(main())


def test_what_was_used_beyond_the_reservation_is_missing_for_the_next(commit: Commit) -> None:
    async def main() -> None:
        chain = build([{**USED, "usage": {"input_tokens": 10, "output_tokens": 900}}], "1000 tokens/minute")
        await chain.answer(asking(max_tokens=100), commit=commit)
        error = await failure(chain, asking(max_tokens=100), commit=commit)
        assert isinstance(error, RateLimitExceeded) and error.limit == "rate_limit" and error.retry_after is not None
        await asyncio.sleep(error.retry_after)
        await chain.answer(asking(max_tokens=100), commit=commit)

    run(main())


def test_a_reservation_larger_than_the_window_is_an_error_that_says_so() -> None:
    async def main() -> None:
        chain = build([USED], "60/minute", "1000 tokens/minute", "5000 tokens/hour", max_wait="1h")
        error = await failure(chain, asking(max_tokens=1000))
        assert isinstance(error, RateLimitExceeded) and error.kind == "local_limit" and error.retry_after is None
        assert "1010 tokens, 10 for its prompt and 1000 for its answer" in error.message
        assert "1000 tokens/minute" in error.message and chain.clock.now() == 0
        await chain.answer(asking(max_tokens=990))

    run(main())


@pytest.mark.parametrize("item", [503, 429, {"refuse": True}, {"reply": "a", "cut_after": 0}, ""])
def test_a_failure_before_any_output_gives_all_tokens_back(item: Any, commit: Commit) -> None:
    async def main() -> None:
        chain = build([item], "1000 tokens/minute")
        await failure(chain, asking(max_tokens=500), commit=commit)
        assert taken(chain) == 0

    run(main())


def test_a_failure_keeps_the_request_though_not_the_tokens() -> None:
    async def main() -> None:
        chain = build([503, USED], "1/minute", "1000 tokens/minute")
        await failure(chain, asking(max_tokens=500))
        assert taken(chain) == 0
        assert isinstance(await failure(chain, asking(max_tokens=500)), RateLimitExceeded)

    run(main())


def test_a_cancellation_before_any_output_gives_all_tokens_back(commit: Commit) -> None:
    async def main() -> None:
        chain = build([SLOW], "1000 tokens/minute")
        call = asyncio.ensure_future(chain.answer(asking(max_tokens=500), commit=commit))
        await asyncio.sleep(1)
        assert taken(chain) == 510
        call.cancel()
        await asyncio.wait([call])
        assert taken(chain) == 0

    run(main())


def test_a_stream_that_is_given_up_or_breaks_used_what_was_seen() -> None:
    async def main() -> None:
        chain = build([{"reply": "x" * 80 + " more", "chunk_every": "5s"}], "1000 tokens/minute")
        response = await chain.ask(asking(max_tokens=500), commit="content")
        assert taken(chain) == 510
        await response.aclose()
        assert taken(chain) == 30
        chain = build([{"reply": "x" * 80 + " more", "cut_after": 1}], "1000 tokens/minute")
        assert (await failure(chain, asking(max_tokens=500), commit="content")).kind == "mid_stream"
        assert taken(chain) == 30

    run(main())


def test_tokens_given_back_let_the_next_one_in_at_once(commit: Commit) -> None:
    async def main() -> None:
        chain = build([{**SLOW, "usage": {"output_tokens": 10}}], "1000 tokens/minute", max_wait="1h")
        first = asyncio.ensure_future(chain.answer(asking(max_tokens=900), commit=commit))
        await asyncio.sleep(1)
        await chain.answer(asking(max_tokens=900), commit=commit)
        assert first.done() and chain.clock.now() == 20 and chain.attempts[0].waited == 9

    run(main())


def test_each_attempt_reserves_for_itself() -> None:
    async def main() -> None:
        policies = [(RETRY, {"jitter": "none"}), (RATE_LIMIT, {"windows": ["1000 tokens/minute"]})]
        chain = build_chain({"a": [503, 503, USED]}, policies)
        await chain.answer(asking(max_tokens=900))
        assert chain.story() == "a 503 → a 503 → a ok" and chain.clock.now() == 3 and taken(chain) == 30

    run(main())


def test_a_token_estimate_without_a_token_window_is_pointed_out() -> None:
    assert "no effect" in RATE_LIMIT.check(RateLimitConfig(token_estimate=500))[0]
    assert RATE_LIMIT.check(RateLimitConfig(token_estimate=500, windows=["1000 tokens/minute"])) == []
