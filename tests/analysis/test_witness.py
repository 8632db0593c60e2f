"""The witness of a plan: a run that makes as many attempts as the plan allows."""

from __future__ import annotations

from pathlib import Path

import pytest
from proving_kit import TWO_TARGETS, written

from wizard_dsl.analysis._prove_play import Stage
from wizard_dsl.analysis._witness_starts import others
from wizard_dsl.analysis.plan import plan_of
from wizard_dsl.analysis.witness import Witness, witness
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.registry import Registry

SCHEMA = "output: {schema: {type: object, required: [n], properties: {n: {type: integer}}}, repairs: 2}"

REGISTRY = Registry(plugins=False)


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


def test_answers_that_cost_nothing_leave_a_budget_for_the_steps_that_follow(tmp_path: Path) -> None:
    """The budget has room for one worst case at a time."""
    text = TWO_TARGETS.replace("steps: {", "steps: {first: {prompt: {user: Hello}}, ")
    own = "{user: Hello}}, answer: {needs: [first], "
    text = text.replace("{user: Hello}}, answer: {", own).replace("[one, two]", "[one], policies: {retry: 1}")
    priced = "models: {m: {max_output: 50, prices: {input: $1, output: $100}}}"
    text = text.replace("{type: string}", "{type: string, maxLength: 9}").replace("model: m}", f"model: m, {priced}}}")
    shown = found(tmp_path, text + "budgets: {run: $0.007}\n")
    assert shown is not None and (shown.made, shown.reached) == (2, True)


def test_a_race_asks_all_of_them_in_turn_where_others_hold_the_place_of_one(tmp_path: Path) -> None:
    """Alone, both are asked at once, and the answer of the first ends the other for good."""
    own = "strategy: parallel, policies: {retry: 1, concurrency: {limit: 1, max_wait: 6s}}"
    shown = found(
        tmp_path,
        TWO_TARGETS.replace('question }}"}', f'question }}}}"}}, {SCHEMA}').replace("[one, two]", f"[one, two], {own}"),
    )
    assert shown is not None and (shown.made, shown.reached) == (6, True)
    assert shown.whence.startswith("beside others who hold ")
    assert ("where it begins", shown.whence) in shown.told()


def test_what_is_never_repeated_comes_to_an_answer_that_is_repaired(tmp_path: Path) -> None:
    """Two repeats in all: the attempts that nothing follows are answered, so that they are repaired."""
    own = "policies: {retry: 4, retry_budget: {ratio: 0%, floor: 0.2/s}}"
    text = TWO_TARGETS.replace('question }}"}', f'question }}}}"}}, {SCHEMA}').replace("[one, two]", f"[one], {own}")
    shown = found(tmp_path, text + "deadline: 8s\n")
    assert shown is not None and (shown.made, shown.reached) == (5, True)


def test_a_list_without_an_item_keeps_no_step_from_the_others(tmp_path: Path) -> None:
    mute = "mute: {type: mock, model: x, models: {x: {system: false}}}"
    text = TWO_TARGETS.replace("providers: {", f"providers: {{{mute}, ").replace(
        "chains: {", "chains: {none: {targets: [mute]}, "
    )
    loop = 'for_each: parts, chain: none, prompt: {system: Be kind., user: "{{ item }}"}'
    text = text.replace("steps: {", f"steps: {{first: {{{loop}}}, ").replace("answer: {", "answer: {needs: [first], ")
    parts = "inputs: {parts: {type: array, maxItems: 2, items: {type: string}}, "
    shown = found(tmp_path, text.replace("inputs: {", parts))
    assert shown is not None and (shown.made, shown.reached) == (6, True)


def test_a_breaker_that_a_person_holds_closed_admits_what_the_plan_allows(tmp_path: Path) -> None:
    """Nothing but a failure is repeated here, and one failure opens it."""
    own = "policies: {retry: {max_attempts: 3, base: 1ms}, circuit_breaker: 1, deadline: 5s}"
    rule = "on_rate_limit: {wait_up_to: 0s, max_retry_after: 0s}"
    shown = found(tmp_path, TWO_TARGETS.replace("[one, two]", f"[one, two], {own}, {rule}"))
    assert shown is not None and (shown.made, shown.reached) == (6, True)
    assert shown.whence == "with breakers that a person holds closed"


@pytest.mark.parametrize(("ratio", "asked"), [("0%", False), ("20%", True)])
def test_others_pay_for_repeats_only_where_the_budget_is_a_share_of_their_calls(
    ratio: str, asked: bool, tmp_path: Path
) -> None:
    own = f"policies: {{retry: 4, retry_budget: {{ratio: {ratio}, floor: 0.1/s}}}}"
    path = written(tmp_path, TWO_TARGETS.replace("[one, two]", f"[one, two], {own}"))
    stage = Stage(compile_file(path, REGISTRY, Sources(env={}, mock=True)), REGISTRY)
    names = [each.name for each in others(stage, {"question": "Why?"}, ("retry_budget_exhausted",))]
    assert any("other calls" in name for name in names) is asked
