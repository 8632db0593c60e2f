"""What `wizard explain` shows as wrong is told, and what it shows as right is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.lint.allow import RULE_CODES, with_allowed
from wizard_dsl.lint.rules import lint
from wizard_dsl.registry import Registry
from wizard_dsl.spec.code import Code
from wizard_dsl.spec.codes import ALL_CODES
from wizard_dsl.spec.load import shown
from wizard_dsl.spec.source import load_text

CODES = [each for each in ALL_CODES if each.code in RULE_CODES or each.code >= "W190"]
#: What an example leaves out.
PROVIDERS = {
    "openai": {"type": "openai", "api_key": "${env:OPENAI_API_KEY}"},
    "claude": {"type": "anthropic", "api_key": "${env:ANTHROPIC_API_KEY}"},
    "groq": {"type": "groq", "api_key": "${env:GROQ_API_KEY}"},
    "local": {"type": "embedded"},
}
CHAINS = {"default": {"targets": ["openai/gpt-4o"]}}
MOCK = {"type": "mock"}


def whole(example: str) -> str:
    """A pipeline of which the example is a part, its comments kept where it has the sections that they are about."""
    own = load_text(example, "example.yaml").data
    chains = own.get("chains", CHAINS)
    asked = {"prompt": {"user": "Hello"}, "params": {"max_tokens": 50}}
    steps = own.get("steps", {name: {**asked, "chain": name} for name in chains})
    if "default" not in chains and any("chain" not in step for step in steps.values()):
        chains = {**CHAINS, **chains}
    targets = [each for chain in chains.values() for each in chain["targets"]]
    names = [(each if isinstance(each, str) else each["provider"]).split("/")[0] for each in targets]
    providers = {name: PROVIDERS.get(name, MOCK) for name in names} | own.get("providers", {})
    full: dict[str, Any] = {"version": 1, **own, "providers": providers, "chains": chains, "steps": steps}
    kept = {name: value for name, value in own.items() if full[name] == value}
    if kept == own:
        return example + "\n" + "".join(f"{name}: {json.dumps(full[name])}\n" for name in full if name not in own)
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in full.items())


def told(example: str, folder: Path) -> set[str]:
    path = folder / "a.yaml"
    path.write_text(whole(example))
    made = compile_file(path, Registry(plugins=False), Sources())
    assert made.program is not None, made.diagnostics
    found = with_allowed([*made.diagnostics, *lint(made)], [shown(path)], RULE_CODES)
    return {each.code for each in found if each.allowed is None}


@pytest.mark.parametrize("entry", CODES, ids=lambda each: each.code)
def test_the_wrong_example_of_a_rule_is_told_and_the_right_one_is_not(entry: Code, tmp_path: Path) -> None:
    assert entry.code in told(entry.bad, tmp_path)
    assert entry.code not in told(entry.good, tmp_path)
