"""What only a store on disk must survive: locks, corruption, plants, a slow disk, the end of the process."""

from __future__ import annotations

import asyncio
import os
import pickle
import sqlite3
import threading

import pytest

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.node import StoreUnavailable
from wizard_dsl.stores import disk
from wizard_dsl.stores._open import StoreSet
from wizard_dsl.stores._worker import Inline, Thread
from wizard_dsl.testing import virtual


def opened(folder, most=100, by="lru"):
    clock = LoopClock()
    return disk.open_disk(folder=folder, max_entries=most, eviction=by, clock=clock, worker=lambda: Inline(clock))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "c"


@pytest.fixture
def filled(folder):
    """A store's folder that holds k → v."""

    async def fill():
        store = opened(folder)
        store.put("k", b"v")
        await store.close()

    virtual.run(fill())
    return folder


def sql(folder, text, *values):
    connection = sqlite3.connect(folder / "cache.db")
    with connection:
        rows = connection.execute(text, values).fetchall()
    connection.close()
    return rows


async def refused(store, key="k") -> str:
    with pytest.raises(StoreUnavailable) as caught:
        await store.get(key)
    return str(caught.value)


# -- keeping ------------------------------------------------------------------------------------------------


def test_it_outlives_the_process(filled):
    async def main():
        store = opened(filled)
        assert await store.get("k") == b"v"
        assert await store.get("other") is None
        await store.close()

    virtual.run(main())


def test_nobody_else_may_read_it(filled):
    assert os.stat(filled).st_mode & 0o077 == 0


def test_large_values_stay_inside_their_rows(folder):
    async def main():
        store = opened(folder)
        store.put("k", b"x" * 500_000)
        await store.close()
        store = opened(folder)
        assert len(await store.get("k")) == 500_000
        await store.close()

    virtual.run(main())
    assert {each.name.split("-")[0] for each in folder.iterdir()} == {"cache.db"}


@pytest.mark.parametrize("by", ["lru", "lfu", "fifo"])
def test_the_entry_limit_holds_also_for_what_another_process_left(folder, by):
    async def main():
        store = opened(folder, 50, by)
        for index in range(60):
            store.put(f"k{index}", b"v")
        assert len(await store.keys()) == 50
        await store.close()
        store = opened(folder, 10, by)
        store.put("new", b"v")
        store.put("new", b"w")
        keys = await store.keys()
        assert len(keys) == 10 and "new" in keys
        await store.close()

    virtual.run(main())


def test_a_repeated_hit_does_not_go_to_the_disk(filled):
    async def main():
        store = opened(filled)
        await store.get("k")
        sql(filled, "DELETE FROM Cache")
        assert store.look("k") == b"v"
        assert await store.get("k") is None, "who goes to the disk sees what others did"
        assert store.look("k") is None
        await store.close()

    virtual.run(main())


def test_what_another_process_wrote_is_seen_by_who_goes_to_the_disk(filled):
    async def main():
        one, other = opened(filled), opened(filled)
        assert await one.get("k") == b"v"
        other.put("k", b"newer")
        assert one.look("k") == b"v"
        assert await one.get("k") == b"newer"
        assert one.look("k") == b"newer"
        await one.close()
        await other.close()

    virtual.run(main())


def test_expiry_is_not_the_stores(filled):
    assert sql(filled, "SELECT expire_time, typeof(value), filename FROM Cache") == [(None, "blob", None)]


# -- plants ---------------------------------------------------------------------------------------------------


class Bomb:
    def __reduce__(self):
        return (os.mkdir, (str(self.path),))

    def __init__(self, path):
        self.path = path


@pytest.mark.parametrize("mode", [0, 1, 2, 3, 4, 99])
@pytest.mark.parametrize("inline", [True, False])
def test_a_planted_pickle_is_a_miss_and_never_loaded(filled, tmp_path, mode, inline):
    hit = tmp_path / "bombed"
    bomb = pickle.dumps(Bomb(hit))
    (filled / "bomb.val").write_bytes(bomb)
    sql(
        filled,
        "UPDATE Cache SET mode = ?, value = ?, filename = ? WHERE key = 'k'",
        mode,
        bomb if inline else None,
        None if inline else "bomb.val",
    )

    async def main():
        store = opened(filled)
        expected = bomb if mode == 1 and inline else None  # bytes as any others, for the decoder to refuse
        assert await store.get("k") == expected
        await store.close()

    virtual.run(main())
    assert not hit.exists()


def test_a_planted_pickled_key_is_never_loaded(filled, tmp_path):
    hit = tmp_path / "bombed"
    sql(filled, "INSERT INTO Cache (key, raw, mode, value) VALUES (?, 0, 1, x'00')", pickle.dumps(Bomb(hit)))

    async def main():
        store = opened(filled)
        assert await store.keys() == ["k"]
        await store.close()

    virtual.run(main())
    assert not hit.exists()


