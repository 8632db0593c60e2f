"""action.yml and .pre-commit-hooks.yaml: their shape, and that the commands they run are ones."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from wizard_dsl.analysis.review_text import MARKER
from wizard_dsl.cli.main import make_group

ROOT = Path(__file__).parents[2]
ACTION: Any = yaml.safe_load((ROOT / "action.yml").read_text())
HOOKS: Any = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())


def scripts() -> list[str]:
    return [step["run"] for step in ACTION["runs"]["steps"] if "run" in step]


def is_command(words: list[str]) -> None:
    """Fails where the words are no command line of ours."""
    group = make_group()
    context = click.Context(group)
    _, command, rest = group.resolve_command(context, words)
    assert command is not None
    command.make_context(words[0], rest, parent=context)


def test_the_action_is_composite_and_each_script_says_its_shell() -> None:
    assert ACTION["runs"]["using"] == "composite" and {"name", "description", "inputs"} <= ACTION.keys()
    for step in ACTION["runs"]["steps"]:
        assert ("run" in step) == ("shell" in step) and ("run" in step) != ("uses" in step), step["name"]


def test_the_action_uses_inputs_that_it_declares_and_never_inside_a_script() -> None:
    text = (ROOT / "action.yml").read_text()
    used = set(re.findall(r"inputs\.(\w+)", text))
    assert used == set(ACTION["inputs"])
    assert not any("${{" in script for script in scripts())
    assert all({"description", "default"} <= each.keys() for each in ACTION["inputs"].values())


def test_the_commands_of_the_action_are_ones() -> None:
    lines = [line.strip() for script in scripts() for line in script.splitlines() if line.strip().startswith("wizard ")]
    assert {line.split()[1] for line in lines} == {"review", "validate"}
    for line in lines:
        words = [
            word for word in shlex.split(line.split(" > ")[0]) if word not in {"$PATHS", "${PATHS:-.}", "$OPTIONS"}
        ]
        is_command(words[1:])


def test_the_action_finds_its_comment_by_the_mark_that_the_review_begins_with() -> None:
    assert any(f'startswith("{MARKER}")' in script for script in scripts())


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_the_commands_of_the_hooks_are_ones(hook: dict[str, Any]) -> None:
    assert {"id", "name", "description", "entry", "language", "files"} <= hook.keys()
    is_command(hook["entry"].split()[1:])
    assert re.search(hook["files"], "pipelines/reply.yaml") and not re.search(hook["files"], "notes.md")


def test_there_is_a_hook_to_validate_and_one_to_format() -> None:
    assert [hook["id"] for hook in HOOKS] == ["wizard-validate", "wizard-fmt"]


def test_the_hook_that_validates_runs_where_a_prompt_or_a_cassette_changed() -> None:
    validate, fmt = (hook["files"] for hook in HOOKS)
    for name in ("prompts/reply.md", "pipelines/prompts/reply.txt", "triage.cassette.jsonl"):
        assert re.search(validate, name) and not re.search(fmt, name)
