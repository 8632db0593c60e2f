"""State in an SQLite file, for the processes of one machine.

Decisions are made by their Python form, on the machine's wall clock, in a thread: a whole batch in one transaction
that takes the file's write lock first, so no two processes decide at once. A locked, corrupt or full file is an outage
like any other; the file is opened anew with the next try.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from wizard_dsl.core.clock import Clock
    from wizard_dsl.stores._state import Ask
    from wizard_dsl.stores._worker import Worker

#: Seconds that a transaction waits for another process; less than the patience for a batch.
_BUSY: Final = 0.2
#: Seconds for which a process counts after it was last seen, as on a server.
_MEMBER: Final = 30.0
#: Seconds between two looks for rows that have expired.
_SWEEP: Final = 60.0

#: The row of a key, unless it has expired.
ROW: Final = "SELECT row FROM rows WHERE key = ? AND expires > ?"

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS rows (key TEXT PRIMARY KEY, row BLOB NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS members (
  key TEXT NOT NULL, member TEXT NOT NULL, seen REAL NOT NULL, PRIMARY KEY (key, member)
) WITHOUT ROWID;
"""


class SqliteKeeper:
    """Implements `_state.Keeper`. The file is opened with the first decision."""

    def __init__(self, path: Path, clock: Clock, worker: Worker) -> None:
        self.name = f"sqlite {path.name}"
        self._path = path
        self._wall = clock.wall
        self._worker = worker
        self._open: sqlite3.Connection | None = None
        self._sweep = 0.0

    async def ask(self, batch: Sequence[Ask], /) -> list[bytes]:
        """See Keeper."""
        return await self._worker.submit(lambda: self._together(batch))

    def _together(self, batch: Sequence[Ask]) -> list[bytes]:
        """All decisions of a batch, or none."""
        try:
            database = self._open or self._opened()
            database.execute("BEGIN IMMEDIATE")
            replies = [self._one(database, each) for each in batch]
            self._swept(database)
            database.execute("COMMIT")
        except BaseException:
            self._closed()
            raise
        return replies

    def _opened(self) -> sqlite3.Connection:
        import sqlite3

        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._open = database = sqlite3.connect(
            self._path, timeout=_BUSY, isolation_level=None, check_same_thread=False
        )
        with suppress(sqlite3.OperationalError):  # another process opens it just now, and does the same
            database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.executescript(_TABLES)
        return database

    def _one(self, database: sqlite3.Connection, ask: Ask) -> bytes:
        now = self._wall()
        kept = database.execute(ROW, (ask.key, now)).fetchone()
        row = msgspec.msgpack.decode(kept[0]) if kept is not None else None
        arguments: dict[str, Any] = msgspec.msgpack.decode(ask.arguments)
        row, reply, keep = ask.decision.apply(row, now, arguments)
        if row is None:
            database.execute("DELETE FROM rows WHERE key = ?", (ask.key,))
        else:
            packed = msgspec.msgpack.encode(row)
            database.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", (ask.key, packed, now + keep))
        return msgspec.msgpack.encode((now, self._members(database, ask, now), reply))

    def _members(self, database: sqlite3.Connection, ask: Ask, now: float) -> int:
        if ask.member:
            database.execute("INSERT OR REPLACE INTO members VALUES (?, ?, ?)", (ask.key, ask.member, now))
        counted = database.execute(
            "SELECT count(*) FROM members WHERE key = ? AND seen > ?", (ask.key, now - _MEMBER)
        ).fetchone()
        return int(counted[0])

    def _swept(self, database: sqlite3.Connection) -> None:
        now = self._wall()
        if now >= self._sweep:
            self._sweep = now + _SWEEP
            database.execute("DELETE FROM rows WHERE expires <= ?", (now,))
            database.execute("DELETE FROM members WHERE seen <= ?", (now - _MEMBER,))

    def _closed(self) -> None:
        """Drop the connection, and with it the transaction that failed."""
        database, self._open = self._open, None
        if database is not None:
            database.close()

    async def leave(self, keys: Sequence[str], member: str, /) -> None:
        """See Keeper."""

        def gone() -> None:
            if self._open is not None:
                self._open.executemany("DELETE FROM members WHERE key = ? AND member = ?", [(k, member) for k in keys])

        await self._worker.submit(gone)

    async def close(self) -> None:
        """See Keeper."""
        closing = self._worker.submit(self._closed)
        self._worker.close()
        await closing
