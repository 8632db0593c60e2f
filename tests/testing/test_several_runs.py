"""Several runs of a test: whose they are, how long each may take, and how many of them end how."""

from __future__ import annotations

from pathlib import Path

import pytest

from wizard_dsl.registry import Registry
from wizard_dsl.spec.diagnostics import render_text
from wizard_dsl.testing.cases import Programs
from wizard_dsl.testing.trying import Outcome, collect, try_case

PIPELINE = """version: 1
inputs: {q: {type: string, maxLength: 10, default: hi}}
providers: {local: {type: mock}}
chains: {default: {targets: [local], policies: {timeout: 20s, POLICIES}}}
steps: {a: {prompt: {user: "{{ q }}"}}}
"""
LIMITED = "admission: {session: {rate: 1/minute, burst: 3, max_wait: 0s}}"
HEAD = """version: 1
pipeline: p.yaml
defaults: {targets: {local: [{reply: x, times: forever, delay: 2s}]}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tried(policies: str, runs: str, more: str = "") -> Outcome:
    Path("p.yaml").write_text(PIPELINE.replace("POLICIES", policies))
    Path("p.test.yaml").write_text(f"{HEAD}tests:\n  it:{more}\n    runs:\n{runs}")
    suite = collect("p.test.yaml", Programs(Registry(plugins=False)))
    assert render_text(suite.found.diagnostics) == ""
    (case,) = suite.cases
    return try_case(suite, case)


def told(outcome: Outcome) -> list[str]:
    return [f"{each.place.line}:{each.place.column} {each.sentence}" for each in outcome.failures]


def test_each_session_has_a_limit_of_its_own(folder: Path) -> None:
    runs = """
      - {times: 5, session: anna, outcomes: {ok: 3, local_limit: 2}}
      - {times: 4, session: ben, outcomes: {ok: 3, local_limit: {at_least: 1}}}
      - {session: anna, expect: {error: local_limit}}
"""
    assert told(tried(LIMITED, runs)) == []


def test_the_session_of_a_test_is_that_of_its_runs_unless_they_say_otherwise(folder: Path) -> None:
    runs = """
      - {expect: {cache: miss}}
      - {expect: {cache: hit}}
      - {session: ben, expect: {cache: miss}}
"""
    assert told(tried("cache: {scope: session}", runs, "\n    session: anna")) == []


def test_a_cache_by_principal_shares_nothing_between_two(folder: Path) -> None:
    runs = """
      - {principal: anna, expect: {cache: miss}}
      - {principal: ben, expect: {cache: miss}}
      - {principal: anna, expect: {cache: hit}}
"""
    assert told(tried("cache: {scope: principal}", runs)) == []


def test_a_run_has_a_deadline_of_its_own(folder: Path) -> None:
    runs = """
      - {deadline: 1s, expect: {error: deadline, elapsed: 1s}}
      - {expect: {elapsed: 2s}}
"""
    assert told(tried("retry: off", runs, "\n    deadline: 30s")) == []


def test_what_is_not_named_among_the_outcomes_must_not_happen(folder: Path) -> None:
    outcome = tried(LIMITED, "      - {times: 5, session: anna, outcomes: {ok: 4}}\n")
    assert told(outcome) == [
        "7:46 outcomes.ok: expected 4, was 3",
        "7:35 outcomes.local_limit: expected 0, was 2",
    ]
    outcome = tried(LIMITED, "      - {times: 2, session: anna, outcomes: {ok: 2, budget: {at_least: 1}}}\n")
    assert told(outcome) == ["7:53 outcomes.budget: expected at least 1, was 0"]


def test_all_of_them_are_held_against_what_is_expected_as_well(folder: Path) -> None:
    runs = "      - {times: 4, session: anna, outcomes: {ok: 3, local_limit: 1}, expect: {attempts: 1}}\n"
    assert told(tried(LIMITED, runs)) == ["7:79 run 4: attempts: expected 1, was 0"]


def test_an_outcome_that_does_not_exist_is_told_with_the_nearest(folder: Path) -> None:
    Path("p.yaml").write_text(PIPELINE.replace("POLICIES", LIMITED))
    Path("p.test.yaml").write_text(f"{HEAD}tests: {{it: {{runs: [{{times: 2, outcomes: {{okay: 2}}}}]}}}}\n")
    (found,) = collect("p.test.yaml", Programs(Registry(plugins=False))).found.diagnostics
    assert (found.code, found.suggestion) == ("E021", "did you mean 'ok'?")
    Path("p.test.yaml").write_text(HEAD + "tests: {it: {runs: [{outcomes: {ok: {at_least: 3, at_most: 2}}}]}}\n")
    (found,) = collect("p.test.yaml", Programs(Registry(plugins=False))).found.diagnostics
    assert found.code == "E085"
