"""Order: what wraps what, whose state is whose, and orders by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from compiler_kit import compile_text, program
from run_kit import play
from semantics_kit import CALM, PRICED, STEPS, Commit, ask, file, forever, refusal, refused, story, warnings

from wizard_dsl.compiler.program import ChainPlan
from wizard_dsl.core.errors import SafetyBlocked, WizardError
from wizard_dsl.core.events import AnswerRefused, CacheHit
from wizard_dsl.core.messages import Completion
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.rate_limit import RATE_LIMIT
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.runtime.runtime import running
from wizard_dsl.testing import virtual
from wizard_dsl.testing.chains import build_chain
from wizard_dsl.testing.scripted import Script, Scripted

ONCE = "circuit_breaker: {failure_threshold: 1, reset_timeout: 5s}"
OUTER = ["deadline", "cache", "admission"]
INNER = ["retry", "rate_limit", "concurrency", "circuit_breaker", "timeout"]
TWO_CHAINS = """\
version: 1
providers: {a: {type: mock PROVIDER}}
chains:
  default: {targets: [a/m], policies: {use: none FIRST}}
  other: {targets: [a/TWO], policies: {use: none SECOND}}
steps:
  one: {prompt: {user: x}, on_error: skip}
  two: {prompt: {user: y}, chain: other NEEDS}
