"""The run store's file: one row a run, in one SQLite database of the project.

Everything here blocks, and raises HistoryUnavailable alone. Runs are told apart by their id; those that a seed gave the
same id are all kept, and the newest is meant.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

import msgspec

from wizard_dsl.observe.history_record import Stored, decode

T = TypeVar("T")

#: Where the history of a project lies, below its root.
HISTORY: Final = ".wizard/history.db"
#: Of the tables. A database that says more was made by a later version, and is left alone.
SCHEMA_VERSION: Final = 1
#: Characters of an id that are shown at least.
SHORTEST: Final = 4
#: Seconds that another process's lock is waited for.
_PATIENCE: Final = 2.0

_SCHEMA: Final = """
CREATE TABLE runs(
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, began REAL NOT NULL, file TEXT NOT NULL,
    name TEXT NOT NULL, hash TEXT NOT NULL, kind TEXT NOT NULL, elapsed REAL NOT NULL, attempts INTEGER NOT NULL,
    cost REAL, served_by TEXT, record TEXT NOT NULL) STRICT;
CREATE INDEX runs_by_id ON runs(id, seq);
CREATE INDEX runs_by_time ON runs(began);
"""
_COLUMNS: Final = "id, began, file, name, hash, kind, elapsed, attempts, cost, served_by"


class HistoryUnavailable(Exception):
    """Why the database cannot be used, and what to do."""


class Row(msgspec.Struct, frozen=True):
    """A recorded run without its story. `kind` is ok or an error kind, `began` seconds since the epoch."""

    id: str
    began: float
    file: str
    name: str
    hash: str
    kind: str
    elapsed: float
    attempts: int
    cost: float | None
    served_by: str | None


class HistoryFile:
    """Opened for each piece of work that reads, and kept open by one that writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database: sqlite3.Connection | None = None

    # -- writing --------------------------------------------------------------------------------------

    def add(self, stored: Stored, record: bytes) -> None:
        """Append a run."""
        self._attempt(lambda: self._add(stored, record))

    def _add(self, stored: Stored, record: bytes) -> None:
        result = stored.result
        row = (
            stored.id, stored.began, stored.file, result.pipeline.name, result.pipeline.hash, stored.kind,
            result.elapsed, len(result.attempts), result.cost.usd, result.served_by, record.decode(),
        )  # fmt: skip
        database = self._writable()
        database.execute("BEGIN IMMEDIATE")
        try:
            places = ", ".join("?" * len(row))
            database.execute(f"INSERT INTO runs({_COLUMNS}, record) VALUES ({places})", row)
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:  # a full disk ends it by itself
                database.execute("ROLLBACK")
            raise

    def _writable(self) -> sqlite3.Connection:
        if self._database is None:
            os.makedirs(self.path.parent, mode=0o700, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # nobody else's to read
            self._database = opened = _connected(self.path)
            opened.execute("PRAGMA journal_mode = WAL")
            opened.execute("PRAGMA synchronous = NORMAL")
            if _version(opened) == 0:
                opened.executescript(f"BEGIN IMMEDIATE;{_made_once(opened)}COMMIT;")
        return self._database

    def close(self) -> None:
        """Let go of it, in whatever state it is."""
        database, self._database = self._database, None
        if database is not None:
            database.close()

    # -- reading --------------------------------------------------------------------------------------

    def rows(self, limit: int) -> list[Row]:
        """The newest runs, newest first."""
        return self._read(
            lambda database: [
                Row(*each)
                for each in database.execute(f"SELECT {_COLUMNS} FROM runs ORDER BY seq DESC LIMIT ?", (limit,))
            ],
            [],
        )

    def find(self, ref: str) -> Stored | list[str]:
        """The run that `ref` names: `last`, an id, or the beginning of one. Else the ids that it may mean: none, or
        several."""
        none: Stored | list[str] = []
        return self._read(lambda database: _found(database, ref), none)

    def earlier(self, stored: Stored, limit: int = 50) -> list[Stored]:
        """The runs of the same pipeline before one that was found, newest first."""
        query = (
            "SELECT record FROM runs WHERE seq < (SELECT max(seq) FROM runs WHERE id = ?) AND name = ?"
            " ORDER BY seq DESC LIMIT ?"
        )
        given = (stored.id, stored.result.pipeline.name, limit)
        return self._read(lambda database: [decode(text) for (text,) in database.execute(query, given)], [])

    def short(self, id: str) -> str:
        """The shortest beginning of `id` that means no other run."""
        return self._read(lambda database: _short(database, id), id)

    def _read(self, work: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        """`nothing` where no run was ever recorded here."""
        return self._attempt(lambda: self._looked(work, nothing))

    def _looked(self, work: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        if not self.path.exists():
            return nothing
        with _reading(self.path) as place, closing(_connected(place)) as database:
            return work(database) if _version(database) else nothing

    def _attempt(self, work: Callable[[], T]) -> T:
        """Do `work`; whatever a full disk or a planted file makes SQLite raise says why the history cannot be used."""
        try:
            return work()
        except (sqlite3.Error, OSError, ValueError, TypeError, OverflowError) as error:
            self.close()
            raise HistoryUnavailable(f"the history {self.path} cannot be used: {_what(error)}") from error


@contextmanager
def _reading(path: Path) -> Iterator[Path | str]:
    """What to open in order to read. SQLite makes two files beside a database that it reads, and cannot where nothing
    may be written; where the database alone may not be, it would leave them behind, as files that the owner of the
    database cannot use."""
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    log, index = (path.with_name(path.name + end) for end in ("-wal", "-shm"))
    if _may_be_written(path) or (log.exists() and index.exists()):
        yield path
    elif log.exists() and log.stat().st_size:  # runs that only a recovery brings back: on a copy
        with TemporaryDirectory() as folder:
            for each in (path, log):
                shutil.copyfile(each, Path(folder, each.name))
            yield Path(folder, path.name)
    else:  # nobody has it open, or both files would be there
        yield f"{path.absolute().as_uri()}?mode=ro&immutable=1"


def _may_be_written(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)


def _connected(path: Path | str) -> sqlite3.Connection:
    """`path` is one, or a URI."""
    uri = isinstance(path, str)
    return sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False, uri=uri)


def _version(database: sqlite3.Connection) -> int:
    """0 where nothing was made yet. Raises ValueError for a later one."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise ValueError("a later version of wizard made it; use that one, or move the file away")
    return int(version)


def _made_once(database: sqlite3.Connection) -> str:
    """The schema, in a form that a second process, which waited for the first, finds done."""
    tables = _SCHEMA.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS").replace("INDEX", "INDEX IF NOT EXISTS")
    return f"{tables}PRAGMA user_version = {SCHEMA_VERSION};"


def _found(database: sqlite3.Connection, ref: str) -> Stored | list[str]:
    if ref == "last":
        row = database.execute("SELECT record FROM runs ORDER BY seq DESC LIMIT 1").fetchone()
        return [] if row is None else decode(row[0])
    span = (ref, f"{ref}\U0010ffff")
    ids = [each for (each,) in database.execute("SELECT DISTINCT id FROM runs WHERE id >= ? AND id < ? LIMIT 10", span)]
    if ref not in ids and len(ids) != 1:
        return ids
    id = ref if ref in ids else ids[0]
    (record,) = database.execute("SELECT record FROM runs WHERE id = ? ORDER BY seq DESC LIMIT 1", (id,)).fetchone()
    return decode(record)


def _short(database: sqlite3.Connection, id: str) -> str:
    neighbours = [
        *database.execute("SELECT max(id) FROM runs WHERE id < ?", (id,)).fetchone(),
        *database.execute("SELECT min(id) FROM runs WHERE id > ?", (id,)).fetchone(),
    ]
    return id[: max([SHORTEST, *(_common(id, each) + 1 for each in neighbours if each is not None)])]


def _common(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _what(error: Exception) -> str:
    """What is wrong with the file, and what to do."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return "another process holds its lock"
    if isinstance(error, OSError):
        return error.strerror or text
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return f"it is corrupt ({text}); move it away to begin anew"
    return text
