"""Twelve flaws, eight in files and four in plug-ins: each is found, with a counter-example of minimal length."""

from __future__ import annotations

from pathlib import Path

import pytest
from flawed_policies import of_acme
from proving_kit import names, proved, written

from wizard_dsl.analysis.prove import Violation
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.lint.rules import lint
from wizard_dsl.registry import Registry
from wizard_dsl.testing.trying import collect, try_case

FLAWS = Path(__file__).parent / "flaws"
PLUGGED = """\
version: 1
inputs: {{ticket: {{type: string}}}}
providers: {{one: {{type: mock, model: m}}, two: {{type: mock, model: n}}}}
policies: {{default: {{timeout: {{total: 20s}}, {policies}}}}}
chains: {{default: {{targets: [one, two]}}}}
steps: {{reply: {{prompt: {{user: "{{{{ ticket }}}}"}}}}}}
deadline: 50s
"""

#: File → the invariant, how many faults show the flaw at least, and what the attempts of the smallest case come to.
IN_FILES = [
    ("hidden_dead_key", "a_dead_key_is_told", 1, ["cheap: 401 (auth)", "dear: an answer"]),
    ("multiplied_retries", "at_most_three_calls", 3, [
        "cheap: connect", "cheap: connect", "dear: connect", "dear: an answer"]),
    ("unreachable_fallback", "a_busy_target_has_a_spare", 1, [
        "cheap: 429 (rate_limited) with retry-after 3s, beyond what is waited for"]),
    ("hanging_until_the_deadline", "a_hanging_target_has_a_spare", 1, ["cheap: no answer until the deadline, 30s"]),
    ("misspelt_condition", "all_but_spam_is_answered", 1, ['cheap: the answer {"topic":"billing"}']),
    ("failure_taken_for_an_answer", "nobody_is_ignored_unread", 1, ["cheap: connect"]),
    ("dear_spare", "a_reply_costs_less_than_a_cent", 1, ["cheap: 402 (quota_exhausted)", "dear: an answer"]),
    ("shared_breaker", "a_dead_model_has_a_spare", 2, ["one/large: connect", "one/large: 503 (server)"]),
]  # fmt: skip

#: Policy → the invariant that every file has, how many faults, the attempts.
IN_PLUGINS = [
    ("acme.second_chance", "no_sleep_past_deadline", 1, [
        "one: 503 (server) with retry-after 3s, beyond what is waited for"]),
    ("acme.gate", "no_call_while_open", 1, ["one: connect", "one: an answer"]),
    ("acme.places", "all_given_back", 1, ["one: connect", "one: an answer"]),
    ("acme.stubborn", "cancel_stops_all", 1, ["one: no answer, and the caller goes away"]),
]  # fmt: skip


@pytest.mark.parametrize(("flaw", "name", "depth", "outcomes"), IN_FILES, ids=[each[0] for each in IN_FILES])
def test_a_flaw_in_a_file_is_found(flaw: str, name: str, depth: int, outcomes: list[str], tmp_path: Path) -> None:
    path = written(tmp_path, (FLAWS / f"{flaw}.yaml").read_text(encoding="utf-8"))
    report = proved(path, depth=depth, runs=1500, states=False)
    assert names(report) == [name]
    (found,) = report.violations
    assert (found.depth, list(found.outcomes)) == (depth, outcomes)
    assert_played(found, tmp_path)


@pytest.mark.parametrize(("policy", "name", "depth", "outcomes"), IN_PLUGINS, ids=[each[0] for each in IN_PLUGINS])
def test_a_flaw_in_a_plug_in_is_found(policy: str, name: str, depth: int, outcomes: list[str], tmp_path: Path) -> None:
    path = written(tmp_path, PLUGGED.format(policies=f"{policy}: {{}}"))
    report = proved(path, of_acme(), depth=2, runs=400, states=False)
    assert names(report) == [name]
    (found,) = report.violations
    assert (found.depth, list(found.outcomes)) == (depth, outcomes)
    assert found.test


def test_the_same_file_without_a_plug_in_holds(tmp_path: Path) -> None:
    assert proved(written(tmp_path, PLUGGED.format(policies="retry: {}")), runs=400, states=False).holds


def test_a_target_that_hangs_until_the_deadline_is_found_by_validate_too() -> None:
    path = FLAWS / "hanging_until_the_deadline.yaml"
    compiled = compile_file(path, Registry(plugins=False), Sources(env={}, mock=True))
    assert "W110" in [each.code for each in lint(compiled)]


def assert_played(found: Violation, folder: Path) -> None:
    """The test that comes with it can be saved as it is, and fails because of the invariant alone."""
    assert found.test_fails
    (folder / "found.test.yaml").write_text(found.test, encoding="utf-8")
    suite = collect(folder / "found.test.yaml")
    assert [each.what for each in try_case(suite, suite.cases[0]).failures] == ["that"]
