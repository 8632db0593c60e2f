"""The book of one machine: accounts and reservations in one SQLite file, shared by its processes.

Each reservation is one transaction that takes the file's write lock first, so what two processes reserve at once never
exceeds a limit together. A process that is killed leaves its reservations behind; they count until they are settled,
and after their time they are spent. A file that cannot be used is said once for each outage and left alone for a
moment; what was to be settled meanwhile is kept and written when it can be used again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from wizard_dsl.core.budget import BookUnavailable, Ceiling, Entry, Refused, Reserved, Told

if TYPE_CHECKING:
    from asyncio import Future
    from pathlib import Path

    from wizard_dsl.core.clock import Clock
    from wizard_dsl.stores._worker import Worker

T = TypeVar("T")


class _Settled(NamedTuple):
    """What a reservation came to, the accounts with a warning and its sum, and who hears of it."""

    amount: int | None
    warnings: tuple[tuple[str, int], ...] = ()
    told: Told | None = None


#: Seconds that the worker waits for another process's lock, and that anybody waits for the worker.
_LOCK_PATIENCE = 2.0
_PATIENCE = 3.0
#: Seconds for which a file that failed is left alone.
_OUTAGE = 2.0
#: Accounts that nobody touched for so long are forgotten, days and months with them.
_KEPT = 400 * 86400.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts(
    name TEXT PRIMARY KEY, spent INTEGER NOT NULL, warned INTEGER NOT NULL, touched REAL NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS holds(
    id TEXT NOT NULL, account TEXT NOT NULL, amount INTEGER NOT NULL, expires REAL NOT NULL,
    PRIMARY KEY (id, account)) STRICT;
CREATE INDEX IF NOT EXISTS holds_by_account ON holds(account, amount);
"""


class SqliteBook:
    """The loop's side. Opened on first use; `make_worker` gives the thread that does what would block."""

    def __init__(self, path: Path, clock: Clock, make_worker: Callable[[], Worker]) -> None:
        self._file = _File(path, clock.wall)
        self._clock = clock
        self._make_worker = make_worker
        self._worker: Worker | None = None
        self._name = os.urandom(8).hex()
        self._made = 0
        self._warnings: dict[str, tuple[tuple[str, int], ...]] = {}
        self._unwritten: dict[str, _Settled] = {}
        self._handed: set[str] = set()
        self._closed_until = float("-inf")
        self._reason = ""
        self._outage = False
        self._closed = False

    async def reserve(
        self, amount: int, ceilings: Sequence[Ceiling], *, lasts: float, within: float
    ) -> Reserved | Refused:
        self._refuse_in_outage()
        self._write()
        self._made += 1
        id = f"{self._name}-{self._made}"
        future = self._submit(partial(_File.reserve, id=id, amount=amount, ceilings=tuple(ceilings), lasts=lasts))
        try:
            answer = await self._patiently(future, within)
        except BaseException:
            self.settle(id, 0)  # it may still be made: the worker does one thing after the other
            raise
        if isinstance(answer, Reserved):
            self._warnings[id] = tuple((each.account, each.warn) for each in ceilings if each.warn is not None)
        return answer

    def settle(self, id: str, amount: int | None, told: Told | None = None) -> None:
        due = self._warnings.pop(id, ())
        self._unwritten.setdefault(id, _Settled(amount) if told is None else _Settled(amount, due, told))
        self._write()

    async def entries(self, prefix: str = "") -> Mapping[str, Entry]:
        self._refuse_in_outage()
        self._write()
        return await self._patiently(self._submit(partial(_File.entries, prefix=prefix)), _PATIENCE)

    async def aclose(self) -> None:
        """Wait, for three seconds at most, until what was settled is written; what is not stays reserved."""
        if self._worker is None or self._closed:
            return
        self._closed_until = float("-inf")  # the last try
        self._write()
        self._closed = True
        with suppress(BookUnavailable):
            await self._patiently(self._submit(_File.close), _PATIENCE)
        self._worker.close()

    # -- the worker -----------------------------------------------------------------------------------

    def _submit(self, work: Callable[[_File], T]) -> Future[T]:
        if self._worker is None:
            self._worker = self._make_worker()
        return self._worker.submit(partial(self._file.attempt, work))

    def _write(self) -> None:
        """Hand to the worker what was settled and is not with it yet."""
        batch = {id: each for id, each in self._unwritten.items() if id not in self._handed}
        if batch and not self._closed and self._clock.now() >= self._closed_until:
            self._handed |= batch.keys()
            self._submit(partial(_File.settle, batch=batch)).add_done_callback(partial(self._written, batch))

    def _written(self, batch: dict[str, _Settled], future: Future[dict[str, tuple[str, ...]]]) -> None:
        self._handed -= batch.keys()
        error = None if future.cancelled() else future.exception()
        if error is not None:
            self._fail(str(error))
            return
        for id, each in batch.items():
            del self._unwritten[id]
            due = () if future.cancelled() else future.result().get(id, ())
            if each.told is not None and due:
                each.told(due)

    async def _patiently(self, future: Future[T], within: float) -> T:
        limit = min(within, _PATIENCE)
        timer = self._clock.call_at(self._clock.now() + limit, _lose_patience, future, limit)
        try:
            answer = await future
        except BookUnavailable as error:
            self._fail(str(error))
            raise self._unavailable() from None
        finally:
            timer.cancel()
        self._outage = False
        return answer

    # -- outages --------------------------------------------------------------------------------------

    def _fail(self, reason: str) -> None:
        self._reason = reason
        self._closed_until = self._clock.now() + _OUTAGE

    def _refuse_in_outage(self) -> None:
        if self._closed:
            raise BookUnavailable(f"the budget database {self._file.path} is closed")
        if self._clock.now() < self._closed_until:
            raise self._unavailable()

    def _unavailable(self) -> BookUnavailable:
        first, self._outage = not self._outage, True
        path = self._file.path
        return BookUnavailable(f"the budget database {path} cannot be used: {self._reason}", first=first)


