"""A transport without a network: each request takes the next scripted reply.

It stands below all policies, so a test drives the real ladder; with virtual time its delays cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.http import ConnectFailed, ConnectionLost, HttpRequest, HttpResponse, PoolConfig, PoolFigures

if TYPE_CHECKING:
    from asyncio import Future


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One scripted exchange. `body` arrives at once; `chunks` are (seconds to wait, bytes) one after the other.

    `refuse` fails to connect, `lost` breaks the connection: before the headers with True, after the chunks with
    "body", on a kept-alive connection that proved dead with "stale". `stall`: the body never ends. `delay` is
    what the headers take, in seconds.
    """

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b""
    chunks: tuple[tuple[float, bytes], ...] = ()
    delay: float = 0.0
    refuse: bool = False
    lost: bool | str = False
    stall: bool = False


class ScriptedTransport:
    """See the module. `sent` holds the requests that came, `aborted` how many answers were given up."""

    def __init__(self, replies: Iterable[Reply] = ()) -> None:
        self._replies = list(replies)
        self.sent: list[HttpRequest] = []
        self.aborted = 0
        self.released = 0

    def add(self, *replies: Reply) -> None:
        """Append to the script."""
        self._replies.extend(replies)

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.sent.append(request)
        if not self._replies:
            raise AssertionError(f"no reply is scripted for {request.method} {request.url}")
        reply = self._replies.pop(0)
        if reply.delay:
            await LoopClock().sleep(reply.delay)
        if reply.refuse:
            raise ConnectFailed("connection refused")
        if reply.lost in (True, "stale"):
            raise ConnectionLost("the server disconnected", stale=reply.lost == "stale")
        return ScriptedResponse(reply, self)

    def configure(self, pool: str, config: PoolConfig) -> None:
        """Pools have no meaning here."""

    def figures(self) -> list[PoolFigures]:
        return []

    async def close(self) -> None:
        self._replies.clear()


class ScriptedResponse:
    """The answer to one request; a cancelled read loses nothing."""

    def __init__(self, reply: Reply, transport: ScriptedTransport) -> None:
        self.status = reply.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in reply.headers.items()}
        self._reply = reply
        self._chunks = [*([(0.0, reply.body)] if reply.body else []), *reply.chunks]
        self._transport = transport
        self._clock = LoopClock()
        self._due: float | None = None
        self._waiter: Future[Any] | None = None
        self._aborted = False

    async def read_some(self) -> bytes:
        if self._aborted:
            raise ConnectionLost("the answer was given up")
        if self._chunks:
            delay, data = self._chunks[0]
            await self._wait(delay)
            self._chunks.pop(0)
            self._due = None
            return data
        if self._reply.stall:
            await self._wait(None)
        if self._reply.lost == "body":
            raise ConnectionLost("the connection broke")
        return b""

    async def _wait(self, delay: float | None) -> None:
        if delay == 0.0:
            return
        now = self._clock.now()
        if self._due is None and delay is not None:
            self._due = now + delay
        self._waiter = self._clock.future()
        timer = self._clock.call_at(self._due, _wake, self._waiter) if self._due is not None else None
        try:
            await self._waiter
        finally:
            if timer is not None:
                timer.cancel()
            self._waiter = None

    def abort(self) -> None:
        if not self._aborted:
            self._aborted = True
            self._transport.aborted += 1
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_exception(ConnectionLost("the answer was given up"))

    def release(self) -> None:
        if not self._aborted:
            self._transport.released += 1


def _wake(waiter: Future[Any]) -> None:
    if not waiter.done():
        waiter.set_result(None)
