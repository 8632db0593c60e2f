"""Whole programs beside promptfoo, which evaluates prompts from the command line: test cases without a model, rows
against the server, and what it takes until a program is there at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from benchmarks.harness import HERE, mock_server
from benchmarks.peers.driver import PATIENCE, Measure, Program, Unable, in_turn
from benchmarks.peers.found import RAW, WIZARD, Aims, Found, found
from benchmarks.peers.worker import KEY, MODEL
from benchmarks.rows import AT_ONCE
from benchmarks.startup import WIZARD as COMMAND

PROMPTFOO = "promptfoo"
_PASS = [sys.executable, "-c", "pass"]
_ROUNDS = 5
#: Starts a program and prints its seconds, MB at the most, and status. It is small itself: the system counts the
#: memory of a program from what its parent had.
_LAUNCH = """
import json, os, subprocess, sys, time
began = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
took = time.perf_counter() - began
print(json.dumps({"value": took, "most": usage.ru_maxrss / 1024, "status": os.waitstatus_to_exitcode(status)}))
"""
Programs = Mapping[str, Program]


class Version(msgspec.Struct, frozen=True):
    """`--version` of both, against `python -c pass`."""

    async def measured(self, programs: Programs) -> Found:
        """All in turn."""
        sides = {RAW: launched(_PASS), WIZARD: launched([COMMAND, "--version"])}
        with TemporaryDirectory() as folder:
            sides |= _promptfoo(programs, Path(folder), "--version")
            about = "`--version` (baseline: `python -c pass`)"
            return await _compared(about, sides, time=Aims(5, 4.5))


class Cases(msgspec.Struct, frozen=True):
    """So many cases with one check of a text each and no model: `wizard test` with scripted answers, and promptfoo with
    its echo for a provider; against `python -c pass`."""

    count: int

    async def measured(self, programs: Programs) -> Found:
        """All in turn."""
        with TemporaryDirectory() as name:
            folder = Path(name)
            shutil.copy(HERE / "pipelines" / "small.yaml", folder)
            (folder / "small.test.yaml").write_text(self.ours())
            (folder / "echo.json").write_bytes(msgspec.json.encode(self.theirs()))
            sides = {RAW: launched(_PASS), WIZARD: launched([COMMAND, "test", "small.test.yaml"], folder)}
            sides |= _promptfoo(programs, folder, *_evaluating("echo.json"))
            return await _compared(f"{self.count:,} test cases (baseline: `python -c pass`)", sides)

    def ours(self) -> str:
        """A test file of `small.yaml`."""
        case = (
            "  number {at}:\n    inputs: {{question: Why is number {at} not?}}\n"
            "    targets: {{mock/small: [The sky is number {at}.]}}\n"
            "    expect: {{text: {{contains: number {at}}}}}\n"
        )
        cases = "".join(case.format(at=at) for at in range(self.count))
        return f"version: 1\npipeline: small.yaml\ntests:\n{cases}"

    def theirs(self) -> dict[str, object]:
        """A configuration of promptfoo."""
        return {
            "prompts": ["Why is {{what}} not?"],
            "providers": ["echo"],
            "tests": [
                {"vars": {"what": f"number {at}"}, "assert": [{"type": "contains", "value": f"number {at}"}]}
                for at in range(self.count)
            ],
        }


class Rows(msgspec.Struct, frozen=True):
    """So many rows, 50 at a time, against the server: a loop over our API, over raw aiohttp, and promptfoo."""

    count: int

    async def measured(self, programs: Programs) -> Found:
        """All in turn."""
        with mock_server() as url, TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "rows.json").write_bytes(msgspec.json.encode(self.theirs(f"{url}/v1")))
            load = [sys.executable, "-m", "benchmarks.load"]
            more = [f"{url}/v1", str(self.count), str(AT_ONCE)]
            sides = {
                RAW: launched([*load, "raw", *more], HERE.parent),
                WIZARD: launched([*load, "crowd.yaml", *more], HERE.parent),
            }
            sides |= _promptfoo(programs, folder, *_evaluating("rows.json"))
            about = f"{self.count:,} rows, {AT_ONCE} at a time"
            return await _compared(about, sides, time=Aims(2.0, 1.0, "value"), most=Aims(120, 80, "value"))

    def theirs(self, url: str) -> dict[str, object]:
        """A configuration of promptfoo."""
        settings = {"apiBaseUrl": url, "apiKey": KEY, "temperature": 0, "max_tokens": 120}
        return {
            "prompts": ["Why is the sky blue, and why is {{what}} not?"],
            "providers": [{"id": f"openai:chat:{MODEL}", "config": settings}],
            "tests": [
                {"vars": {"what": f"number {at}"}, "assert": [{"type": "contains", "value": "The sky is blue"}]}
                for at in range(self.count)
            ],
        }


def launched(command: list[str], folder: Path | None = None, env: dict[str, str] | None = None) -> Measure:
    """Runs a program to its end: its seconds and MB. It is Unable where the program fails or takes too long."""

    async def measure() -> dict[str, float]:
        process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=env,
            start_new_session=True,
        )
        try:
            said, errors = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise Unable(f"did not finish within {PATIENCE:g} s") from None
        done = msgspec.json.decode(said, type=dict[str, float]) if said else {"status": process.returncode}
        if done["status"]:
            last = (errors.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
            raise Unable(f"ended with status {done['status']:g}: {last[:300]}")
        return done

    return measure


def _promptfoo(programs: Programs, folder: Path, *arguments: str) -> dict[str, Measure]:
    """Promptfoo where it is there, with a home of its own."""
    if (program := programs.get(PROMPTFOO)) is None:
        return {}
    env = {**(program.env or {}), "PROMPTFOO_CONFIG_DIR": str(folder / "home")}
    return {PROMPTFOO: launched([*program.command, *arguments], folder, env)}


def _evaluating(file: str) -> list[str]:
    """As quick as it can: nothing is stored or drawn."""
    quiet = ["--no-cache", "--no-write", "--no-table", "--no-progress-bar"]
    return ["eval", "-c", file, *quiet, "--max-concurrency", str(AT_ONCE)]


async def _compared(
    about: str, sides: dict[str, Measure], *, time: Aims | None = None, most: Aims | None = None
) -> Found:
    values, reasons = await in_turn(sides, _ROUNDS)
    times = {name: [each["value"] for each in all_of] for name, all_of in values.items()}
    sizes = {name: [each["most"] for each in all_of] for name, all_of in values.items()}
    return found(f"{about}: time of the process", times, reasons, unit="s", aims=time) + found(
        f"{about}: memory of the process", sizes, {}, unit="MB", aims=most
    )