"""


def kinds(plan: ChainPlan) -> list[list[str]]:
    """The kinds above the strategy, beside it, and on the first target, outermost first."""
    return [[each.type.name for each in place] for place in (plan.outer, plan.shared, plan.targets[0].ladder)]


def two_chains(first: str, second: str, *, model: str = "m", then: str = ", needs: [one]", provider: str = "") -> str:
    text = TWO_CHAINS.replace("FIRST", f", {first}" if first else "").replace("SECOND", f", {second}" if second else "")
    return text.replace("TWO", model).replace(" NEEDS", then).replace(" PROVIDER", provider)


def began(text: str, folder: Path, item: Any, commit: Commit) -> list[tuple[str, float]]:
    """Which targets one run of a file of two chains called, and when."""

    async def work(pipeline: Pipeline) -> list[tuple[str, float]]:
        async with pipeline.stream() if commit == "content" else pipeline.start() as started:
            with suppress(WizardError):
                await started.finish()
        return [(row.target, row.started) for row in started.transcript.attempts]

    return play(text, folder, {"a/m": forever(item), "a/n": forever(item)}, work)[0]


@pytest.mark.parametrize("listed", [[*OUTER, *INNER], [*reversed(INNER), *reversed(OUTER)]], ids=["so", "reversed"])
def test_o1_policies_stand_in_their_order_whatever_order_the_file_lists_them_in(
    listed: list[str], tmp_path: Path, commit: Commit
) -> None:
    own = {"deadline": "9s", "cache": "1h", "rate_limit": "{rate: 1/hour, burst: 3}", "concurrency": "1"}
    own["admission"] = "{pipeline: {rate: 1/hour, burst: 1}}"  # one call: repeats and repairs take nothing more
    policies = ", ".join(f"{kind}: {own.get(kind, '{}')}" for kind in listed)
    text = file(f"{{targets: [a], policies: {{use: none, {policies}}}}}", "budgets: {run: $100}", head=PRICED)
    told = [*OUTER, "sequential", *INNER[:-1], "budget", *INNER[-1:]]
    assert program(text, tmp_path).chains["default"].ladder() == " > ".join(told)
    text = text.replace("one: {", "one: {output: {schema: {type: object}}, ")
    told.insert(told.index("sequential"), "contract")
    assert program(text, tmp_path).ladder("default") == " > ".join(told)

    async def work(pipeline: Pipeline) -> None:
        result = await ask(pipeline, commit)
        assert story(result) == "a 503 → a ok → a ok" and result.text == "{}"  # the repair's answer is what is stored
        assert story(await ask(pipeline, commit)) == ""  # a hit: under the cache nobody is asked for a token

    assert play(text, tmp_path, {"a": [503, "no json", "{}"]}, work)[1]["a"].left == 0


def test_o2_a_stored_answer_is_judged_by_todays_rules_and_a_guarded_input_is_not_looked_up(
    tmp_path: Path, commit: Commit
) -> None:
    verdicts: list[list[str]] = [[], ["no longer allowed"]]
    script = Script("a", ["fine"])

    def assess(completion: Completion) -> Sequence[str]:
        return verdicts.pop(0)

    async def main() -> None:
        compiled = compile_text(file("{targets: [a], policies: {cache: 1h}}"), tmp_path)
        async with running(
            compiled, Registry(plugins=False), seed=1, provide=lambda *at: Scripted(script, at[1].clock), assess=assess
        ) as pipeline:
            assert (await ask(pipeline, commit)).text == "fine"
            error = await refusal(pipeline, commit)
            assert isinstance(error, SafetyBlocked) and error.findings == ("no longer allowed",)
            told = [type(event) for _, _, event in error.transcript.events]
            assert told.index(CacheHit) < told.index(AnswerRefused)
            error = await refusal(pipeline, commit, inputs={"q": "hello\x00"})
            assert error.kind == "safety" and "U+0000" in error.message
        assert len(script.calls) == 1 and verdicts == []

    virtual.run(main())


@pytest.mark.parametrize(
    ("policies", "found"),
    [
        ("{}", [[], ["retry_budget"], ["retry", "circuit_breaker", "timeout"]]),
        ("{retry: off, cache: 1h}", [["cache"], ["retry_budget"], ["circuit_breaker", "timeout"]]),
        ("{use: none}", [[], [], []]),
        ("{use: none, retry: 2}", [[], [], ["retry"]]),
    ],
)
def test_o3_the_built_in_set_is_what_a_file_starts_from_and_none_is_empty(
    policies: str, found: list[list[str]], tmp_path: Path
) -> None:
    text = file(f"{{targets: [a], policies: {policies}}}")
    assert kinds(program(text, tmp_path).chains["default"]) == found


@pytest.mark.parametrize("item", [503, refused("30s")], ids=["breaker", "block"])
def test_o4_a_closed_target_is_seen_before_anyone_queues_for_its_token(item: Any, commit: Commit) -> None:
    limits = [
        (RATE_LIMIT, {"rate": "1/hour", "burst": 2}),
        (CIRCUIT_BREAKER, {"failure_threshold": 1, "reset_timeout": "30s"}),
    ]

    async def main() -> None:
        chain = build_chain({"a": [item, "back"], "b": forever("b")}, overrides={"a": [*CALM, *limits], "b": []})
        for _ in range(5):
            assert (await chain.answer(commit=commit)).text == "b" and chain.clock.now() == 0
        await asyncio.sleep(30)
        assert (await chain.answer(commit=commit)).text == "back" and chain.clock.now() == 30

    virtual.run(main())


def test_o5_a_call_refused_after_its_wait_gives_the_token_back_and_moves_on(commit: Commit) -> None:
    own = [
        (RATE_LIMIT, {"rate": "0.1/s", "burst": 1}),
        (CIRCUIT_BREAKER, {"failure_threshold": 1, "reset_timeout": "5s"}),
    ]
    slow = {"reply": "slow", "delay": "15s"}

    async def main() -> None:
        chain = build_chain({"a": [503, slow, "a"], "b": forever("b")}, overrides={"a": own, "b": []})
        await chain.answer(commit=commit)
        await asyncio.sleep(6)
        probe = asyncio.ensure_future(chain.answer(commit=commit))  # takes the token of second 10, and the lease
        await asyncio.sleep(0)
        other = asyncio.ensure_future(chain.answer(commit=commit))  # its token is due in second 20
        assert (await other).text == "b" and chain.clock.now() == 20
        assert (await probe).text == "slow" and chain.clock.now() == 25
        assert (await chain.answer(commit=commit)).text == "a" and chain.clock.now() == 25

    virtual.run(main())


@pytest.mark.parametrize(
    ("policy", "item", "then", "shared", "apart"),
    [
        (ONCE, 503, ", needs: [one]", [("a/m", 0)], [("a/m", 0), ("a/n", 0)]),
        ("rate_limit: {rate: 1/s, burst: 1}", "x", "", [("a/m", 0), ("a/m", 1)], [("a/m", 0), ("a/n", 0)]),
        ("concurrency: 1", {"delay": "5s", "reply": "x"}, "", [("a/m", 0), ("a/m", 5)], [("a/m", 0), ("a/n", 0)]),
    ],
    ids=["breaker", "rate limit", "concurrency"],
)
def test_o6_chains_that_use_one_target_share_its_state(
    policy: str, item: Any, then: str, shared: list[Any], apart: list[Any], tmp_path: Path, commit: Commit
) -> None:
    assert began(two_chains(policy, policy, then=then), tmp_path, item, commit) == shared
    assert began(two_chains(policy, policy, then=then, model="n"), tmp_path, item, commit) == apart


@pytest.mark.parametrize("kind", ["circuit_breaker", "rate_limit", "concurrency"])
def test_o7_two_settings_of_one_targets_state_are_an_error_that_names_both_lines(kind: str, tmp_path: Path) -> None:
    key, one, two = {
        "circuit_breaker": ("failure_threshold", "1", "2"),
        "rate_limit": ("rate", "1/s", "2/s"),
        "concurrency": ("limit", "1", "2"),
    }[kind]
    first, second = f"{kind}: {{{key}: {one}}}", f"{kind}: {{{key}: {two}}}"
    (error,) = compile_text(two_chains(first, second), tmp_path).diagnostics
    assert (error.code, error.line, [each.line for each in error.related]) == ("E064", 5, [4])
    program(two_chains(first, second.replace("}", ", per: chain}")), tmp_path)
    program(two_chains("retry: 1", "retry: 2"), tmp_path)


def test_o8_a_policy_of_a_provider_has_one_state_for_its_key_and_applies_in_addition(
    tmp_path: Path, commit: Commit
) -> None:
    limit = ", policies: {rate_limit: {rate: 1/s, burst: 1}}"
    text = two_chains("", "", model="n", then="", provider=limit)
    assert began(text, tmp_path, "x", commit) == [("a/m", 0), ("a/n", 1)]
    own = "rate_limit: {rate: 0.1/s, burst: 1}"
    text = two_chains(own, own, then="", provider=limit)
    assert began(text, tmp_path, "x", commit) == [("a/m", 0), ("a/m", 10)]
    text = two_chains("circuit_breaker: 9", "", model="n", provider=", policies: {circuit_breaker: 1}")
    assert began(text, tmp_path, 500, commit) == [("a/m", 0)]


def test_o9_an_order_by_hand_is_kept_and_one_without_sense_is_warned_of(tmp_path: Path) -> None:
    text = file("{targets: [a], policies: {use: none, cache: 1h, retry: 2, stack: [retry, cache]}}")
    assert kinds(program(text, tmp_path).chains["default"]) == [[], [], ["retry", "cache"]]
    (said,) = [line for line in warnings(text, tmp_path) if "W112" in line]
    assert "`stack` puts retry around cache: each repeat looks into the cache again" in said
    text = text.replace("[retry, cache]", "[cache, retry]")
    assert not [line for line in warnings(text, tmp_path) if "W112" in line] and STEPS in text
