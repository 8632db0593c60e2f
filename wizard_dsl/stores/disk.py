"""Disk: keyed bytes in one SQLite file per store, shared by processes, behind a small level in memory.

On disk nothing is trusted and nothing is ever unpickled: keys are text, values are bytes inside their row, and every
other row is a miss. A database that is locked, corrupt, full or not ours is left alone for 30 s; that is said once
for each outage, and no call waits for it: what blocks happens in a worker.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from wizard_dsl.core.component import StoreType
from wizard_dsl.core.node import StoreUnavailable
from wizard_dsl.stores.memory import Eviction, MemoryStore

if TYPE_CHECKING:
    from asyncio import Future
    from pathlib import Path

    from wizard_dsl.core.clock import Clock
    from wizard_dsl.stores._worker import Worker

T = TypeVar("T")

#: Entries of the level in front: a repeated hit costs neither a thread nor a write of its time of use.
_FRONT = 256
#: Writes that may wait for the worker; beyond it answers are not stored.
_BEHIND = 256
#: Seconds for which a database that failed is left alone.
_OUTAGE = 30.0
#: Seconds that a call waits for the worker, and for a lock.
_PATIENCE = 1.0
#: The same where somebody looks at all entries, and no call waits.
_LONG_PATIENCE = 10.0
_LOCK_PATIENCE = 0.05

#: By eviction: diskcache's name of it, and which rows go first.
_POLICIES = {
    "lru": ("least-recently-used", "access_time"),
    "lfu": ("least-frequently-used", "access_count, access_time"),
    "fifo": ("least-recently-stored", "store_time"),
}


class DiskStore:
    """The loop's side. At most `max_entries` values, evicted as MemoryStore does; hits of the level in front do
    not count as uses on disk."""

    kind = "disk"

    def __init__(
        self, folder: Path, max_entries: int, eviction: Eviction, clock: Clock, worker: Callable[[], Worker]
    ) -> None:
        self._clock = clock
        self._front = MemoryStore(min(max_entries, _FRONT), "lru" if eviction == "lfu" else eviction)
        self._database = _Database(folder, max_entries, eviction, clock)
        self._make_worker = worker
        self._worker: Worker | None = None
        self._closed = False
        self._behind = 0
        self._outage = False
        self._untold: str | None = None

    def look(self, key: str) -> bytes | None:
        return self._front.look(key)

    async def get(self, key: str) -> bytes | None:
        """Raises StoreUnavailable once for each outage; cancelling it leaves nothing behind."""
        value = await self._ask(partial(_Database.read, key=key))
        if value is None:
            if self._usable() and not self._outage:
                self._front.drop(key)  # another process removed it
            return self._front.look(key)
        if value != self._front.look(key):
            self._front.put(key, value)
        return value

    def put(self, key: str, value: bytes, keep: float = inf) -> None:
        self._front.put(key, value)
        self._write_behind(partial(_Database.write, key=key, value=value))

    async def delete(self, *keys: str) -> int:
        for key in keys:
            self._front.drop(key)
        return await self._demand(partial(_Database.delete, keys=keys))

    async def keys(self) -> list[str]:
        return await self._demand(_Database.keys)

    async def items(self) -> list[tuple[str, bytes]]:
        return await self._demand(_Database.items)

    def count(self, **added: float) -> None:
        self._write_behind(partial(_Database.count, added=added))

    async def counts(self) -> dict[str, float]:
        return await self._demand(_Database.counts)

    async def close(self) -> None:
        """Wait, for one second at most, until what was put is written. Raises StoreUnavailable where an outage was
        not told yet."""
        if self._worker is not None and not self._closed:
            self._closed = True
            try:
                await self._patiently(self._worker.submit(self._database.close))
            except StoreUnavailable as error:
                self._note(str(error))
            self._worker.close()
        self._tell()

    async def _demand(self, work: Callable[[_Database], T]) -> T:
        """What the database says; raises StoreUnavailable each time it cannot be used."""
        answer = await self._ask(work, _LONG_PATIENCE)
        if answer is None:
            raise StoreUnavailable(self._database.reason)
        return answer

    async def _ask(self, work: Callable[[_Database], T], patience: float = _PATIENCE) -> T | None:
        """What the database says; None, or once StoreUnavailable, while it cannot be used."""
        if not self._usable():
            self._tell()
            return None
        try:
            answer = await self._patiently(self._submit(work), patience)
        except StoreUnavailable as error:
            self._note(str(error))
            self._tell()
            return None
        self._outage = False
        return answer

    def _write_behind(self, work: Callable[[_Database], None]) -> None:
        if self._usable() and self._behind < _BEHIND:
            self._behind += 1
            self._submit(work).add_done_callback(self._written)

    def _written(self, future: Future[None]) -> None:
        self._behind -= 1
        error = future.exception()
        if error is None:
            self._outage = False
        else:
            self._note(str(error))

    def _usable(self) -> bool:
        return not self._closed and self._clock.now() >= self._database.closed_until

    def _submit(self, work: Callable[[_Database], T]) -> Future[T]:
        if self._worker is None:
            self._worker = self._make_worker()
        return self._worker.submit(partial(self._database.attempt, work))

    async def _patiently(self, future: Future[T], patience: float = _PATIENCE) -> T:
        timer = self._clock.call_at(self._clock.now() + patience, self._lose_patience, future, patience)
        try:
            return await future
        finally:
            timer.cancel()

    def _lose_patience(self, future: Future[Any], patience: float) -> None:
        if not future.done():
            future.set_exception(self._database.fail(f"it did not answer within {patience:g} s"))

    def _note(self, reason: str) -> None:
        """An outage begins, or goes on."""
        if not self._outage:
            self._outage = True
            self._untold = reason

    def _tell(self) -> None:
        reason, self._untold = self._untold, None
        if reason is not None:
            raise StoreUnavailable(reason)


class _Database:
    """The worker's side: blocks, and raises StoreUnavailable alone. Opened on first use, and again after an outage."""

    def __init__(self, folder: Path, max_entries: int, eviction: Eviction, clock: Clock) -> None:
        self._folder = folder
        self._limit = max_entries
        self._policy, self._order = _POLICIES[eviction]
        self._clock = clock
        self.reason = ""
        self._own: sqlite3.Connection | None = None
        self._cache: Any = None
        self.closed_until = float("-inf")

    def attempt(self, work: Callable[[_Database], T]) -> T:
        """Do `work` with the database open."""
        if self._clock.now() < self.closed_until:
            raise StoreUnavailable(self.reason)
        try:
            if self._cache is None:
                self._begin()
            return work(self)
        except Exception as error:  # whatever a planted file makes SQLite or diskcache raise
            self.close()
            raise self.fail(_what(error)) from error

    def fail(self, what: str) -> StoreUnavailable:
        """Leave the database alone for a while."""
        self.reason = f"the disk cache {self._folder} is not used for {_OUTAGE:g} s: {what}"
        self.closed_until = self._clock.now() + _OUTAGE
        return StoreUnavailable(self.reason)

    def _begin(self) -> None:
        """Open it. A probe goes first: diskcache itself tries for 60 s to open what is locked, and believes the
        settings it finds."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        self._own = sqlite3.connect(self._folder / "cache.db", timeout=_LOCK_PATIENCE, isolation_level=None)
        self._own.execute("BEGIN IMMEDIATE")
        self._own.execute("ROLLBACK")
        import diskcache

        known = {*diskcache.DEFAULT_SETTINGS, "count", "size", "hits", "misses"}
        if self._own.execute("SELECT 1 FROM sqlite_master WHERE name = 'Settings'").fetchone():
            for (name,) in self._own.execute("SELECT key FROM Settings"):
                if name not in known:
                    raise ValueError(f"it holds the setting {name!r}, which is not ours")
        settings = {
            **diskcache.DEFAULT_SETTINGS,
            "eviction_policy": self._policy,
            "cull_limit": 0,  # the entry limit is ours
            "sqlite_mmap_size": 0,  # a mapped file that somebody truncates ends the process
        }
        self._cache = diskcache.Cache(str(self._folder), timeout=_LOCK_PATIENCE, disk=_inline_bytes(), **settings)
        self._own.execute("CREATE TABLE IF NOT EXISTS Counts (name TEXT PRIMARY KEY, value NUMERIC NOT NULL)")

    def read(self, key: str) -> bytes | None:
        value = self._cache.get(key)
        return value if type(value) is bytes else None

    def write(self, key: str, value: bytes) -> None:
        assert self._own is not None
        excess = len(self._cache) - self._limit + (key not in self._cache)
        if excess > 0:
            oldest = f"SELECT rowid FROM Cache ORDER BY {self._order} LIMIT ?"
            gone = self._own.execute(f"DELETE FROM Cache WHERE rowid IN ({oldest})", (excess,)).rowcount
            self.count({"evictions": gone})
        self._cache.set(key, value)

    def delete(self, keys: Sequence[str]) -> int:
        return self._many("DELETE FROM Cache WHERE key = ?", [(key,) for key in keys])

    def keys(self) -> list[str]:
        assert self._own is not None
        rows = self._own.execute(f"SELECT key FROM Cache WHERE typeof(key) = 'text' ORDER BY {self._order}")
        return [key for (key,) in rows]

    def items(self) -> list[tuple[str, bytes]]:
        assert self._own is not None
        ours = f"typeof(key) = 'text' AND mode = {_RAW} AND filename IS NULL AND typeof(value) = 'blob'"
        return self._own.execute(f"SELECT key, value FROM Cache WHERE {ours} ORDER BY {self._order}").fetchall()

    def count(self, added: Mapping[str, float]) -> None:
        self._many(
            "INSERT INTO Counts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            list(added.items()),
        )

    def counts(self) -> dict[str, float]:
        assert self._own is not None
        rows = self._own.execute("SELECT name, value FROM Counts WHERE typeof(value) IN ('integer', 'real')")
        return {str(name): value for name, value in rows}

    def _many(self, text: str, rows: Sequence[tuple[Any, ...]]) -> int:
        """Do it for all rows or for none; returns how many it changed."""
        assert self._own is not None
        self._own.execute("BEGIN IMMEDIATE")
        changed = self._own.executemany(text, rows).rowcount
        self._own.execute("COMMIT")
        return max(0, changed)

    def close(self) -> None:
        """Let go of it, in whatever state it is."""
        for each in (self._cache, self._own):
            if each is not None:
                with suppress(Exception):
                    each.close()
        self._cache = self._own = None


def _inline_bytes() -> type[Any]:
    """diskcache's `Disk`, reduced to text keys and bytes inside the row. As it comes, it unpickles what it finds
    (CVE-2025-69872), and opens and removes files by names it finds."""
    from diskcache import Disk

    class InlineBytes(Disk):  # type: ignore[misc]  # diskcache has no types
        def put(self, key: str) -> tuple[str, bool]:
            return key, True

        def get(self, key: object, raw: bool) -> str | None:
            return key if raw and type(key) is str else None

        def store(self, value: bytes, read: bool, key: object = None) -> tuple[int, int, None, sqlite3.Binary]:
            return 0, _RAW, None, sqlite3.Binary(value)

        def fetch(self, mode: int, filename: object, value: object, read: bool) -> bytes | None:
            return value if mode == _RAW and filename is None and type(value) is bytes else None

        def remove(self, file_path: object) -> None:
            """There are no files of ours to remove."""

    return InlineBytes


#: diskcache's mode of a value that is stored as it is.
_RAW = 1


def _what(error: Exception) -> str:
    """What is wrong with a database, and what to do."""
    text = str(error) or "it is locked"  # diskcache's Timeout says nothing
    if "locked" in text or "busy" in text:
        return "another process holds its lock"
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return f"it is corrupt ({text}); delete the folder to begin anew"
    if isinstance(error, (OSError, sqlite3.Error)):
        return text
    return f"it is not a cache of ours ({type(error).__name__}: {text}); delete the folder to begin anew"


def open_disk(
    *, folder: Path, max_entries: int, eviction: Eviction, clock: Clock, worker: Callable[[], Worker]
) -> DiskStore:
    """A store in `folder`, which is made when it is first used."""
    return DiskStore(folder, max_entries, eviction, clock, worker)


DISK = StoreType(name="disk", summary="In one SQLite file; outlives the process, shared by processes.", open=open_disk)
