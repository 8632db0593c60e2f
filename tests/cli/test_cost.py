"""wizard cost, and wizard run under a budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_kit import Wizard

FILE = """\
version: 1
name: case
budgets: {day: $15, month: {limit: $300, then: degrade}}
providers: {a: {type: mock, model: m, models: {m: {max_output: 1000, prices: {input: $0, output: $10000}}}}}
chains: {default: {targets: [a]}}
steps: {s: {prompt: {user: hi}}}
"""


@pytest.fixture
def project(own_project: Path) -> Path:
    (own_project / "a.yaml").write_text(FILE)
    return own_project


def test_before_anything_was_spent_nothing_is_booked(project: Path, wizard: Wizard) -> None:
    ran = wizard("cost")
    assert (ran.code, ran.out) == (0, "")
    assert "nothing is booked" in ran.err
    assert json.loads(wizard("cost", "--format", "json").out) == []


def test_what_a_run_spent_is_told_by_budget_and_the_next_run_may_not_fit(project: Path, wizard: Wizard) -> None:
    assert wizard("run", "a.yaml").code == 0
    rows = json.loads(wizard("cost", "a.yaml", "--format", "json").out)
    assert [(row["budget"], row["pipeline"], row["reserved"]) for row in rows] == [
        ("day", "case", 0.0),
        ("month", "case", 0.0),
    ]
    assert 0 < rows[0]["spent"] == rows[1]["spent"] < 10
    text = wizard("cost").out.splitlines()
    assert text[0].split()[0] == "day"
    assert text[0].split()[2] == "case"

    for _ in range(1000):
        refused = wizard("run", "a.yaml", "--set", "budgets.day=$10.01")
        if refused.code:
            break
    assert refused.code == 6
    assert "error[budget]: the day budget of $10.01 has" in refused.err
    assert "raise the budget, lower max_tokens, or add a cheaper target" in refused.err


def test_a_database_that_cannot_be_used_is_told_and_how_to_mend_it(project: Path, wizard: Wizard) -> None:
    (project / ".wizard").mkdir()
    (project / ".wizard" / "budgets.db").write_bytes(b"not a database " * 100)
    ran = wizard("cost")
    assert ran.code == 3
    assert "move it away to begin anew" in ran.err
    ran = wizard("run", "a.yaml")
    assert ran.code == 6
    assert "the day budget fails closed" in ran.err
    assert wizard("run", "a.yaml", "--mock").code == 0
    assert wizard("run", "a.yaml", "--set", "budgets.day.then=degrade").code == 0


def test_all_days_are_told_on_request(project: Path, wizard: Wizard) -> None:
    wizard("run", "a.yaml")
    import sqlite3

    with sqlite3.connect(project / ".wizard" / "budgets.db") as database:
        database.execute("INSERT INTO accounts VALUES ('day/2020-01-01/', 1500000000, 0, 9e9)")
    database.close()
    assert len(json.loads(wizard("cost", "--format", "json").out)) == 2
    assert "day    2020-01-01  (the project)  $1.50" in wizard("cost", "--all").out
