"""Warnings that a file allows, and comments that allow what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.lint.allow import CHECKED_CODES, RULE_CODES, not_allowed, with_allowed
from wizard_dsl.lint.rules import lint
from wizard_dsl.registry import Registry
from wizard_dsl.spec.diagnostics import Diagnostic

BASE = """\
version: 1
inputs: {question: {type: string}}
providers: {local: {type: mock}, spare: {type: mock}}
chains: {default: {targets: [local]}}
steps: {answer: {prompt: {user: "{{ question }}"}}}
"""
#: The line with the unused provider.
UNUSED = "spare: {type: mock}}"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def judged(text: str, told: frozenset[str] = RULE_CODES) -> list[Diagnostic]:
    Path("a.yaml").write_text(text)
    compiled = compile_file("a.yaml", Registry(plugins=False), Sources())
    return with_allowed([*compiled.diagnostics, *lint(compiled)], ["a.yaml"], told)


def shown(text: str, told: frozenset[str] = RULE_CODES) -> list[str]:
    """`line code`, with the reason of one that is allowed."""
    found = judged(text, told)
    return [f"{each.line} {each.code}" + (f": {each.allowed}" if each.allowed else "") for each in found]


def test_a_warning_is_allowed_on_its_line() -> None:
    text = BASE.replace(UNUSED, f"{UNUSED}  # wizard: allow W120 because it comes next week")
    assert shown(BASE) == ["3 W120"]
    assert shown(text) == ["3 W120: it comes next week"]


def test_a_warning_is_allowed_by_a_line_above() -> None:
    text = BASE.replace("providers:", "# wizard: allow W120 because it comes next week\nproviders:")
    assert shown(text) == ["4 W120: it comes next week"]


def test_a_comment_in_other_words_allows_nothing_and_says_so() -> None:
    text = BASE.replace(UNUSED, f"{UNUSED}  # wizard: ignore W120 because it comes next week")
    assert shown(text) == ["3 W120", "3 W190"]
    assert judged(text)[1].suggestion == "write `# wizard: allow CODE because …`"


@pytest.mark.parametrize(
    "condition",
    [
        "    # wizard: allow W184 because of a trial\n    when: >-\n      lang\n      in ['en', 'de']\n",
        "    when: |-  # wizard: allow W184 because of a trial\n      lang in ['en', 'de']\n",
        "    # wizard: allow W184 because of a trial\n    when: \"lang\n      in ['en', 'de']\"\n",
    ],
)
def test_a_warning_about_a_text_of_several_lines_is_allowed_where_it_begins(condition: str) -> None:
    text = (
        "version: 1\ninputs: {lang: {type: string, enum: [en, de]}}\nproviders: {local: {type: mock}}\n"
        "chains: {default: {targets: [local]}}\nsteps:\n  answer:\n" + condition + "    prompt: {user: Hello}\n"
    )
    for each in (text, text.replace("\n", "\r\n"), text.rstrip("\n")):
        (found,) = judged(each)
        assert (found.code, found.allowed) == ("W184", "of a trial")


def test_a_comment_in_the_text_of_a_prompt_is_part_of_it() -> None:
    said = "|\n        # wizard: allow W120 because of nothing\n        Hello # wizard: allow W999\n"
    text = BASE.replace('steps: {answer: {prompt: {user: "{{ question }}"}}}\n', "")
    steps = f"steps:\n  answer:\n    prompt:\n      system: 'a # wizard: allow W999'\n      user: {said}"
    assert shown(text + steps) == ["2 W123", "3 W120"]


def test_one_comment_allows_several_codes() -> None:
    text = BASE.replace("{question: {type: string}}", "{question: {type: string}, more: {type: string}}")
    both = text.replace("version: 1\n", "version: 1\n# wizard: allow W120, W123 because of a trial\n")
    assert shown(text) == ["2 W123", "3 W120"]
    assert shown(both) == ["2 W192", "3 W123: of a trial", "4 W120"]


def test_a_comment_on_another_line_allows_nothing_and_is_not_needed() -> None:
    text = BASE.replace("version: 1", "version: 1  # wizard: allow W120 because it comes next week")
    assert shown(text) == ["1 W192", "3 W120"]


@pytest.mark.parametrize("comment", ["allow W120", "allow W120 because", "allow because of a trial", "allow"])
def test_a_comment_without_a_reason_or_a_code_allows_nothing(comment: str) -> None:
    assert shown(BASE.replace(UNUSED, f"{UNUSED}  # wizard: {comment}")) == ["3 W120", "3 W190"]


def test_an_unknown_code_is_told_with_those_that_are_found_there() -> None:
    found = judged(BASE.replace(UNUSED, f"{UNUSED}  # wizard: allow W12O because of a trial"))
    (wrong,) = [each for each in found if each.code == "W191"]
    assert (wrong.line, wrong.value) == (3, "W12O")
    assert wrong.suggestion == "found on that line: W120"
    assert wrong.column == BASE.splitlines()[2].index(UNUSED) + len(UNUSED) + 2 + len("# wizard: allow ") + 1


@pytest.mark.parametrize("code", ["E021", "W190", "W191", "W192"])
def test_errors_and_what_is_said_of_comments_are_not_allowed(code: str) -> None:
    found = judged(BASE.replace(UNUSED, f"{UNUSED}  # wizard: allow {code} because I say so"))
    assert [each.code for each in found] == ["W120", "W191"]
    assert f"{code} cannot be allowed" in found[1].message


def test_an_error_stays_one_on_a_line_that_allows_it() -> None:
    text = BASE.replace("{targets: [local]}", "{tragets: [local]}").replace(
        "chains:", "# wizard: allow E021 because I say so\nchains:"
    )
    assert {each.code: each.allowed for each in judged(text)}["E021"] is None


def test_what_a_file_with_errors_needs_is_not_known() -> None:
    text = BASE.replace("steps:", "stepz:").replace(UNUSED, f"{UNUSED}  # wizard: allow W120 because of a trial")
    assert "W192" not in {each.code for each in judged(text)}


def test_what_only_check_looks_for_is_not_told_as_unneeded_by_validate() -> None:
    text = BASE.replace("version: 1", "version: 1  # wizard: allow W111, W171 because of a trial")
    assert shown(text) == ["3 W120"]
    assert shown(text, CHECKED_CODES) == ["1 W192", "3 W120"]


def test_a_comment_of_the_project_file_allows_what_pipelines_find_there() -> None:
    Path("wizard.yaml").write_text(
        "policies:\n  default:\n    # wizard: allow W110 because all pipelines are slow\n    timeout: {total: 20m}\n"
    )
    text = BASE.replace(", spare: {type: mock}}", "}")
    found = judged(text)
    assert [(each.file, each.code, each.allowed) for each in found] == [
        ("wizard.yaml", "W110", "all pipelines are slow")
    ]


def test_what_is_not_allowed_is_left_and_nothing_is_said_of_comments() -> None:
    text = BASE.replace(UNUSED, f"{UNUSED}  # wizard: allow W120, W999 because of a trial")
    Path("a.yaml").write_text(text.replace("version: 1", "version: 1  # wizard: allow W110"))
    compiled = compile_file("a.yaml", Registry(plugins=False), Sources())
    assert not_allowed(lint(compiled)) == []
    Path("a.yaml").write_text(BASE)
    assert [each.code for each in not_allowed(lint(compiled))] == ["W120"]


def test_comments_of_the_project_file_are_for_other_pipelines_too() -> None:
    Path("wizard.yaml").write_text("# wizard: allow W110 because all pipelines are slow\ndeadline: 5m\n")
    assert "W192" not in {each.code for each in judged(BASE)}
