"""Scenario files: what is wrong with one is told with its line, all at once."""

from __future__ import annotations

import pytest
from simulation_kit import CHAIN, REGISTRY

from wizard_dsl.analysis.reading import open_scenario
from wizard_dsl.spec.diagnostics import render_text

WHOLE = """\
version: 1
pipeline: p.yaml
load: {rate: 10/s, duration: 60s}
"""


def told(folder, text: str, pipeline: str = CHAIN) -> str:
    (folder / "p.yaml").write_text(pipeline)
    (folder / "bad.sim.yaml").write_text(text)
    found = open_scenario(folder / "bad.sim.yaml", REGISTRY)
    return render_text(found.diagnostics).replace(f"{folder}/", "")


def test_a_scenario_in_order_has_nothing_to_say_and_a_program(tmp_path) -> None:
    assert told(tmp_path, WHOLE) == ""
    found = open_scenario(tmp_path / "bad.sim.yaml", REGISTRY)
    assert found.ok and found.compiled is not None and found.compiled.program is not None


def test_a_misspelt_key_gets_a_suggestion(tmp_path) -> None:
    said = told(tmp_path, WHOLE.replace("duration", "durration"))
    assert "bad.sim.yaml:3:20 error[E021] unknown key 'durration' in load; did you mean 'duration'?" in said


def test_a_quantity_without_its_unit_gets_its_unit(tmp_path) -> None:
    said = told(tmp_path, WHOLE + "targets: {one: {phases: [{from: 2, status: 503}]}}\n")
    assert "bad.sim.yaml:4:33 error[E024] targets.one.phases[0].from wants a duration" in said


@pytest.mark.parametrize(
    ("phase", "sentence"),
    [
        ("{from: 70s, status: 503}", "4:33 error[E095] it begins when the load is over, which lasts 60s"),
        ("{from: 20s, to: 10s, status: 503}", "4:42 error[E095] it ends at 10s, before it begins at 20s"),
        ("{to: 2m, status: 503}", "4:31 error[E095] it ends at 2m, after the load, which lasts 60s"),
        ("{status: 503, share: 120%}", "4:47 error[E096] a share is at most 100%"),
        ("{latency: {median: 2s, p99: 1s}}", "4:54 error[E096] the p99 is below the median, 2s"),
        ("{latency: {median: 0s, p99: 1s}}", "4:45 error[E096] the median of a spread is above 0"),
        ("{to: 10s}", "4:26 error[E097] nothing happens in this phase"),
        ("{status: 503, refuse: true}", "4:27 error[E097] an attempt fails in one way, not by status and refuse"),
        ("{refuse: true, retry_after: 2s}", "4:41 error[E097] retry_after belongs to a failure with a status"),
    ],
)
def test_a_phase_that_makes_no_sense_is_told(tmp_path, phase, sentence) -> None:
    said = told(tmp_path, WHOLE + f"targets: {{one: {{phases: [{phase}]}}}}\n")
    assert said.startswith(f"bad.sim.yaml:{sentence}"), said


def test_changes_of_the_load_that_overlap_name_each_other(tmp_path) -> None:
    shape = "shape: [{from: 10s, to: 30s, rate: 20/s}, {from: 20s, to: 40s, rate: 30/s}]"
    said = told(tmp_path, WHOLE.replace("60s}", f"60s, {shape}}}"))
    assert "error[E095] it begins before the change above ends, at 30s" in said


def test_more_runs_than_can_be_played_are_told_before_they_are_begun(tmp_path) -> None:
    said = told(tmp_path, WHOLE.replace("{rate: 10/s, duration: 60s}", "{rate: 500/s, duration: 1h}"))
    assert "3:1 error[E096] these are 1,800,000 runs; a seed plays 1,000,000 of them at most" in said


def test_no_share_is_above_everything(tmp_path) -> None:
    said = told(tmp_path, WHOLE + "expect: {availability: {at_least: 150%}}\n")
    assert "4:35 error[E096] a share is at most 100%" in said


def test_a_load_that_lasts_no_time_is_told(tmp_path) -> None:
    assert "3:30 error[E095] a load lasts longer than 0s" in told(tmp_path, WHOLE.replace("60s", "0s"))


def test_a_rate_of_tokens_is_no_rate_of_runs(tmp_path) -> None:
    assert "3:14 error[E096] runs come at a rate such as 20/s" in told(tmp_path, WHOLE.replace("10/s", "10 tokens/s"))


def test_what_the_pipeline_does_not_have_is_told_with_what_is_near(tmp_path) -> None:
    text = WHOLE.replace("60s}", "60s, inputs: [{qestion: why}, {question: 7}]}") + "targets: {onne: {}}\n"
    said = told(tmp_path, text)
    assert "3:45 error[E081] the pipeline has no input 'qestion'; did you mean 'question'?" in said
    assert "3:71 error[E083] input 'question' is not as declared" in said
    assert "4:11 error[E082] no target is called 'onne'; did you mean 'one'?" in said


def test_a_pipeline_that_is_not_there_or_has_errors_is_told(tmp_path) -> None:
    assert "2:11 error[E035] there is no file 'q.yaml'; did you mean 'p.yaml'?" in told(
        tmp_path, WHOLE.replace("p.yaml", "q.yaml")
    )
    said = told(tmp_path, WHOLE, CHAIN.replace("one, two", "one, three"))
    assert "bad.sim.yaml:2:11 error[E080] p.yaml has an error" in said
    assert "p.yaml:8:" in said


def test_expectations_that_nothing_can_meet_are_told(tmp_path) -> None:
    said = told(tmp_path, WHOLE + "expect: {p99: {at_least: 5s, at_most: 2s}, first_chunk_p50: {at_most: 1s}}\n")
    assert "4:26 error[E085] nothing is at least 5s and at most 2s" in said
    assert "error[E097] nobody reads the answers as they come" in said


def test_a_file_that_is_no_yaml_is_told(tmp_path) -> None:
    assert "bad.sim.yaml:1:" in told(tmp_path, "version: [1\n")


def test_the_pipeline_sees_the_variables_of_the_scenario_and_no_others(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LIMIT", "9s")
    pipeline = CHAIN + 'deadline: "${env:LIMIT}"\n'
    assert "p.yaml:11:12 error[E031]" in told(tmp_path, WHOLE, pipeline)
    assert told(tmp_path, WHOLE + "env: {LIMIT: 30s}\n", pipeline) == ""
