"""wizard simulate, and wizard run --chaos: what they print, write and exit with."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_kit import Wizard
from interrupt_kit import interruptible

from wizard_dsl.cli._progress import Progress

PIPELINE = """\
version: 1
inputs: {question: {type: string}}
providers:
  one: {type: mock, model: one-1}
  two: {type: mock, model: two-1}
chains:
  default:
    targets: [one, two]
steps:
  answer: {prompt: {user: "{{ question }}"}}
"""
SCENARIO = """\
version: 1
pipeline: p.yaml
load: {rate: 10/s, duration: 20s}
targets:
  one:
    latency: 1s
    phases:
      - {from: 5s, to: 15s, status: 503}
  two: {latency: 2s}
expect: {availability: {at_least: 99.9%}, p99: {at_most: 5s}}
"""


@pytest.fixture
def scenario(wizard: Wizard) -> Path:
    Path("sim").mkdir()
    os.chdir("sim")
    Path("p.yaml").write_text(PIPELINE)
    Path("outage.sim.yaml").write_text(SCENARIO)
    return Path("outage.sim.yaml")


def test_a_scenario_that_holds_prints_its_table_and_exits_0(wizard: Wizard, scenario) -> None:
    ran = wizard("simulate", scenario)
    assert (ran.code, ran.err) == (0, "")
    assert "availability       100%" in ran.out and "met    p99" in ran.out


def test_what_is_not_as_expected_is_named_and_the_code_is_1(wizard: Wizard, scenario) -> None:
    scenario.write_text(SCENARIO.replace("5s}}", "1500ms}}").replace("20s}", "20s, arrivals: even}"))
    ran = wizard("simulate", scenario, "--seeds", "3", "--jobs", "1")
    assert ran.code == 1
    assert re.fullmatch(
        r"not as expected: p99: expected at most 1\.5s, measured [\d.]+s \([\d.]+s – [\d.]+s, 3 seeds\)\n", ran.err
    ), ran.err
    assert "MISSED p99" in ran.out and "met    availability" in ran.out


def test_json_is_one_object_and_the_same_bytes_on_one_core_and_two(wizard: Wizard, scenario) -> None:
    first, second = (
        wizard("simulate", scenario, "--format", "json", "--seeds", "2", "--jobs", jobs) for jobs in ("1", "2")
    )
    assert first.out == second.out
    plain = json.loads(first.out)
    assert plain["met"] is True and len(plain["seeds"]) == 2 and plain["compared"] is None


def test_a_page_is_written_and_a_place_that_cannot_be_written_is_told_first(wizard: Wizard, scenario) -> None:
    assert wizard("simulate", scenario, "--html", "report.html").code == 0
    assert Path("report.html").read_text().startswith("<!DOCTYPE html>")
    ran = wizard("simulate", scenario, "--html", "nowhere/report.html")
    assert (ran.code, ran.out) == (2, "")
    assert "--html cannot write nowhere/report.html: No such file or directory" in ran.err


def test_another_pipeline_is_compared_under_the_same_arrivals_and_faults(wizard: Wizard, scenario) -> None:
    Path("old.yaml").write_text(PIPELINE.replace("targets: [one", "policies: {use: none}\n    targets: [one"))
    ran = wizard("simulate", scenario, "--compare", "old.yaml", "--format", "json", "--jobs", "1")
    plain = json.loads(ran.out)
    old, new = plain["compared"]["seeds"][0], plain["seeds"][0]
    assert [each["runs"] for each in old["slices"]] == [each["runs"] for each in new["slices"]]
    assert plain["compared"]["differences"]["amplification"]["mean"] < -0.3
    same = wizard("simulate", scenario, "--compare", "p.yaml", "--format", "json", "--jobs", "1")
    differences = json.loads(same.out)["compared"]["differences"]
    assert {each["mean"] for each in differences.values()} == {0.0, None}


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Says after how many runs Ctrl-C comes."""
    after: list[int] = []

    def at(self: Progress, ended: int) -> None:
        if after and ended > after[0]:
            after.clear()
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Progress, "at", at)
    with interruptible():
        yield after.append


