"""What is shown of testing is what happens: the tutorial is followed to the letter, and so is the diff of a review."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path

import pytest
from click.testing import CliRunner

from wizard_dsl.cli.main import make_group
from wizard_dsl.testing.trying import collect, try_case

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "testing.md"
REVIEW = ROOT / "docs" / "how-to" / "review-snapshots.md"


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    for match in re.finditer(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        yield match[1], match[2]


def said(command: str) -> str:
    """What a command prints to stdout."""
    words = shlex.split(command)
    if words[0] != "wizard":
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout
    done = CliRunner().invoke(make_group(), words[1:])
    assert not isinstance(done.exception, Exception), done.exception
    return done.stdout


def test_a_newcomer_who_follows_the_tutorial_sees_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    shown = ""
    compared = 0
    for language, text in blocks(PAGE):
        if language == "yml":
            path = Path(text.partition("\n")[0].removeprefix("# "))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif language == "console":
            shown = [said(line.removeprefix("$ ")) for line in text.splitlines()][-1]
        else:
            assert text == shown if not text.endswith("\n…\n") else shown.startswith(text[:-2])
            compared += 1
    assert compared > 5
    assert Path("pipelines/__snapshots__/failures.test/ten-minutes-without-the-hosted-model.txt").is_file()


def test_the_diff_of_a_review_is_that_of_the_change_it_tells_of(tmp_path: Path) -> None:
    files = {
        text.partition("\n")[0].removeprefix("# "): text for language, text in blocks(REVIEW) if language == "yaml"
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")

    def snapshot(tests: str) -> list[str]:
        path = tmp_path / "greet.test.yaml"
        path.write_text(tests, encoding="utf-8")
        suite = collect(path)
        (outcome,) = (try_case(suite, case, snapshots="make") for case in suite.cases)
        return (outcome.snapshot or "").splitlines()

    tests = files["greet.test.yaml"]
    before = snapshot(tests)
    after = snapshot(tests.replace("defaults: {", "defaults: {set: {policies.default.retry: 2}, "))
    (shown,) = (text.splitlines() for language, text in blocks(REVIEW) if language == "diff")
    assert [*unified_diff(before, after, n=2, lineterm="")][2:] == shown
