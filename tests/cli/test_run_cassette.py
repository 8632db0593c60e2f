"""`wizard run --cassette --record`: what is printed, what is written, and what wrong input gets."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cli_kit import Wizard

FILE = """
version: 1
inputs: {q: {type: string}}
providers: {m: {type: mock, reply: "one two three", latency: 20ms}}
chains: {default: {targets: [m]}}
steps: {answer: {prompt: {user: "{{ q }}"}}}
"""


@pytest.fixture
def tape(tmp_path: Path, wizard: Wizard, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cassette of one run, in the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("case.yaml").write_text(FILE)
    done = wizard("run", "case.yaml", "-i", "q=hi", "--cassette", "c.jsonl", "--record", "all")
    assert (done.code, done.out, done.err) == (0, "one two three\n", "c.jsonl: 1 recorded, 0 replayed\n")
    return tmp_path / "c.jsonl"


def test_a_replay_prints_the_same_bytes_each_time(tape: Path, wizard: Wizard) -> None:
    runs = [wizard("run", "case.yaml", "-i", "q=hi", "--cassette", "c.jsonl", "--format", "json") for _ in range(2)]
    assert runs[0] == runs[1]
    assert (runs[0].code, runs[0].err) == (0, "")
    assert 0.02 <= json.loads(runs[0].out)["elapsed"] < 1


def test_a_request_that_is_not_there_shows_the_nearest_and_exits_with_3(tape: Path, wizard: Wizard) -> None:
    done = wizard("run", "case.yaml", "-i", "q=ho", "--cassette", "c.jsonl")
    assert (done.code, done.out) == (3, "")
    assert "error[spec]: c.jsonl holds no answer to this request to m; the nearest, line 2, differs" in done.err
    assert '    body.messages[0].parts[0].text:\n      - "hi"\n      + "ho"\n' in done.err
    assert "--record missing" in done.err


def test_missing_adds_and_says_so(tape: Path, wizard: Wizard) -> None:
    arguments = ("run", "case.yaml", "--cassette", "c.jsonl", "--record", "missing", "-i")
    assert wizard(*arguments, "q=ho").err == "c.jsonl: 1 recorded, 0 replayed\n"
    assert wizard(*arguments, "q=hi").err == "c.jsonl: nothing to record, 1 replayed\n"
    assert len(tape.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--record", "all"], "--record says what is written to a cassette; name it: --cassette FILE"),
        (["--cassette", "c.jsonl", "--mock"], "--mock asks no provider"),
        (["--cassette", "c.jsonl", "--dry-run"], "--dry-run asks no provider"),
        (["--cassette", "c.jsonl", "--record", "some"], "'some' is not one of"),
    ],
)
def test_options_that_contradict_each_other_are_wrong_usage(
    tape: Path, wizard: Wizard, arguments: list[str], said: str
) -> None:
    done = wizard("run", "case.yaml", "-i", "q=hi", *arguments)
    assert done.code == 2
    assert said in done.err


def damaged(text: str, how: str) -> str:
    header, line = text.splitlines()
    lines = {
        "empty": [],
        "no-json": [header, line[:60] + " oops"],
        "cut": [header, line[:80]],
        "version": [header.replace('"cassette":1', '"cassette":7'), line],
        "header": [line],
        "unknown-key": [header, line.replace('"target"', '"targt"')],
        "type": [header, line.replace('"end":', '"end":-')],
        "two-ends": [header, line.replace('"end":', '"cancelled":3,"end":')],
        "no-end": [header, line.replace('"end":', '"answered":')],
        "merge": [header, "<<<<<<< HEAD", line],
        "twice": [header, header, line],
        "edited": [header, line.replace("one", "two")],
        "no-sum": [header, line[: line.index(',"sum"')] + "}"],
        "moved": [header],
        "spaces": [header, line.replace(":", ": ")],
    }[how]
    return "".join(f"{each}\n" for each in lines)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("empty", "c.jsonl:1:1 error[E090] the cassette is empty"),
        ("no-json", "c.jsonl:2:"),
        ("cut", "c.jsonl:2:"),
        ("version", "c.jsonl:1:1 error[E091] the cassette has version 7; this version of wizard reads version 1"),
        ("header", "c.jsonl:1:1 error[E090] the first line is no header"),
        ("unknown-key", "c.jsonl:2:2 error[E092] unknown key 'targt' in the line; did you mean 'target'?"),
        ("type", "error[E092] expected `int` >= 0 at end"),
        ("two-ends", "error[E092] an exchange ends in one way, by end, failed or cancelled; this has 2"),
        ("no-end", "error[E092] an exchange ends in one way, by end, failed or cancelled; this has 0"),
        ("merge", "c.jsonl:2:1 error[E092] a conflict of a merge is left in the file"),
        ("twice", "c.jsonl:2:1 error[E092] a second header"),
        ("edited", "c.jsonl:2:1 error[E093] the line was edited: its checksum does not fit"),
        ("no-sum", "c.jsonl:2:1 error[E093] the line was edited: its checksum does not fit"),
        ("moved", "c.jsonl:1:1 error[E093] the header was edited, or lines were removed, added or moved"),
        ("spaces", "c.jsonl:2:1 error[E093] the line was edited"),
    ],
)
def test_a_damaged_cassette_is_told_with_its_line(tape: Path, wizard: Wizard, how: str, said: str) -> None:
    tape.write_text(damaged(tape.read_text(), how))
    done = wizard("run", "case.yaml", "-i", "q=hi", "--cassette", "c.jsonl")
    assert (done.code, done.out) == (3, "")
    assert said in done.err


def test_line_ends_of_another_system_are_no_edit(tape: Path, wizard: Wizard) -> None:
    tape.write_bytes(b"\xef\xbb\xbf" + tape.read_bytes().replace(b"\n", b"\r\n"))
    assert wizard("run", "case.yaml", "-i", "q=hi", "--cassette", "c.jsonl").code == 0


def test_a_file_that_is_not_there_is_told(tape: Path, wizard: Wizard) -> None:
    done = wizard("run", "case.yaml", "-i", "q=hi", "--cassette", "d.jsonl")
    assert done.code == 3
    assert "d.jsonl: error[E001] the file cannot be read: No such file or directory" in done.err


def test_a_file_that_is_no_cassette_is_never_written_over(tape: Path, wizard: Wizard) -> None:
    done = wizard("run", "case.yaml", "-i", "q=hi", "--cassette", "case.yaml", "--record", "all")
    assert done.code == 3
    assert "it is no cassette" in done.err
    assert Path("case.yaml").read_text() == FILE


def test_a_damaged_cassette_may_be_recorded_anew(tape: Path, wizard: Wizard) -> None:
    tape.write_text(damaged(tape.read_text(), "edited"))
    assert wizard("run", "case.yaml", "-i", "q=hi", "--cassette", "c.jsonl", "--record", "missing").code == 3
    assert wizard("run", "case.yaml", "-i", "q=hi", "--cassette", "c.jsonl", "--record", "all").code == 0
    assert wizard("run", "case.yaml", "-i", "q=hi", "--cassette", "c.jsonl").code == 0


def test_what_cannot_be_written_is_told_before_anything_is_asked(tape: Path, wizard: Wizard) -> None:
    done = wizard("run", "case.yaml", "-i", "q=hi", "--cassette", "no/such/c.jsonl", "--record", "all")
    assert (done.code, done.out) == (3, "")
    assert "no/such/c.jsonl cannot be written: there is no folder" in done.err


def test_a_link_stays_one_and_its_file_is_written(tape: Path, wizard: Wizard) -> None:
    os.symlink("c.jsonl", "link.jsonl")
    assert wizard("run", "case.yaml", "-i", "q=ho", "--cassette", "link.jsonl", "--record", "all").code == 0
    assert Path("link.jsonl").is_symlink()
    assert '"ho"' in tape.read_text()
    assert sorted(each.name for each in tape.parent.iterdir() if each.is_file()) == [
        "c.jsonl",
        "case.yaml",
        "link.jsonl",
    ]


def test_changed_prompts_are_a_warning(tape: Path, wizard: Wizard) -> None:
    Path("case.yaml").write_text(FILE.replace("{{ q }}", "{{ q }} {# a comment #}"))
    done = wizard("run", "case.yaml", "-i", "q=hi", "--cassette", "c.jsonl")
    assert "c.jsonl:1:1 warning[W170] the prompts were changed since this was recorded" in done.err