def test_no_key_is_ever_unpickled(tmp_path):
    rows = disk._inline_bytes()(str(tmp_path))
    assert rows.get(pickle.dumps(Bomb(tmp_path / "bombed")), False) is None
    assert rows.get(b"bytes", True) is None
    assert rows.get("k", True) == "k"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [1, 1.5, "text", None])
def test_a_planted_value_that_is_not_bytes_is_a_miss(filled, value):
    sql(filled, "UPDATE Cache SET value = ?", value)

    async def main():
        store = opened(filled)
        assert await store.get("k") is None
        await store.close()

    virtual.run(main())


def test_a_planted_file_name_is_neither_read_nor_removed(filled, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("x")
    sql(filled, "UPDATE Cache SET mode = 2, value = NULL, filename = ?", str(precious))

    async def main():
        store = opened(filled)
        assert await store.get("k") is None
        store.put("k", b"new")
        sql(filled, "UPDATE Cache SET filename = ?", str(precious))
        await store.delete("k")
        await store.close()

    virtual.run(main())
    assert precious.read_text() == "x"


@pytest.mark.parametrize("name", ["_disk", "disk_path", "sqlite_writable_schema"])
def test_a_database_with_settings_that_are_not_ours_is_not_used(filled, name):
    sql(filled, "INSERT INTO Settings VALUES (?, 1)", name)

    async def main():
        reason = await refused(opened(filled))
        assert name in reason and "delete the folder" in reason

    virtual.run(main())


# -- outages --------------------------------------------------------------------------------------------------


def scribble(folder):
    (folder / "cache.db").write_bytes(b"not a database " * 100)


def truncate(folder):
    data = (folder / "cache.db").read_bytes()
    (folder / "cache.db").write_bytes(data[:100] + b"\xff" * (len(data) - 100))


@pytest.mark.parametrize("damage", [scribble, truncate])
def test_a_corrupt_database_is_said_once_and_then_no_cache(filled, damage):
    damage(filled)

    async def main():
        store = opened(filled)
        reason = await refused(store)
        assert str(filled) in reason and "corrupt" in reason and "delete the folder" in reason
        for _ in range(3):
            assert await store.get("k") is None
            await asyncio.sleep(31)
        store.put("x", b"1")
        store.count(hits=1)
        for look in (store.delete("y"), store.keys(), store.items(), store.counts()):
            with pytest.raises(StoreUnavailable, match="corrupt"):
                await look
        await store.close()

    virtual.run(main())


def test_an_outage_that_ends_is_over_and_the_next_one_is_said_again(filled):
    async def main():
        store = opened(filled)
        lock = sqlite3.connect(filled / "cache.db", isolation_level=None)
        for _ in range(2):
            lock.execute("BEGIN IMMEDIATE")
            assert "another process holds its lock" in await refused(store)
            lock.execute("ROLLBACK")
            assert await store.get("k") is None, "left alone for 30 s"
            await asyncio.sleep(29.9)
            assert await store.get("k") is None
            await asyncio.sleep(0.2)
            assert await store.get("k") == b"v"
            store._front.drop("k")
        lock.close()
        await store.close()

    virtual.run(main())


def test_a_lock_taken_after_opening_is_an_outage_too(filled):
    async def main():
        store = opened(filled)
        assert await store.get("other") is None
        lock = sqlite3.connect(filled / "cache.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        store.put("new", b"1")
        assert await store.get("new") == b"1", "memory has it"
        await asyncio.sleep(0)
        assert "lock" in await refused(store)
        lock.close()
        await store.close()

    virtual.run(main())


def test_opening_a_locked_database_is_given_up_at_once(filled):
    """diskcache alone tries for sixty seconds."""
    lock = sqlite3.connect(filled / "cache.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")

    async def main():
        loop = asyncio.get_running_loop()
        store = disk.open_disk(folder=filled, max_entries=9, eviction="lru", clock=LoopClock(), worker=Thread)
        before = loop.time()
        await refused(store)
        await store.close()
        assert loop.time() - before < 5

    asyncio.run(main())
    lock.close()


def test_of_many_calls_that_meet_a_lock_one_waits_and_one_says_so(filled):
    lock = sqlite3.connect(filled / "cache.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")

    async def main():
        loop = asyncio.get_running_loop()
        store = disk.open_disk(folder=filled, max_entries=9, eviction="lru", clock=LoopClock(), worker=Thread)
        before = loop.time()
        answers = await asyncio.gather(*(store.get(f"k{n}") for n in range(100)), return_exceptions=True)
        assert loop.time() - before < 1
        assert sorted(type(each).__name__ for each in answers) == ["NoneType"] * 99 + ["StoreUnavailable"]
        await store.close()

    asyncio.run(main())
    lock.close()


def test_a_failed_write_is_told_by_the_next_get_or_by_close(filled):
    async def main(ask):
        stores = StoreSet(filled.parent, LoopClock(), threads=False)
        store = stores.open("disk", "c", max_entries=9, eviction="lru")
        lock = sqlite3.connect(filled / "cache.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        store.put("new", b"1")
        await asyncio.sleep(0)
        if ask:
            assert "lock" in await refused(store)
        untold = await stores.close()
        assert [str(filled) in each for each in untold] == ([] if ask else [True])
        lock.close()

    virtual.run(main(True))
    virtual.run(main(False))


def test_a_full_disk_is_an_outage(filled):
    async def main():
        store = opened(filled)
        assert await store.get("other") is None
        pages = store._database._cache._sql("PRAGMA page_count").fetchone()[0]
        store._database._cache._sql(f"PRAGMA max_page_count = {pages}")
        store.put("big", b"x" * 1_000_000)
        await asyncio.sleep(0)
        assert "full" in await refused(store)
        await store.close()

    virtual.run(main())


@pytest.mark.parametrize("what", ["file", "folder-is-db"])
def test_a_folder_that_cannot_be_made_is_an_outage(folder, what):
    if what == "file":
        folder.write_text("in the way")
    else:
        (folder / "cache.db").mkdir(parents=True)

    async def main():
        assert str(folder) in await refused(opened(folder))

    virtual.run(main())


def test_a_store_that_was_never_used_closes_and_makes_nothing(folder):
    async def main():
        await opened(folder).close()

    virtual.run(main())
    assert not folder.exists()


def test_after_close_it_is_empty_and_takes_nothing(filled):
    async def main():
        store = opened(filled)
        await store.get("other")
        await store.close()
        await store.close()
        store.put("late", b"1")
        assert await store.get("k") is None

    virtual.run(main())
    assert sql(filled, "SELECT key FROM Cache") == [("k",)]


# -- the worker -------------------------------------------------------------------------------------------------


def test_a_thread_writes_behind_and_close_waits_for_it(folder):
    async def main():
        store = disk.open_disk(folder=folder, max_entries=99, eviction="lru", clock=LoopClock(), worker=Thread)
        for index in range(20):
            store.put(f"k{index}", b"v")
        await store.close()

    asyncio.run(main())
    assert sql(folder, "SELECT count(*) FROM Cache") == [(20,)]


class Stuck:
    """A worker whose disk never answers."""

    def __init__(self):
        self.handed = []

    def submit(self, work):
        future = asyncio.get_running_loop().create_future()
        self.handed.append(work)
        return future

    def close(self):
        pass


def test_a_disk_that_does_not_answer_holds_nobody_up(folder):
    async def main():
        clock = LoopClock()
        worker = Stuck()
        store = disk.open_disk(folder=folder, max_entries=9, eviction="lru", clock=clock, worker=lambda: worker)
        assert "did not answer within 1 s" in await refused(store)
        assert clock.now() == 1
        assert await store.get("k") is None
        assert clock.now() == 1
        for index in range(1000):
            store.put(f"k{index}", b"v")
        assert len(worker.handed) == 1, "nothing is handed to what is left alone"
        await clock.sleep(30)
        for index in range(1000):
            store.put(f"k{index}", b"v")
        assert len(worker.handed) == 1 + disk._BEHIND, "and never without bound"
        before = clock.now()
        await store.close()
        assert clock.now() - before == 1

    virtual.run(main())


def test_an_answer_on_the_last_instant_of_patience_wins(folder):
    class Late(Stuck):
        def submit(self, work):
            future = super().submit(work)
            asyncio.get_running_loop().call_at(1.0, future.set_result, b"v")
            return future

    async def main():
        store = disk.open_disk(folder=folder, max_entries=9, eviction="lru", clock=LoopClock(), worker=Late)
        assert await store.get("k") == b"v"

    virtual.run(main())


def test_a_cancelled_get_leaves_the_store_usable(filled):
    async def main():
        store = disk.open_disk(folder=filled, max_entries=9, eviction="lru", clock=LoopClock(), worker=Thread)
        for _ in range(5):
            task = asyncio.ensure_future(store.get("k"))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await store.get("k") == b"v"
        await store.close()

    asyncio.run(main())


def test_a_worker_that_outlives_its_loop_ends_quietly(capfd):
    begun, released = threading.Event(), threading.Event()
    threads = []

    def work():
        threads.append(threading.current_thread())
        begun.set()
        released.wait(10)

    async def main():
        Thread().submit(work).cancel()
        begun.wait(10)

    asyncio.run(main())
    released.set()
    threads[0].join(10)
    assert not threads[0].is_alive() and threads[0].daemon
    assert capfd.readouterr().err == ""


def test_a_worker_hands_an_exception_to_who_waits():
    async def main():
        worker = Thread()
        with pytest.raises(ZeroDivisionError):
            await worker.submit(lambda: 1 / 0)
        assert await worker.submit(lambda: 7) == 7
        worker.close()

    asyncio.run(main())
