"""wizard test --coverage: what is told, what is written, and when it is not enough."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_kit import Wizard

ASK = """
version: 1
inputs: {question: {type: string, default: Why?}}
providers: {local: {type: mock}}
chains: {default: {targets: [local], policies: {use: none, circuit_breaker: {failure_threshold: 1, probe: true}}}}
steps: {answer: {prompt: {user: "{{ question }}"}, output: {schema: {type: object}}}}
"""
ONE = """
version: 1
pipeline: ask.yaml
tests:
  answers: {targets: {local: ["{}"]}}
"""
PROBED = """
  a target that is back is noticed:
    targets: {local: [503, "ok", "{}"]}
    runs: [{expect: {error: server}}, {after: 1m}]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wizard: Wizard) -> Path:
    (tmp_path / "ask.yaml").write_text(ASK)
    (tmp_path / "ask.test.yaml").write_text(ONE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_nobody_has_seen_is_told_after_the_tests(project: Path, wizard: Wizard) -> None:
    ran = wizard("test", "--coverage")
    assert ran.code == 0 and ran.err == ""
    head, _, told = ran.out.partition("policy coverage\n")
    assert head == "ask.test.yaml: 1 passed\n1 test in 1 file: 1 passed\n"
    first, *missing = told.splitlines()
    assert first == "  ask.yaml: 3 of 16 outcomes (18.7%)"
    assert "    chains.default.targets[0].circuit_breaker (local)" in missing
    assert "      not seen: opened        too many attempts failed: it opened" in missing
    assert not any("primary" in line for line in missing)


def test_without_the_options_nothing_is_measured(project: Path, wizard: Wizard) -> None:
    assert "coverage" not in wizard("test").out


def test_what_happens_behind_the_runs_counts_too(project: Path, wizard: Wizard) -> None:
    (project / "ask.test.yaml").write_text(ONE + PROBED)
    told = wizard("test", "--coverage").out
    assert "2 passed" in told and "not seen: opened " not in told and "not seen: probed" not in told
    assert "not seen: closed_again" not in told, "the probe closed it"


def test_too_little_is_a_finding_and_says_how_much_there_is(project: Path, wizard: Wizard) -> None:
    ran = wizard("test", "--fail-under", "95%")
    assert (ran.code, ran.err) == (1, "policy coverage is below 95%: 3 of 16 outcomes (18.7%)\n")
    assert wizard("test", "--fail-under", "18%").code == 0


@pytest.mark.parametrize(
    ("share", "says"), [("95", "95' is not a ratio"), ("150%", "150% is more than all there is"), ("much", "much")]
)
def test_a_share_that_is_none_is_wrong_usage(project: Path, wizard: Wizard, share: str, says: str) -> None:
    ran = wizard("test", "--fail-under", share)
    assert ran.code == 2 and says in ran.err and ran.out == ""


def test_the_page_is_written(project: Path, wizard: Wizard) -> None:
    assert wizard("test", "--coverage-html", "coverage.html").code == 0
    page = (project / "coverage.html").read_text()
    assert page.startswith("<!doctype html>") and "✗ not seen" in page and "ask.yaml" in page
    ran = wizard("test", "--coverage-html", "nowhere/coverage.html")
    assert ran.code == 2 and "cannot write nowhere/coverage.html: No such file or directory" in ran.err


def test_machines_get_it_too_and_null_where_it_was_not_asked_for(project: Path, wizard: Wizard) -> None:
    told = json.loads(wizard("test", "--coverage", "--format", "json").out)["coverage"]
    assert (told["covered"], told["possible"], told["files"][0]["file"]) == (3, 16, "ask.yaml")
    assert json.loads(wizard("test", "--format", "json").out)["coverage"] is None


def test_several_processes_measure_the_same(project: Path, wizard: Wizard) -> None:
    many = "".join(f'  number {number}: {{targets: {{local: ["{{}}"]}}}}\n' for number in range(60))
    (project / "ask.test.yaml").write_text(f"version: 1\npipeline: ask.yaml\ntests:\n{many}")
    alone = wizard("test", "--coverage", "--format", "json", "-j", "1")
    assert alone.code == 0 and json.loads(alone.out)["coverage"]["covered"] == 3
    assert wizard("test", "--coverage", "--format", "json", "-j", "2") == alone