def test_ctrl_c_tells_of_the_seeds_that_were_played(wizard: Wizard, scenario, interrupt) -> None:
    scenario.write_text(SCENARIO.replace("20s}", "20s, arrivals: even}").replace("5s}}", "1500ms}}"))
    given = ("simulate", scenario, "--seeds", "5", "--jobs", "1")
    interrupt(500)  # of 200 a seed
    ran = wizard(*given, "--html", "report.html")
    assert ran.code == 130
    assert "even arrivals, 2 seeds (interrupted before 3 more had ended), 400 runs" in ran.out
    assert re.fullmatch(r"not as expected: p99: .* 2 seeds\)\n", ran.err), ran.err
    assert "2 seeds (interrupted before 3 more had ended)" in Path("report.html").read_text()
    interrupt(500)
    plain = json.loads(wizard(*given, "--format", "json").out)
    assert ([each["seed"] for each in plain["seeds"]], plain["left_out"]) == ([0, 1], 3)


def test_ctrl_c_in_a_comparison_tells_of_the_seeds_that_both_have_played(wizard: Wizard, scenario, interrupt) -> None:
    scenario.write_text(SCENARIO.replace("20s}", "20s, arrivals: even}"))
    interrupt(500)
    given = ("simulate", scenario, "--seeds", "5", "--jobs", "1", "--compare", "p.yaml", "--format", "json")
    ran = wizard(*given)
    plain = json.loads(ran.out)
    assert (ran.code, len(plain["seeds"]), len(plain["compared"]["seeds"]), plain["left_out"]) == (130, 1, 1, 4)


def test_ctrl_c_before_a_seed_has_ended_says_that_there_is_nothing(wizard: Wizard, scenario, interrupt) -> None:
    interrupt(0)
    ran = wizard("simulate", scenario, "--seeds", "2", "--jobs", "1")
    assert (ran.code, ran.out) == (130, "")
    assert ran.err == "interrupted before a seed had ended: there is nothing to tell\n"


def test_settings_lie_over_the_pipeline(wizard: Wizard, scenario) -> None:
    ran = wizard("simulate", scenario, "--set", "chains.default.targets=[two]", "--format", "json")
    assert ran.code == 3 and "no target is called 'one'" in ran.err
    ran = wizard("simulate", scenario, "--set", "policies.default.circuit_breaker=off", "--format", "json")
    assert json.loads(ran.out)["seeds"][0]["breakers"] == {}


def test_a_scenario_with_errors_is_told_with_its_lines_and_not_played(wizard: Wizard, scenario) -> None:
    scenario.write_text(SCENARIO.replace("to: 15s", "to: 25s").replace("two:", "twoo:"))
    ran = wizard("simulate", scenario)
    assert (ran.code, ran.out) == (3, "")
    assert "outage.sim.yaml:8:24 error[E095] it ends at 25s, after the load, which lasts 20s" in ran.err
    assert "outage.sim.yaml:9:3 error[E082] no target is called 'twoo'; did you mean 'two'?" in ran.err


def test_a_file_that_is_not_there_is_told(wizard: Wizard, scenario) -> None:
    assert wizard("simulate", "none.sim.yaml").code == 3
    ran = wizard("simulate", scenario, "--compare", "none.yaml")
    assert ran.code == 3 and "none.yaml" in ran.err


def test_validate_looks_at_scenarios_and_schema_prints_theirs(wizard: Wizard, scenario) -> None:
    assert wizard("validate", ".").out == ""
    scenario.write_text(SCENARIO.replace("latency: 1s", "latency: 1"))
    ran = wizard("validate", scenario)
    assert ran.code == 1 and "outage.sim.yaml:6:14 error[E024]" in ran.out
    schema = json.loads(wizard("schema", "simulation").out)
    assert schema["$id"].endswith("/simulation.schema.json") and "load" in schema["properties"]


def test_chaos_lays_the_phases_over_the_targets_of_one_run(wizard: Wizard, scenario) -> None:
    scenario.write_text(SCENARIO.replace("from: 5s", "from: 0s"))
    ran = wizard("run", "p.yaml", "-i", "question=why", "--mock", "--chaos", scenario, "--format", "json")
    plain = json.loads(ran.out)
    assert (ran.code, plain["served_by"]) == (0, "two")
    assert plain["attempts"][0]["kind"] == "server"
    calm = wizard("run", "p.yaml", "-i", "question=why", "--mock", "--format", "json")
    assert json.loads(calm.out)["served_by"] == "one"


def test_chaos_that_hits_nobody_is_an_error(wizard: Wizard, scenario) -> None:
    scenario.write_text(SCENARIO.replace("  one:", "  three:"))
    ran = wizard("run", "p.yaml", "-i", "question=why", "--mock", "--chaos", scenario)
    assert ran.code == 3 and "no target is called 'three'" in ran.err
    dry = wizard("run", "p.yaml", "-i", "question=why", "--dry-run", "--chaos", scenario)
    assert dry.code == 2 and "--chaos" in dry.err
