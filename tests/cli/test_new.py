"""wizard new: pipelines that compile, and packages that work as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cli_kit import Wizard

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("folder", [".", "project"])
def test_a_new_pipeline_is_valid_with_and_without_a_project(
    wizard: Wizard, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    code, out, _ = wizard("new", "pipeline", "report")
    path = out.removeprefix("wrote ").strip()
    assert (code, path) == (0, "report.yaml" if folder == "." else "pipelines/report.yaml")
    assert wizard("validate", "--strict", path) == (0, "", "no findings in 1 file\n")
    assert wizard("fmt", "--check", path).code == 0
    assert wizard("run", path, "--mock", "-i", "question=Why?").code == 0


def test_its_schema_is_the_projects(wizard: Wizard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("project")
    wizard("new", "pipeline", "report")
    assert "$schema=../schemas/pipeline.schema.json" in Path("pipelines/report.yaml").read_text()


@pytest.mark.parametrize("arguments", [["pipeline", "one"], ["policy", "acme.pace"], ["provider", "acme.pace"]])
def test_nothing_that_exists_is_overwritten(wizard: Wizard, arguments: list[str]) -> None:
    Path("wizard-acme-pace").mkdir()
    before = Path("one.yaml").read_text()
    code, out, err = wizard("new", *arguments)
    assert (code, out) == (2, "")
    assert "exists" in err
    assert Path("one.yaml").read_text() == before


@pytest.mark.parametrize("name", ["Report", "2fast", "a-b", "../evil", "a/b", ""])
def test_a_bad_name_is_refused(wizard: Wizard, name: str) -> None:
    for what in ("pipeline", "policy", "provider"):
        code, _, err = wizard("new", what, name)
        assert code == 2
        assert "name" in err
    assert not Path("../evil.yaml").exists()


def test_the_name_of_a_plug_in_needs_a_dot(wizard: Wizard) -> None:
    assert "write wizard new policy acme.pace" in wizard("new", "policy", "pace").err


def test_a_folder_may_be_given(wizard: Wizard) -> None:
    wizard("new", "policy", "acme.pace", "--in", "plugins")
    assert Path("plugins/wizard-acme-pace/pyproject.toml").is_file()


def test_json_lists_the_files(wizard: Wizard) -> None:
    rows = json.loads(wizard("new", "policy", "acme.pace", "--format", "json").out)
    assert [row["state"] for row in rows] == ["new"] * 4


def test_a_first_test_stands_beside_its_pipeline_and_passes(wizard: Wizard) -> None:
    code, out, err = wizard("new", "test", "triage.yaml")
    assert (code, out, err) == (0, "wrote triage.test.yaml\n", "")
    assert "$schema=schemas/test.schema.json" in Path("triage.test.yaml").read_text()
    assert wizard("validate", "--strict", "triage.test.yaml").code == 0
    assert wizard("fmt", "--check", "triage.test.yaml").code == 0
    code, out, _ = wizard("test", "triage.test.yaml", "--coverage")
    assert code == 0 and "is away, and" in Path("triage.test.yaml").read_text()


def test_a_first_test_may_stand_in_another_folder(wizard: Wizard) -> None:
    refused = wizard("new", "test", "triage.yaml", "--in", "tests")
    assert refused.code == 2 and "outside of its project" in refused.err
    Path("wizard.yaml").write_text("version: 1\n")
    code, out, _ = wizard("new", "test", "triage.yaml", "--in", "tests", "--format", "json")
    assert (code, json.loads(out)) == (0, [{"path": "tests/triage.test.yaml", "state": "new"}])
    assert wizard("test", "tests").code == 0


def test_a_first_test_that_is_there_stays(wizard: Wizard) -> None:
    Path("triage.test.yaml").write_text("mine")
    code, out, err = wizard("new", "test", "triage.yaml")
    assert (code, out) == (2, "")
    assert "triage.test.yaml exists" in err
    assert Path("triage.test.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("none.yaml", 3, "none.yaml: error[E001]"),
        ("wrong.yaml", 3, "wrong.yaml:"),
        ("project", 3, "project: error[E002]"),
        ("some.test.yaml", 2, "some.test.yaml is a test file itself; name the pipeline that it is about"),
    ],
)
def test_what_is_no_pipeline_gets_no_test(wizard: Wizard, name: str, code: int, told: str) -> None:
    done = wizard("new", "test", name)
    assert (done.code, done.out) == (code, "")
    assert told in done.err
    assert not list(Path().glob("*.test.yaml"))


def test_a_variable_that_has_to_be_set_is_named(wizard: Wizard) -> None:
    Path("far.yaml").write_text(
        'version: 1\nproviders: {a: {type: openai_compatible, model: a, base_url: "${env:FAR_URL}"}}\n'
        "chains: {default: {targets: [a]}}\nsteps: {a: {prompt: {user: Hello}}}\n"
    )
    done = wizard("new", "test", "far.yaml")
    assert done.code == 3
    assert "E027" in done.err and "not set, so that 'test' stands for it: FAR_URL" in done.err


class Package:
    """A generated package, put on the path as an installed one would be."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.kind = kind
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        name = project["name"].replace("-", "_")
        info = folder / f"{name}-{project['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
        lines = []
        for group, entries in project["entry-points"].items():
            lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")

    def run(self, *arguments: str, inside: bool = False) -> subprocess.CompletedProcess[str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith("WIZARD_")}
        env["PYTHONPATH"] = os.pathsep.join((str(self.folder), str(ROOT)))
        where = self.folder if inside else self.folder.parent
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=env, cwd=where, check=False, capture_output=True, text=True)

    def wizard(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "wizard_dsl.cli", *arguments)


