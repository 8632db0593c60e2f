"""The worst case of a run, folded from what its parts declare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace
from planning_kit import FILE, PRICED, compiled, planned, step

from wizard_dsl.analysis.plan import plan_of
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.core.target import Facts
from wizard_dsl.providers.mock import MOCK
from wizard_dsl.registry import BUILT_INS, Registry
from wizard_dsl.steps.render import RENDER

#: Tokens that a protocol adds to one message at most.
ADDED = 64 + 16


def test_attempts_are_those_of_all_targets(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    assert plan.worst.attempts.value == 4
    assert {name: each.value for name, each in plan.targets.items()} == {"a": 2, "b": 2}


def test_latency_is_that_of_all_attempts_and_the_largest_delays(tmp_path: Path) -> None:
    assert planned(tmp_path).worst.latency.value == 4 * 10 + 2 * 1


def test_a_429_may_be_waited_for_before_every_attempt_and_once_for_nothing(tmp_path: Path) -> None:
    chains = {"default": {"targets": ["a"], "on_rate_limit": {"wait_up_to": "3s", "max_retry_after": "60s"}}}
    assert planned(tmp_path, chains=chains).worst.latency.value == 2 * 10 + 3 + (2 + 1) * 60


def test_a_token_is_at_least_one_byte_and_a_character_at_most_four(tmp_path: Path) -> None:
    plan = planned(tmp_path, chains={"default": {"targets": ["b"], "policies": {"retry": "off"}}})
    read = 4 * 100 + ADDED
    assert plan.worst.tokens.value == read + 20
    assert plan.worst.cost.value == pytest.approx((read * 1 + 20 * 10) / 1e6)


def test_role_markers_of_untrusted_inputs_may_grow_when_they_are_escaped(tmp_path: Path) -> None:
    untrusted = {"inputs": {"q": {"type": "string", "maxLength": 30}}}
    only = {"chains": {"default": {"targets": ["b"], "policies": {"retry": "off"}}}}
    assert planned(tmp_path, **untrusted, **only).worst.tokens.value == 160 + ADDED + 20
    off = {"safety": {"input": {"roles": "off"}}}
    assert planned(tmp_path, **untrusted, **only, **off).worst.tokens.value == 120 + ADDED + 20


def test_a_step_may_ask_for_less_and_a_target_has_the_last_word(tmp_path: Path) -> None:
    chains = {"default": {"targets": [{"provider": "a", "params": {"max_tokens": 7}}], "policies": {"retry": "off"}}}
    plan = planned(tmp_path, chains=chains, steps={"s": step(params={"max_tokens": 30})})
    assert plan.worst.tokens.value == 400 + ADDED + 7


def test_an_input_without_a_length_leaves_the_cost_open_and_says_where(tmp_path: Path) -> None:
    plan = planned(tmp_path, inputs={"q": {"type": "string"}})
    assert not plan.worst.cost.bounded
    assert plan.worst.cost.reason == "input 'q' has no maxLength"
    assert plan.worst.cost.at == ("inputs", "q")
    assert plan.worst.attempts.bounded and plan.worst.latency.bounded


def test_the_window_of_a_model_bounds_what_it_reads(tmp_path: Path) -> None:
    providers = {"b": {"type": "mock", "model": "n", "models": {"n": {**PRICED, "max_output": 20, "context": 1000}}}}
    chains = {"default": {"targets": ["b"], "policies": {"retry": "off"}}}
    plan = planned(tmp_path, inputs={"q": {"type": "string"}}, providers=providers, chains=chains)
    assert plan.worst.tokens.value == 1020


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"prices": PRICED["prices"]}, "nothing bounds an answer of a; max_tokens would"),
        ({"max_output": 20}, "the price of a is not known"),
    ],
)
def test_what_is_not_known_of_a_model_is_named(tmp_path: Path, facts: dict[str, Any], reason: str) -> None:
    providers = {"a": {"type": "vllm", "model": "m", "models": {"m": facts}, "base_url": "http://localhost:1/v1"}}
    plan = planned(tmp_path, providers=providers, chains={"default": {"targets": ["a"]}})
    assert plan.worst.cost.reason == reason
    assert plan.worst.cost.at == ("providers", "a")


def test_the_price_library_is_asked_where_the_file_is_silent(tmp_path: Path) -> None:
    providers = {"a": {"type": "openai", "model": "gpt-x", "api_key": "${env:KEY}"}}
    program = compiled(tmp_path, {"providers": providers, "chains": {"default": {"targets": ["a"]}}})
    asked: list[tuple[str, str]] = []

    def library(prices: str, model: str) -> Facts:
        asked.append((prices, model))
        return Facts(context=1000)

    assert plan_of(program, library=library).worst.cost.reason == "the price of a is not known"
    assert set(asked) == {("openai", "gpt-x")}


def test_without_a_timeout_only_the_deadline_bounds_an_attempt(tmp_path: Path) -> None:
    plan = planned(tmp_path, policies={"default": {"timeout": {"total": "off"}}}, deadline="90s")
    assert plan.worst.latency.value == 90
    assert plan.worst.latency.at == ("deadline",)
    assert plan.unlimited.latency.reason == "timeout.total is off"
    assert plan.unlimited.latency.at == ("policies", "default", "timeout")


def test_a_timeout_limits_attempts_and_not_the_waits_below_it(tmp_path: Path) -> None:
    """In an order of its own, a ladder may have the wait for a place inside the timeout."""
    ladder = ["timeout", "retry", "concurrency"]
    policies = {"stack": ladder, "concurrency": {"limit": 1, "max_wait": "7s"}}
    chain = {**FILE["chains"]["default"], "targets": ["a"], "policies": policies}
    assert planned(tmp_path, chains={"default": chain}).worst.latency.value == 2 * (7 + 10) + 1


def test_a_calls_own_deadline_bounds_it(tmp_path: Path) -> None:
    chains = {"default": {"targets": ["a", "b"], "policies": {"deadline": "15s"}}}
    assert planned(tmp_path, chains=chains).worst.latency.value == 15


def test_a_limit_that_waits_is_bounded_by_max_wait_else_by_the_deadline(tmp_path: Path) -> None:
    def latency(keys: dict[str, Any]) -> float:
        chain = {**FILE["chains"]["default"], "targets": ["a"], "policies": {"retry": "off", "rate_limit": keys}}
        return planned(tmp_path, chains={"default": chain}).unlimited.latency.value

    assert latency({"max_wait": "4s"}) == 10 + 4
    assert latency({}) == 10 + 3600


def test_a_contract_asks_each_target_again_with_a_longer_prompt(tmp_path: Path) -> None:
    chains = {"default": {"targets": ["b"], "policies": {"retry": "off"}}}
    schema = {"type": "object"}
    plain = planned(tmp_path, chains=chains, steps={"s": step(output={"schema": schema, "repairs": 0})})
    repaired = planned(tmp_path, chains=chains, steps={"s": step(output={"schema": schema, "repairs": 2})})
    assert repaired.worst.attempts.value == 3
    assert repaired.worst.tokens.value > 3 * plain.worst.tokens.value + 2 * 20 * 128


@pytest.mark.parametrize(
    ("strategy", "policies", "most"),
    [
        ("parallel", {}, 4 + 2 * 2),
        ("parallel", {"concurrency": 1}, 4 + 2 * 4),
        ({"type": "hedged", "after": "1s"}, {}, 4 + 2 * 4),
        ("sequential", {}, 4 + 2 * 4),
    ],
)
def test_of_targets_that_are_asked_at_once_only_the_one_that_answers_repairs(
    tmp_path: Path, strategy: Any, policies: dict[str, Any], most: int
) -> None:
    """One that waits for its place has not been asked, and may be later."""
    chains = {"default": {"targets": ["a", "b"], "strategy": strategy, "policies": policies}}
    schema = {"type": "object", "required": ["n"]}
    plan = planned(tmp_path, chains=chains, steps={"s": step(output={"schema": schema, "repairs": 2})})
    assert plan.worst.attempts.value == most


def test_a_loop_runs_as_often_as_its_list_is_long(tmp_path: Path) -> None:
    inputs = {"q": FILE["inputs"]["q"], "rows": {"type": "array", "maxItems": 5, "items": {"enum": ["x", "yy"]}}}
    steps = {"s": {"for_each": "rows", "concurrency": 2, "prompt": {"user": "{{ item }}"}}}
    plan = planned(tmp_path, inputs=inputs, steps=steps)
    one = plan.steps["s"].once
    assert plan.steps["s"].executions.value == 5
    assert plan.worst.attempts.value == 5 * 4
    assert plan.worst.latency.value == 3 * one.latency.value
    assert plan.worst.in_flight.value == 2
    assert plan.steps["s"].targets["a"].attempts.value == 10


def test_a_loop_over_a_list_without_an_end_is_unbounded_at_the_input(tmp_path: Path) -> None:
    inputs = {"q": FILE["inputs"]["q"], "rows": {"type": "array", "items": {"const": 1}}}
    plan = planned(tmp_path, inputs=inputs, steps={"s": step(for_each="rows")})
    assert (plan.worst.attempts.reason, plan.worst.attempts.at) == ("input 'rows' has no maxItems", ("inputs", "rows"))
    assert plan.worst.in_flight.value == 4


def test_independent_steps_are_at_once_and_a_path_adds_up(tmp_path: Path) -> None:
    steps = {"s": step(), "t": step(), "u": step(needs=["s", "t"])}
    plan = planned(tmp_path, steps=steps)
    assert plan.worst.latency.value == 2 * 42
    assert plan.worst.attempts.value == 12
    assert plan.worst.in_flight.value == 2


def test_a_prompt_that_holds_an_answer_is_bounded_by_that_answers_tokens_or_schema(tmp_path: Path) -> None:
    chains = {"default": {"targets": ["b"], "policies": {"retry": "off"}}}
    after = {"prompt": {"user": "{{ steps.s.text }}"}}
    free = planned(tmp_path, chains=chains, steps={"s": step(), "t": after})
    assert free.steps["t"].worst.tokens.value == 20 * 128 + ADDED + 20
    schema = {"type": "object", "properties": {"kind": {"enum": ["a", "bb"]}}}
    sorted_ = step(output={"schema": schema})
    after = {"prompt": {"user": "{{ steps.s.json.kind }}"}}
    plan = planned(tmp_path, chains=chains, steps={"s": sorted_, "t": after})
    assert plan.steps["t"].worst.tokens.value == 2 + ADDED + 20


def test_a_render_step_and_an_embedding_write_nothing(tmp_path: Path) -> None:
    steps = {
        "title": {"type": "render", "template": "On {{ q }}"},
        "vector": {"type": "embed", "texts": ["{{ steps.title.text }}", "b"]},
    }
    chains = {"default": {"targets": ["b"], "policies": {"retry": "off"}}}
    plan = planned(tmp_path, steps=steps, chains=chains)
    assert plan.steps["title"].worst.attempts.value == 0
    assert plan.worst.tokens.value == 3 + 400 + 1 + 64 + 2 * 16


def test_another_file_is_folded_with_what_it_is_given(tmp_path: Path) -> None:
    inner = {
        "inputs": {"topic": {"type": "string", "trusted": True}},
        "steps": {"s": {"prompt": {"user": "{{ topic }}"}}},
    }
    steps = {"facts": {"type": "pipeline", "file": "inner.yaml", "inputs": {"topic": "{{ q }}"}}}
    plan = plan_of(compiled(tmp_path, {"steps": steps}, {"inner.yaml": inner}))
    assert plan.worst.attempts.value == 4
    assert plan.worst.tokens.value == 4 * (400 + ADDED) + 2 * 50 + 2 * 20


def test_what_is_unbounded_in_another_file_is_told_at_the_step(tmp_path: Path) -> None:
    inner = {"inputs": {"q": {"type": "string", "default": "x"}}}
    steps = {
        "facts": {"type": "pipeline", "file": "inner.yaml", "inputs": {"q": "{{ 'x' * q | length }}"}},
        "s": step(),
    }
    plan = plan_of(compiled(tmp_path, {"steps": steps}, {"inner.yaml": inner}))
    assert plan.worst.cost.reason == "inner.yaml: input 'q' has no maxLength"
    assert plan.worst.cost.at == ("steps", "facts", "file")


@pytest.mark.parametrize(("then", "most"), [("stop", 0.001), ("degrade", None)])
def test_a_budget_bounds_the_cost_only_where_it_stops(tmp_path: Path, then: str, most: float | None) -> None:
    free = planned(tmp_path)
    plan = planned(tmp_path, budgets={"run": {"limit": "$0.001", "then": then}})
    assert plan.worst.cost.value == (free.worst.cost.value if most is None else most)


@pytest.mark.parametrize(
    ("scope", "deadline", "times"),
    [("run", "50h", 1), ("day", "10s", 2), ("day", "24h", 2), ("day", "25h", 3), ("month", "50h", 2)],
)
def test_a_budget_of_a_period_is_there_anew_in_each_that_a_run_touches(
    tmp_path: Path, scope: str, deadline: str, times: int
) -> None:
    policies = {"default": {"timeout": {"total": "off"}, "retry": 5}}
    plan = planned(tmp_path, policies=policies, budgets={scope: {"limit": "$0.001"}}, deadline=deadline)
    assert plan.worst.cost.value == pytest.approx(0.001 * times)


def test_no_part_of_a_run_may_have_more_than_the_run(tmp_path: Path) -> None:
    plan = planned(tmp_path, steps={"s": step(), "t": step()}, budgets={"run": {"limit": "$0.001"}}, deadline="15s")
    for planned_step in plan.steps.values():
        for part in (planned_step.once, planned_step.worst, *planned_step.targets.values()):
            assert part.latency.value <= 15 and part.cost.value <= 0.001


def test_a_continued_answer_makes_later_prompts_longer(tmp_path: Path) -> None:
    chain = {"targets": ["b"], "policies": {"retry": 3}}
    plain = planned(tmp_path, chains={"default": chain})
    longer = planned(tmp_path, chains={"default": {**chain, "on_mid_stream_error": "continue"}})
    assert longer.worst.attempts == plain.worst.attempts
    assert longer.worst.tokens.value == plain.worst.tokens.value + 3 * (3 * 20 * 128)


def test_the_largest_contributor_is_what_the_figure_would_lose_most_without(tmp_path: Path) -> None:
    steps = {"s": step(), "t": step(output={"schema": {"type": "object"}, "repairs": 4})}
    plan = planned(tmp_path, steps=steps)
    largest = plan.contributors["attempts"][0]
    assert (largest.name, largest.share) == ("t.contract", 16)
    assert {each.name: each.share for each in plan.contributors["attempts"]} == {
        "s.b": 2, "s.retry": 2, "t.b": 10, "t.contract": 16, "t.retry": 10,
    }  # fmt: skip
    assert plan.contributors["latency"][0].name == "t.contract"


def test_what_has_no_bound_has_no_contributor(tmp_path: Path) -> None:
    assert planned(tmp_path, inputs={"q": {"type": "string"}}).contributors["cost"] == ()


def foreign(**groups: Any) -> Registry:
    """A registry with components of others."""
    own: Any = {name: {**BUILT_INS[name], **each} for name, each in groups.items()}  # type: ignore[index]
    return Registry(plugins=False, built_in={**BUILT_INS, **own})


def test_what_a_foreign_component_does_not_declare_is_open_and_names_it(tmp_path: Path) -> None:
    silent = replace(MOCK, name="silent", overhead=None)
    odd = replace(RENDER, name="odd", bound=None)
    registry = foreign(providers={"silent": silent}, steps={"odd": odd})
    path = tmp_path / "case.yaml"
    providers = {"a": {**FILE["providers"]["a"], "type": "silent"}}
    chains = {"default": {"targets": ["a"]}}
    path.write_text(yaml.safe_dump({**FILE, "providers": providers, "chains": chains}), encoding="utf-8")
    made = compile_file(path, registry, Sources())
    assert made.program is not None, made.diagnostics
    plan = plan_of(made.program)
    assert plan.worst.attempts.value == 2
    assert plan.worst.cost.reason == "the provider type silent does not say how many tokens it adds to a prompt"
    steps = {"s": {"type": "odd", "template": "x"}, "t": {"prompt": {"user": "{{ steps.s.text }}"}}}
    path.write_text(yaml.safe_dump({**FILE, "steps": steps}), encoding="utf-8")
    made = compile_file(path, registry, Sources())
    assert made.program is not None, made.diagnostics
    plan = plan_of(made.program)
    assert (plan.worst.attempts.reason, plan.worst.attempts.at) == (
        "the step type odd declares no bound",
        ("steps", "s"),
    )
    assert plan.steps["t"].worst.cost.reason == "the step type odd declares no bound"


def test_who_serves_another_file_may_have_a_longer_name(tmp_path: Path) -> None:
    inner = {
        "inputs": {},
        "providers": {"a_long_name": {**FILE["providers"]["b"]}},
        "chains": {"default": {"targets": ["a_long_name"]}},
        "steps": {"s": {"prompt": {"user": "x"}}},
    }
    steps = {
        "facts": {"type": "pipeline", "file": "inner.yaml"},
        "t": {"prompt": {"user": "{{ steps.facts.served_by }}"}},
    }
    chains = {"default": {"targets": ["b"], "policies": {"retry": "off"}}}
    plan = plan_of(compiled(tmp_path, {"steps": steps, "chains": chains}, {"inner.yaml": inner}))
    assert plan.steps["t"].worst.tokens.value == len("a_long_name") + ADDED + 20
