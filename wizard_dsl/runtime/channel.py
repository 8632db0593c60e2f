"""Between a run and its consumer: who waits for whom, and what is kept meanwhile.

A `Channel` hands over one batch at a time: a consumer that does not take it holds the run back, down to the socket.
A `Buffer` never holds the run back. It keeps so many deltas; one more drops the oldest, or ends the run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

import msgspec

from wizard_dsl.core.errors import Cancelled, StreamBufferFull
from wizard_dsl.core.messages import Delta

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import StreamRule
    from wizard_dsl.core.clock import Clock


class Between(Protocol):
    """What a run puts its batches into, and its consumer gets them from."""

    async def put(self, batch: list[Delta]) -> None:
        """Leave it for the consumer. Raises Cancelled where that has gone away."""

    async def get(self) -> list[Delta] | None:
        """The next deltas, None at the end. Safe to cancel."""

    def close(self) -> None:
        """No more will come, or be read."""


def between(rule: StreamRule, clock: Clock) -> Between:
    """What the `stream` section of a file asks for."""
    return Channel() if rule.when_full == "block" else Buffer(rule, clock)


class Channel:
    """Hands batches from the run to its reader, one at a time: who does not read holds the run back."""

    def __init__(self) -> None:
        self._batch: list[Delta] | None = None
        self._closed = False
        self._full = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    async def put(self, batch: list[Delta]) -> None:
        """Leave it for the reader, once the one before was read."""
        await self._empty.wait()
        if self._closed:
            raise _gone()
        self._batch = batch
        self._empty.clear()
        self._full.set()

    async def get(self) -> list[Delta] | None:
        """The next batch, None at the end; asking for it says that the one before was read. Safe to cancel."""
        while self._batch is None and not self._closed:
            self._full.clear()
            self._empty.set()
            await self._full.wait()
        batch, self._batch = self._batch, None
        return batch

    def close(self) -> None:
        self._closed = True
        self._full.set()
        self._empty.set()


class Buffer:
    """Keeps at most `buffer` deltas that nobody has read. A reset empties it: what it held is void."""

    def __init__(self, rule: StreamRule, clock: Clock) -> None:
        self._size = rule.buffer
        self._drops = rule.when_full == "drop_oldest"
        self._clock = clock
        self._kept: deque[Delta] = deque()
        self._closed = False
        self._some = asyncio.Event()

    async def put(self, batch: list[Delta]) -> None:
        """Keep its deltas. Raises StreamBufferFull where there is no room and none may be dropped."""
        for delta in filter(says_something, batch):
            if len(self._kept) == self._size:
                await self._clock.sleep(0)  # one read may bring more than fits: a reader that waits has its turn
            if self._closed:
                raise _gone()
            self._keep(delta)

    def _keep(self, delta: Delta) -> None:
        if delta.reset:
            self._kept.clear()
        self._kept.append(delta)
        self._some.set()
        if len(self._kept) > self._size:
            if not self._drops:
                self._kept.pop()
                raise StreamBufferFull(f"{self._size} deltas of the stream were not read")
            self._drop()

    def _drop(self) -> None:
        """Drop the oldest; that all before it is void stays said, by the one after it."""
        if self._kept.popleft().reset:
            self._kept[0] = msgspec.structs.replace(self._kept[0], reset=True)

    async def get(self) -> list[Delta] | None:
        while not self._kept and not self._closed:
            self._some.clear()
            await self._some.wait()
        return [self._kept.popleft()] if self._kept else None

    def close(self) -> None:
        self._closed = True
        self._some.set()


def says_something(delta: Delta) -> bool:
    """Whether a consumer has any use for it."""
    return bool(delta.text or delta.reasoning or delta.reset) or delta.tool is not None


def _gone() -> Cancelled:
    return Cancelled("nobody reads the stream any more")