@pytest.fixture(params=["policy", "provider"])
def package(request: pytest.FixtureRequest, wizard: Wizard) -> tuple[str, Package]:
    kind = "acme.run" if request.param == "policy" else "acme.http_request"  # names that our own modules use
    assert wizard("new", request.param, kind).code == 0
    return request.param, Package(Path(f"wizard-{kind.replace('.', '-').replace('_', '-')}").absolute(), kind)


@pytest.fixture
def rule(wizard: Wizard) -> Package:
    assert wizard("new", "rule", "acme.described").code == 0
    return Package(Path("wizard-acme-described").absolute(), "acme.described")


def test_a_new_rule_passes_its_own_tests_and_is_tidy(rule: Package) -> None:
    _passes(rule)
    _is_tidy(rule)


def test_an_installed_rule_is_applied_explained_and_allowed(rule: Package) -> None:
    text = _pipeline("policy", "x").replace("policies: {default: {x: {pause: 1s}}}\n", "")
    file = rule.folder.parent / "plugged.yaml"
    file.write_text(text)
    done = rule.wizard("validate", "--strict", "plugged.yaml")
    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    assert "plugged.yaml:1:1 warning[acme.described] pipeline 'plugged' has no description" in done.stdout
    assert "a pipeline without a description" in rule.wizard("explain", "acme.described").stdout
    assert "acme.described (lint_rules)" in rule.wizard("doctor").stdout
    file.write_text(f"# wizard: allow acme.described because it is a trial\n{text}")
    assert rule.wizard("validate", "--strict", "plugged.yaml").returncode == 0


def test_a_rule_that_cannot_be_imported_is_an_error_with_the_name_of_its_package(rule: Package) -> None:
    (rule.folder / "wizard_acme_described.py").write_text("import nothing_of_that_name\n")
    (rule.folder.parent / "plugged.yaml").write_text("version: 1\nsteps: {a: {type: render, template: Hello}}\n")
    done = rule.wizard("validate", "plugged.yaml")
    assert done.returncode == 1
    assert "wizard-acme-described: error[E099] the rule acme.described of wizard-acme-described" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_new_package_passes_its_own_tests(package: tuple[str, Package]) -> None:
    _passes(package[1])


def _passes(made: Package) -> None:
    done = made.run(
        "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-c", os.devnull, str(made.folder)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def test_a_new_package_is_tidy(package: tuple[str, Package]) -> None:
    _is_tidy(package[1])


def _is_tidy(made: Package) -> None:
    for command in (["check", "--select", "E,F,W,I,B,UP,N"], ["format", "--check", "--diff"]):
        done = made.run("-m", "ruff", *command, "--isolated", "--line-length", "120", ".", inside=True)
        assert done.returncode == 0, done.stdout


def test_an_installed_package_is_known_to_every_verb(package: tuple[str, Package]) -> None:
    what, made = package
    (made.folder.parent / "plugged.yaml").write_text(_pipeline(what, made.kind))
    for arguments in (
        ["validate", "--strict", "plugged.yaml"],
        ["graph", "plugged.yaml"],
        ["explain", made.kind],
        ["doctor"],
    ):
        done = made.wizard(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        assert made.kind in done.stdout + done.stderr or arguments[0] == "validate"
    assert f'"{made.kind}"' in made.wizard("schema").stdout
    assert made.wizard("run", "plugged.yaml", "--mock", "-i", "question=Why?").returncode == 0


def test_a_wrong_key_of_an_installed_plug_in_is_found(package: tuple[str, Package]) -> None:
    what, made = package
    text = _pipeline(what, made.kind).replace("pause:", "paus:").replace("base_url:", "base_ur:")
    (made.folder.parent / "plugged.yaml").write_text(text)
    done = made.wizard("validate", "plugged.yaml")
    assert done.returncode == 1
    assert "did you mean" in done.stdout


def _pipeline(what: str, kind: str) -> str:
    provider = (
        "{type: mock}" if what == "policy" else f'{{type: {kind}, model: large, base_url: "https://llm.example"}}'
    )
    policies = f"policies: {{default: {{{kind}: {{pause: 1s}}}}}}\n" if what == "policy" else ""
    return (
        "version: 1\ninputs: {question: {type: string}}\n"
        f"providers: {{local: {provider}}}\n{policies}"
        "chains: {default: {targets: [local]}}\n"
        'steps: {answer: {prompt: {user: "{{ question }}"}}}\n'
    )
