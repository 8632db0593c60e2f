"""The witness of a plan: a run that makes as many attempts as the plan allows."""

from __future__ import annotations

from pathlib import Path

import pytest
from proving_kit import TWO_TARGETS, written

from wizard_dsl.analysis.plan import plan_of
from wizard_dsl.analysis.witness import Witness, witness
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.registry import Registry

SCHEMA = "output: {schema: {type: object, required: [n], properties: {n: {type: integer}}}, repairs: 2}"


def found(folder: Path, text: str) -> Witness | None:
    registry = Registry(plugins=False)
    compiled = compile_file(written(folder, text), registry, Sources(env={}, mock=True))
    assert compiled.program is not None
    return witness(compiled, registry, plan_of(compiled.program))


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        ({}, 4),
        ({"[one, two]": "[one, two], policies: {retry: 5, circuit_breaker: 2}"}, 10),
        ({"[one, two]": "[one, two], on_rate_limit: {then: fail}"}, 4),
        ({"[one, two]": "[one, two], on_rate_limit: {wait_up_to: 0s}"}, 4),
        ({"[one, two]": "[one, two], strategy: {type: hedged, after: 1s}"}, 4),
        ({"[one, two]": "[one, two], strategy: parallel"}, 4),
        ({'question }}"}': f'question }}}}"}}, {SCHEMA}'}, 12),
        ({'question }}"}': f'question }}}}"}}, {SCHEMA}', "[one, two]": "[one, two], strategy: parallel"}, 8),
        ({'{user: "{{ question }}"}': '{messages: [{role: user, content: [{image: "{{ question }}"}]}]}'}, 4),
        ({"[one, two]": "[one], policies: {retry: 8, rate_limit: {windows: [2/minute], max_wait: 10s}}"}, 8),
        ({"steps: {": "steps: {first: {prompt: {user: Hello}}, "}, 8),
        (
            {
                "{question: {type: string}}": "{question: {type: array, items: {type: string}, maxItems: 4}}",
                "answer: {": "answer: {for_each: question, ",
                "{{ question }}": "{{ item }}",
            },
            16,
        ),
    ],
)
def test_the_bound_of_the_plan_is_reached(changes: dict[str, str], most: int, tmp_path: Path) -> None:
    text = TWO_TARGETS.replace("[one, two]", "[one, two], policies: {retry: 2}")
    for before, after in changes.items():
        old = before if before != "[one, two]" else "[one, two], policies: {retry: 2}"
        assert old in text
        new = after if "policies" in after or before != "[one, two]" else f"{after}, policies: {{retry: 2}}"
        text = text.replace(old, new)
    shown = found(tmp_path, text)
    assert shown is not None
    assert (shown.made, shown.most, shown.reached) == (most, most, True), shown.outcomes


def test_a_bound_that_no_run_reaches_is_not_said_to_be(tmp_path: Path) -> None:
    """What the deadline leaves no time for is still within the plan."""
    shown = found(tmp_path, TWO_TARGETS + "deadline: 500ms\n")
    assert shown is not None and not shown.reached and shown.made < shown.most
    assert shown.told()[:2] == [("1 of 6 attempts", "the most that was found"), ("held back by", "deadline")]


def test_a_bound_is_reached_where_the_faults_must_take_their_time(tmp_path: Path) -> None:
    """Two calls of four attempts, each with 9 s: the second has no time for a token if the first was quick."""
    text = TWO_TARGETS.replace("steps: {", "steps: {first: {prompt: {user: Hello}}, ")
    limits = "rate_limit: {rate: 1/s, burst: 1}, deadline: 9s, retry_budget: off, circuit_breaker: off"
    rule = "on_rate_limit: {wait_up_to: 0s, max_retry_after: 0s}"
    shown = found(tmp_path, text.replace("[one, two]", f"[one], {rule}, policies: {{retry: 4, {limits}}}"))
    assert shown is not None and (shown.made, shown.reached, shown.held_back) == (8, True, ())


def test_without_a_bound_there_is_no_witness(tmp_path: Path) -> None:
    text = TWO_TARGETS.replace("{type: string}", "{type: array}").replace("answer: {", "answer: {for_each: question, ")
    assert found(tmp_path, text) is None


def test_a_bound_is_reached_where_only_what_was_never_sent_leaves_a_token(tmp_path: Path) -> None:
    """Six attempts within 2 s, with two tokens a target: a refused connection gives its token back."""
    own = "rate_limit: {rate: 1/minute, burst: 2}, deadline: 2s, retry_budget: off, circuit_breaker: off"
    policies = f"policies: {{retry: {{max_attempts: 3, jitter: decorrelated}}, {own}}}"
    shown = found(tmp_path, TWO_TARGETS.replace("[one, two]", f"[one, two], {policies}"))
    assert shown is not None and (shown.made, shown.reached) == (6, True)
