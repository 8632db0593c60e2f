"""wizard test, as a user has it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from cli_kit import Wizard
from interrupt_kit import started

from wizard_dsl.cli._files import find_tests
from wizard_dsl.cli._test_watch import behind, changed, stamps, watch
from wizard_dsl.registry import Registry
from wizard_dsl.testing import virtual
from wizard_dsl.testing.cases import Programs, Suite
from wizard_dsl.testing.trying import collect

pytestmark = pytest.mark.usefixtures("ask")

PIPELINE = """version: 1
inputs: {question: {type: string}}
providers: {local: {type: mock}}
chains: {default: {targets: [local], policies: {use: none}}}
steps: {answer: {prompt: {user: "{{ question }}"}}}
"""
TESTS = """version: 1
pipeline: ask.yaml
defaults: {inputs: {question: Why?}}
tests:
  an answer: {targets: {local: [Because.]}, expect: {text: Because.}}
  another answer: {targets: {local: [So.]}, expect: {text: Because., attempts: 2}}
  a snapshot: {targets: {local: [Because.]}, snapshot: true}
"""


def many(number: int, wrong: int | None = None) -> str:
    tests = "".join(
        f"  case {each}: {{targets: {{local: [x]}}, expect: {{text: {'y' if each == wrong else 'x'}}}}}\n"
        for each in range(number)
    )
    return f"version: 1\npipeline: ask.yaml\ndefaults: {{inputs: {{question: Why?}}}}\ntests:\n{tests}"


def test_what_failed_is_told_with_its_line_and_what_happened(wizard: Wizard) -> None:
    code, out, err = wizard("test", "-k", "not snapshot", "ask.test.yaml")
    assert code == 1
    assert out == (
        "ask.test.yaml: 1 passed, 1 failed\n"
        "  FAILED another answer\n"
        '    ask.test.yaml:6:54 text: expected "Because.", was "So."\n'
        "    ask.test.yaml:6:70 attempts: expected 2, was 1\n"
        "    what happened:\n"
        "       0.000  run of ask begins\n"
        "       0.000  step begins\n"
        "       0.000  local: attempt 1\n"
        "       0.000  local: ok after 0.000 s\n"
        "       0.000  step ends\n"
        "       0.000  run ends after 0.000 s\n"
        "       0.000  local 0.0 ms\n"
        "2 tests in 1 file: 1 passed, 1 failed\n"
    )
    assert err == ""


def test_what_passes_exits_with_0_and_is_counted(wizard: Wizard) -> None:
    assert wizard("test", "-k", "'an answer'", ".") == (
        0,
        "ask.test.yaml: 1 passed\n1 test in 1 file: 1 passed\n",
        "",
    )


def test_test_files_of_a_folder_are_found_and_others_are_not(wizard: Wizard) -> None:
    Path("below").mkdir()
    Path("below/more.test.yml").write_text(TESTS.replace("ask.yaml", "../ask.yaml"))
    Path(".hidden").mkdir()
    Path(".hidden/x.test.yaml").write_text("version: 1\n")
    Path(".git").mkdir()
    out = wizard("test", "-k", "an answer").out
    assert out.splitlines() == ["ask.test.yaml: 1 passed", "below/more.test.yml: 1 passed", out.splitlines()[-1]]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("ask.yaml",), "'ask.yaml' is no test file: their names end in .test.yaml or .test.yml"),
        (("gone.test.yaml",), "there is no file or folder 'gone.test.yaml'"),
        (("project",), "there is no test file (*.test.yaml) in project"),
        (("-k", "outage"), "-k: no test has 'outage' in its name"),
        (("-k", "answer and"), "-k: 'answer and' has its end where a part of a name should stand"),
        (("-k", "(a or b"), "-k: '(a or b' has a parenthesis that is not closed"),
        (("-k", "a) b"), "-k: 'a) b' goes on with ')' where it should end"),
        (("-k", "'a"), "-k: ''a' has a quote that is not closed"),
        (("-j", "0"), "0 is not in the range x>=1"),
        (("--junit", "no/such/folder.xml"), "--junit cannot write no/such/folder.xml: No such file or directory"),
    ],
)
def test_wrong_usage_is_told(wizard: Wizard, arguments: tuple[str, ...], told: str) -> None:
    code, out, err = wizard("test", *arguments)
    assert (code, out) == (2, "")
    assert told in err


def test_a_file_that_is_not_valid_is_told_and_the_others_are_run(wizard: Wizard) -> None:
    Path("bad.test.yaml").write_text("version: 1\npipeline: ask.yaml\ntests: {a: {expct: {}}}\n")
    code, out, err = wizard("test", "-k", "an answer")
    assert code == 3
    assert out.endswith("1 test in 1 file: 1 passed\n")
    assert err == "bad.test.yaml:3:13 error[E021] unknown key 'expct' in tests.a; did you mean 'expect'?\n"


def test_where_no_file_is_valid_nothing_is_said_of_tests(wizard: Wizard) -> None:
    Path("ask.test.yaml").write_text("version: 1\npipeline: ask.yaml\ntests: {a: {expct: {}}}\n")
    code, out, err = wizard("test")
    assert (code, out) == (3, "")
    assert "unknown key 'expct'" in err


def test_the_first_failure_ends_it_where_that_is_asked_for(wizard: Wizard) -> None:
    Path("ask.test.yaml").write_text(many(5, wrong=1))
    out = wizard("test", "-x").out
    assert out.endswith("2 tests in 1 file: 1 passed, 1 failed\n")


def test_a_snapshot_is_approved_compared_and_removed(wizard: Wizard) -> None:
    kept = Path("__snapshots__/ask.test/a-snapshot.txt")
    code, out, _ = wizard("test", "-k", "snapshot")
    assert code == 1
    assert f"ask.test.yaml:7:46 there is no snapshot {kept} yet: --update writes it\n" in out
    assert not kept.exists()
    code, out, _ = wizard("test", "-k", "snapshot", "--update")
    assert (code, out.splitlines()[0]) == (0, "ask.test.yaml: 1 passed, 1 snapshot written")
    assert kept.read_text() == (
        "# a snapshot\n\n## answer asks local\n\nuser:\n  Why?\n\n## output\n\nBecause.\n\n## what happened\n\n"
        "   0.000  run of ask begins\n   0.000  step begins\n   0.000  local: attempt 1\n"
        "   0.000  local: ok after 0.000 s\n   0.000  step ends\n   0.000  run ends after 0.000 s\n"
    )
    assert wizard("test", "-k", "snapshot").code == 0
    Path("ask.yaml").write_text(PIPELINE.replace("{{ question }}", "Say: {{ question }}"))
    code, out, _ = wizard("test", "-k", "snapshot")
    assert code == 1
    assert f"the snapshot {kept} differs: --update approves what is now\n" in out
    assert "      -  Why?\n      +  Say: Why?\n" in out
    Path("ask.test.yaml").write_text(TESTS.replace(", snapshot: true", ""))
    assert f"{kept}: no test has this snapshot any more; --update removes it\n" in wizard("test").out
    wizard("test", "--update")
    assert not Path("__snapshots__").exists()


def test_snapshots_of_a_test_file_that_is_gone_are_told(wizard: Wizard) -> None:
    wizard("test", "--update")
    Path("ask.test.yaml").rename("other.test.yaml")
    out = wizard("test", "--update").out
    assert "1 snapshot written" in out
    assert [str(each) for each in Path("__snapshots__").rglob("*.txt")] == ["__snapshots__/other.test/a-snapshot.txt"]


def test_what_fails_is_not_approved_and_what_cannot_be_written_is_told(wizard: Wizard) -> None:
    Path("ask.test.yaml").write_text(TESTS.replace("snapshot: true", "snapshot: true, expect: {attempts: 3}"))
    code, out, _ = wizard("test", "-k", "snapshot", "--update")
    assert code == 1
    assert "attempts: expected 3, was 1" in out
    assert not Path("__snapshots__").exists()
    Path("ask.test.yaml").write_text(TESTS)
    Path("__snapshots__").write_text("a file where a folder should be")
    code, out, _ = wizard("test", "-k", "snapshot", "--update")
    assert code == 1
    assert "the snapshot __snapshots__/ask.test/a-snapshot.txt cannot be used: " in out


def test_json_is_for_machines(wizard: Wizard) -> None:
    code, out, _ = wizard("test", "--format", "json", "-k", "another")
    told = json.loads(out)
    assert (code, told["tests"], told["passed"], told["failed"]) == (1, 1, 0, 1)
    (case,) = told["cases"]
    assert (case["file"], case["line"], case["name"]) == ("ask.test.yaml", 6, "another answer")
    assert case["failures"][1] == {
        "what": "attempts", "expected": "2", "actual": "1", "diff": None, "run": None,
        "file": "ask.test.yaml", "line": 6, "column": 70,
    }  # fmt: skip


def test_github_shows_failures_where_they_are_written(wizard: Wizard) -> None:
    out = wizard("test", "--format", "github", "-k", "another").out
    assert out.splitlines() == [
        "::error file=ask.test.yaml,line=6,col=54,title=test failed::"
        'another answer: text: expected "Because.", was "So."',
        "::error file=ask.test.yaml,line=6,col=70,title=test failed::another answer: attempts: expected 2, was 1",
    ]


def test_junit_is_written_to_a_file(wizard: Wizard) -> None:
    Path("ask.test.yaml").write_text(TESTS.replace("So.", '"So\\x01 <b> \\"&\\""'))
    assert wizard("test", "-k", "answer", "--junit", "out.xml").code == 1
    (suite,) = ET.parse("out.xml").getroot()
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("ask.test.yaml", "2", "1")
    good, bad = suite
    assert (good.get("name"), len(good)) == ("an answer", 0)
    assert 'was "So\\u0001 <b>' in str(bad[0].get("message"))
    assert "run of ask begins" in str(bad[0].text)


def test_a_file_that_is_not_valid_is_an_error_in_junit(wizard: Wizard) -> None:
    Path("bad.test.yaml").write_text(TESTS.replace("Because.}}", "Because.}, tagets: {}}"))
    assert wizard("test", "ask.test.yaml", "bad.test.yaml", "--junit", "out.xml").code == 3
    suites = ET.parse("out.xml").getroot()
    assert [suites.get(each) for each in ("tests", "failures", "errors")] == ["4", "2", "1"]
    assert {each.get("name"): each.get("errors") for each in suites} == {"ask.test.yaml": "0", "bad.test.yaml": "1"}
    assert "bad.test.yaml:5:71 error[E021] unknown key 'tagets'" in str(suites[1][0][0].text)


def test_the_same_bytes_come_of_one_process_and_of_four(wizard: Wizard) -> None:
    Path("ask.test.yaml").write_text(many(90, wrong=77))
    one, four = (wizard("test", "--format", "json", "-j", jobs) for jobs in ("1", "4"))
    assert one == four
    assert wizard("test").out.endswith("89 passed, 1 failed\n")
    assert wizard("test", "-x", "-j", "4").out == wizard("test", "-x").out


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_tells_what_was_run_and_leaves_no_process(tmp_path: Path) -> None:
    Path("ask.test.yaml").write_text(many(3000))
    command = [sys.executable, "-m", "wizard_dsl.cli", "test", "-j", "2", "--junit", "out.xml"]
    process = started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        children = _children(process.pid)
        deadline = time.monotonic() + 60
        while len(children) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
            children = _children(process.pid)
        assert len(children) == 2
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (130, b"")
        told = re.search(rb"\n(\d+) tests? in 1 file: \1 passed; interrupted before the other (\d+)\n", out)
        assert told is not None and int(told[1]) + int(told[2]) == 3000
        suites = ET.parse("out.xml").getroot()
        assert (suites.get("tests"), suites.get("skipped")) == (told[1].decode(), told[2].decode())
        assert not [each for each in children if Path(f"/proc/{each}").exists()]
    finally:
        process.kill()
        process.wait()


def _children(parent: int) -> list[int]:
    found = []
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = each.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(each.parent.name))
    return found


def test_what_lies_behind_tests_is_watched_also_below_files_that_steps_run(wizard: Wizard) -> None:
    runs = PIPELINE.partition("steps:")[0] + "steps: {a: {type: pipeline, file: FILE, inputs: {question: x}}}\n"
    Path("wizard.yaml").write_text("version: 1\n")
    Path("ask.yaml").write_text(runs.replace("FILE", "two.yaml"))
    Path("two.yaml").write_text(runs.replace("FILE", "three.yaml"))
    Path("three.yaml").write_text(PIPELINE.replace('{user: "{{ question }}"}', "{file: three.md}"))
    Path("three.md").write_text("{{ question }}")
    Path("ask.test.yaml").write_text(
        "version: 1\npipeline: ask.yaml\ntests: {a: {cassette: a.jsonl, overlay: o.yaml}}\n"
    )
    Path("o.yaml").write_text("policies: {retry: 2}\n")
    every = {"ask.yaml", "two.yaml", "three.yaml", "three.md", "ask.test.yaml", "a.jsonl", "o.yaml", "wizard.yaml"}
    for text in ("{{ question }}", "{{ qestion }}"):
        Path("three.md").write_text(text)
        found = behind(collect(Path("ask.test.yaml"), Programs(Registry(plugins=False))))
        assert {each.name for each in found} == every


def test_files_that_are_missing_are_waited_for(wizard: Wizard) -> None:
    Path("ask.yaml").write_text(
        PIPELINE.replace('{user: "{{ question }}"}', "{file: later.md}").replace(
            "steps:", "steps: {a: {type: pipeline, file: inner.yaml, inputs: {question: x}}}\n#"
        )
        + "prompts: {kept: {file: later.md}}\nserve: {keys_file: '${file:later.key}'}\n"
    )
    found = behind(collect(Path("ask.test.yaml"), Programs(Registry(plugins=False))))
    missing = {each for each in found if not each.exists()}
    assert {each.name for each in missing} == {"later.md", "inner.yaml", "later.key"}
    for each in missing:
        before = stamps(found)
        each.write_text("x")
        virtual.run(changed(found, lambda: [], before))


def test_a_file_that_an_editor_takes_away_to_write_it_is_waited_for(wizard: Wizard) -> None:
    path, looks = Path("ask.test.yaml"), 0
    before = stamps([path])
    text = path.read_text()
    path.unlink()

    def files() -> list[Path]:
        nonlocal looks
        looks += 1
        if looks == 3:
            path.write_text(f"{text}\n")
        return find_tests((path,))

    virtual.run(changed([path], files, before))
    assert looks == 3


def test_what_changes_while_tests_run_is_run_again(wizard: Wizard) -> None:
    path, runs = Path("ask.test.yaml"), 0

    def once() -> tuple[int, list[Suite]]:
        nonlocal runs
        runs += 1
        suite = collect(path, Programs(Registry(plugins=False)))
        path.write_text(f"{path.read_text()}\n")
        return (0 if runs < 3 else 130), [suite]

    with pytest.raises(KeyboardInterrupt):
        watch(once, lambda: [path])
    assert runs == 3


def test_watch_runs_again_after_a_change_until_ctrl_c(tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-m", "wizard_dsl.cli", "test", "--watch", "-k", "an answer"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    assert process.stdout is not None and process.stderr is not None
    try:
        assert process.stdout.readline() == b"ask.test.yaml: 1 passed\n"
        assert process.stdout.readline() == b"1 test in 1 file: 1 passed\n"
        assert process.stderr.readline().startswith(b"watching ")
        Path("ask.yaml").write_text(PIPELINE.replace("policies: {use: none}", "policies: {use: none, retry: 2}"))
        Path("ask.test.yaml").write_text(TESTS.replace("[Because.]", "[503, Because.]"))
        assert b"ask.test.yaml: 1 passed" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130
    finally:
        process.kill()
        process.communicate()
