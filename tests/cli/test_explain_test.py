"""wizard explain FILE::TEST: the story of a test, in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_kit import Wizard

PIPELINE = """\
version: 1
inputs: {q: {type: string}}
providers: {m: {type: mock, model: a}, n: {type: mock, model: b}}
chains: {default: {targets: [m, n]}}
steps: {answer: {prompt: {user: "{{ q }}"}}}
"""
TESTS = """\
version: 1
pipeline: p.yaml
defaults: {inputs: {q: hi}}
tests:
  a dead primary is left:
    targets: {m: [503, 503, 503], n: [yes it is]}
    expect: {attempts: 3}
  it answers twice:
    targets: {m: [one, two]}
    runs: [{}, {after: 2s}]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wizard: Wizard) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text(PIPELINE)
    (tmp_path / "p.test.yaml").write_text(TESTS)
    return tmp_path


def test_a_failed_test_is_told_with_its_causes_and_what_is_not_as_it_says(project: Path, wizard: Wizard) -> None:
    ran = wizard("explain", "p.test.yaml::a dead primary is left")
    assert (ran.code, ran.err) == (0, "")
    assert "Attempt 2 asked m again, because attempt 1 failed with server" in ran.out
    assert "Attempt 4 asked n instead, because m failed with server" in ran.out
    assert ran.out.endswith("The test fails:\n  attempts: expected 3, was 4\n")
    plain = json.loads(wizard("explain", "p.test.yaml::a dead primary is left", "--format", "json").out)
    assert (plain["passed"], plain["failures"]) == (False, ["attempts: expected 3, was 4"])
    assert plain["stories"][0]["chapters"][0]["place"] == "answer"


def test_each_run_of_a_test_has_its_story(project: Path, wizard: Wizard) -> None:
    out = wizard("explain", "p.test.yaml::it answers twice").out
    assert out.startswith("run 1 of 2\nrun ")
    assert "\n\nrun 2 of 2\nrun " in out
    assert out.endswith("The test passes.\n")


@pytest.mark.parametrize(
    ("word", "code", "says"),
    [
        ("none.test.yaml::x", 2, "there is no test file 'none.test.yaml'"),
        ("p.test.yaml::a dead primary is lost", 2, "did you mean 'a dead primary is left'?"),
        ("p.test.yaml::", 2, "there are 'a dead primary is left', 'it answers twice'"),
        ("p.yaml::x", 3, "p.yaml:"),
    ],
)
def test_each_mistake_is_told(project: Path, wizard: Wizard, word: str, code: int, says: str) -> None:
    ran = wizard("explain", word)
    assert says in ran.err
    assert (ran.code, ran.out) == (code, "")
