"""State that processes share, on a real server. Two runtimes are as two processes; one that must die is one."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import state_kit as kit
from semantics_kit import Commit, ask

import wizard_dsl as wizard
from wizard_dsl.runtime.pipeline import Pipeline

pytestmark = pytest.mark.server

FILE = """\
version: 1
name: shared
state: "${env:WIZARD_STATE}"
providers: {m: MOCK}
chains: {default: {targets: [m/x], policies: POLICIES}}
steps: {a: {prompt: {user: hi}}}
"""
FAILS = "{type: mock, error_rate: 100%}"


@pytest.fixture
def workers() -> Iterator[kit.Workers]:
    made = kit.Workers()
    yield made
    made.close()


class Process:
    """A runtime with its own way to the shared state; what was told of outages, and how many attempts began."""

    def __init__(self) -> None:
        self.told: Counter[str] = Counter()
        self.attempts = 0
        self.pipeline: Pipeline

    def sink(self, run: Any, event: Any) -> None:
        self.attempts += event.name == "attempt_started"
        self.told[event.name] += event.level == "WARNING"

    async def calls(self, commit: Commit, count: int = 1) -> list[str]:
        """What so many calls come to, one after the other."""
        kinds = []
        for _ in range(count):
            try:
                await ask(self.pipeline, commit)
                kinds.append("ok")
            except wizard.WizardError as error:
                kinds.append(error.kind)
        return kinds


@asynccontextmanager
async def process(folder: Path, url: str, policies: str, mock: str = "{type: mock}") -> AsyncIterator[Process]:
    path = folder / f"{len(list(folder.iterdir()))}.yaml"
    path.write_text(FILE.replace("POLICIES", policies).replace("MOCK", mock))
    made = Process()
    async with wizard.open(path, env={"WIZARD_STATE": url}, sinks=[made.sink]) as made.pipeline:
        yield made


@pytest.mark.parametrize("limit", ["rate: 4/h, burst: 4", "windows: [4/d]"])
def test_w1_a_limit_is_kept_by_all_processes_together(redis: Any, tmp_path: Path, commit: Commit, limit: str) -> None:
    policies = f"{{rate_limit: {{{limit}, max_wait: 0s}}}}"

    async def main() -> None:
        async with (
            process(tmp_path, redis.connection_url, policies) as mine,
            process(tmp_path, redis.connection_url, policies) as yours,
        ):
            assert await mine.calls(commit, 3) == ["ok"] * 3
            assert await yours.calls(commit, 2) == ["ok", "local_limit"]
            assert await mine.calls(commit) == ["local_limit"]

    asyncio.run(main())


def test_w2_a_breaker_opened_by_one_process_is_open_for_the_next_call_of_another(
    redis: Any, tmp_path: Path, commit: Commit
) -> None:
    policies = "{circuit_breaker: {failure_threshold: 3}, retry: off}"

    async def main() -> None:
        async with (
            process(tmp_path, redis.connection_url, policies) as sees,
            process(tmp_path, redis.connection_url, policies, FAILS) as opens,
        ):
            assert await sees.calls(commit) == ["ok"]
            assert await opens.calls(commit, 3) == ["server"] * 3
            assert (await sees.calls(commit), sees.attempts) == (["circuit_open"], 1)

    asyncio.run(main())


def expiry_of_the_lease(redis: Any) -> float:
    """When the one half-open lease there is expires."""
    with redis.client() as client:
        (key,) = (key for key in client.keys("*breaker*") if not key.endswith(b":members"))
        ((_, expires),) = msgspec.msgpack.decode(client.get(key))["leases"]
    return float(expires)


def test_w3_a_half_open_lease_of_a_process_that_was_killed_is_free_on_its_expiry(
    redis: Any, workers: kit.Workers, tmp_path: Path
) -> None:
    policies = "{circuit_breaker: {failure_threshold: 1, reset_timeout: 100ms}, retry: off, timeout: {total: 300ms}}"
    url = redis.connection_url

    async def main() -> None:
        async with process(tmp_path, url, policies, FAILS) as opens, process(tmp_path, url, policies) as next_one:
            dies = workers.begin(tmp_path / "1.yaml", url, calls=1, dies=True)
            kit.ready([dies])
            assert await opens.calls("end") == ["server"]
            await asyncio.sleep(0.15)
            kit.go([dies])
            dies.wait()
            expires = expiry_of_the_lease(redis)
            assert expires - time.time() <= 1.3, "the attempt's total, and a second"
            assert await next_one.calls("end") == ["circuit_open"]
            await asyncio.sleep(expires - time.time() + 0.01)
            assert await next_one.calls("end") == ["ok"]

    asyncio.run(main())


def test_w4_while_the_server_is_away_each_has_its_share_once_said_and_what_it_counted_is_handed_in_later(
    tmp_path: Path, commit: Commit
) -> None:
    policies = "{rate_limit: {windows: [9/d], max_wait: 0s}}"

    async def back(one: Process) -> str:
        """What the first call comes to that asks the server again."""
        kind = ""
        while not one.told["state_restored"]:
            await asyncio.sleep(0.05)
            (kind,) = await one.calls(commit)
        return kind

    async def main() -> None:
        with kit.valkey() as first:
            url, port = first.connection_url, first.port
            async with process(tmp_path, url, policies) as mine, process(tmp_path, url, policies) as yours:
                for one in (mine, yours, mine, yours):
                    assert await one.calls(commit) == ["ok"]
                first.stop()
                for one in (mine, yours):  # 9 over 2 are 4, less a half of the 3 or 4 that it knows of
                    assert await one.calls(commit, 3) == ["ok", "ok", "local_limit"]
                    assert one.told["state_degraded"] == 1
                with kit.valkey(port):
                    assert await back(mine) == "ok", "3 and 2"
                    assert await back(yours) == "ok", "3, 2, 1 and 2"
                    assert await mine.calls(commit) == await yours.calls(commit) == ["local_limit"]
                    assert [one.told["state_degraded"] for one in (mine, yours)] == [1, 1]

    asyncio.run(main())


MONEY = FILE.replace("MOCK", "{type: mock, models: {x: {prices: {input: $1, output: $1}, max_output: 100}}}").replace(
    "POLICIES", "{}"
)


@pytest.mark.parametrize("book", ["server", "file"])
def test_w5_a_hard_budget_whose_book_cannot_be_asked_refuses(tmp_path: Path, commit: Commit, book: str) -> None:
    path = tmp_path / "money.yaml"
    path.write_text(MONEY + "budgets: {day: {limit: $5, then: stop}}\n")
    (tmp_path / ".wizard").mkdir()
    with sqlite3.connect(tmp_path / ".wizard" / "budgets.db") as database:
        database.execute("CREATE TABLE accounts(something TEXT)")
    database.close()
    url = "redis://127.0.0.1:1/0" if book == "server" else "memory"
    one = Process()

    async def main() -> None:
        async with wizard.open(path, env={"WIZARD_STATE": url}, sinks=[one.sink]) as one.pipeline:
            assert await one.calls(commit, 2) == ["budget", "budget"]

    asyncio.run(main())
    assert one.attempts == 0
    assert one.told["budget_unavailable"] == 1
