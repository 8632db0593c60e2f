"""wizard cache: the caches on disk, seen by a process that never ran the pipeline."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from cli_kit import Wizard

FILE = """\
version: 1
inputs: {q: {type: string}}
providers: {near: {type: mock}, far: {type: openai, api_key: "${env:FAR_KEY}"}}
chains:
  default: {targets: [near/m, far/gpt-4o-mini], policies: {cache: {ttl: 1h, store: disk, max_entries: 3}}}
steps: {answer: {prompt: {user: "{{ q }}"}}}
"""
FOLDER = Path(".wizard/cache/chains.default.cache")


@pytest.fixture
def kept(wizard: Wizard, monkeypatch: pytest.MonkeyPatch) -> Wizard:
    """A pipeline that was run with a key; whoever looks at its cache has none."""
    Path("kept.yaml").write_text(FILE)
    monkeypatch.setenv("FAR_KEY", "sk-x")
    return wizard


def ran(wizard: Wizard, *questions: str) -> None:
    for each in questions:
        code, _, err = wizard("run", "kept.yaml", "-i", f"q={each}", "--no-stream")
        assert code == 0, err


def as_json(wizard: Wizard, *arguments: str):
    code, out, err = wizard("cache", *arguments, "--format", "json")
    assert code == 0, err
    return json.loads(out)


def test_figures_add_up_over_processes(kept: Wizard, monkeypatch: pytest.MonkeyPatch) -> None:
    ran(kept, "1", "1", "2", "3", "4")
    monkeypatch.delenv("FAR_KEY")
    (found,) = as_json(kept, "stats", "kept.yaml")
    assert (found["hits"], found["misses"], found["insertions"], found["evictions"]) == (1, 4, 4, 1)
    assert (found["size"], found["capacity"], found["hit_rate"], found["store"]) == (3, 3, 0.2, "disk")
    code, out, err = kept("cache", "stats", "kept.yaml")
    assert (code, err) == (0, "")
    assert out.splitlines()[:3] == ["chains.default.cache", "  entries        3 of 3", "  hits           1 (20.0%)"]


def test_what_was_never_used_is_empty_and_nothing_is_made(kept: Wizard) -> None:
    (found,) = as_json(kept, "stats", "kept.yaml")
    assert (found["size"], found["hits"], found["hit_rate"]) == (0, 0, None)
    assert kept("cache", "list", "kept.yaml") == (0, "", "")
    assert kept("cache", "clear", "kept.yaml", "--all") == (0, "0 entries removed\n", "")
    assert "–" in kept("cache", "stats", "kept.yaml").out
    assert not Path(".wizard").exists()


def test_entries_are_listed_without_their_content(kept: Wizard) -> None:
    ran(kept, "tell nobody", "2")
    entries = as_json(kept, "list", "kept.yaml")
    assert [(each["target"], each["kind"], each["state"]) for each in entries] == [("near/m", "ok", "fresh")] * 2
    assert "nobody" not in json.dumps(entries)
    code, out, _ = kept("cache", "list", "kept.yaml", "--prefix", entries[0]["key"])
    assert code == 0 and len(out.splitlines()) == 1
    assert out.startswith(f"default/near/m/{entries[0]['key']}  ok  fresh  until 2")


def test_entries_are_removed_by_what_is_said(kept: Wizard) -> None:
    ran(kept, "1", "2", "3")
    first = as_json(kept, "list", "kept.yaml")[0]["key"]
    assert kept("cache", "clear", "kept.yaml", "--expired").out == "0 entries removed\n"
    assert kept("cache", "clear", "kept.yaml", "--model", "gpt-4o-mini").out == "0 entries removed\n"
    assert kept("cache", "clear", "kept.yaml", "--prefix", first[:10]).out == "1 entry removed\n"
    assert as_json(kept, "clear", "kept.yaml", "--glob", "default/near/*", "--model", "m") == {"removed": 2}
    assert as_json(kept, "list", "kept.yaml") == []


@pytest.mark.parametrize("options", [[], ["--all", "--expired"]])
def test_it_wants_to_be_told_what_to_remove(kept: Wizard, options: list[str]) -> None:
    code, out, err = kept("cache", "clear", "kept.yaml", *options)
    assert (code, out) == (2, "") and "say what to remove: --all, or" in err


@pytest.mark.parametrize("verb", [["stats"], ["list"], ["clear", "--all"]])
def test_a_disk_that_cannot_be_used_is_told_and_exits_with_3(kept: Wizard, verb: list[str]) -> None:
    ran(kept, "1")
    (FOLDER / "cache.db").write_bytes(b"not a database at all" * 100)
    code, out, err = kept("cache", verb[0], "kept.yaml", *verb[1:])
    assert (code, out) == (3, "")
    assert "corrupt" in err and "delete the folder" in err


def test_a_locked_disk_is_told_and_exits_with_3(kept: Wizard) -> None:
    ran(kept, "1")
    other = sqlite3.connect(FOLDER / "cache.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    code, _, err = kept("cache", "stats", "kept.yaml")
    other.close()
    assert code == 3 and "another process holds its lock" in err


@pytest.mark.parametrize("verb", [["stats"], ["list"], ["clear", "--all"], ["warm", "--input-file", "rows.jsonl"]])
def test_a_file_without_a_cache_on_disk_is_told(kept: Wizard, verb: list[str]) -> None:
    Path("kept.yaml").write_text(FILE.replace("disk", "memory"))
    Path("rows.jsonl").write_text('{"q": "1"}\n')
    code, _, err = kept("cache", verb[0], "kept.yaml", *verb[1:])
    assert code == 3 and "set `store: disk`" in err


def test_a_file_that_is_wrong_is_told(kept: Wizard) -> None:
    code, _, err = kept("cache", "stats", "wrong.yaml")
    assert code == 3 and "error[E021]" in err


def test_warnings_of_the_file_go_to_stderr(kept: Wizard) -> None:
    code, out, err = kept("cache", "list", "kept.yaml", "--overlay", "o.yaml")
    assert code == 3 and out == "" and "o.yaml" in err


def test_a_date_that_no_calendar_knows_is_shown_as_the_last_one(kept: Wizard) -> None:
    ran(kept, "1")
    with sqlite3.connect(FOLDER / "cache.db") as database:
        database.execute('UPDATE Cache SET value = CAST(\'{"version":1,"expires":9e99}\' AS BLOB)')
    database.close()
    assert "until 9999-12-31 23:59:59Z" in kept("cache", "list", "kept.yaml").out


# -- warming --------------------------------------------------------------------------------------------


def test_warming_stores_what_runs_will_ask_for(kept: Wizard) -> None:
    Path("rows.jsonl").write_text('{"q": "1"}\n\n{"q": "2"}\n')
    told = kept("cache", "warm", "kept.yaml", "--input-file", "rows.jsonl", "--concurrency", "1")
    assert told == (0, "2 inputs: 2 asked, 0 stored before, 0 failed\n", "")
    assert as_json(kept, "warm", "kept.yaml", "--input-file", "rows.jsonl")["present"] == 2
    result = json.loads(kept("run", "kept.yaml", "-i", "q=2", "--format", "json").out)
    assert result["steps"]["answer"]["cached"]


def test_what_fails_goes_to_stderr_and_into_the_exit_code(kept: Wizard) -> None:
    Path("rows.jsonl").write_text('{"q": "1"}\n{"x": "2"}\n')
    code, out, err = kept("cache", "warm", "kept.yaml", "--input-file", "rows.jsonl")
    assert (code, out) == (2, "2 inputs: 1 asked, 0 stored before, 1 failed\n")
    assert err.startswith("row 2: input: ")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"q": "1"}\n{"q"\n', "rows.jsonl:2: not JSON"),
        (b'\n["q"]\n', "rows.jsonl:2: no mapping of inputs"),
        (b"\xff\n", "rows.jsonl:1: not JSON"),
        (None, "cannot read rows.jsonl"),
    ],
)
def test_a_list_that_cannot_be_read_is_told_with_its_line(kept: Wizard, content: bytes | None, told: str) -> None:
    if content is not None:
        Path("rows.jsonl").write_bytes(content)
    code, out, err = kept("cache", "warm", "kept.yaml", "--input-file", "rows.jsonl")
    assert (code, out) == (2, "") and told in err
    assert not Path(".wizard").exists(), "nobody was asked"


def test_a_list_that_is_too_long_is_refused(kept: Wizard, monkeypatch: pytest.MonkeyPatch) -> None:
    from wizard_dsl.cli import _caches

    monkeypatch.setattr(_caches, "MAX_BYTES", 1 << 20)
    Path("rows.jsonl").write_bytes(b'{"q": "1"}\n' * 100_000)
    code, _, err = kept("cache", "warm", "kept.yaml", "--input-file", "rows.jsonl")
    assert code == 2 and "more than 1 MiB" in err
