"""Rendering: text, json, GitHub's commands and SARIF, each in order and each finding once."""

from __future__ import annotations

import json

import pytest

from wizard_dsl.spec.diagnostics import (
    Diagnostic,
    Place,
    Related,
    capped,
    did_you_mean,
    finding,
    has_errors,
    meant,
    render_github,
    render_json,
    render_sarif,
    render_text,
    show_path,
    show_value,
)

TYPO = finding(
    "E021",
    "unknown key 'max_attempt' in policies.default.retry",
    Place("triage.yaml", 14, 7),
    path=("policies", "default", "retry", "max_attempt"),
    suggestion="did you mean 'max_attempts'?",
)
TWICE = finding(
    "E012",
    "key 'a' stands twice",
    Place("triage.yaml", 9, 1),
    related=(Related("triage.yaml", 2, 1, "first written here"),),
)
GONE = finding("E001", "the file cannot be read", Place("other.yaml", 0, 0))
UNUSED = finding("W120", "100% unused: a,\nb", Place("a:b,c.yaml", 2, 3))
ALL = [TYPO, TWICE, GONE, TYPO, UNUSED]


def test_text_is_sorted_each_once_with_the_other_place_below() -> None:
    assert render_text(ALL).splitlines() == [
        "a:b,c.yaml:2:3 warning[W120] 100% unused: a,\\nb",
        "other.yaml: error[E001] the file cannot be read",
        "triage.yaml:9:1 error[E012] key 'a' stands twice",
        "    triage.yaml:2:1 first written here",
        "triage.yaml:14:7 error[E021] unknown key 'max_attempt' in policies.default.retry; "
        "did you mean 'max_attempts'?",
    ]
    assert render_text([]) == ""


def test_what_a_file_contains_cannot_steer_the_terminal() -> None:
    text = render_text([finding("E021", "key '\x1b[31m\u202e'", Place("a\r.yaml", 1, 1))])
    assert text == "a\\r.yaml:1:1 error[E021] key '\\x1b[31m\\u202e'\n"


def test_json_is_a_list_of_objects_with_every_key() -> None:
    rows = json.loads(render_json(ALL))
    assert [row["code"] for row in rows] == ["W120", "E001", "E012", "E021"]
    assert {tuple(row) for row in rows} == {Diagnostic.__struct_fields__}
    assert rows[2]["related"] == [{"file": "triage.yaml", "line": 2, "column": 1, "message": "first written here"}]
    assert rows[3]["path"] == ["policies", "default", "retry", "max_attempt"]
    assert json.loads(render_json([])) == []


def test_github_gets_escaped_workflow_commands() -> None:
    assert render_github(ALL).splitlines() == [
        "::warning file=a%3Ab%2Cc.yaml,line=2,col=3,title=W120::100%25 unused: a,%0Ab",
        "::error file=other.yaml,title=E001::the file cannot be read",
        "::error file=triage.yaml,line=9,col=1,title=E012::key 'a' stands twice%0Atriage.yaml:2:1 first written here",
        "::error file=triage.yaml,line=14,col=7,title=E021::unknown key 'max_attempt' in policies.default.retry; "
        "did you mean 'max_attempts'?",
    ]


def test_sarif_names_rules_with_help_and_places() -> None:
    log = json.loads(render_sarif([*ALL, finding("E900", "of a plug-in", Place("/tmp/ä b.yaml", 1, 2))]))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["E001", "E012", "E021", "E900", "W120"]
    assert "max_attempts" in rules[2]["help"]["text"]
    assert rules[4]["defaultConfiguration"] == {"level": "warning"}
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    by_rule = {result["ruleId"]: result for result in run["results"]}
    (place,) = by_rule["E021"]["locations"]
    assert place["physicalLocation"] == {
        "artifactLocation": {"uri": "triage.yaml"},
        "region": {"startLine": 14, "startColumn": 7},
    }
    assert "region" not in by_rule["E001"]["locations"][0]["physicalLocation"]
    assert by_rule["E012"]["relatedLocations"][0]["message"] == {"text": "first written here"}
    uri = by_rule["E900"]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "file:///tmp/%C3%A4%20b.yaml"


def test_the_letter_of_a_code_is_its_severity() -> None:
    assert has_errors([UNUSED, TYPO])
    assert not has_errors([UNUSED])


def test_a_hundred_findings_stay_and_the_next_becomes_a_note() -> None:
    many = [finding("E021", f"m{n}", Place("a", n, 1)) for n in range(1, 150)]
    assert capped(many[:100]) == many[:100]
    cut = capped(many)
    assert cut[:100] == many[:100]
    assert (cut[100].code, cut[100].line) == ("E018", 101)


@pytest.mark.parametrize(
    ("name", "candidates", "near"),
    [
        ("max_attempt", ["max_attempts", "max_delay"], "max_attempts"),
        ("retries", ["retry", "timeout"], "retry"),
        ("Max-Delay", ["max_delay", "base"], "max_delay"),
        ("expo", ["exponential", "linear"], "exponential"),
        ("completely_else", ["retry", "timeout"], None),
        ("retry", ["retry"], None),
        ("x" * 100, ["x" * 99], None),
        ("a", [], None),
    ],
)
def test_the_nearest_name_is_offered(name: str, candidates: list[str], near: str | None) -> None:
    assert did_you_mean(name, candidates) == near


def test_few_names_are_listed_where_none_is_near() -> None:
    assert meant("zzz", ["b", "a"]) == "known here: a, b"
    assert meant("zzz", [f"key_{n}" for n in range(40)]) is None
    assert meant("zzz", []) is None


def test_a_path_reads_as_it_is_written_in_expressions() -> None:
    assert show_path(("chains", "writer", "targets", 1, "gpt-4.1")) == 'chains.writer.targets[1]["gpt-4.1"]'
    assert show_path(("acme.redact",)) == '["acme.redact"]'
    assert show_path(()) == "the file"


def test_a_value_is_short_and_a_container_shows_nothing_of_itself() -> None:
    assert [show_value(each) for each in ({"k": "sk-1"}, ["sk-1"], {}, [], None, True, 3, "off")] == [
        "a mapping", "a list", "an empty mapping", "an empty list", "nothing", "true", "3", "'off'",
    ]  # fmt: skip
    assert len(show_value("x" * 500)) <= 60


def test_what_a_url_may_hold_as_a_secret_is_not_shown() -> None:
    shown = show_value("http://user:secret@host/v1?key=secret#secret")
    assert "secret" not in shown
    assert shown == "'http://***@host/v1?***'"
    assert show_value("what? nothing://hidden") == "'what? nothing://hidden'"
