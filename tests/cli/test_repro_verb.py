"""wizard repro: a run of the history becomes a test that passes at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_kit import Wizard

FILE = """\
version: 1
name: case
inputs: {q: {type: string}, n: {type: integer, default: 1}}
providers:
  m: {type: openai, model: "${env:MODEL:-small}", api_key: "${env:M_KEY}"}
  n: {type: mock, model: b, reply: one two three}
chains: {default: {targets: [m, n], policies: {retry: 2}}}
steps: {answer: {prompt: {user: "{{ q }}"}}}
"""


@pytest.fixture
def project(own_project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("M_KEY", "sk-aaaabbbbccccddddeeee")
    (own_project / "tests").mkdir()
    (own_project / "a.yaml").write_text(FILE)
    return own_project


def test_a_run_becomes_a_test_that_passes(project: Path, wizard: Wizard) -> None:
    mock = "  m: {type: mock, error_rate: 100%, status: 503}"
    failing = "\n".join(mock if line.startswith("  m:") else line for line in FILE.splitlines())
    (project / "a.yaml").write_text(failing)
    assert wizard("run", "a.yaml", "--mock", "--seed", "7", "-i", "q=hi", "--set", "observe.log.level=ERROR").code == 0
    ran = wizard("repro", "last", "-i", "q=why?", "-o", "tests/again.test.yaml")
    assert (ran.code, ran.out) == (0, "")
    assert "was not recorded" in ran.err
    text = (project / "tests" / "again.test.yaml").read_text()
    assert "pipeline: ../a.yaml\n" in text
    assert 'q: "why?"\n' in text
    assert "sk-aaaa" not in text
    assert text.count("- 503\n") == 2
    assert "set: {observe.log.level: ERROR}\n" in text
    tested = wizard("test", "tests")
    assert tested.code == 0, tested.out
    assert "1 passed" in tested.out


def test_it_goes_to_stdout_with_paths_from_here(project: Path, wizard: Wizard) -> None:
    wizard("run", "a.yaml", "--mock", "-i", "q=hi", "--set", "history.content=full")
    ran = wizard("repro", "last")
    assert ran.code == 0
    assert ran.err == ""
    assert "pipeline: a.yaml\n" in ran.out
    assert "env: {M_KEY: test}\n" in ran.out
    assert "q: hi\n" in ran.out
    (project / "x.test.yaml").write_text(ran.out)
    assert wizard("test", "x.test.yaml").code == 0


def test_variables_that_are_no_secret_keep_their_value(
    project: Path, wizard: Wizard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL", "large")
    wizard("run", "a.yaml", "--mock", "-i", "q=hi")
    assert "env: {MODEL: large, M_KEY: test}\n" in wizard("repro", "last").out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["beef"], 2, "no run 'beef' is recorded in"),
        (["last", "-o", "x.yaml"], 2, "'x.yaml' is no name of a test file"),
        (["last", "-o", "a.test.yaml"], 2, "a.test.yaml is there already"),
        (["last", "-o", "none/x.test.yaml"], 2, "there is no folder none"),
        (["last", "-i", "nonsense"], 2, "'nonsense' is no input"),
        (["last", "-i", "m=3"], 2, "there is no input 'm'"),
        (["last", "-i", "n=x"], 2, "input 'n' is not as declared"),
    ],
)
def test_each_mistake_is_told_and_nothing_is_written(
    project: Path, wizard: Wizard, arguments: list[str], code: int, says: str
) -> None:
    wizard("run", "a.yaml", "--mock", "-i", "q=hi")
    (project / "a.test.yaml").write_text("mine")
    ran = wizard("repro", *arguments)
    assert says in ran.err
    assert ran.code == code
    assert (project / "a.test.yaml").read_text() == "mine"


def test_a_pipeline_that_has_gone_or_broken_is_told(project: Path, wizard: Wizard) -> None:
    wizard("run", "a.yaml", "--mock", "-i", "q=hi")
    (project / "a.yaml").write_text("version: 2\n")
    assert wizard("repro", "last").code == 3
    (project / "a.yaml").unlink()
    ran = wizard("repro", "last")
    assert ran.code == 3
    assert "a.yaml" in ran.err


def test_overlays_and_options_are_those_of_the_run_wherever_the_test_lies(project: Path, wizard: Wizard) -> None:
    (project / "over.yaml").write_text("chains: {other: {targets: [n]}}\n")
    wizard("run", "a.yaml", "--mock", "-i", "q=hi", "--overlay", "over.yaml", "--chain", "other", "--deadline", "9s")
    assert wizard("repro", "last", "-o", "tests/again.test.yaml").code == 0
    text = (project / "tests" / "again.test.yaml").read_text()
    assert "    chain: other\n    overlay: [../over.yaml]\n    deadline: 9s\n" in text
    assert wizard("test", "tests").code == 0


CHAOS = """\
version: 1
pipeline: a.yaml
load: {rate: 1/s, duration: 1m, inputs: [{q: hi}]}
targets:
  m:
    phases:
      - {status: 503}
"""


def test_faults_that_were_laid_over_a_run_are_in_its_test(project: Path, wizard: Wizard) -> None:
    (project / "out.sim.yaml").write_text(CHAOS)
    ran = wizard("run", "a.yaml", "--mock", "--chaos", "out.sim.yaml", "-i", "q=hi", "--format", "json")
    attempts = [(row["target"], row["kind"]) for row in json.loads(ran.out)["attempts"]]
    assert attempts == [("m", "server"), ("m", "server"), ("n", "ok")]
    assert wizard("repro", "last", "-o", "tests/again.test.yaml").code == 0
    text = (project / "tests" / "again.test.yaml").read_text()
    assert "      attempts: 3\n" in text
    assert "in the recorded run" not in text
    tested = wizard("test", "tests")
    assert (tested.code, "1 passed" in tested.out) == (0, True)
