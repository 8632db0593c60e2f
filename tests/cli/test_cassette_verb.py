"""`wizard cassette`: what is recorded, and edits that are meant."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from cli_kit import Wizard
from interrupt_kit import started

FILE = """
version: 1
inputs: {q: {type: string}}
providers: {m: {type: mock, reply: "one two three", latency: 20ms}}
chains: {default: {targets: [m]}}
steps: {answer: {prompt: {user: "{{ q }}"}}}
"""
RUN = ("run", "case.yaml", "-i", "q=hi", "--cassette", "c.jsonl")


@pytest.fixture
def tape(tmp_path: Path, wizard: Wizard, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("case.yaml").write_text(FILE)
    assert wizard(*RUN, "--record", "all", "--stream").code == 0
    assert wizard("run", "case.yaml", "-i", "q=ho", "--cassette", "c.jsonl", "--record", "missing").code == 0
    return tmp_path / "c.jsonl"


def test_show_lists_the_exchanges(tape: Path, wizard: Wizard) -> None:
    done = wizard("cassette", "show", "c.jsonl")
    assert (done.code, done.err) == (0, "")
    first, second, third = done.out.splitlines()
    assert first.startswith("recorded at 20") and first.endswith("by wizard 0.1.0")
    assert second.split()[:4] == ["line", "2", "m", "complete"]
    assert second.endswith("hi") and "stream of 2" in second
    assert third.endswith("ho") and "whole" in third
    rows = json.loads(wizard("cassette", "show", "c.jsonl", "--format", "json").out)["exchanges"]
    assert [(row["line"], row["asked"], row["ending"]) for row in rows] == [
        (2, "hi", "complete"),
        (3, "ho", "complete"),
    ]


def test_every_line_is_what_the_schema_says(tape: Path, wizard: Wizard) -> None:
    schema = json.loads(wizard("schema", "cassette").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    lines = [json.loads(line) for line in tape.read_text().splitlines()]
    assert [list(check.iter_errors(line)) for line in lines] == [[], [], []]
    assert list(check.iter_errors({**lines[1], "targt": "m"}))
    assert list(check.iter_errors({**lines[0], "cassette": 2}))


def test_an_edit_is_accepted_line_by_line_and_without_what_was_typed_in(tape: Path, wizard: Wizard) -> None:
    before = tape.read_text().splitlines()
    edited = before[1].replace('"three"', '"four"').replace("one two three", "mail jane@firm.com, key sk-abcdefgh1234")
    tape.write_text("\n".join([before[0], edited, before[2], ""]))
    assert wizard(*RUN).code == 3
    assert wizard("cassette", "show", "c.jsonl").code == 1
    done = wizard("cassette", "accept", "c.jsonl")
    assert (done.code, done.err) == (0, "c.jsonl:2: accepted (edited)\n")
    after = tape.read_text().splitlines()
    assert after[2] == before[2]
    assert "jane" not in after[1] and "sk-abc" not in after[1]
    assert wizard(*RUN).out == "mail redacted@example.com, key ***\n"
    assert wizard("cassette", "accept", "c.jsonl").err == "c.jsonl: nothing was edited\n"


def test_a_line_that_was_taken_out_is_accepted_too(tape: Path, wizard: Wizard) -> None:
    lines = tape.read_text().splitlines()
    tape.write_text("\n".join([lines[0], lines[2], ""]))
    assert wizard(*RUN).code == 3
    done = wizard("cassette", "accept", "c.jsonl")
    assert done.err == "c.jsonl:1: accepted (the header, or the order of the lines)\n"
    assert wizard(*RUN).code == 3, "its answer is gone"
    assert wizard("run", "case.yaml", "-i", "q=ho", "--cassette", "c.jsonl").out == "one two three\n"


def test_an_edit_that_is_wrong_is_told_and_not_accepted(tape: Path, wizard: Wizard) -> None:
    text = tape.read_text().replace('"target"', '"targt"', 1)
    tape.write_text(text)
    done = wizard("cassette", "accept", "c.jsonl")
    assert done.code == 3
    assert "c.jsonl:2:2 error[E092] unknown key 'targt' in the line; did you mean 'target'?" in done.err
    assert tape.read_text() == text
    assert wizard("cassette", "show", "case.yaml").code == 3


def test_an_interrupted_run_is_recorded_as_far_as_it_came(tape: Path) -> None:
    slow = FILE.replace('"one two three", latency: 20ms', '"one two three four", chunk: 4, per_chunk: 30s')
    Path("case.yaml").write_text(slow)
    command = [Path(sys.executable).with_name("wizard"), *RUN[:-1], "slow.jsonl", "--record", "all", "--stream"]
    process = started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.read(4) == "one "
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "slow.jsonl: 1 recorded, 0 replayed" in err
    line = json.loads(Path("slow.jsonl").read_text().splitlines()[1])
    assert [batch for _, batch in line["deltas"]] == [[{"text": "one "}]]
    assert line["cancelled"] >= 0 and "end" not in line
