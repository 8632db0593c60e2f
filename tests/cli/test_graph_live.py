"""wizard graph --live: how breakers and limits stand, in the state that processes share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from cli_kit import Wizard

PIPELINE = """\
version: 1
state: "${env:WIZARD_STATE:-state.db}"
providers:
  bad: {type: mock, model: x, error_rate: "100%"}
  good: {type: mock, model: y, policies: {concurrency: 5}}
  other: {type: mock, model: z}
chains:
  one: {targets: [bad, good], policies: {retry: off, circuit_breaker: 2, rate_limit: {rate: 1/hour, burst: 9}}}
  two: {targets: [other], policies: {rate_limit: {windows: [60/hour]}}}
steps:
  first: {prompt: {user: Hi}, chain: one}
  second: {prompt: {user: "{{ steps.first.text }}"}, chain: two}
"""
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wizard: Wizard) -> Path:
    path = tmp_path / "live.yaml"
    path.write_text(PIPELINE)
    monkeypatch.chdir(tmp_path)
    return path


def live(wizard: Wizard, file: Path) -> dict[str, list[tuple[str, str]]]:
    """By target: each kind with how it stands."""
    ran = wizard("graph", str(file), "--live", "--format", "json")
    assert ran.code == 0, ran.err
    chains = json.loads(ran.out)["chains"].values()
    targets = [target for chain in chains for target in chain["targets"]]
    return {each["name"]: [(seen["kind"], seen["now"]) for seen in each["live"]] for each in targets}


def test_before_the_first_run_all_is_as_new_and_no_file_is_made(wizard: Wizard, file: Path) -> None:
    assert live(wizard, file) == {
        "bad": [("rate_limit", "9 of 9 requests left"), ("circuit_breaker", "closed, 0 of 2 failures")],
        "good": [
            ("rate_limit", "9 of 9 requests left"),
            ("provider's concurrency", "0 of 5 places taken"),
            ("circuit_breaker", "closed, 0 of 2 failures"),
        ],
        "other": [("rate_limit", "60 of 60/hour left"), ("circuit_breaker", "closed, 0 of 5 failures")],
    }
    assert [each.name for each in file.parent.glob("state*")] == []


def look_after_two_runs(wizard: Wizard, file: Path) -> None:
    for _ in range(2):
        assert wizard("run", str(file)).code == 0
    found = live(wizard, file)
    assert found["bad"][0] == found["good"][0] == ("rate_limit", "7 of 9 requests left")
    assert found["bad"][1][1].startswith("open for ") and found["good"][2][1] == "closed, 0 of 2 failures"
    assert found["other"][0] == ("rate_limit", "58 of 60/hour left")
    assert live(wizard, file)["good"] == found["good"], "looking takes nothing"


def test_runs_are_seen_in_a_file(wizard: Wizard, file: Path) -> None:
    look_after_two_runs(wizard, file)


@pytest.mark.server
def test_runs_are_seen_on_a_server(wizard: Wizard, file: Path, redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIZARD_STATE", redis.connection_url)
    look_after_two_runs(wizard, file)


def test_each_drawing_says_it_and_marks_a_target_that_is_closed(wizard: Wizard, file: Path) -> None:
    for _ in range(2):
        wizard("run", str(file))
    drawn = {
        form: wizard("graph", str(file), "--live", "--format", form).out for form in ("ascii", "mermaid", "dot", "svg")
    }
    assert all("circuit_breaker open for " in out and "58 of 60/hour left" in out for out in drawn.values())
    closed = [
        each for each in ElementTree.fromstring(drawn["svg"]).iter(f"{SVG}rect") if each.get("class") == "target closed"
    ]
    assert len(closed) == 1
    assert drawn["dot"].count(" color=red]") == 1 and drawn["mermaid"].count("  style chain_one_T0 stroke:#f00\n") == 1
    assert "open for" not in wizard("graph", str(file)).out


def test_a_file_that_a_step_runs_is_looked_at_where_the_whole_run_keeps_its_state(wizard: Wizard, file: Path) -> None:
    outer = Path("outer.yaml")
    outer.write_text("version: 1\nstate: other.db\nsteps: {in: {type: pipeline, file: live.yaml}}\n")
    assert wizard("run", str(outer)).code == 0
    out = wizard("graph", str(outer), "--live").out
    assert "  |   +- 1. bad (mock, x)\n" in out and "circuit_breaker closed, 1 of 2 failures" in out
    assert "1 of 2 failures" not in wizard("graph", str(file), "--live").out


def test_state_in_memory_or_in_a_file_that_is_none_is_told(wizard: Wizard, file: Path) -> None:
    code, out, err = wizard("graph", str(file), "--live", "--set", "state=memory")
    assert (code, out) == (3, "") and "keeps its state in memory, each process its own" in err
    Path("state.db").write_text("no database, but a long text that stands in its place")
    code, out, err = wizard("graph", str(file), "--live")
    assert (code, out) == (3, "") and "state.db cannot be read: file is not a database" in err
    code, out, err = wizard("graph", str(file), "--live", "--set", "state=redis://127.0.0.1:1/0")
    assert (code, out) == (3, "") and "the state redis://127.0.0.1:1/0 cannot be read: ConnectionError" in err
