"""What a plan leaves out, since no run ever does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from planning_kit import FILE, PRICED, compiled, planned, step

from wizard_dsl.analysis.plan import plan_of


def test_of_three_asked_two_at_once_two_repair(tmp_path: Path) -> None:
    """Each visit that ends with an answer uses up two of them, and the last one what is left."""
    third = {"type": "mock", "model": "o", "models": {"o": {**PRICED, "max_output": 20}}}
    chains = {"default": {"targets": ["a", "b", "c"], "strategy": {"type": "parallel", "n": 2}}}
    steps = {"s": step(output={"schema": {"type": "object", "required": ["n"]}, "repairs": 3})}
    plan = planned(tmp_path, providers={**FILE["providers"], "c": third}, chains=chains, steps=steps)
    assert plan.worst.attempts.value == 6 + 3 * 4


@pytest.mark.parametrize(
    ("system", "allowed", "most"),
    [("Be kind.", [], 2), ("{{ q }}!", [], 2), ("{{ q }}", [], 4), ("Be kind.", ["system"], 4)],
)
def test_a_target_that_lacks_what_every_prompt_holds_is_never_asked(
    tmp_path: Path, system: str, allowed: list[str], most: int
) -> None:
    """A system message that may say nothing is not sent then."""
    mute = {"m": {**PRICED, "max_output": 50, "system": False}}
    providers = {**FILE["providers"], "a": {"type": "mock", "model": "m", "models": mute}}
    chains = {"default": {**FILE["chains"]["default"], "allow_loss": allowed}}
    steps = {"s": {"prompt": {"system": system, "user": "{{ q }}"}}}
    assert planned(tmp_path, providers=providers, chains=chains, steps=steps).worst.attempts.value == most


@pytest.mark.parametrize(
    ("budget", "most"),
    [
        ({"run": {"limit": "$0.0004"}}, 2),
        ({"day": {"limit": "$0.0001"}}, 0),
        ({"run": {"limit": "$0.0004", "then": "degrade"}}, 4),
        ({"session": {"limit": "$0.0001"}}, 4),
        ({"run": {"limit": "$0.0006"}}, 4),
    ],
)
def test_a_target_whose_answer_no_budget_ever_pays_is_never_asked(
    tmp_path: Path, budget: dict[str, Any], most: int
) -> None:
    """What a says may cost $0.0005, what b says $0.0002; what fails costs nothing, so what fits may be repeated."""
    assert planned(tmp_path, budgets=budget).worst.attempts.value == most


def test_what_another_file_is_not_given_has_its_default(tmp_path: Path) -> None:
    parts = {"type": "array", "maxItems": 9, "items": {"type": "string"}, "default": ["x", "y"]}
    inner = {"inputs": {"parts": parts}, "steps": {"i": {"for_each": "parts", "prompt": {"user": "Hello"}}}}
    for inputs, most in (({}, 2 * 4), ({"parts": "{{ ['z'] * 3 }}"}, 3 * 4)):
        steps = {"s": {"type": "pipeline", "file": "inner.yaml", "inputs": inputs}}
        assert plan_of(compiled(tmp_path, {"steps": steps}, {"inner.yaml": inner})).worst.attempts.value == most


RATIONED = {"ratio": "0%", "floor": "0.2/s"}


@pytest.mark.parametrize(
    ("deadline", "budget", "most"),
    [
        ("11s", RATIONED, 3 + 2 * 2),
        ("10s", RATIONED, 3 + 2),
        ("11s", {**RATIONED, "floor": "0.05/s"}, 3),
        ("500ms", RATIONED, 3),
        ("11s", {**RATIONED, "ratio": "1%"}, 3 * 4),
        ("11s", {**RATIONED, "floor": "3/s"}, 3 * 4),
    ],
)
def test_steps_of_one_chain_share_the_repeats_that_its_budget_allows(
    deadline: str, budget: dict[str, Any], most: int, tmp_path: Path
) -> None:
    """Two repeats in a window, and the last of them a second before the deadline; with a ratio, others' calls allow
    more."""
    policies = {"default": {"retry": 4, "retry_budget": budget, "timeout": "5s"}}
    steps = {"s": step(), "t": step(needs=["s"]), "u": step(needs=["t"])}
    chains = {"default": {"targets": ["a"]}}
    plan = planned(tmp_path, policies=policies, steps=steps, chains=chains, deadline=deadline)
    assert plan.worst.attempts.value == most
    assert plan.steps["s"].worst.attempts.value == min(4, most - 2)


def test_repeats_that_a_reader_can_put_off_are_not_bound_by_the_time_the_run_takes(tmp_path: Path) -> None:
    """A call is over after 5 s; a stream that is read slowly, and then continued, is not."""
    policies = {"default": {"retry": 9, "retry_budget": RATIONED, "timeout": "1s", "deadline": "5s"}}
    for rule, most in (("fail", 1 + 2), ("continue", 9)):
        chains = {"default": {"targets": ["a"], "on_mid_stream_error": rule}}
        plan = planned(tmp_path, policies=policies, chains=chains)
        assert plan.worst.attempts.value == most, rule


@pytest.mark.parametrize(
    ("context", "params", "most"),
    [(20, {}, 2 + 2), (30, {}, 2 + 2), (32, {}, 2 + 4), (32, {"max_tokens": 5}, 2 + 2), (None, {}, 2 + 4)],
)
def test_a_target_without_room_for_the_words_of_a_repair_is_asked_for_none(
    context: int | None, params: dict[str, Any], most: int, tmp_path: Path
) -> None:
    facts = {**PRICED, "max_output": 20, **({} if context is None else {"context": context})}
    providers = {**FILE["providers"], "b": {"type": "mock", "model": "n", "models": {"n": facts}}}
    chains = {"default": {"targets": ["b"]}}
    schema = {"type": "object", "required": ["n"]}
    steps = {"s": step(output={"schema": schema, "repairs": 1}, params=params), "t": step()}
    assert planned(tmp_path, providers=providers, chains=chains, steps=steps).worst.attempts.value == most


@pytest.mark.parametrize(
    ("first", "most"), [({}, 0), ({"on_error": "skip"}, 4), ({"when": "q == 'x'"}, 4), ({"for_each": "['x']"}, 4)]
)
def test_what_waits_for_a_step_that_nobody_may_answer_is_never_asked(
    first: dict[str, Any], most: int, tmp_path: Path
) -> None:
    mute = {"m": {**PRICED, "max_output": 50, "system": False}}
    providers = {**FILE["providers"], "a": {"type": "mock", "model": "m", "models": mute}}
    chains = {**FILE["chains"], "mute": {"targets": ["a"]}}
    asks = {"chain": "mute", "prompt": {"system": "Be kind.", "user": "{{ q }}"}, **first}
    steps = {"s": asks, "t": step(needs=["s"]), "u": step(needs=["t"])}
    plan = planned(tmp_path, providers=providers, chains=chains, steps=steps)
    assert plan.worst.attempts.value == 2 * most
    assert plan.steps["u"].executions.value == (1 if most else 0)
