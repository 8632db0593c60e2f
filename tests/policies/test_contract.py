"""The contract: check, repairs, and what the strategy does afterwards."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Literal

import pytest

from wizard_dsl.core.bound import Bound, BoundFacts, Figure
from wizard_dsl.core.errors import AllFallbacksFailed, ContractViolated, SpecError, WizardError
from wizard_dsl.core.events import ContractFailed, FallbackTriggered
from wizard_dsl.core.messages import Completion, Request, Tool, ToolCall, message
from wizard_dsl.core.response import Response
from wizard_dsl.policies.contract import CONTRACT, ContractConfig, compile_schema, find_violations
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

Commit = Literal["end", "content"]
SCHEMA = {
    "type": "object",
    "required": ["topic"],
    "properties": {"topic": {"enum": ["billing", "bug"]}},
    "additionalProperties": False,
}
GOOD, BAD = '{"topic": "bug"}', '{"topic": "spam"}'
ASK = Request(messages=(message("user", "sort this"),), schema=SCHEMA)


@pytest.fixture(params=["end", "content"])
def commit(request: pytest.FixtureRequest) -> Commit:
    return request.param


def build(script: list[Any], *more: list[Any], repairs: int = 1, **options: Any) -> ScriptedChain:
    scripts = dict(zip("abcd", (script, *more), strict=False))
    return build_chain(scripts, [(CONTRACT, {"repairs": repairs}), (RETRY, {"jitter": "none"})], **options)


async def failure(chain: ScriptedChain, request: Request = ASK, **options: Any) -> WizardError:
    with pytest.raises(WizardError) as caught:
        await chain.answer(request, **options)
    return caught.value


def violations(text: str, **completion: Any) -> list[str]:
    validator = compile_schema(SCHEMA, "here")
    return [each.sentence for each in find_violations(validator, Completion(text=text, **completion))]


@pytest.mark.parametrize("text", [GOOD, f"\n  {GOOD}\n", f"```json\n{GOOD}\n```", f"```\n{GOOD}\n```\n"])
def test_the_answer_is_json_alone_or_in_one_fence(text: str) -> None:
    assert violations(text) == []


@pytest.mark.parametrize(
    "text",
    ["", "no", f"Here it is: {GOOD}", f"{GOOD}{GOOD}", "NaN", "[" * 100_000, "\ud800", "[" * 100_000 + "]" * 100_000],
)
def test_anything_else_is_not(text: str) -> None:
    (sentence,) = violations(text)
    assert "not JSON" in sentence or "surrogates" in sentence


def test_each_violation_is_named_with_its_place() -> None:
    assert violations(BAD) == ["$.topic: 'spam' is not one of ['billing', 'bug']"]
    assert len(violations('{"topic": 1, "more": 2}')) == 2
    assert violations("[]") == ["$: [] is not of type 'object'"]


def test_violations_are_few_and_short() -> None:
    validator = compile_schema({"type": "array", "items": {"type": "integer"}}, "here")
    found = find_violations(validator, Completion(text=json.dumps(["x" * 1000] * 50)))
    assert len(found) == 10 and all(len(each.sentence) < 250 for each in found)


def test_an_answer_too_deep_for_a_recursive_schema_is_a_violation() -> None:
    lists = {"$ref": "#/$defs/list", "$defs": {"list": {"type": "array", "items": {"$ref": "#/$defs/list"}}}}
    (found,) = find_violations(compile_schema(lists, "here"), Completion(text="[" * 900 + "]" * 900))
    assert "too deeply" in found.sentence


@pytest.mark.parametrize(("reason", "said"), [("length", "max_tokens"), ("content_filter", "content filter")])
def test_a_cut_answer_says_that_it_was_cut(reason: str, said: str) -> None:
    (sentence,) = violations('{"topic": "b', finish_reason=reason)
    assert said in sentence


def test_a_good_answer_passes_and_is_read_whole(commit: Commit) -> None:
    async def main() -> None:
        chain = build([GOOD])
        response = await chain.ask(ASK, commit=commit)
        assert response.outcome is not None and response.outcome.completion.text == GOOD
        assert chain.scripts["a"].calls[0][1].commit == "end"

    run(main())


def test_without_a_schema_nothing_is_checked_and_it_streams() -> None:
    async def main() -> None:
        chain = build([{"reply": "no json", "chunk_every": "1s"}])
        response = await chain.ask("hello", commit="content")
        assert response.outcome is None
        assert (await response.read()).text == "no json"

    run(main())


def test_a_repair_asks_the_target_that_answered_again_with_the_validators_errors(commit: Commit) -> None:
    async def main() -> None:
        chain = build([BAD, GOOD], ["never"])
        assert (await chain.answer(ASK, commit=commit)).text == GOOD
        first, second = (request for request, _ in chain.scripts["a"].calls)
        assert first == ASK
        assert [each.role for each in second.messages] == ["user", "assistant", "user"]
        assert second.messages[1].text == BAD
        assert "$.topic: 'spam' is not one of" in second.messages[2].text
        assert [event.repair for event in chain.events(ContractFailed)] == [0]  # type: ignore[attr-defined]
        assert not chain.events(FallbackTriggered)

    run(main())


def test_an_empty_answer_is_not_shown_to_the_model() -> None:
    async def main() -> None:
        chain = build([{"reply": "", "finish_reason": "length"}, GOOD])
        await chain.answer(ASK)
        assert [each.role for each in chain.scripts["a"].calls[1][0].messages] == ["user", "user"]

    run(main())


def test_a_repair_has_max_attempts_anew() -> None:
    async def main() -> None:
        chain = build([503, 503, BAD, 503, 503, GOOD])
        assert (await chain.answer(ASK)).text == GOOD
        assert len(chain.attempts) == 6

    run(main())


def test_after_the_repairs_the_strategy_goes_on_with_targets_not_yet_tried() -> None:
    async def main() -> None:
        chain = build([503, BAD, BAD, "never"], [BAD, GOOD])
        response = await chain.ask(ASK)
        assert chain.story() == "a 503 → a ok → a ok → b ok → b ok"
        assert response.served.target == "b" and [each.target for each in response.served.failures] == ["a"]
        (moved,) = chain.events(FallbackTriggered)
        assert (moved.target, moved.kind, moved.to) == ("a", "contract", "b")  # type: ignore[attr-defined]

    run(main())


def test_no_target_is_entered_twice() -> None:
    async def main() -> None:
        chain = build([503, 503, 503], [BAD, BAD], [BAD, BAD])
        error = await failure(chain)
        assert isinstance(error, AllFallbacksFailed) and error.kind == "contract"
        assert [each.kind for each in error.exceptions] == ["server", "contract", "contract"]
        assert [len(script.calls) for script in chain.scripts.values()] == [3, 2, 2]

    run(main())


def test_a_chain_of_one_raises_the_violation_with_the_last_answer(commit: Commit) -> None:
    async def main() -> None:
        chain = build([BAD, '{"topic": "other"}'])
        error = await failure(chain, commit=commit)
        assert isinstance(error, ContractViolated) and error.exit_code == 7 and error.where == "a"
        assert error.partial is not None and error.partial.text == '{"topic": "other"}'
        assert error.violations == ("$.topic: 'other' is not one of ['billing', 'bug']",)

    run(main())


def test_no_repairs_means_none() -> None:
    async def main() -> None:
        chain = build([BAD, "never"], repairs=0)
        assert isinstance(await failure(chain), ContractViolated)
        assert len(chain.attempts) == 1

    run(main())


def test_two_repairs_each_show_the_answer_before() -> None:
    async def main() -> None:
        chain = build([BAD, "{}", GOOD], repairs=2)
        assert (await chain.answer(ASK)).text == GOOD
        third = chain.scripts["a"].calls[2][0]
        assert [each.text for each in third.messages][:2] == ["sort this", "{}"]
        assert "'topic' is a required property" in third.messages[2].text

    run(main())


def test_a_repair_that_fails_otherwise_ends_that_target() -> None:
    async def main() -> None:
        chain = build([BAD, 503, 503, 503], [GOOD])
        response = await chain.ask(ASK)
        assert response.served.target == "b"
        (failed,) = response.served.failures
        assert failed.target == "a" and failed.error.kind == "server"

    run(main())


def test_a_repair_whose_error_does_not_move_on_leaves_the_chain() -> None:
    async def main() -> None:
        chain = build([BAD, 401], ["never"])
        assert (await failure(chain)).kind == "auth"

    run(main())


@pytest.mark.parametrize("first", [{"status": 429, "retry_after": "20s"}, {"status": 503, "retry_after": "20s"}])
def test_a_target_that_failed_was_waited_for_and_broke_the_contract_counts_once(first: Any, commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [first, "no"]}, [(CONTRACT, {"repairs": 0}), (RETRY, {"jitter": "none"})])
        with pytest.raises(ContractViolated):
            await chain.answer(ASK, commit=commit)
        assert chain.story().endswith("→ a ok")

    run(main())


def test_a_repair_that_was_never_made_leaves_the_violation() -> None:
    async def main() -> None:
        chain = build([{"reply": BAD, "delay": "5s"}], ["never"])
        error = await failure(chain, deadline=5.5)
        assert isinstance(error, ContractViolated) and error.marks == ("deadline",)
        assert chain.clock.now() == 5

    run(main())


def test_a_violation_does_not_move_on_where_the_file_forbids_it() -> None:
    async def main() -> None:
        chain = build([BAD, BAD], ["never"], fallback_on={"contract": False})
        assert isinstance(await failure(chain), ContractViolated)

    run(main())


def test_an_answer_that_calls_offered_tools_passes_unchecked() -> None:
    async def main() -> None:
        async def inner(request: Request, run: Any) -> Response:
            return Response.complete(Completion(tool_calls=(ToolCall("1", "look"),), finish_reason="tool_calls"))

        chain = build([GOOD])
        (context_call,) = [chain.handler]
        node = context_call.__self__  # type: ignore[attr-defined]
        node._next = inner
        offered = Request(messages=ASK.messages, schema=SCHEMA, tools=(Tool("look"),))
        assert (await chain.answer(offered)).tool_calls[0].name == "look"

    run(main())


def test_a_schema_that_is_none_and_a_reference_to_nowhere_say_so() -> None:
    with pytest.raises(SpecError, match="not a JSON Schema"):
        compile_schema({"type": "objekt"}, "here")
    for target in ("#/$defs/missing", "http://127.0.0.1:9/schema.json"):
        validator = compile_schema({"$ref": target}, "here")
        with pytest.raises(SpecError, match="refers to what is not in it"):
            find_violations(validator, Completion(text="{}"))


def test_events_never_quote_the_answer() -> None:
    async def main() -> None:
        chain = build([BAD, "my secret prose"])
        await failure(chain)
        told = [event.violations for event in chain.events(ContractFailed)]  # type: ignore[attr-defined]
        assert told == [("$.topic: enum",), ("$: json",)]

    run(main())


def test_cancelling_a_repair_leaves_nothing_running() -> None:
    async def main() -> None:
        chain = build([BAD, {"reply": GOOD, "first_chunk": "9s"}])
        call = asyncio.ensure_future(chain.answer(ASK))
        await asyncio.sleep(2)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled() and [row.kind for row in chain.attempts] == ["ok", "cancelled"]

    run(main())


def test_validators_are_compiled_once_a_schema_and_not_kept_without_end() -> None:
    async def main() -> None:
        chain = build([{"reply": GOOD, "times": "forever"}])
        node = chain.handler.__self__  # type: ignore[attr-defined]
        await chain.answer(ASK)
        await chain.answer(ASK)
        assert len(node._validators) == 1
        for _ in range(200):
            await chain.answer(Request(messages=ASK.messages, schema=dict(SCHEMA)))
        assert len(node._validators) <= 64

    run(main())


def test_the_bound_is_times_one_plus_repairs() -> None:
    inner = Bound(attempts=Figure(3), latency=Figure(10), cost=Figure(1), tokens=Figure(1))
    assert CONTRACT.bound(ContractConfig(repairs=2), inner, BoundFacts()).attempts.value == 9