def _lose_patience(future: Future[Any], seconds: float) -> None:
    if not future.done():
        future.set_exception(BookUnavailable(f"it did not answer within {seconds:.3g} s"))


class _File:
    """The worker's side: blocks, and raises BookUnavailable alone."""

    def __init__(self, path: Path, wall: Callable[[], float]) -> None:
        self.path = path
        self._wall = wall
        self._database: sqlite3.Connection | None = None

    def attempt(self, work: Callable[[_File], T]) -> T:
        """Do `work`; whatever a full disk or a planted file makes SQLite raise says why the book cannot be used."""
        try:
            return work(self)
        except (sqlite3.Error, OSError, ValueError, TypeError, OverflowError) as error:
            self.close()
            raise BookUnavailable(_what(error)) from error

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            os.makedirs(self.path.parent, mode=0o700, exist_ok=True)
            self._database = opened = sqlite3.connect(
                self.path, timeout=_LOCK_PATIENCE, isolation_level=None, check_same_thread=False
            )
            opened.execute("PRAGMA journal_mode = WAL")
            opened.execute("PRAGMA synchronous = FULL")
            opened.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;")
            opened.execute("DELETE FROM accounts WHERE touched < ?", (self._wall() - _KEPT,))
        return self._database

    def reserve(self, *, id: str, amount: int, ceilings: tuple[Ceiling, ...], lasts: float) -> Reserved | Refused:
        database, now = self._open(), self._wall()
        with _Transaction(database):
            self._spend_what_expired(database, now)
            totals = [_total(database, each.account, now) for each in ceilings]
            for (total, _), each in zip(totals, ceilings, strict=True):
                if each.limit is not None and total + amount > each.limit:
                    return Refused(each.account, each.limit, max(0, each.limit - total))
            due = tuple(
                each.account
                for (total, warned), each in zip(totals, ceilings, strict=True)
                if each.warn is not None and not warned and total >= each.warn
            )
            database.executemany("UPDATE accounts SET warned = 1 WHERE name = ?", [(name,) for name in due])
            rows = [(id, each.account, amount, now + lasts) for each in ceilings]
            database.executemany("INSERT INTO holds VALUES (?, ?, ?, ?)", rows)
        return Reserved(id, due)

    def settle(self, *, batch: Mapping[str, _Settled]) -> dict[str, tuple[str, ...]]:
        """By id, the accounts whose warning became due."""
        database, now, due = self._open(), self._wall(), {}
        with _Transaction(database):
            for id, (amount, marks, _) in batch.items():
                database.execute(
                    "UPDATE accounts SET touched = ?, spent = spent + coalesce(?,"
                    " (SELECT amount FROM holds WHERE id = ? AND account = name))"
                    " WHERE name IN (SELECT account FROM holds WHERE id = ?)",
                    (now, amount, id, id),
                )
                database.execute("DELETE FROM holds WHERE id = ?", (id,))
                due[id] = tuple(account for account, mark in marks if _reached(database, account, mark))
        return due

    def _spend_what_expired(self, database: sqlite3.Connection, now: float) -> None:
        """Nobody is left who could settle it: what may have been billed is taken as billed."""
        late = database.execute("SELECT id FROM holds WHERE expires < ? GROUP BY id", (now,)).fetchall()
        for (id,) in late:
            database.execute(
                "UPDATE accounts SET spent = spent + (SELECT amount FROM holds WHERE id = ? AND account = name)"
                " WHERE name IN (SELECT account FROM holds WHERE id = ?)",
                (id, id),
            )
        database.executemany("DELETE FROM holds WHERE id = ?", late)

    def entries(self, *, prefix: str) -> dict[str, Entry]:
        rows = self._open().execute(
            "SELECT name, spent, coalesce((SELECT sum(amount) FROM holds WHERE account = name), 0) FROM accounts"
            " WHERE substr(name, 1, ?) = ? ORDER BY name",
            (len(prefix), prefix),
        )
        return {name: Entry(spent, reserved) for name, spent, reserved in rows}

    def close(self) -> None:
        """Let go of it, in whatever state it is."""
        database, self._database = self._database, None
        if database is not None:
            database.close()


class _Transaction:
    """Takes the write lock at once; rolls back on any exception."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self._database.execute("COMMIT")
        elif self._database.in_transaction:  # a full disk ends it by itself
            self._database.execute("ROLLBACK")


def _total(database: sqlite3.Connection, account: str, now: float) -> tuple[int, bool]:
    """What counts against the account's limit, and whether its warning was given."""
    database.execute(
        "INSERT INTO accounts VALUES (?, 0, 0, ?) ON CONFLICT(name) DO UPDATE SET touched = excluded.touched",
        (account, now),
    )
    row = database.execute(
        "SELECT spent + coalesce((SELECT sum(amount) FROM holds WHERE account = name), 0), warned"
        " FROM accounts WHERE name = ?",
        (account,),
    ).fetchone()
    return int(row[0]), bool(row[1])


def _reached(database: sqlite3.Connection, account: str, mark: int) -> bool:
    """Whether what is spent reaches `mark`, and nobody was told."""
    done = database.execute(
        "UPDATE accounts SET warned = 1 WHERE name = ? AND warned = 0 AND spent >= ?", (account, mark)
    )
    return done.rowcount > 0


def _what(error: Exception) -> str:
    """What is wrong with the file, and what to do."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return "another process holds its lock"
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return f"it is corrupt ({text}); move it away to begin anew, with nothing spent"
    return text
