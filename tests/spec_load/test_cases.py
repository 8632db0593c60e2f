"""Every YAML file of tests/cases: what loading says about it, and that the published schema agrees."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.lint.allow import RULE_CODES, with_allowed
from wizard_dsl.lint.rules import lint
from wizard_dsl.registry import Registry
from wizard_dsl.spec.diagnostics import Diagnostic, render_text
from wizard_dsl.spec.findings import SCHEMA_CODES
from wizard_dsl.spec.load import Kind, Loaded, load

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "cases"
VALID = sorted(each.name for each in (CASES / "valid").glob("*.yaml"))
INVALID = sorted(each.name for each in (CASES / "invalid").glob("*.yaml"))
PROJECTS = sorted(
    str(each.relative_to(ROOT))
    for folder in ("pipelines", "examples")
    for each in (ROOT / folder).rglob("*.yaml")
    if not each.name.endswith(".test.yaml")
)
REGISTRY = Registry(plugins=False)


def kind_of(name: str) -> Kind:
    if name.endswith(".overlay.yaml"):
        return "overlay"
    return "project" if Path(name).name == "wizard.yaml" else "pipeline"


class Text(SingleFileSnapshotExtension):
    """A snapshot that reads like what a person sees."""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"


@pytest.fixture(autouse=True)
def _in_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES)


def loaded(name: str) -> Loaded:
    return load(name, registry=REGISTRY, kind=kind_of(name))


def said(name: str) -> list[Diagnostic]:
    """The findings of loading a file; a case of a warning is compiled and linted, too."""
    if not Path(name).name.startswith("W"):
        return list(loaded(name).diagnostics)
    compiled = compile_file(name, REGISTRY, Sources())
    return with_allowed([*compiled.diagnostics, *lint(compiled)], [name], RULE_CODES)


def has_schema_error(found: Loaded) -> bool:
    return any(each.code in SCHEMA_CODES for each in found.diagnostics)


@pytest.mark.parametrize("name", VALID)
def test_nothing_is_said_about_a_valid_file(name: str) -> None:
    found = loaded(f"valid/{name}")
    assert render_text(said(f"valid/{name}")) == ""
    assert (found.document is None) == name.endswith(".overlay.yaml")


@pytest.mark.parametrize("name", [each.removesuffix(".yaml") for each in INVALID])
def test_each_mistake_is_reported_where_it_is(name: str, snapshot: SnapshotAssertion) -> None:
    assert render_text(said(f"invalid/{name}.yaml")) == snapshot(extension_class=Text)


@pytest.mark.parametrize("name", [each for each in INVALID if each.startswith(("E0", "W1"))])
def test_a_case_shows_the_code_it_is_named_after_and_no_other(name: str) -> None:
    assert {each.code for each in said(f"invalid/{name}") if each.allowed is None} == {name[:4]}


def test_a_case_of_a_warning_has_one_beside_it_that_is_right() -> None:
    assert [each for each in INVALID if each.startswith("W")] == [each for each in VALID if each.startswith("W")]


def test_ten_mistakes_are_ten_findings_each_at_its_place() -> None:
    found = loaded("invalid/ten-mistakes.yaml").diagnostics
    lines = (CASES / "invalid/ten-mistakes.yaml").read_text().splitlines()
    at = [(each.code, lines[each.line - 1][each.column - 1 :].rstrip("}").split(":")[0]) for each in found]
    assert at == [
        ("E021", "nmae"),
        ("E049", "text"),
        ("E041", "json"),
        ("E042", "opnai"),
        ("E034", "sk-example-not-a-key"),
        ("E021", "max_attempt"),
        ("E024", "30"),
        ("E065", "none"),
        ("E061", "cache"),
        ("E025", "giveup"),
    ]


@pytest.mark.parametrize("kind", ["pipeline", "project", "overlay"])
def test_check_jsonschema_rejects_exactly_what_has_a_schema_error(kind: str) -> None:
    names = [name for name in (*(f"valid/{each}" for each in VALID), *(f"invalid/{each}" for each in INVALID))]
    names += [str(ROOT / each) for each in PROJECTS]
    names = [each for each in names if kind_of(each) == kind]
    if not names:
        pytest.skip(f"there is no file of the kind {kind}")
    rejected = _rejected(kind, names)
    assert rejected == {name for name in names if has_schema_error(loaded(name))}


def _rejected(kind: str, names: list[str]) -> set[str]:
    schema = ROOT / "schemas" / f"{kind}.schema.json"
    command = [sys.executable, "-m", "check_jsonschema", "--output-format", "json", "--schemafile", str(schema), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert not report.get("parse_errors"), report
    return {each["filename"] for each in report["errors"]}
