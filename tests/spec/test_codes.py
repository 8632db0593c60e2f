"""The table of codes: each is unique, explained, and shown wrong and right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import wizard_dsl.spec
from wizard_dsl.spec.codes import ALL_CODES, CODES, Code
from wizard_dsl.spec.source import load_text

#: What these say about a fragment shows in the reader itself.
READ = ("E008", "E010", "E011", "E012", "E013", "E014", "E015", "E016", "E017", "E020")


def test_codes_are_unique_and_in_order() -> None:
    names = [each.code for each in ALL_CODES]
    assert len(set(names)) == len(names)
    assert names == sorted(names)


@pytest.mark.parametrize("entry", ALL_CODES, ids=lambda each: each.code)
def test_a_code_has_title_explanation_and_two_examples(entry: Code) -> None:
    assert re.fullmatch(r"E0[0-9]{2}|W1[0-9]{2}", entry.code)
    assert entry.title and "\n" not in entry.title and not entry.title.endswith(".")
    assert len(entry.explanation) > 40 and entry.explanation.endswith(".")
    assert entry.bad.strip() and entry.good.strip() and entry.bad != entry.good
    assert all(line.strip() == line.strip("\n ") for line in entry.page().splitlines())


@pytest.mark.parametrize("entry", ALL_CODES, ids=lambda each: each.code)
def test_the_right_example_reads_without_a_finding(entry: Code) -> None:
    found = [each for each in load_text(entry.good, "good.yaml").diagnostics if each.code != "E020"]
    assert found == []


@pytest.mark.parametrize("code", READ)
def test_the_wrong_example_has_its_code(code: str) -> None:
    assert [each.code for each in load_text(CODES[code].bad, "bad.yaml").diagnostics] == [code]


def test_every_code_this_package_reports_is_in_the_table() -> None:
    folder = Path(wizard_dsl.spec.__file__).parent
    used = {code for path in folder.glob("*.py") for code in re.findall(r'"([EW][0-9]{3})"', path.read_text())}
    assert used <= set(CODES)


def test_a_page_shows_both_examples() -> None:
    page = CODES["E021"].page()
    assert page.startswith("E021: unknown key\n\n")
    assert "Wrong:\n\n    policies: {default: {retry: {max_attempt: 5}}}" in page
    assert max(map(len, page.splitlines())) <= 100
