"""State that real processes share on a real server. Real time, bounded."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
import state_kit as kit

import wizard_dsl as wizard
from wizard_dsl.core.clock import LoopClock
from wizard_dsl.policies._shared_bucket import BOOK
from wizard_dsl.stores._redis import RedisKeeper
from wizard_dsl.stores._state import SharedKeeper

pytestmark = pytest.mark.server

FILE = """\
version: 1
name: shared
state: "${env:WIZARD_STATE}"
providers: {m: MOCK}
chains: {default: {targets: [m/x], policies: POLICIES}}
steps: {a: {prompt: {user: hi}}}
"""


def written(folder: Path, policies: str, mock: str = "{type: mock}", name: str = "shared") -> Path:
    """A pipeline with one target, which is the same one whatever `mock` makes it answer."""
    path = folder / f"{name}.yaml"
    path.write_text(FILE.replace("POLICIES", policies).replace("MOCK", mock))
    return path


# -- the server ---------------------------------------------------------------------------------------

ARGUMENTS = {"rate": 1, "burst": 2, "amount": 1, "patience": 0, "carry": -1}


def test_every_key_expires_and_the_keys_of_one_decision_lie_on_one_slot(redis: Any) -> None:
    async def main() -> None:
        state = SharedKeeper(RedisKeeper(redis.connection_url, "test:"), LoopClock(), print)
        await state.decide(BOOK, "k", ARGUMENTS)
        with redis.client() as client:
            assert sorted(client.keys("*")) == [b"test:{k}", b"test:{k}:members"]
            assert 0 < client.pttl("test:{k}:members") <= 30_000
        await state.close()

    asyncio.run(main())
    with redis.client() as client:
        keys = sorted(client.keys("*"))
        assert keys == [b"test:{k}"], "a process that closes is a member no more"
        assert 0 < client.pttl("test:{k}") <= 70_000


def test_a_server_that_forgot_its_scripts_is_told_them_again(redis: Any) -> None:
    async def main() -> None:
        told: list[Any] = []
        state = SharedKeeper(RedisKeeper(redis.connection_url, "test:"), LoopClock(), told.append)
        assert (await state.decide(BOOK, "k", ARGUMENTS)).reply[0]
        with redis.client() as client:
            client.script_flush()
        assert (await state.decide(BOOK, "k", ARGUMENTS)).reply[0]
        assert not (await state.decide(BOOK, "k", ARGUMENTS)).reply[0]
        assert told == []
        await state.close()

    asyncio.run(main())


# -- limits -----------------------------------------------------------------------------------------


def test_four_processes_stay_within_two_percent_of_one_limit(redis: Any, workers: kit.Workers, tmp_path: Path) -> None:
    file = written(tmp_path, "{rate_limit: {rate: 100/s, burst: 20}}")
    processes = [workers.begin(file, redis.connection_url, calls=500, patience=10) for _ in range(4)]
    kit.ready(processes)
    kit.go(processes)
    outcomes = [workers.outcome(each) for each in processes]
    assert [each["kinds"] for each in outcomes] == [{"ok": 500}] * 4
    assert [each["told"] for each in outcomes] == [{}] * 4
    due = sorted(at for each in outcomes for at in each["due"])
    assert len(due) == 2000
    assert 0.98 * (2000 - 20) / 100 <= due[-1] - due[0] <= 1.02 * (2000 - 20) / 100
    for index in range(0, 1000, 100):  # in any ten seconds
        assert due[index + 999] - due[index] >= (999 - 20) / 100 * 0.98
    for each in outcomes:  # a busy machine may begin a call late; none begins before its turn
        assert all(at >= turn - 0.01 for at, turn in zip(sorted(each["began"]), sorted(each["due"]), strict=True))
    assert max(at for each in outcomes for at in each["began"]) <= due[-1] + kit.LONG


def test_a_server_that_goes_and_comes_back_fails_no_call_and_the_limit_holds(
    workers: kit.Workers, tmp_path: Path
) -> None:
    file = written(tmp_path, "{rate_limit: {rate: 100/s, burst: 5}}")
    with kit.valkey() as first:
        url, port = first.connection_url, first.port
        processes = [workers.begin(file, url, calls=80, gap=0.025, through=True) for _ in range(4)]
        kit.ready(processes)
        kit.go(processes)
        time.sleep(0.6)
        first.terminate()
        time.sleep(0.6)
        with kit.valkey(port):
            outcomes = [workers.outcome(each) for each in processes]
    assert [[*each["kinds"]] for each in outcomes] == [["ok"]] * 4
    for each in outcomes:  # a busy machine may lose its server more than once
        assert each["told"]["state_degraded"] == each["told"]["state_restored"] >= 1
    times = sorted(at for each in outcomes for at in each["began"])
    late = 0.3  # seconds by which a busy machine may begin a call after its token was due
    for index in range(len(times) - 225):
        assert times[index + 225] - times[index] >= 2.0 - late, "more than 220 and the burst in two seconds"


# -- breakers -----------------------------------------------------------------------------------------

BREAKER = "{circuit_breaker: {failure_threshold: 3}, retry: off}"


def test_a_breaker_that_one_process_opens_is_open_for_all_within_one_call(
    redis: Any, workers: kit.Workers, tmp_path: Path
) -> None:
    fails = written(tmp_path, BREAKER, "{type: mock, error_rate: 100%}", "fails")
    answers = written(tmp_path, BREAKER)
    others = [workers.begin(answers, redis.connection_url, calls=1, before=1) for _ in range(3)]
    kit.ready(others)
    kit.ready([one := workers.begin(fails, redis.connection_url, calls=1, before=3)])
    kit.go([one, *others])
    assert workers.outcome(one)["kinds"] == {"server": 3, "circuit_open": 1}
    for each in map(workers.outcome, others):
        assert each["kinds"] == {"ok": 1, "circuit_open": 1}
        assert each["began"] == []


# -- one machine --------------------------------------------------------------------------------------


def test_processes_of_one_machine_share_a_limit_in_a_file(workers: kit.Workers, tmp_path: Path) -> None:
    file = written(tmp_path, "{rate_limit: {rate: 100/s, burst: 20}}")
    processes = [workers.begin(file, str(tmp_path / "state.db"), calls=40) for _ in range(4)]
    kit.ready(processes)
    kit.go(processes)
    outcomes = [workers.outcome(each) for each in processes]
    assert [each["kinds"] for each in outcomes] == [{"ok": 40}] * 4
    times = sorted(at for each in outcomes for at in each["began"])
    assert times[-1] - times[0] >= (160 - 20) / 100 * 0.9, "also where a busy disk made one go on alone for a while"


# -- servers that misbehave ---------------------------------------------------------------------------


async def three_runs(file: Path, url: str) -> tuple[list[str], float]:
    """The names of the warnings of three runs, and how long they took together."""
    told: list[str] = []

    def sink(run: Any, event: Any) -> None:
        told.extend([event.name] if event.level == "WARNING" else [])

    async with wizard.open(file, env={"WIZARD_STATE": url}, sinks=[sink]) as pipeline:
        clock = LoopClock()
        began = clock.now()
        for _ in range(3):
            await pipeline.run()
        return told, clock.now() - began


@pytest.mark.parametrize("answer", [kit.nonsense, kit.silence, kit.something_else])
def test_a_server_that_makes_no_sense_is_named_once_and_fails_no_call(answer: kit.Answer, tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.server(answer) as url:
            told, took = await three_runs(written(tmp_path, "{rate_limit: {rate: 100/s, burst: 20}}"), url)
            assert told == ["state_degraded"]
            assert took < kit.LONG

    asyncio.run(main())


def test_a_server_that_is_not_there_is_named_once_and_fails_no_call(tmp_path: Path) -> None:
    file = written(tmp_path, "{rate_limit: {rate: 100/s, burst: 20}}")
    told, took = asyncio.run(three_runs(file, "redis://:hunter2@127.0.0.1:1/0"))
    assert told == ["state_degraded"]
    assert took < kit.LONG
