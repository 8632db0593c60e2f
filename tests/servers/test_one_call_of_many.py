"""Equal calls of several processes are one call, on a real server and in a file. Real time, bounded."""

from __future__ import annotations

import asyncio
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
providers: {m: {type: mock, reply: REPLY, latency: 1s}}
chains: {default: {targets: [m/x], policies: {cache: {ttl: 1h}}}}
steps: {a: {prompt: {user: hi}}}
"""
ANSWER = '"an answer"'
REFUSAL = "[{match: hi, status: 400}]"


@pytest.fixture(params=["redis", "sqlite"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        asyncio.run(_made(tmp_path / "state.db"))
        return str(tmp_path / "state.db")
    url: str = request.getfixturevalue("redis").connection_url
    return url


async def _made(path: Path) -> None:
    """The file is there, as after the first run."""
    clock = LoopClock()
    keeper = SharedKeeper(SqliteKeeper(path, clock, Thread()), clock, print)
    nobody = {"what": "take", "owner": "", "following": "", "lasts": 0.0}
    await keeper.decide(LEASE, "flight:none", nobody)
    await keeper.close()


class Crowd:
    """Processes that make the same calls."""

    def __init__(self, workers: kit.Workers, folder: Path) -> None:
        self._workers = workers
        self._path = folder / "flights.yaml"

    def begin(self, state: str, count: int, reply: str = ANSWER, **orders: Any) -> list[kit.Worker]:
        """So many processes that are ready."""
        self._path.write_text(FILE.replace("REPLY", reply))
        processes = [self._workers.begin(self._path, state, calls=5, **orders) for _ in range(count)]
        kit.ready(processes)
        return processes

    def end(self, processes: list[kit.Worker]) -> tuple[int, list[dict[str, int]], list[dict[str, int]]]:
        """Attempts in all; kinds and warnings of each process."""
        outcomes = [self._workers.outcome(each) for each in processes]
        kinds, told = [each["kinds"] for each in outcomes], [each["told"] for each in outcomes]
        return sum(len(each["began"]) for each in outcomes), kinds, told


@pytest.fixture
def crowd(workers: kit.Workers, tmp_path: Path) -> Crowd:
    return Crowd(workers, tmp_path)


def test_four_processes_make_one_call(state: str, crowd: Crowd) -> None:
    processes = crowd.begin(state, 4)
    kit.go(processes)
    assert crowd.end(processes) == (1, [{"ok": 5}] * 4, [{}] * 4)


def test_an_error_is_met_once(state: str, crowd: Crowd) -> None:
    processes = crowd.begin(state, 3, reply=REFUSAL)
    kit.go(processes)
    assert crowd.end(processes) == (1, [{"invalid_request": 5}] * 3, [{}] * 3)


def test_a_leader_that_is_killed_is_followed_by_one_other(state: str, crowd: Crowd) -> None:
    others = crowd.begin(state, 2)
    (leader,) = crowd.begin(state, 1, dies=True)
    kit.go([leader])
    leader.wait()
    kit.go(others)
    assert crowd.end(others) == (1, [{"ok": 5}] * 2, [{}] * 2)


def test_a_server_that_is_stopped_under_a_flight_costs_no_call(crowd: Crowd) -> None:
    with kit.valkey() as server:
        processes = crowd.begin(server.connection_url, 3)
        kit.go(processes)
        asyncio.run(asyncio.sleep(0.5))
        server.stop()
        attempts, kinds, told = crowd.end(processes)
    assert kinds == [{"ok": 5}] * 3
    assert attempts == 3, "each process has a flight of its own"
    assert all(each["state_degraded"] == 1 for each in told)
