"""wizard plan, and the bounds that validate sees to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_kit import Wizard

FILE = """\
version: 1
inputs:
  q: {type: string, maxLength: 100}
providers:
  a: {type: mock, model: m, models: {m: {max_output: 50, prices: {input: $1, output: $10}}}}
  b: {type: mock, model: n, models: {n: {max_output: 20, prices: {input: $1, output: $10}}}}
chains:
  default: {targets: [a, b], policies: {retry: {max_attempts: 2, jitter: none}}}
steps:
  s: {prompt: {user: "{{ q }}"}}
deadline: 90s
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_the_worst_case_is_shown_with_what_adds_most(wizard: Wizard, file: Path) -> None:
    code, out, err = wizard("plan", str(file))
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[:3] == ["worst case typical", "attempts 4 1", "latency 1m30s –"]
    assert "attempts s.b 2, s.retry 2" in lines
    assert any(line.startswith("latency limited by the deadline, ") for line in lines)
    assert any(line.startswith("s 1 4 ") and line.endswith("a 2, b 2") for line in lines)


def test_json_holds_every_figure_and_why_it_is_open(wizard: Wizard, file: Path) -> None:
    plan = json.loads(wizard("plan", str(file), "--format", "json").out)
    assert plan["worst"]["attempts"] == {"value": 4, "reason": None, "where": None}
    assert plan["targets"]["b"]["value"] == 2
    assert plan["contributors"]["attempts"] == [{"name": "s.b", "share": 2}, {"name": "s.retry", "share": 2}]
    assert plan["expected"] is None and plan["bounds"] == []
    file.write_text(FILE.replace(", maxLength: 100", ""), encoding="utf-8")
    plan = json.loads(wizard("plan", str(file), "--format", "json").out)
    where = f"{file}:3:6"
    assert plan["worst"]["cost"] == {"value": None, "reason": "input 'q' has no maxLength", "where": where}
    assert "cost, tokens  input 'q' has no maxLength" in wizard("plan", str(file)).out


def test_markdown_is_a_comment_with_the_bounds(wizard: Wizard, file: Path) -> None:
    out = wizard("plan", str(file), "--format", "markdown", "--set", "bounds.attempts=9").out
    assert f"### Plan of {file}\n\n|  | worst case | typical |\n| --- | --- | --- |\n| attempts | 4 | 1 |" in out
    assert "- attempts: at most 9: holds" in out


def test_a_failure_rate_gives_what_is_expected(wizard: Wizard, file: Path) -> None:
    plan = json.loads(wizard("plan", str(file), "--format", "json", "--failure-rate", "a=50%").out)
    expected = plan["expected"]
    assert expected["attempts"]["value"] == pytest.approx(1 + 0.5 + 0.25)
    assert expected["waits"]["value"] == pytest.approx(0.5 * 1)
    assert expected["failed"] == 0
    typical = plan["typical"]["tokens"]["value"]
    assert expected["tokens"]["value"] == pytest.approx(0.75 * typical + 0.25 * (typical - 30))
    both = json.loads(
        wizard("plan", str(file), "--format", "json", "--failure-rate", "a=50%", "--failure-rate", "?=10%").out
    )
    assert both["expected"]["failed"] == pytest.approx(0.25 * 0.01)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("a", "wants TARGET=SHARE, as in openai=2%, not 'a'"),
        ("=2%", "wants TARGET=SHARE"),
        ("a=2", "is not a ratio"),
        ("a=200%", "a share is at most 100%, not 200%"),
        ("c=2%", "no target is called 'c'"),
    ],
)
def test_a_failure_rate_that_makes_no_sense_is_refused(wizard: Wizard, file: Path, given: str, says: str) -> None:
    code, out, err = wizard("plan", str(file), "--failure-rate", given)
    assert (code, out) == (2, "")
    assert says in err


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        ("attempts: 3", "p.yaml:12:20 error[E079] a run may make 4 attempts, more than 3; s.b adds 2, s.retry adds 2"),
        (
            "latency: 60s",
            "a run may take 1m30s, more than 60s; only the deadline limits it, s.b adds 25m2s",
        ),
        ("cost: $0.001", "a run may cost $0.0039, more than $0.001; s.retry adds $0.0019"),
    ],
)
def test_a_bound_that_does_not_hold_is_a_finding_of_plan_and_validate(
    wizard: Wizard, file: Path, bounds: str, says: str
) -> None:
    file.write_text(f"{FILE}bounds: {{{bounds}}}\n", encoding="utf-8")
    planned, validated = wizard("plan", str(file)), wizard("validate", str(file))
    assert (planned.code, validated.code) == (1, 1)
    assert says in planned.err
    assert says in validated.out
    assert "does not hold" in planned.out


