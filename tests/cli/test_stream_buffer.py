"""A reader of stdout that stalls: what `stream.when_full` does on the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENV = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8", "WIZARD_PLUGINS": ""}
#: More than the 64 KiB that a pipe holds, in 300 deltas.
REPLY = "".join(f"{n:03}" + "." * 996 + "\n" for n in range(300))


def started(folder: Path, when_full: str, *, deadline: str = "1m") -> subprocess.Popen[str]:
    path = folder / "case.yaml"
    reply = "".join(f"      {line}\n" for line in REPLY.splitlines())
    path.write_text(
        f"version: 1\ndeadline: {deadline}\nstream: {{buffer: 8, when_full: {when_full}}}\n"
        f"providers:\n  m:\n    type: mock\n    chunk: 1000\n    per_chunk: 1ms\n    reply: |\n{reply}"
        "chains: {default: {targets: [m]}}\nsteps: {answer: {prompt: {user: x}}}\n"
    )
    command = [sys.executable, "-m", "wizard_dsl.cli", "run", str(path), "--stream"]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV, cwd=ROOT
    )


def test_with_error_the_run_ends_though_nobody_reads(tmp_path: Path) -> None:
    with started(tmp_path, "error") as process:
        assert process.wait(timeout=30) == 6
        assert process.stderr is not None and process.stdout is not None
        assert "8 deltas of the stream were not read" in process.stderr.read()
        assert REPLY.startswith(process.stdout.read())


def read_later(process: subprocess.Popen[str], seconds: float) -> str:
    """Read a little, which says that the run has begun, then nothing for a while, then all there is."""
    assert process.stdout is not None
    first = process.stdout.read(1)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)
    return first + process.stdout.read()


def test_with_drop_oldest_the_reader_gets_the_newest_when_it_comes_back(tmp_path: Path) -> None:
    with started(tmp_path, "drop_oldest") as process:
        lines = read_later(process, 2).splitlines()
    assert process.returncode == 0
    assert 64 <= len(lines) < 300 and [line[:3] for line in lines[-8:]] == [str(n) for n in range(292, 300)]


def test_with_block_the_reader_gets_all_of_it_when_it_comes_back(tmp_path: Path) -> None:
    with started(tmp_path, "block") as process:
        out = read_later(process, 0.5)
    assert (process.returncode, out.rstrip()) == (0, REPLY.rstrip())


def test_the_deadline_passes_for_a_reader_that_stalls(tmp_path: Path) -> None:
    with started(tmp_path, "block", deadline="1s") as process:
        out = read_later(process, 2)
        assert process.stderr is not None and "deadline" in process.stderr.read()
    assert process.returncode == 8
    assert REPLY.startswith(out.rstrip()) and len(out) < len(REPLY)
