"""State that real processes share on a real server. Real time, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import state_kit as kit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wizard_dsl as wizard
from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.state import Decision
from wizard_dsl.policies._shared_bucket import BOOK
from wizard_dsl.stores._redis import RedisKeeper
from wizard_dsl.stores._state import SharedKeeper

pytestmark = pytest.mark.server

FILE = """\
version: 1
name: shared
state: "${env:WIZARD_STATE}"
providers: {m: {type: mock}}
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


def written(folder: Path, policies: str) -> Path:
    path = folder / "shared.yaml"
    path.write_text(FILE.replace("POLICIES", policies))
    return path


# -- one script is its Python form ----------------------------------------------------------------------


def same_in_both(url: str, decision: Decision, steps: list[dict[str, Any]]) -> None:
    """Every reply of the server is what the Python form says, given the time that the server tells."""

    async def main() -> None:
        state = SharedKeeper(RedisKeeper(url, "test:"), LoopClock(), print)
        row = None
        try:
            for index, arguments in enumerate(steps):
                decided = await state.decide(decision, "k", arguments)
                row, reply, _ = decision.apply(row, decided.now, arguments)
                assert decided.reply == pytest.approx(reply, abs=1e-6), f"step {index}: {arguments}"
        finally:
            await state.close()

    asyncio.run(main())


bookings = st.fixed_dictionaries(
    {
        "rate": st.sampled_from([0.5, 10.0, 3000.0]),
        "burst": st.sampled_from([1, 5, 2.5]),
        "amount": st.one_of(st.integers(-3, 6), st.floats(0.1, 4.0)),
        "patience": st.sampled_from([0.0, 0.3, 1e12]),
        "carry": st.sampled_from([-1.0, -1.0, -1.0, 0.0, 2.5]),
    }
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(bookings, max_size=12))
def test_the_bucket_in_lua_is_the_bucket_in_python(redis: Any, steps: list[dict[str, Any]]) -> None:
    with redis.client() as client:
        client.flushall()
    same_in_both(redis.connection_url, BOOK, steps)


def test_every_key_expires_and_the_keys_of_one_decision_lie_on_one_slot(redis: Any) -> None:
    same_in_both(redis.connection_url, BOOK, [{"rate": 1, "burst": 1, "amount": 1, "patience": 1, "carry": -1}])
    with redis.client() as client:
        keys = sorted(client.keys("*"))
        assert keys == [b"test:{k}"], "a process that closes is a member no more"
        assert 0 < client.pttl("test:{k}") <= 70_000
        assert RedisKeeper(redis.connection_url, "test:")._keys("k") == ("test:{k}", "test:{k}:members")


def test_a_server_that_forgot_its_scripts_is_told_them_again(redis: Any) -> None:
    async def main() -> None:
        told: list[Any] = []
        state = SharedKeeper(RedisKeeper(redis.connection_url, "test:"), LoopClock(), told.append)
        arguments = {"rate": 1, "burst": 2, "amount": 1, "patience": 0, "carry": -1}
        assert (await state.decide(BOOK, "k", arguments)).reply[0]
        with redis.client() as client:
            client.script_flush()
        assert (await state.decide(BOOK, "k", arguments)).reply[0]
        assert not (await state.decide(BOOK, "k", arguments)).reply[0]
        assert told == []
        await state.close()

    asyncio.run(main())


# -- limits -----------------------------------------------------------------------------------------


def test_four_processes_stay_within_two_percent_of_one_limit(redis: Any, tmp_path: Path) -> None:
    file = written(tmp_path, "{rate_limit: {rate: 100/s, burst: 20}}")
    processes = [kit.begin(file, redis.connection_url, calls=500) for _ in range(4)]
    kit.ready(processes)
    outcomes = [kit.outcome(each) for each in processes]
    times = sorted(at for each in outcomes for at in each["began"])
    assert [each["kinds"] for each in outcomes] == [{"ok": 500}] * 4
    assert [each["told"] for each in outcomes] == [{}] * 4
    assert times[-1] - times[0] == pytest.approx((2000 - 20) / 100, rel=0.02)
    for index in range(0, 1500, 100):  # in any five seconds
        assert times[index + 500] - times[index] >= 480 / 100 * 0.98


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
