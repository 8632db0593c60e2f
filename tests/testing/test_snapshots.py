"""Snapshots of cases: what stands in them, where they are, and that what is not the same twice has none."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest

from wizard_dsl.registry import Registry
from wizard_dsl.testing import playing
from wizard_dsl.testing.cases import Programs, Suite
from wizard_dsl.testing.scripted import Item
from wizard_dsl.testing.snapshots import first_difference, path_of
from wizard_dsl.testing.trying import Snapshots, collect, try_case

FILES = Path(__file__).parent / "files"


def suite_of(folder: Path, tests: str) -> Suite:
    shutil.copy(FILES / "triage.yaml", folder / "triage.yaml")
    path = folder / "t.test.yaml"
    path.write_text(f"version: 1\npipeline: triage.yaml\ndefaults: {{inputs: {{ticket: Hi}}}}\ntests:\n{tests}")
    suite = collect(path, Programs(Registry(plugins=False)))
    assert suite.found.diagnostics == []
    return suite


def test_a_snapshot_reads_like_what_happened(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, (FILES / "snapshot.yaml").read_text())
    outcomes = [try_case(suite, case, snapshots="make") for case in suite.cases]
    assert [each.passed for each in outcomes] == [True, True, True]
    assert "\n".join(each.snapshot or "" for each in outcomes) == (FILES / "snapshot.txt").read_text()


def test_a_file_is_named_so_that_it_can_be_read_and_no_two_tests_share_one(tmp_path: Path) -> None:
    names = ["a dead primary", "A dead primary", "a dead-primary", "a [x=1]", "a [x=2]", "x" * 200, "x" * 201, "???"]
    tests = "".join(f"  {name!r}: {{snapshot: true}}\n" for name in names)
    paths = [path_of(case) for case in suite_of(tmp_path, tests).cases]
    assert paths[0] == tmp_path / "__snapshots__" / "t.test" / "a-dead-primary.txt"
    assert len({str(path).lower() for path in paths}) == len(names)
    assert max(len(path.name) for path in paths) < 100


def test_what_differs_between_two_runs_is_named_and_never_approved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plug-in may do anything; here a target counts its calls."""
    targets = '{openai/gpt-4o-mini: [\'{"topic": "bug"}\'], openai/gpt-4o: [Hello]}'
    suite = suite_of(tmp_path, f"  one: {{targets: {targets}, snapshot: true}}\n")
    calls = itertools.count(1)
    take = playing._Recorded.take

    def counting(self: playing._Recorded, request: Any, run: Any) -> Item:
        item: Item = take(self, request, run)
        return Item(reply=f"Hello {next(calls)}") if item.reply == "Hello" else item

    monkeypatch.setattr(playing._Recorded, "take", counting)
    (case,) = suite.cases
    wanted: tuple[Snapshots, ...] = ("compare", "update")
    for how in wanted:
        outcome = try_case(suite, case, snapshots=how)
        assert not outcome.passed
        assert (
            "two runs of this test differ, so no snapshot of it can hold: line 20, in 'output': "
            in outcome.failures[0].what
        )
        assert not path_of(case).exists()


def test_runs_that_began_at_once_and_are_alike_are_told_once(tmp_path: Path) -> None:
    script = '[{status: 401, times: 3}, \'{"topic": "bug"}\']'
    suite = suite_of(
        tmp_path,
        f"""  one:
    targets: {{openai/gpt-4o-mini: {script}, openai/gpt-4o: [Hello]}}
    snapshot: true
    runs:
      - {{expect: {{error: auth}}}}
      - {{times: 2, expect: {{error: auth}}}}
      - {{}}
""",
    )
    (outcome,) = (try_case(suite, case, snapshots="make") for case in suite.cases)
    assert outcome.passed
    lines = (outcome.snapshot or "").splitlines()
    heads = [line.removeprefix("## output of ") for line in lines if line.startswith(("run", "## output"))]
    assert heads == ["run 1", "runs 2 to 3", "run 4", "run 1", "runs 2 to 3", "run 4"]


def test_no_line_of_a_snapshot_ends_with_a_blank_of_ours(tmp_path: Path) -> None:
    targets = "{openai/gpt-4o-mini: [401]}"
    inputs = '{ticket: "one\\n\\ntwo"}'
    suite = suite_of(
        tmp_path, f"  one: {{inputs: {inputs}, targets: {targets}, snapshot: true, expect: {{error: auth}}}}\n"
    )
    (outcome,) = (try_case(suite, case, snapshots="make") for case in suite.cases)
    assert "  one\n\n  two\n" in (outcome.snapshot or "")


def test_what_breaks_off_is_neither_compared_nor_approved(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, "  one: {targets: {openai/gpt-4o: [Hello]}, snapshot: true}\n")
    (case,) = suite.cases
    wanted: tuple[Snapshots, ...] = ("compare", "update")
    for how in wanted:
        outcome = try_case(suite, case, snapshots=how)
        assert [each.what for each in outcome.failures] == [
            "target openai/gpt-4o-mini is called, and no pattern of `targets` matches it"
        ]
        assert not path_of(case).exists()


def test_the_first_difference_names_its_section_and_line() -> None:
    first = "# a\n\n## output\n\none\ntwo\n"
    assert first_difference(first, first.replace("two", "2")) == "line 6, in 'output': 'two', and then '2'"
    assert first_difference(first, first + "three\n") == "line 7, in 'output': '', and then 'three'"
