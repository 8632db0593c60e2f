"""stdout as a consumer of a stream: written to when it takes what is written, so that a reader that stalls holds back
the answer and nothing else."""

from __future__ import annotations

import asyncio
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wizard_dsl.runtime.stream import Stream


class Outlet:
    """The process's stdout. What is no pipe, socket or terminal always has room, and so has all in virtual time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._number: int | None = None
        if not getattr(self._loop, "virtual", False):
            with suppress(OSError, ValueError, AttributeError):  # closed, or replaced by something without a number
                self._number = sys.stdout.fileno()

    def has_room(self) -> bool:
        """Whether a short text can be written now without waiting."""
        if self._number is None:
            return True
        try:
            return bool(select.select([], [self._number], [], 0)[1])
        except (OSError, ValueError):
            self._number = None
            return True

    async def room(self, stream: Stream) -> bool:
        """Wait for room. False where the run behind `stream` has ended because it was waited for too long."""
        while not self.has_room():
            if stream.overflowed:
                return False
            await self._wait(stream)
        return True

    async def _wait(self, stream: Stream) -> None:
        assert self._number is not None
        free = self._loop.create_future()
        try:
            self._loop.add_writer(self._number, _settle, free)
        except OSError:  # nothing that can be waited for
            self._number = None
            return
        over = asyncio.ensure_future(stream.ended())
        try:
            await asyncio.wait([free] if stream.over else [free, over], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._loop.remove_writer(self._number)
            over.cancel()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
