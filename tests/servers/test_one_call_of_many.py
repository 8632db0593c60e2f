"""Equal calls of several processes are one call, on a real server and in a file. Real time, bounded."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import state_kit as kit

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.policies._lease_state import LEASE
from wizard_dsl.stores._state import SharedKeeper
from wizard_dsl.stores._state_sqlite import SqliteKeeper
from wizard_dsl.stores._worker import Thread

pytestmark = pytest.mark.server

FILE = """\
version: 1
name: flights
state: "${env:WIZARD_STATE}"
providers: {m: {type: mock, reply: REPLY, latency: LATENCY}}
chains: {default: {targets: [m/x], policies: {cache: {ttl: 1h}}}}
steps: {a: {prompt: {user: hi}}}
"""
ANSWER = '"an answer"'
REFUSAL = "[{match: hi, status: 400}]"


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with kit.valkey() as running:
        yield running


@pytest.fixture(params=["redis", "sqlite"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        asyncio.run(_made(tmp_path / "state.db"))
        return str(tmp_path / "state.db")
    running = request.getfixturevalue("server")
    with running.client() as client:
        client.flushall()
    url: str = running.connection_url
    return url


async def _made(path: Path) -> None:
    """The file is there, as after the first run."""
    clock = LoopClock()
    keeper = SharedKeeper(SqliteKeeper(path, clock, Thread()), clock, print)
    nobody = {"what": "take", "owner": "", "following": "", "lasts": 0.0}
    await keeper.decide(LEASE, "flight:none", nobody)
    await keeper.close()


def begun(folder: Path, state: str, count: int, latency: str = "1s", reply: str = ANSWER, calls: int = 5) -> Any:
    """So many processes that are ready."""
    path = folder / "flights.yaml"
    path.write_text(FILE.replace("LATENCY", latency).replace("REPLY", reply))
    processes = [kit.begin(path, state, calls=calls) for _ in range(count)]
    kit.ready(processes)
    return processes


def ended(processes: list[subprocess.Popen[str]]) -> tuple[int, list[dict[str, int]], list[dict[str, int]]]:
    """Attempts in all; kinds and warnings of each process."""
    outcomes = [kit.outcome(each) for each in processes]
    kinds, told = [each["kinds"] for each in outcomes], [each["told"] for each in outcomes]
    return sum(len(each["began"]) for each in outcomes), kinds, told


def one_call(processes: list[subprocess.Popen[str]], kind: str) -> None:
    """All end with `kind`, and one of them asked. On a busy machine one may have lost sight of the state: it says so,
    and goes alone."""
    attempts, kinds, told = ended(processes)
    assert kinds == [{kind: 5}] * len(processes)
    alone = sum("state_degraded" in each for each in told)
    assert alone <= 1
    assert 1 <= attempts <= 1 + alone


def test_four_processes_make_one_call(state: str, tmp_path: Path) -> None:
    processes = begun(tmp_path, state, 4)
    kit.go(processes)
    one_call(processes, "ok")


def test_an_error_is_met_once(state: str, tmp_path: Path) -> None:
    processes = begun(tmp_path, state, 3, reply=REFUSAL)
    kit.go(processes)
    one_call(processes, "invalid_request")


def test_a_leader_that_is_killed_is_followed_by_one_other(state: str, tmp_path: Path) -> None:
    first, *others = begun(tmp_path, state, 3, latency="1500ms")
    kit.go([first])
    asyncio.run(asyncio.sleep(0.5))
    kit.go(others)
    asyncio.run(asyncio.sleep(0.5))
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    one_call(others, "ok")


def test_a_server_that_is_stopped_under_a_flight_costs_no_call(tmp_path: Path) -> None:
    with kit.valkey() as server:
        processes = begun(tmp_path, server.connection_url, 3, latency="1s")
        kit.go(processes)
        asyncio.run(asyncio.sleep(0.5))
        server.stop()
        attempts, kinds, told = ended(processes)
    assert kinds == [{"ok": 5}] * 3
    assert attempts == 3, "each process has a flight of its own"
    assert all(each["state_degraded"] == 1 for each in told)