def test_a_figure_that_is_open_breaks_a_bound_and_names_the_line(wizard: Wizard, file: Path) -> None:
    file.write_text(FILE.replace(", maxLength: 100", "") + "bounds: {cost: $5}\n", encoding="utf-8")
    code, out, _ = wizard("validate", str(file))
    assert code == 1
    assert "a run may cost anything, more than $5; input 'q' has no maxLength" in out
    assert "p.yaml:3:6 this leaves it open" in out


def test_bounds_that_hold_are_no_finding(wizard: Wizard, file: Path) -> None:
    file.write_text(f"{FILE}bounds: {{attempts: 4, latency: 90s, cost: $0.01}}\n", encoding="utf-8")
    assert wizard("validate", str(file)).code == 0
    code, out, err = wizard("plan", str(file))
    assert (code, err) == (0, "")
    assert out.count("holds") == 3


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        ("attempts: many", "error[E0"),
        ("latency: 30", "wants a duration with its unit, above 0, such as 30s, not 30"),
        ("money: $1", "unknown key 'money' in bounds"),
        ("attempts: -1", "error[E0"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(wizard: Wizard, file: Path, bounds: str, says: str) -> None:
    file.write_text(f"{FILE}bounds: {{{bounds}}}\n", encoding="utf-8")
    done = wizard("validate", str(file))
    assert done.code == 1
    assert says in done.out
    assert wizard("plan", str(file)).code == 3


def test_a_dry_run_shows_the_worst_case_of_this_very_input(wizard: Wizard, file: Path) -> None:
    out = wizard("run", str(file), "--dry-run", "-i", "q=hello").out
    assert out.splitlines()[-1] == "at most 4 attempts, 1m30s, $0.0017, 484 tokens"
    data = json.loads(wizard("run", str(file), "--dry-run", "--format", "json", "-i", "q=hello").out)
    assert data["worst"]["attempts"]["value"] == 4


def test_a_file_that_is_wrong_is_not_planned(wizard: Wizard, file: Path) -> None:
    file.write_text(FILE.replace("targets: [a, b]", "targets: [a, nobody]"), encoding="utf-8")
    code, out, err = wizard("plan", str(file))
    assert (code, out) == (3, "")
    assert "nobody" in err


def test_a_witness_shows_that_the_attempts_are_the_truth(wizard: Wizard, file: Path) -> None:
    code, out, _ = wizard("plan", str(file), "--witness")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0 and "4 of 4 attempts the bound is reached" in lines
    assert "a: 429 with retry-after 1ms ×2" in lines and lines[-1] == "b: an answer"
    told = json.loads(wizard("plan", str(file), "--witness", "--format", "json").out)
    assert told["witness"]["reached"] is True and len(told["witness"]["outcomes"]) == 4
    assert json.loads(wizard("plan", str(file), "--format", "json").out)["witness"] is None


def test_what_files_say_counts_and_what_only_variables_say_is_told(wizard: Wizard, file: Path) -> None:
    """A file that is not there stands for the default, as a variable does."""
    (file.parent / "tries.txt").write_text("5\n", encoding="utf-8")
    (file.parent / "most.txt").write_text("9\n", encoding="utf-8")
    text = FILE.replace(
        "max_attempts: 2", 'max_attempts: "${file:tries.txt}", base: "${env:BASE}", max_delay: "${file:x.txt}"'
    )
    file.write_text(text + 'bounds: {attempts: "${file:most.txt}", cost: "${env:COST}"}\n', encoding="utf-8")
    code, out, err = wizard("plan", str(file))
    assert code == 1
    assert "attempts  at most 9  does not hold: 10" in out and "cost  at most" not in out
    told = err.splitlines()[0]
    assert told.startswith("the plan is that of the defaults where variables are not known: bounds.cost, ")
    assert "retry.base" in told and "max_attempts" not in told and "bounds.attempts" not in told
    assert "E079" in err
    code, out, err = wizard("validate", str(file))
    assert "E079" not in out + err


def test_a_key_that_a_file_holds_is_not_read(wizard: Wizard, file: Path) -> None:
    (file.parent / "key.txt").write_bytes(b"\xff\xfe")  # no text: to read it would be an error
    keyed = "a: {type: openai, api_key: '${file:key.txt}', model: m, models: {m: {max_output: 50}}}"
    text = FILE.replace("a: {type: mock, model: m,", f"{keyed}\n  c: {{type: mock, model: m,")
    file.write_text(text, encoding="utf-8")
    code, out, err = wizard("plan", str(file))
    assert (code, "key.txt" in out + err) == (0, False)
