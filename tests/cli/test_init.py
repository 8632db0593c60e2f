"""wizard init: a project that works, and nothing overwritten."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cli_kit import Wizard
from jsonschema import Draft202012Validator

from wizard_dsl.spec.source import load_file

WRITTEN = [
    "begun/wizard.yaml",
    "begun/pipelines/hello.yaml",
    "begun/prompts/hello.md",
    "begun/pipelines/hello.test.yaml",
    "begun/schemas/pipeline.schema.json",
    "begun/schemas/project.schema.json",
    "begun/schemas/test.schema.json",
    "begun/pipelines/__snapshots__/hello.test/somebody-is-greeted.txt",
    "begun/.gitignore",
]


def test_a_project_is_begun_and_valid(wizard: Wizard) -> None:
    code, out, err = wizard("init", "begun")
    assert (code, out) == (0, "".join(f"wrote {each}\n" for each in WRITTEN))
    assert "wizard run begun/pipelines/hello.yaml --mock" in err
    assert wizard("validate", "--strict", "begun") == (0, "", "no findings in 3 files\n")
    assert wizard("fmt", "--check", "begun").code == 0


def test_its_pipeline_runs_on_mocks(wizard: Wizard) -> None:
    wizard("init", "begun")
    code, out, _ = wizard("run", "begun/pipelines/hello.yaml", "--mock", "--format", "json")
    assert code == 0
    assert json.loads(out)["ok"] is True


def test_its_tests_pass(wizard: Wizard) -> None:
    wizard("init", "begun")
    code, out, _ = wizard("test", "begun")
    assert (code, out.splitlines()[-1]) == (0, "2 tests in 1 file: 2 passed")


def test_tests_that_do_not_fit_what_is_there_are_written_and_not_approved(wizard: Wizard) -> None:
    Path("begun/pipelines").mkdir(parents=True)
    Path("begun/pipelines/hello.yaml").write_text("version: 1\nsteps: {}\n")
    code, out, _ = wizard("init", "begun")
    assert code == 0 and "wrote begun/pipelines/hello.test.yaml" in out and "__snapshots__" not in out


def test_nothing_that_exists_is_overwritten(wizard: Wizard) -> None:
    Path("begun").mkdir()
    Path("begun/wizard.yaml").write_text("version: 1\n")
    code, out, _ = wizard("init", "begun")
    assert code == 0
    assert out.startswith("there already: begun/wizard.yaml\nwrote begun/pipelines/hello.yaml\n")
    assert Path("begun/wizard.yaml").read_text() == "version: 1\n"


def test_a_second_time_changes_nothing(wizard: Wizard) -> None:
    wizard("init", "begun")
    before = {path: path.read_bytes() for path in Path("begun").rglob("*") if path.is_file()}
    states = {row["state"] for row in json.loads(wizard("init", "begun", "--format", "json").out)}
    assert states == {"kept"}
    assert before == {path: path.read_bytes() for path in Path("begun").rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("before", "after"),
    [("*.log", "*.log\n.wizard/\n"), ("", ".wizard/\n"), (".wizard\n", ".wizard\n"), ("/.wizard/\n", "/.wizard/\n")],
)
def test_gitignore_gets_a_line_once(wizard: Wizard, before: str, after: str) -> None:
    Path("begun").mkdir()
    Path("begun/.gitignore").write_text(before)
    wizard("init", "begun")
    assert Path("begun/.gitignore").read_text() == after


def test_each_file_names_a_schema_that_is_there_and_accepts_it(wizard: Wizard) -> None:
    wizard("init", "begun")
    for name in ("wizard.yaml", "pipelines/hello.yaml"):
        path = Path("begun") / name
        header = path.read_text().splitlines()[0]
        schema = json.loads((path.parent / header.partition("$schema=")[2]).read_text())
        assert not list(Draft202012Validator(schema).iter_errors(load_file(path).data))


def test_a_place_that_cannot_be_written_is_wrong_usage(wizard: Wizard) -> None:
    Path("begun").mkdir()
    Path("begun/pipelines").write_text("a file")
    code, _, err = wizard("init", "begun")
    assert code == 2
    assert "cannot write begun/pipelines" in err


def test_the_files_are_plain_files(wizard: Wizard) -> None:
    wizard("init", "begun")
    assert not any(Path(each).stat().st_mode & stat.S_IXUSR for each in WRITTEN)
