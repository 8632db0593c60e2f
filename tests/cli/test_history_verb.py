"""wizard history, wizard explain RUN, and the line that leads to them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
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
chains: {default: {targets: [m, n], policies: {retry: 2}}}
steps: {answer: {prompt: {user: "{{ q }}"}}}
"""


@pytest.fixture
def project(own_project: Path) -> Path:
    (own_project / "a.yaml").write_text(FILE)
    return own_project


def test_before_anything_ran_nothing_is_recorded(project: Path, wizard: Wizard) -> None:
    ran = wizard("history", "list")
    assert (ran.code, ran.out) == (0, "")
    assert "nothing is recorded in" in ran.err
    assert "nothing is recorded in" in wizard("explain", "last").err
    assert json.loads(wizard("history", "list", "--format", "json").out) == []
    assert not (project / ".wizard").exists()


def test_a_run_is_listed_shown_and_explained(project: Path, wizard: Wizard) -> None:
    assert wizard("run", "a.yaml", "--mock", "--seed", "7", "-i", "q=hi").code == 0
    (row,) = json.loads(wizard("history", "list", "--format", "json").out)
    assert (row["name"], row["file"], row["kind"], row["attempts"]) == ("case", "a.yaml", "ok", 3)
    listed = wizard("history", "list").out
    assert listed.startswith(row["id"])
    assert "3 attempts" in listed

    shown = wizard("history", "show", row["id"][:4]).out
    assert "a.yaml (case, hash" in shown
    assert "--mock" in shown
    assert "seed     7, run 0 of its process" in shown
    assert "m: 503 server" in shown
    assert json.loads(wizard("history", "show", "last", "--format", "json").out)["result"]["run_id"] == row["id"]

    told = wizard("explain", row["id"][:4]).out
    assert told.startswith(f"run {row['id']} of case: answered by n")
    assert "Attempt 2 asked m again, because attempt 1 failed with server" in told
    assert "Attempt 3 asked n instead, because m failed with server" in told
    as_data = json.loads(wizard("explain", "last", "--format", "json").out)
    assert [line["attempt"] for line in as_data["chapters"][0]["lines"] if line["what"] == "attempt"] == [1, 2, 3]


def test_what_was_asked_is_shown_where_the_file_says_so(project: Path, wizard: Wizard) -> None:
    wizard("run", "a.yaml", "--mock", "-i", "q=my question", "--set", "history.content=full")
    shown = wizard("history", "show", "last").out
    assert "input q\nmy question" in shown
    assert "attempt 3, reply\none two three" in shown
    wizard("run", "a.yaml", "--mock", "-i", "q=my question")
    assert "my question" not in wizard("history", "show", "last").out


def test_a_run_that_is_not_to_be_recorded_is_not(project: Path, wizard: Wizard) -> None:
    wizard("run", "a.yaml", "--mock", "-i", "q=hi", "--no-history")
    wizard("run", "a.yaml", "--mock", "-i", "q=hi", "--dry-run")
    assert not (project / ".wizard").exists()


def test_options_that_matter_for_a_repeat_are_shown(project: Path, wizard: Wizard) -> None:
    (project / "over.yaml").write_text("chains: {default: {policies: {retry: 1}}}\n")
    wizard(
        "run", "a.yaml", "--mock", "-i", "q=hi", "--deadline", "20s", "--chain", "default", "--overlay", "over.yaml",
        "--set", "observe.log.level=ERROR",
    )  # fmt: skip
    assert (
        "--mock --chain default --deadline 20s --overlay over.yaml --set observe.log.level=ERROR"
        in wizard("history", "show", "last").out
    )


@pytest.mark.parametrize("verb", [("history", "show"), ("explain",)])
def test_a_run_that_is_unknown_or_ambiguous_is_told(project: Path, wizard: Wizard, verb: tuple[str, ...]) -> None:
    ran = wizard(*verb, "abcd")
    assert ran.code == 2
    assert "no run 'abcd' is recorded in" in ran.err
    assert "`wizard history list` shows those that are" in ran.err
    for seed in range(2):
        wizard("run", "a.yaml", "--mock", "-i", "q=hi", "--seed", str(seed))
    _same_beginning(project)
    ran = wizard(*verb, "abcd")
    assert ran.code == 2
    assert "'abcd' may mean abcd0000, abcd0001" in ran.err


def _same_beginning(project: Path) -> None:
    import sqlite3

    with sqlite3.connect(project / ".wizard" / "history.db") as database:
        database.execute("UPDATE runs SET id = 'abcd000' || (seq - 1)")
    database.close()


def test_words_that_have_a_page_are_no_runs(project: Path, wizard: Wizard) -> None:
    wizard("run", "a.yaml", "--mock", "-i", "q=hi")
    assert wizard("explain", "server").out.startswith("server (error kind)")
    assert "E021" in wizard("explain", "e021").out
    ran = wizard("explain", "serve")
    assert ran.code == 2
    assert "did you mean 'server'?" in ran.err


@pytest.mark.parametrize("verb", [("history", "list"), ("history", "show", "last"), ("explain", "last")])
def test_a_database_that_cannot_be_read_is_told_and_how_to_mend_it(
    project: Path, wizard: Wizard, verb: tuple[str, ...]
) -> None:
    (project / ".wizard").mkdir()
    (project / ".wizard" / "history.db").write_bytes(b"not a database " * 400)
    ran = wizard(*verb)
    assert ran.code == 3
    assert "move it away to begin anew" in ran.err
    ran = wizard("run", "a.yaml", "--mock", "-i", "q=hi")
    assert (ran.code, ran.out) == (0, "one two three\n")
    assert ran.err.count("history_unavailable") == 1


def test_another_project_is_looked_at_with_in(project: Path, wizard: Wizard, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.yaml").write_text(FILE)
    wizard("run", str(other / "b.yaml"), "--mock", "-i", "q=hi")
    assert wizard("history", "list").out == ""
    assert "b.yaml" in wizard("history", "show", "last", "--in", str(other)).out
    assert wizard("explain", "last", "--in", str(other / "b.yaml")).code == 0


def on_a_terminal(*arguments: str) -> str:
    """What stderr shows when it is a terminal."""
    ours, theirs = pty.openpty()
    command = [str(Path(sys.executable).with_name("wizard")), *arguments]
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "NO_COLOR": "1", "WIZARD_PLUGINS": ""}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, env=env)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:
            break
        shown += piece
    os.close(ours)
    process.wait(timeout=60)
    return shown.decode()


def test_a_run_on_a_terminal_ends_with_the_way_to_its_story(project: Path, wizard: Wizard, tmp_path: Path) -> None:
    line = on_a_terminal("run", "a.yaml", "--mock", "-i", "q=hi").strip().splitlines()[-1]
    assert line.startswith("m 503 ×2 → waited")
    way = line.rpartition(" · wizard ")[2].split()
    assert way[0] == "explain"
    assert len(way[1]) == 4
    assert wizard(*way).code == 0

    failed = on_a_terminal("run", "a.yaml", "--mock", "-i", "q=hi", "--set", "chains.default.targets=[m]")
    assert "error[server]" in failed
    assert " · failed: server · wizard explain " in failed.strip().splitlines()[-1]
    assert "wizard explain" not in on_a_terminal("run", "a.yaml", "--mock", "-i", "q=hi", "--no-history")

    other = tmp_path / "other"
    other.mkdir()
    (other / "b.yaml").write_text(FILE)
    line = on_a_terminal("run", "../other/b.yaml", "--mock", "-i", "q=hi").strip().splitlines()[-1]
    assert line.endswith(" --in ../other")
