"""Sequential: order, moving on, what leaves a chain."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest

from wizard_dsl.core.bound import Bound, BoundFacts, Figure
from wizard_dsl.core.component import NoConfig
from wizard_dsl.core.errors import (
    AllFallbacksFailed,
    AuthError,
    CircuitOpen,
    DeadlineExceeded,
    MaxRetriesExceeded,
    ServerError,
    Unsupported,
    WindowTooSmall,
    WizardError,
)
from wizard_dsl.core.events import DeadlineCut, FallbackTriggered, LossAccepted, TargetSkipped
from wizard_dsl.core.messages import Image, Message, Request, Text, Tool, message
from wizard_dsl.core.run import Failure
from wizard_dsl.core.target import Facts, RateLimitRule
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.concurrency import CONCURRENCY
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.policies.timeout import TIMEOUT
from wizard_dsl.strategies.sequential import SEQUENTIAL
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

Commit = Literal["end", "content"]
RETRIES = [(RETRY, {"max_attempts": 3, "jitter": "none"})]
TOO_LONG = {"status": 400, "body": '{"error": {"code": "context_length_exceeded", "message": "too long"}}'}


@pytest.fixture(params=["end", "content"])
def commit(request: pytest.FixtureRequest) -> Commit:
    return request.param


async def failure(chain: ScriptedChain, *ask: Any, **options: Any) -> WizardError:
    with pytest.raises(WizardError) as caught:
        await chain.answer(*ask, **options)
    return caught.value


def test_the_first_target_answers_and_is_named(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": ["hello"], "b": []})
        response = await chain.ask(commit=commit)
        served = response.served
        assert (served.target, served.position, served.failures, served.losses) == ("a", 0, (), ())
        await response.read()
        assert not chain.events(FallbackTriggered)

    run(main())


@pytest.mark.parametrize(
    ("failing", "kind"),
    [
        (503, "server"),
        ({"refuse": True}, "connect"),
        (408, "timeout"),
        ({"reply": "x", "stall_after": 0}, "timeout"),
        (402, "quota_exhausted"),
        ({"status": 429, "retry_after": "1h"}, "rate_limited"),
        ({"reply": ""}, "malformed_response"),
        (TOO_LONG, "context_length"),
    ],
)
def test_these_kinds_move_on(failing: Any, kind: str, commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [failing], "b": ["hello"]}, [(TIMEOUT, {})])
        response = await chain.ask(commit=commit)
        assert (await response.read()).text == "hello"
        assert response.served.target == "b" and response.served.position == 1
        (failed,) = response.served.failures
        assert (failed.target, failed.error.kind, failed.called) == ("a", kind, True)
        assert chain.events(FallbackTriggered) == [
            FallbackTriggered(path="chains.chain", target="a", kind=kind, to="b")
        ]

    run(main())


@pytest.mark.parametrize("status", [401, 403, 404, 400, 422, 501])
def test_these_statuses_do_not_move_on(status: int, commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [status], "b": ["never"]})
        error = await failure(chain, commit=commit)
        assert not isinstance(error, AllFallbacksFailed) and chain.story() == f"a {status}"

    run(main())


def test_fallback_on_overrides_the_table_by_kind_and_more_specifically_by_status() -> None:
    async def main() -> None:
        rules = {"auth": True, "server": False, "503": True, "403": False}
        chain = build_chain({"a": [401, 503, 500, 403], "b": ["x", "y"]}, fallback_on=rules)
        assert (await chain.answer()).text == "x"
        assert (await chain.answer()).text == "y"
        assert (await failure(chain)).kind == "server"
        assert (await failure(chain)).kind == "auth"

    run(main())


def test_the_status_under_a_retry_counts_too() -> None:
    async def main() -> None:
        chain = build_chain({"a": [500, 500], "b": []}, [(RETRY, {"max_attempts": 2})], fallback_on={"500": False})
        assert isinstance(await failure(chain), MaxRetriesExceeded)

    run(main())


def test_a_chain_of_several_raises_all_fallbacks_failed_once_two_targets_were_tried(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [503, 503], "b": [401], "c": []}, [(RETRY, {"max_attempts": 2})])
        error = await failure(chain, commit=commit)
        assert isinstance(error, AllFallbacksFailed) and isinstance(error, ExceptionGroup)
        assert error.kind == "auth" and error.exit_code == 4
        first, second = error.exceptions
        assert isinstance(first, MaxRetriesExceeded) and isinstance(second, AuthError)
        assert "status 503" in error.message and "status 401" in error.message

    run(main())


def test_only_one_target_tried_leaves_its_error_alone() -> None:
    async def main() -> None:
        chain = build_chain({"a": [503, 503], "b": [503]}, [(CIRCUIT_BREAKER, {"failure_threshold": 1})])
        await failure(chain)
        await asyncio.sleep(30)
        chain.targets["b"].gates[:] = [lambda now: 5.0]
        assert isinstance(await failure(chain), ServerError)
        assert chain.events(TargetSkipped) == [TargetSkipped(path="chains.chain", target="b", reason="circuit_open")]

    run(main())


def test_the_kind_is_that_of_the_last_target_really_called_and_skips_are_listed() -> None:
    async def main() -> None:
        chain = build_chain({"a": [503], "b": ["never"], "c": [504]})
        chain.targets["b"].gates.append(lambda now: 5.0)
        error = await failure(chain)
        assert isinstance(error, AllFallbacksFailed)
        assert [each.kind for each in error.exceptions] == ["server", "circuit_open", "server"]
        assert error.kind == "server"

    run(main())


def test_an_open_target_costs_nothing_and_is_not_called() -> None:
    async def main() -> None:
        chain = build_chain({"a": ["never"], "b": ["hello"]})
        chain.targets["a"].gates.append(lambda now: 5.0)
        assert (await chain.answer()).text == "hello"
        assert chain.clock.now() == 0 and not chain.scripts["a"].calls

    run(main())


def test_circuit_open_does_not_move_on_where_the_file_forbids_it() -> None:
    async def main() -> None:
        chain = build_chain({"a": ["never"], "b": ["never"]}, fallback_on={"circuit_open": False})
        chain.targets["a"].gates.append(lambda now: 5.0)
        error = await failure(chain)
        assert isinstance(error, CircuitOpen) and error.retry_after == 5

    run(main())


def test_the_next_target_is_tried_if_min_attempt_fits_and_else_the_last_real_error_leaves_marked() -> None:
    async def main() -> None:
        scripts = {"a": [{"status": 503, "delay": "5s"}], "b": ["hello"]}
        chain = build_chain(scripts)
        assert (await chain.answer(deadline=6)).text == "hello"
        chain = build_chain(scripts)
        error = await failure(chain, deadline=5.9)
        assert isinstance(error, ServerError) and error.marks == ("deadline",) and error.exit_code == 5
        assert [event.what for event in chain.events(DeadlineCut)] == ["target"]  # type: ignore[attr-defined]

    run(main())


def test_kind_deadline_only_where_nothing_was_called_or_the_deadline_cut_the_last_attempt() -> None:
    async def main() -> None:
        chain = build_chain({"a": ["never"], "b": []})
        assert isinstance(await failure(chain, deadline=0), DeadlineExceeded)
        assert not chain.attempts
        chain = build_chain({"a": [503], "b": [{"reply": "x", "first_chunk": "1m"}]})
        error = await failure(chain, deadline=10)
        assert isinstance(error, AllFallbacksFailed) and error.kind == "deadline" and error.exit_code == 8

    run(main())


def test_a_queue_that_lasts_to_the_deadline_leaves_the_last_real_error_marked(commit: Commit) -> None:
    async def main() -> None:
        slow = {"reply": "x", "delay": "60s"}
        chain = build_chain({"a": [503], "b": [slow]}, overrides={"a": [], "b": [(CONCURRENCY, {"limit": 1})]})
        holder = build_chain({"b": [slow]}, [(CONCURRENCY, {"limit": 1})], shared=chain.shared)
        held = asyncio.ensure_future(holder.answer())
        await asyncio.sleep(0)
        with pytest.raises(ServerError) as caught:
            await chain.answer(deadline=10, commit=commit)
        assert caught.value.marks == ("deadline",) and caught.value.exit_code == 5 and chain.clock.now() == 10
        held.cancel()

    run(main())


def test_the_first_target_needs_no_min_attempt() -> None:
    async def main() -> None:
        chain = build_chain({"a": ["hello"]})
        assert (await chain.answer(deadline=0.2)).text == "hello"

    run(main())


def test_a_cancelled_call_goes_no_further(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [{"reply": "x", "first_chunk": "9s"}], "b": []})
        call = asyncio.ensure_future(chain.answer(commit=commit))
        await asyncio.sleep(1)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled() and [row.kind for row in chain.attempts] == ["cancelled"]

    run(main())


def test_targets_that_failed_before_are_not_entered_again_and_count_as_tried() -> None:
    async def main() -> None:
        chain = build_chain({"a": ["never"], "b": [503]})
        before = (Failure(0, "a", ServerError("earlier", where="a")),)
        error = await failure(chain, failures=before)
        assert isinstance(error, AllFallbacksFailed) and len(error.exceptions) == 2
        chain = build_chain({"a": ["never"]})
        assert str(await failure(chain, failures=before)) == "earlier"

    run(main())


def test_only_restricts_it_to_one_position_and_leaves_the_plain_error() -> None:
    async def main() -> None:
        chain = build_chain({"a": ["never"], "b": [503, "hello"], "c": ["never"]})
        before = (Failure(0, "a", ServerError("earlier", where="a")),)
        assert isinstance(await failure(chain, only=1, failures=before), ServerError)
        assert (await chain.answer(only=1, failures=before)).text == "hello"
        assert not chain.events(FallbackTriggered)

    run(main())


# -- capabilities -----------------------------------------------------------------------------------

TOOLS = Request(messages=(message("user", "x"),), tools=(Tool("look"),), params={"tool_choice": "auto", "top_p": 1})
PICTURE = Request(
    messages=(
        Message("user", (Text("what is this"), Image("https://example.com/a.png"))),
        Message("user", (Image("https://example.com/b.png"),)),
    )
)
SYSTEM = Request(messages=(message("system", "Be brief."), message("system", "Be kind."), message("user", "x")))


@pytest.mark.parametrize(
    ("facts", "request_", "lost"),
    [
        (Facts(tools=False), TOOLS, "tools"),
        (Facts(images=False), PICTURE, "images"),
        (Facts(system=False), SYSTEM, "system"),
    ],
)
def test_what_would_be_lost_must_be_allowed(facts: Facts, request_: Request, lost: str) -> None:
    async def main() -> None:
        chain = build_chain({"a": ["never"], "b": ["hello"]}, facts={"a": facts})
        response = await chain.ask(request_)
        assert response.served.target == "b" and response.served.losses == ()
        assert chain.events(TargetSkipped) == [TargetSkipped(path="chains.chain", target="a", reason=lost)]
        chain = build_chain({"a": ["never"]}, facts={"a": facts})
        error = await failure(chain, request_)
        assert isinstance(error, Unsupported) and error.lost == (lost,) and error.exit_code == 3

    run(main())


def sent(chain: ScriptedChain) -> Request:
    return chain.scripts["a"].calls[0][0]


def test_an_allowed_loss_is_reported_and_tools_are_not_sent() -> None:
    async def main() -> None:
        chain = build_chain({"a": ["hello"]}, facts={"a": Facts(tools=False)}, allow_loss=["tools"])
        response = await chain.ask(TOOLS)
        assert response.served.losses == ("tools",)
        assert chain.events(LossAccepted) == [LossAccepted(path="chains.chain", target="a", lost=("tools",))]
        assert sent(chain).tools == () and sent(chain).params == {"top_p": 1}

    run(main())


def test_an_allowed_loss_of_images_leaves_the_text() -> None:
    async def main() -> None:
        chain = build_chain({"a": ["hello"]}, facts={"a": Facts(images=False)}, allow_loss=["images"])
        await chain.ask(PICTURE)
        assert sent(chain).messages == (message("user", "what is this"),)

    run(main())


def test_an_allowed_loss_of_the_system_role_moves_its_text_to_the_user() -> None:
    async def main() -> None:
        facts = {"a": Facts(system=False)}
        chain = build_chain({"a": ["x", "y"]}, facts=facts, allow_loss=["system"])
        await chain.ask(SYSTEM)
        (only,) = sent(chain).messages
        assert only.role == "user" and only.text == "Be brief.\n\nBe kind.\n\nx"
        await chain.ask(Request(messages=(message("system", "Go."),)))
        (only,) = chain.scripts["a"].calls[1][0].messages
        assert only == message("user", "Go.")

    run(main())


def test_an_allowed_loss_of_streaming_is_read_whole_and_no_loss_where_nobody_streams() -> None:
    async def main() -> None:
        facts = {"a": Facts(streaming=False)}
        chain = build_chain({"a": ["a b", "c"], "b": ["b"]}, facts=facts, allow_loss=["streaming"])
        response = await chain.ask(commit="content")
        assert response.outcome is not None and response.served.losses == ("streaming",)
        assert (await chain.ask(commit="end")).served.losses == ()
        chain = build_chain({"a": ["never"], "b": ["b"]}, facts=facts)
        assert (await chain.ask(commit="content")).served.target == "b"

    run(main())


def test_a_json_schema_is_no_loss_because_the_contract_checks_it() -> None:
    async def main() -> None:
        chain = build_chain({"a": ["{}"]}, facts={"a": Facts(json_schema=False)})
        response = await chain.ask(Request(messages=(message("user", "x"),), schema={"type": "object"}))
        assert response.served.losses == () and sent(chain).schema is None

    run(main())


def test_what_is_unknown_is_not_checked() -> None:
    async def main() -> None:
        chain = build_chain({"a": ["hello"]}, facts={"a": Facts()})
        assert (await chain.ask(TOOLS, commit="content")).served.target == "a"

    run(main())


def test_the_context_window_is_never_allowed_to_be_lost() -> None:
    async def main() -> None:
        facts = {"a": Facts(context=100), "b": Facts(context=200)}
        request = Request(messages=(message("user", "x" * 400),), params={"max_tokens": 50})
        chain = build_chain({"a": ["never"], "b": ["hello"]}, facts=facts, allow_loss=["tools"])
        assert (await chain.ask(request)).served.target == "b"
        chain = build_chain({"a": ["never"]}, facts=facts)
        error = await failure(chain, request)
        assert isinstance(error, WindowTooSmall) and error.kind == "context_length" and "150 tokens" in error.message
        exact = Request(messages=(message("user", "x" * 400),))
        assert (await build_chain({"a": ["hello"]}, facts=facts).ask(exact)).served.target == "a"

    run(main())


def test_all_incapable_is_unsupported_or_context_length() -> None:
    async def main() -> None:
        small = Facts(context=1)
        chain = build_chain({"a": [], "b": []}, facts={"a": small, "b": small})
        assert isinstance(await failure(chain, "a long text"), WindowTooSmall)
        chain = build_chain({"a": [], "b": []}, facts={"a": Facts(tools=False), "b": small})
        error = await failure(chain, TOOLS.__class__(messages=(message("user", "x" * 99),), tools=TOOLS.tools))
        assert isinstance(error, Unsupported) and error.lost == ("tools",)

    run(main())


@pytest.mark.parametrize(
    ("first", "second", "story"),
    [
        (100, 200, "a 400 → b ok"),
        (100, 100, "a 400"),
        (100, None, "a 400 → b ok"),
        (None, 100, "a 400 → b ok"),
        (None, 10, "a 400"),
        (None, None, "a 400 → b ok"),
    ],
)
def test_a_context_too_long_moves_on_to_a_larger_window_that_holds_the_estimate(
    first: int | None, second: int | None, story: str
) -> None:
    async def main() -> None:
        facts = {"a": Facts(context=first), "b": Facts(context=second)}
        chain = build_chain({"a": [TOO_LONG], "b": ["hello"]}, facts=facts)
        request = Request(messages=(message("user", "x" * 80),))
        if story.endswith("ok"):
            await chain.answer(request)
        else:
            assert (await failure(chain, request)).kind == "context_length"
        assert chain.story() == story

    run(main())


def test_the_bound_sums_the_targets_and_the_waits_after_a_429() -> None:
    one = Bound(attempts=Figure(3), latency=Figure(10), cost=Figure(1), tokens=Figure(5))
    both = SEQUENTIAL.bound(NoConfig(), [one, one], BoundFacts(max_retry_after=60))
    assert (both.attempts.value, both.latency.value, both.cost.value) == (6, 20 + (6 + 2) * 60, 2)


def test_what_others_learn_meanwhile_makes_no_wait_longer_than_the_rule_allows(commit: Commit) -> None:
    """Another call is refused whenever ours would begin, so the target is blocked anew."""

    async def refuse_others(chain: ScriptedChain) -> None:
        for _ in range(9):
            await asyncio.sleep(3.9)
            chain.targets["a"].state.block(chain.clock.now() + 4, "rate_limited")

    async def main() -> None:
        rule = RateLimitRule(wait_up_to=1, max_retry_after=10)
        chain = build_chain({"a": [{"status": 429, "retry_after": "4s"}, "never"]}, RETRIES, rate_limit=rule)
        others = asyncio.ensure_future(refuse_others(chain))
        assert (await failure(chain, commit=commit)).kind == "rate_limited"
        assert chain.clock.now() <= 10
        assert chain.story() == "a 429"
        await others

    run(main())


@pytest.mark.parametrize(
    ("item", "forbidden"),
    [({"status": 429, "retry_after": "1s"}, "rate_limited"), ({"status": 503, "retry_after": "1s"}, "503")],
)
def test_what_must_not_be_repeated_is_not_waited_for_either(item: dict[str, object], forbidden: str) -> None:
    async def main() -> int:
        chain = build_chain({"a": [item, "hi"]}, [(RETRY, {"retry_on": {forbidden: False}})])
        with pytest.raises(WizardError):
            await chain.answer()
        return len(chain.attempts)

    assert run(main()) == 1
