"""wizard eval: expressions about a run that was recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_kit import Wizard

FILE = """\
version: 1
name: case
inputs: {q: {type: string}}
providers:
  m: {type: mock, error_rate: 100%, status: 503}
  n: {type: mock, model: b, reply: one two three}
chains: {default: {targets: [m, n], policies: {retry: 2, circuit_breaker: 2}}}
steps: {answer: {prompt: {user: "{{ q }}"}}}
"""


@pytest.fixture
def ran(own_project: Path, wizard: Wizard) -> Wizard:
    """A project in which one run was recorded, without content."""
    (own_project / "a.yaml").write_text(FILE)
    assert wizard("run", "a.yaml", "--mock", "-i", "q=hi").code == 0
    return wizard


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("attempts | map(attribute='kind') | list", ["server", "server", "ok"]),
        ("attempts | selectattr('kind', 'ne', 'ok') | list | length", 2),
        ("elapsed > 1 and error is none", True),
        ("cost", 0.0),
        ("breakers['m'].state", "open"),
        ("breakers['n'].state", "closed"),
        ("steps.answer.position", 1),
        ("{'who': served_by, 'first': attempts[0].target}", {"who": "n", "first": "m"}),
    ],
)
def test_an_expression_has_a_value_for_the_last_run(ran: Wizard, expression: str, value: object) -> None:
    code, out, err = ran("eval", expression, "--format", "json")
    assert (code, json.loads(out), err) == (0, value, "")


def test_text_is_printed_as_it_is_and_all_else_as_json(ran: Wizard) -> None:
    assert ran("eval", "served_by").out == "n\n"
    assert ran("eval", "served_by", "--format", "json").out == '"n"\n'
    assert ran("eval", "attempts[0].retry_of").out == "null\n"


def test_a_run_is_meant_by_the_beginning_of_its_id(ran: Wizard) -> None:
    (row,) = json.loads(ran("history", "list", "--format", "json").out)
    assert ran("run", "a.yaml", "--mock", "--seed", "3", "-i", "q=hi", "--set", "chains.default.targets=[n]").code == 0
    assert ran("eval", "attempts | length").out == "1\n"
    assert ran("eval", "attempts | length", "--run", row["id"][:6]).out == "3\n"


@pytest.mark.parametrize("expression", ["text", "json", "steps.answer.text", "steps['answer'].json is none"])
def test_texts_that_are_not_stored_are_not_taken_for_empty(ran: Wizard, expression: str) -> None:
    code, out, err = ran("eval", expression)
    assert (code, out) == (2, "")
    assert "are not stored" in err and "content: full" in err


def test_texts_and_inputs_that_are_stored_are_seen(ran: Wizard) -> None:
    Path("a.yaml").write_text(FILE + "history: {content: full}\n")
    assert ran("run", "a.yaml", "--mock", "-i", "q=hi").code == 0
    assert ran("eval", "q ~ ': ' ~ text").out == "hi: one two three\n"
    assert json.loads(ran("eval", "steps.answer.text.split()", "--format", "json").out) == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["servd_by"], "did you mean 'served_by'?"),
        (["steps.answr.cost"], "did you mean 'answer'?"),
        (["error.knd"], "error"),
        (["1 +"], "unexpected"),
        (["{{ cost }}"], "write the expression without braces"),
        (["attempts[9].kind"], "the list has 3"),
        (["cost", "--run", "ffffff"], "no run 'ffffff' is recorded"),
    ],
)
def test_what_is_wrong_is_told(ran: Wizard, arguments: list[str], says: str) -> None:
    code, out, err = ran("eval", *arguments)
    assert (code, out) == (2, "") and says in err
