"""The edges of the process: streams that are closed, full or of another encoding, and an early ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_kit import Wizard
from interrupt_kit import interruptible

from wizard_dsl.cli import main as entry

WIZARD = Path(sys.executable).with_name("wizard")
ENV = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8", "WIZARD_PLUGINS": ""}
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
CASES = Path(__file__).parent / "files"


def shell(command: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A line of bash, with `wizard` in it; the exit code is that of the first command of a pipe."""
    line = f'wizard() {{ {WIZARD} "$@"; }}; {command}; exit ${{PIPESTATUS[0]}}'
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, env=ENV | env, cwd=CASES, timeout=60, check=False
    )


@pytest.mark.parametrize("command", ["schema", "--version", "--help", "run one.yaml --mock -i question=a"])
def test_a_reader_that_goes_away_is_no_error(command: str) -> None:
    done = shell(f"wizard {command} | true")
    assert (done.returncode, done.stderr) == (0, "")


@needs_full
@pytest.mark.parametrize("command", ["schema", "--version", "run one.yaml --mock -i question=a --format json"])
def test_a_full_disk_is_told_and_no_bug(command: str) -> None:
    done = shell(f"wizard {command} > /dev/full")
    assert (done.returncode, done.stderr) == (2, "error: the output cannot be written: No space left on device\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_stream_that_is_closed_is_no_bug(closed: str) -> None:
    done = shell(f"wizard run one.yaml --mock -i question=a {closed}")
    assert (done.returncode, done.stderr) == (0, "")


def test_closed_stdin_brings_no_input() -> None:
    done = shell("wizard run one.yaml --mock <&-")
    assert done.returncode == 2
    assert "input 'question' is missing" in done.stderr


def test_what_the_encoding_lacks_becomes_an_escape() -> None:
    done = shell("wizard run one.yaml --mock --dry-run --format json -i question=日本", PYTHONIOENCODING="latin1")
    assert done.returncode == 0
    assert r"\u65e5\u672c" in done.stdout


@pytest.mark.parametrize("form", ["text", "json", "sarif", "github"])
def test_a_file_name_that_is_no_text_is_reported_on(form: str, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/bad\xff.yaml"
    with open(name, "w") as stream:
        stream.write("steps: {}")
    relative = subprocess.run(
        [WIZARD, "validate", b"bad\xff.yaml", "--format", form],
        capture_output=True, env=ENV, cwd=tmp_path, timeout=60, check=False,
    )  # fmt: skip
    assert relative.returncode == 1, relative.stderr
    assert b"E023" in relative.stdout


def test_ctrl_c_while_modules_are_imported_leaves_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> int:
        signal.raise_signal(signal.SIGINT)
        return 0

    monkeypatch.setattr(entry, "_told", interrupted)
    with interruptible(), pytest.raises(SystemExit) as ended:
        entry.main(["run"])
    assert ended.value.code == 130


def test_nothing_follows_the_diagnostics_of_a_file(wizard: Wizard) -> None:
    assert not wizard("run", "wrong.yaml").err.endswith("\n\n")


@pytest.mark.parametrize(("name", "value", "coloured"), [
    ("NO_COLOR", "1", False), ("NO_COLOR", "", True), ("TERM", "dumb", False), ("TERM", "xterm", True),
])  # fmt: skip
def test_colour_is_for_terminals_that_want_it(name: str, value: str, coloured: bool) -> None:
    from io import StringIO

    from wizard_dsl.cli._output import has_colour

    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    assert has_colour(Terminal(), {name: value}) is coloured
    assert not has_colour(StringIO(), {name: value})
