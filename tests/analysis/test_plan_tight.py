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
