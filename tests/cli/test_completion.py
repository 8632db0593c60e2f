"""wizard completion: the scripts, and what they get to complete."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cli_kit import Wizard
from click.shell_completion import ShellComplete
from git_kit import begin, commit, git

from wizard_dsl.cli.main import VERBS, make_group
from wizard_dsl.docgen import FILES
from wizard_dsl.registry import Registry
from wizard_dsl.spec.codes import CODES


def typed(*words: str) -> list[tuple[str, str]]:
    """What is offered for the last word, as a shell asks for it, and whether it is a file."""
    shell = ShellComplete(make_group(), {}, "wizard", "_WIZARD_COMPLETE")
    return [(each.value, each.type) for each in shell.get_completions(list(words[:-1]), words[-1])]


def completed(*words: str) -> list[str]:
    return [value for value, _ in typed(*words)]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_asks_wizard(wizard: Wizard, shell: str) -> None:
    code, out, err = wizard("completion", shell)
    assert (code, err) == (0, "")
    assert f"_WIZARD_COMPLETE={shell}_complete" in out and "wizard" in out
    assert json.loads(wizard("completion", shell, "--format", "json").out) == {"shell": shell, "script": out}
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=out, text=True, check=True)


def test_another_shell_is_wrong_usage(wizard: Wizard) -> None:
    code, _, err = wizard("completion", "tcsh")
    assert code == 2 and "'bash', 'zsh', 'fish'" in err


def test_verbs_and_options_are_completed() -> None:
    assert completed("va") == ["validate"]
    assert completed("") == list(VERBS)
    assert "--format" in completed("graph", "--")
    assert completed("completion", "b") == ["bash"]
    assert completed("new", "te") == ["test"]


def test_a_shell_gets_its_answer_from_the_command_line(wizard: Wizard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_WIZARD_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "wizard vali")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert wizard() == (0, "plain,validate\n", "")


def test_the_pipeline_of_a_new_test_is_a_file_and_other_new_names_are_not() -> None:
    shell = ShellComplete(make_group(), {}, "wizard", "_WIZARD_COMPLETE")
    assert [each.type for each in shell.get_completions(["new", "test"], "tri")] == ["file"]
    assert shell.get_completions(["new", "pipeline"], "tri") == []


def test_names_of_the_file_before_are_completed(wizard: Wizard) -> None:
    assert completed("run", "triage.yaml", "--chain", "") == ["cheap", "writer"]
    assert completed("run", "triage.yaml", "--chain", "w") == ["writer"]
    assert completed("run", "triage.yaml", "-i", "t") == ["ticket="]
    assert completed("compare", "triage.yaml", "--chain", "cheap,w") == ["cheap,writer"]
    assert completed("compare", "triage.yaml", "--chain", "cheap,") == ["cheap,writer"]


def test_what_has_a_page_is_completed_and_a_test_is_a_file() -> None:
    assert completed("explain", "w13") == [each for each in CODES if each.startswith("W13")]
    assert "retry_budget" in completed("explain", "ret")
    assert typed("explain", "tri") == [("tri", "file")]


def test_revisions_are_completed_else_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert typed("diff", "ma") == [("ma", "file")]
    begin()
    commit()
    git("branch", "feature/retry")
    assert completed("diff", "fea") == ["feature/retry"]
    assert completed("diff", "main...fea") == ["main...feature/retry"]
    assert completed("diff", "main..fea") == ["main..feature/retry"]
    assert completed("review", "main", "f") == ["feature/retry"]
    assert typed("diff", "") == [("", "file")]
    assert typed("diff", "pipe") == [("pipe", "file")]


def test_bash_sets_no_space_behind_an_equals_sign_and_keeps_a_value_whole(wizard: Wizard) -> None:
    """Asked in the shell itself, with an answer of ours."""
    bash = shutil.which("bash")
    assert bash is not None
    answer = "env() { printf 'plain,%s\\n' 'name=' 'a,b' '*'; }; compopt() { echo compopt $*; }"
    told = "_wizard_completion wizard; printf '%s\\n' \"${COMPREPLY[@]}\""
    script = f"{wizard('completion', 'bash').out}\n{answer}\n{told}"
    done = subprocess.run([bash, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["compopt -o nospace", "name=", "a,b", "*"]


def test_fish_keeps_what_follows_a_comma(wizard: Wizard) -> None:
    assert 'string split --max 1 "," $completion' in wizard("completion", "fish").out


@pytest.mark.parametrize("file", ["none.yaml", "project"])
def test_a_file_that_is_none_completes_nothing(wizard: Wizard, file: str) -> None:
    assert completed("run", file, "--chain", "") == []
    assert completed("run", "--chain", "") == []


SCHEMAS = [name for name in FILES if name.endswith(".schema.json")]


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_can_stand_in_a_catalogue(name: str) -> None:
    schema = json.loads(FILES[name](Registry(plugins=False)))
    assert schema["$id"] == f"https://wizard-dsl.readthedocs.io/{name}"
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] and schema["description"]
    assert [each for each in _references(schema) if not each.startswith("#/")] == []


def _references(node: object) -> list[str]:
    if isinstance(node, list):
        return [found for each in node for found in _references(each)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
    return own + [found for each in node.values() for found in _references(each)]
