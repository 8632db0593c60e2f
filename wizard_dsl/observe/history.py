"""The run store: what every run did, kept in the project for `wizard explain`, `wizard repro` and `wizard history`.

    async with wizard.open("triage.yaml", history=wizard.History()) as pipeline:
        await pipeline.run(ticket="…")

A run is written once it has ended, failed and interrupted ones too, by a thread of its own: no run waits for the disk,
and a database that cannot be used is told once for each outage and fails no run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wizard_dsl.observe.history_file import HISTORY, HistoryFile
from wizard_dsl.observe.history_record import encode
from wizard_dsl.stores._worker import Inline, Thread, Worker

if TYPE_CHECKING:
    from wizard_dsl.core.clock import Clock
    from wizard_dsl.core.record import Record, Setup

#: Seconds that the end of a runtime waits for the disk at most.
_PATIENCE: Final = 3.0
#: Runs of one runtime that wait to be written at most.
MOST_WAITING: Final = 1000


class History:
    """Records runs in `path`, by default the file `.wizard/history.db` of the pipeline's project. `wall`
    says when a run that is not in real time took place; by default its own clock does."""

    def __init__(self, path: str | Path | None = None, *, wall: Callable[[], float] | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._wall = wall

    def start(self, setup: Setup, clock: Clock, tell: Callable[[str], None]) -> Writer:
        """See core.record.Chronicle."""
        path = Path(setup.root) / HISTORY if self.path is None else self.path
        virtual = getattr(asyncio.get_running_loop(), "virtual", False)
        worker: Worker = Inline(clock) if virtual else Thread()
        return Writer(HistoryFile(path), worker, self._wall, tell)


class Writer:
    """The loop's side of one runtime's history."""

    def __init__(
        self, file: HistoryFile, worker: Worker, wall: Callable[[], float] | None, tell: Callable[[str], None]
    ) -> None:
        self._file = file
        self._worker = worker
        self._wall = wall
        self._tell = tell
        self._pending: set[asyncio.Future[None]] = set()
        self._outage = False
        self._used = False

    def ended(self, record: Record) -> None:
        """Hand it to the worker, unless too many wait for it already: memory must not grow with a slow disk."""
        if len(self._pending) >= MOST_WAITING:
            self._fail(
                f"{MOST_WAITING} runs wait to be written to {self._file.path}; those that end meanwhile are lost"
            )
            return
        self._used = True
        began = record.began if self._wall is None else self._wall()
        future = self._worker.submit(partial(_write, self._file, record, began))
        self._pending.add(future)
        future.add_done_callback(self._written)

    def _written(self, future: asyncio.Future[None]) -> None:
        self._pending.discard(future)
        error = None if future.cancelled() else future.exception()
        if error is None:
            self._outage = False
        else:
            self._fail(str(error))

    def _fail(self, reason: str) -> None:
        """Told once for each outage."""
        first, self._outage = not self._outage, True
        if first:
            self._tell(reason)

    async def written(self) -> None:
        """Wait until all that was handed over is written, for three seconds at most."""
        if self._pending:
            await asyncio.wait(set(self._pending), timeout=_PATIENCE)

    async def aclose(self) -> None:
        """Nothing more comes: wait as `written` does, and let go of the file and the thread."""
        if not self._used:
            return
        await self.written()
        await asyncio.wait([self._worker.submit(self._file.close)], timeout=_PATIENCE)
        self._worker.close()


def _write(file: HistoryFile, record: Record, began: float) -> None:
    stored, text = encode(record, began)
    file.add(stored, text)
