"""A stream that breaks after its first content: restart, continue and buffer, on one target and over several."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wizard_dsl.core.errors import AllFallbacksFailed, DeadlineExceeded, MaxRetriesExceeded, StreamBroken, WizardError
from wizard_dsl.core.events import CacheStored, FallbackTriggered, RetriesEnded, RetryScheduled
from wizard_dsl.core.messages import Completion, Request, message
from wizard_dsl.core.response import Response
from wizard_dsl.core.target import Facts, MidStream, Prices
from wizard_dsl.policies.cache import CACHE
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.concurrency import CONCURRENCY
from wizard_dsl.policies.deadline import DEADLINE
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.policies.retry_budget import RETRY_BUDGET
from wizard_dsl.policies.timeout import TIMEOUT
from wizard_dsl.testing.chains import Policy, ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

STEADY: Policy = (RETRY, {"jitter": "none"})
CUT = {"reply": "one two three", "cut_after": 2}


def cut(text: str, after: int = 1, **more: Any) -> dict[str, Any]:
    return {"reply": text, "cut_after": after, **more}


async def heard(response: Response) -> list[str]:
    """What a consumer sees: pieces of text, and `⟲` where all before is void."""
    seen = []
    async with response:
        async for delta in response.deltas():
            if delta.reset:
                seen.append("⟲")
            if delta.text:
                seen.append(delta.text)
    return seen


async def streamed(chain: ScriptedChain, text: str | Request = "hello", **options: Any) -> tuple[list[str], Completion]:
    response = await chain.ask(text, commit="content", **options)
    seen = await heard(response)
    return seen, await response.read()


def told(chain: ScriptedChain) -> str:
    """The attempts by kind."""
    return " → ".join(f"{row.target} {row.kind}" for row in chain.attempts)


async def broken(chain: ScriptedChain, text: str | Request = "hello", **options: Any) -> StreamBroken:
    response = await chain.ask(text, commit="content", **options)
    with pytest.raises(StreamBroken) as caught:
        async with response:
            await response.read()
    return caught.value


def test_a_restart_repeats_on_the_same_target_after_its_delay_and_shows_a_reset() -> None:
    async def main() -> None:
        chain = build_chain({"a": [CUT, "all of it"]}, [STEADY], on_mid_stream_error="restart")
        seen, whole = await streamed(chain)
        assert seen == ["one", " two", "⟲", "all", " of", " it"]
        assert (whole.text, whole.finish_reason) == ("all of it", "stop")
        assert chain.clock.now() == 1
        assert told(chain) == "a mid_stream → a ok"
        assert [row.retry_of for row in chain.attempts] == [None, 0]
        assert chain.attempts[1].waited == 1
        assert len(chain.events(RetryScheduled)) == 1

    run(main())


def test_a_continued_answer_is_one_text_and_the_partial_goes_along_without_its_reasoning() -> None:
    async def main() -> None:
        chain = build_chain({"a": [CUT, cut(" three four"), " four"]}, [STEADY], on_mid_stream_error="continue")
        seen, whole = await streamed(chain)
        assert seen == ["one", " two", " three", " four"]
        assert whole.text == "one two three four"
        asked = [[(each.role, each.text) for each in request.messages] for request, _ in chain.scripts["a"].calls]
        assert asked == [
            [("user", "hello")],
            [("user", "hello"), ("assistant", "one two")],
            [("user", "hello"), ("assistant", "one two three")],
        ]

    run(main())


def test_a_continued_text_joins_an_answer_that_the_prompt_had_begun() -> None:
    async def main() -> None:
        chain = build_chain({"a": [CUT, " three"]}, [STEADY], on_mid_stream_error="continue")
        prompt = Request(messages=(message("user", "go"), message("assistant", "zero ")))
        await streamed(chain, prompt)
        asked = chain.scripts["a"].calls[1][0].messages
        assert [(each.role, each.text) for each in asked] == [("user", "go"), ("assistant", "zero one two")]

    run(main())


def test_usage_of_a_restarted_answer_is_its_own_and_of_a_continued_one_the_sum_of_its_parts() -> None:
    usage = {"input_tokens": 10, "output_tokens": 5}
    facts = {"a": Facts(prices=Prices(1.0, 1.0))}

    async def main() -> None:
        for mode, expected in (("restart", 15), ("continue", 15 + 2 + 2)):
            chain = build_chain(
                {"a": [CUT, {"reply": "x", "usage": usage}]}, [STEADY], on_mid_stream_error=mode, facts=facts
            )
            _, whole = await streamed(chain)
            assert whole.usage is not None
            assert whole.usage.input_tokens + whole.usage.output_tokens == expected
            assert [row.confidence for row in chain.attempts] == ["unknown", "reported"]
            assert [row.cost for row in chain.attempts] == [4e-6, 15e-6]

    run(main())


@pytest.mark.parametrize("mode", ["restart", "continue"])
def test_attempts_spent_the_next_target_goes_on_and_says_who_served(mode: MidStream) -> None:
    async def main() -> None:
        scripts = {"a": [503, cut("a1 x"), cut("a2 x")], "b": ["b"], "c": ["c"]}
        chain = build_chain(scripts, [STEADY], on_mid_stream_error=mode)
        response = await chain.ask(commit="content")
        assert response.served.target == "a"
        seen = await heard(response)
        assert seen == (["a1", "⟲", "a2", "⟲", "b"] if mode == "restart" else ["a1", "a2", "b"])
        assert told(chain) == "a server → a mid_stream → a mid_stream → b ok"
        served = response.served
        assert (served.target, served.position) == ("b", 1)
        assert [(each.target, each.error.kind, each.error.attempts) for each in served.failures] == [
            ("a", "mid_stream", 3)
        ]
        assert [event.reason for event in chain.events(RetriesEnded)] == ["attempts"]
        moved = chain.events(FallbackTriggered)
        assert [(each.target, each.kind, each.to) for each in moved] == [("a", "mid_stream", "b")]

    run(main())


def test_without_a_retry_the_next_target_is_asked_at_once() -> None:
    async def main() -> None:
        chain = build_chain({"a": [CUT], "b": [cut("b x")], "c": ["c"]}, on_mid_stream_error="restart")
        seen, _ = await streamed(chain)
        assert seen == ["one", " two", "⟲", "b", "⟲", "c"]
        assert chain.clock.now() == 0

    run(main())


def test_a_target_that_was_skipped_is_untried_and_looked_at_anew() -> None:
    async def main() -> None:
        policies = [(CIRCUIT_BREAKER, {"failure_threshold": 1, "reset_timeout": "5s"})]
        scripts = {"a": [500, "back"], "b": ["x", {"reply": "b c d", "chunk_every": "6s", "cut_after": 2}]}
        chain = build_chain(scripts, policies, on_mid_stream_error="restart")
        await chain.answer()
        seen, _ = await streamed(chain)  # a is open now, and half-open after the break
        assert seen == ["b", " c", "⟲", "back"]

    run(main())


def test_where_no_target_is_untried_one_that_a_429_blocked_is_waited_for() -> None:
    async def main() -> None:
        policies = [(RETRY, {"max_attempts": 2, "jitter": "none", "retry_on": {"mid_stream": False}})]
        scripts = {
            "a": [{"status": 429, "retry_after": "20s"}, "back"],
            "b": [{"reply": "b c d", "chunk_every": "6s", "cut_after": 2}],
        }
        chain = build_chain(scripts, policies, on_mid_stream_error="restart")
        seen, _ = await streamed(chain)
        assert seen == ["b", " c", "⟲", "back"]
        assert chain.clock.now() == 20
        assert [(row.target, row.retry_of) for row in chain.attempts] == [("a", None), ("b", None), ("a", 0)]

    run(main())


def test_where_nothing_is_left_the_partial_leaves_as_a_broken_stream_with_the_story_as_its_cause() -> None:
    async def main() -> None:
        chain = build_chain({"a": [cut("a1 x"), cut("a2 x")], "b": [cut("b x")]}, [], on_mid_stream_error="restart")
        error = await broken(chain)
        assert (error.kind, error.partial and error.partial.text) == ("mid_stream", "b")
        assert isinstance(error.__cause__, AllFallbacksFailed)
        assert [each.where for each in error.__cause__.exceptions] == ["a", "b"]
        assert error.attempt == 1

        alone = build_chain({"a": [cut("a1 x"), cut("a2 x"), 503]}, [STEADY], on_mid_stream_error="restart")
        error = await broken(alone)
        assert isinstance(error.__cause__, MaxRetriesExceeded)
        assert (error.__cause__.attempts, error.attempt) == (3, 2)
        assert error.partial is not None and error.partial.text == "a2"

        spent = build_chain({"a": [CUT]}, [(RETRY, {"max_attempts": 1})], on_mid_stream_error="restart")
        error = await broken(spent)
        assert error.partial is not None and (error.partial.text, error.attempt) == ("one two", 0)

    run(main())


def test_the_partial_of_a_continued_answer_is_all_that_was_seen() -> None:
    async def main() -> None:
        policies: list[Policy] = [(DEADLINE, {"after": "30s"}), STEADY]
        script = [CUT, {"reply": " three four", "stall_after": 1}]
        chain = build_chain({"a": script}, policies, on_mid_stream_error="continue")
        response = await chain.ask(commit="content")
        with pytest.raises(DeadlineExceeded) as caught:
            async with response:
                await response.read()
        assert caught.value.partial is not None and caught.value.partial.text == "one two three"
        assert chain.clock.now() == 30
        assert told(chain) == "a mid_stream → a deadline"

    run(main())


def test_an_error_that_may_not_move_on_ends_a_restart() -> None:
    async def main() -> None:
        chain = build_chain({"a": [CUT, 401], "b": ["b"]}, [STEADY], on_mid_stream_error="restart")
        error = await broken(chain)
        assert told(chain) == "a mid_stream → a auth"
        assert isinstance(error.__cause__, MaxRetriesExceeded) and error.__cause__.kind == "auth"

    run(main())


@pytest.mark.parametrize(
    ("keys", "fallback_on", "story"),
    [
        ({"retry_on": {"mid_stream": False}}, {}, "a mid_stream → b ok"),
        ({"retry_on": {"mid_stream": False}}, {"mid_stream": False}, "a mid_stream"),
        ({"backoff": {"mid_stream": "immediate"}}, {}, "a mid_stream → a ok"),
    ],
)
def test_what_the_file_says_of_the_kind_applies(keys: dict[str, Any], fallback_on: Any, story: str) -> None:
    async def main() -> None:
        scripts = {"a": [CUT, "a"], "b": ["b"]}
        policies = [(RETRY, {"jitter": "none", **keys})]
        chain = build_chain(scripts, policies, on_mid_stream_error="restart", fallback_on=fallback_on)
        async with await chain.ask(commit="content") as response:
            try:
                await response.read()
            except StreamBroken:
                assert fallback_on
        assert told(chain) == story
        assert chain.clock.now() == 0

    run(main())


def test_a_restart_withdraws_from_the_budget_and_without_it_moves_on() -> None:
    async def main() -> None:
        policies: list[Policy] = [STEADY, (RETRY_BUDGET, {"ratio": "10%", "floor": "0.1/s", "window": "10s"})]
        scripts = {"a": [cut("a1 x"), cut("a2 x"), "a3"], "b": ["b"]}
        chain = build_chain(scripts, policies, on_mid_stream_error="restart")
        seen, _ = await streamed(chain)
        assert seen == ["a1", "⟲", "a2", "⟲", "b"]
        assert [event.reason for event in chain.events(RetriesEnded)] == ["retry_budget_exhausted"]

        alone = build_chain({"a": [cut("a1 x"), cut("a2 x"), "a3"]}, policies, on_mid_stream_error="restart")
        error = await broken(alone)
        assert error.marks == ("retry_budget_exhausted",)

    run(main())


def test_a_restart_does_not_sleep_past_the_deadline_and_asks_the_breaker_first() -> None:
    async def main() -> None:
        late = build_chain({"a": [CUT]}, [(DEADLINE, {"after": "1500ms"}), STEADY], on_mid_stream_error="restart")
        error = await broken(late)
        assert (error.kind, error.marks, late.clock.now()) == ("mid_stream", ("deadline",), 0)

        policies = [STEADY, (CIRCUIT_BREAKER, {"failure_threshold": 1})]
        opened = build_chain({"a": [CUT], "b": ["b"]}, policies, on_mid_stream_error="restart")
        seen, _ = await streamed(opened)
        assert seen == ["one", " two", "⟲", "b"]
        assert [event.reason for event in opened.events(RetriesEnded)] == ["breaker_opened"]

    run(main())


def test_each_part_gives_its_own_verdict_and_place_back() -> None:
    async def main() -> None:
        policies: list[Policy] = [STEADY, (CONCURRENCY, {"limit": 1}), (CIRCUIT_BREAKER, {"failure_threshold": 3})]
        chain = build_chain({"a": [CUT, CUT, "a b"]}, policies, on_mid_stream_error="restart")
        await streamed(chain)
        assert chain.shared.of("concurrency")["a"]._gate.taken == 0
        window = chain.shared.of("circuit_breaker")["a"].state.counts
        assert (window.first, window.second) == (1, 2)

    run(main())


@pytest.mark.parametrize("mode", ["restart", "continue"])
def test_only_the_whole_answer_is_cached_and_followers_see_the_same(mode: MidStream) -> None:
    async def main() -> None:
        script = [{"reply": "one two", "chunk_every": "1s", "cut_after": 2}, {"reply": " 3 4", "chunk_every": "1s"}]
        chain = build_chain({"a": script}, [(CACHE, {}), STEADY], on_mid_stream_error=mode)
        leading = asyncio.ensure_future(streamed(chain))
        await asyncio.sleep(0.5)
        response = await chain.ask(commit="content")
        assert response.served.shared
        seen, (led, whole) = await heard(response), await leading
        assert seen == led
        assert whole.text == (" 3 4" if mode == "restart" else "one two 3 4")
        again = await chain.ask(commit="content")
        assert again.served.cached and (await again.read()).text == whole.text

        failing = build_chain({"a": [CUT, CUT, CUT, "x"]}, [(CACHE, {}), STEADY], on_mid_stream_error=mode)
        await broken(failing)
        assert failing.events(CacheStored) == []
        assert (await failing.answer()).text == "x"

    run(main())


def test_a_follower_learns_who_served_in_the_end_and_goes_on_when_the_leader_leaves_in_a_restart() -> None:
    async def main() -> None:
        script = [{"reply": "a b", "chunk_every": "1s", "cut_after": 1}, {"reply": "x", "delay": "9s"}]
        chain = build_chain({"a": [script[0]], "b": [script[1], "b"]}, [(CACHE, {})], on_mid_stream_error="restart")
        leading = asyncio.ensure_future(streamed(chain, deadline=5.0))
        await asyncio.sleep(0.5)
        response = await chain.ask(commit="content", deadline=60.0)
        following = asyncio.ensure_future(heard(response))
        await asyncio.sleep(1.5)  # b is being asked
        leading.cancel()
        assert await following == ["a", "⟲", "b"]
        assert (response.served.target, response.served.shared) == ("b", True)

    run(main())


def test_what_cannot_be_continued_fails() -> None:
    async def main() -> None:
        chain = build_chain({"a": [CUT, "x"], "b": ["b"]}, [STEADY], on_mid_stream_error="continue")
        error = await broken(chain, Request(messages=(message("user", "x"),), schema={"type": "object"}))
        assert error.partial is not None and error.partial.text == "one two"
        assert told(chain) == "a mid_stream"

    run(main())


@pytest.mark.parametrize("mode", ["restart", "continue", "buffer"])
def test_where_nobody_sees_the_deltas_a_break_is_retried_as_ever(mode: MidStream) -> None:
    async def main() -> None:
        chain = build_chain({"a": [CUT, "all of it"]}, [STEADY], on_mid_stream_error=mode)
        assert (await chain.answer()).text == "all of it"
        assert told(chain) == "a server → a ok"

    run(main())


def test_a_buffered_answer_is_shown_whole_and_a_break_in_it_never() -> None:
    async def main() -> None:
        chain = build_chain({"a": [CUT, "all of it"]}, [STEADY], on_mid_stream_error="buffer")
        seen, whole = await streamed(chain)
        assert seen == ["all of it"]
        assert whole.text == "all of it"
        assert chain.attempts[0].kind == "server"

    run(main())


def test_a_stream_that_is_held_too_long_by_its_provider_is_restarted_like_one_that_breaks() -> None:
    async def main() -> None:
        script = [{"reply": "a b", "stall_after": 1}, "x"]
        chain = build_chain({"a": script}, [STEADY, (TIMEOUT, {"idle": "3s"})], on_mid_stream_error="restart")
        seen, _ = await streamed(chain)
        assert seen == ["a", "⟲", "x"]
        assert chain.clock.now() == 4

    run(main())


def test_an_answer_given_up_while_it_is_resumed_ends_at_once_and_its_reader_is_woken() -> None:
    async def main() -> None:
        for reason in (None, WizardError("enough")):
            chain = build_chain(
                {"a": [CUT, "x"]}, [(RETRY, {"base": "100s", "max_delay": "100s"})], on_mid_stream_error="restart"
            )
            response = await chain.ask(commit="content")
            reading = asyncio.ensure_future(response.read())
            await asyncio.sleep(1)
            if reason is None:
                response.close()
            else:
                response.abort(reason)
            assert response.outcome is not None
            begun = chain.clock.now()
            await asyncio.wait([reading])
            assert chain.clock.now() == begun and not reading.cancelled()
            error = reading.exception()
            assert isinstance(error, WizardError)
            assert error.partial is not None and error.partial.text == "one two"
            assert len(asyncio.all_tasks()) == 1

    run(main())


def test_the_deadline_that_passes_inside_a_resumed_attempt_is_what_its_row_says() -> None:
    async def main() -> None:
        for policies in ([STEADY], [(CACHE, {}), STEADY]):
            chain = build_chain({"a": [CUT, {"reply": "x", "delay": "1h"}]}, policies, on_mid_stream_error="restart")
            begun = chain.clock.now()
            response = await chain.ask(commit="content", deadline=10.0)
            with pytest.raises(WizardError) as caught:
                await response.read()
            assert chain.clock.now() == begun + 10
            assert caught.value.kind == "deadline"
            assert [row.kind for row in chain.attempts] == ["mid_stream", "deadline"]
            assert caught.value.partial is not None and caught.value.partial.text == "one two"

    run(main())
