"""Cassettes of providers over HTTP: a transport that answers from the tape, or asks the network and listens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from wizard_dsl.core.http import ConnectFailed, ConnectionLost, HttpRequest, HttpResponse, PoolConfig, PoolFigures
from wizard_dsl.testing._cassette_match import of_http
from wizard_dsl.testing._cassette_waits import Waits

if TYPE_CHECKING:
    from wizard_dsl.core.clock import Clock
    from wizard_dsl.core.http import Transport
    from wizard_dsl.testing._cassette_lines import Exchange
    from wizard_dsl.testing._cassette_take import Take
    from wizard_dsl.testing._cassette_tape import Played, Tape

#: How long after the moment at which a recorded exchange was given up it still may be, in milliseconds: what it would
#: have said then is not known.
PATIENCE = 1000


class TapeTransport:
    """The transport of one target; `live` makes the exchanges that are recorded. See core.http.Transport."""

    def __init__(self, tape: Tape, live: Transport, clock: Clock, *, target: str, base_url: str) -> None:
        self._tape = tape
        self._live = live
        self._clock = clock
        self._target = target
        self._base_url = base_url

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Raises CassetteMiss where the tape has no answer and nothing is recorded."""
        asked, *others = (of_http(request, self._base_url, each) for each in self._tape.redactions)
        played = self._tape.play(self._target, (asked, *others), stream=request.stream)
        if played is not None:
            return await _replay(played, Waits(self._clock))
        take = self._tape.begin(self._clock, self._target, asked, stream=request.stream)
        try:
            response = await self._live.send(request)
        except ConnectFailed as error:
            take.fail("refused", str(error), sent=False)
            raise
        except ConnectionLost as error:
            take.fail("stale" if error.stale else "lost", str(error), sent=None)
            raise
        except BaseException:
            take.cancel()
            raise
        take.answered(response.status, response.headers)
        return _Recorded(response, take)

    def configure(self, pool: str, config: PoolConfig) -> None:
        self._live.configure(pool, config)

    def figures(self) -> list[PoolFigures]:
        return self._live.figures()

    async def close(self) -> None:
        await self._live.close()


class _Recorded:
    """An answer that is listened to."""

    def __init__(self, response: HttpResponse, take: Take) -> None:
        self._response = response
        self._take = take
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def read_some(self) -> bytes:
        try:
            data = await self._response.read_some()
        except ConnectionLost as error:
            self._take.fail("lost", str(error))
            raise
        if data:
            self._take.chunk(data)
        else:
            self._take.end()
        return data

    def abort(self) -> None:
        self._take.cancel()
        self._response.abort()

    def release(self) -> None:
        self._response.release()


async def _replay(played: Played, waits: Waits) -> HttpResponse:
    exchange = played.exchange
    if exchange.status is not None:
        await waits.until(exchange.answered or 0)
        return _Replayed(played, waits)
    if exchange.failed is not None:
        await waits.until(exchange.failed.at)
        if exchange.failed.kind == "refused":
            raise ConnectFailed(exchange.failed.message)
        raise ConnectionLost(exchange.failed.message, stale=exchange.failed.kind == "stale")
    await waits.until((exchange.cancelled or 0) + PATIENCE)
    raise played.cut()


class _Replayed:
    """An answer from the tape."""

    def __init__(self, played: Played, waits: Waits) -> None:
        exchange: Exchange = played.exchange
        assert exchange.status is not None
        self._played = played
        self._exchange = exchange
        self._waits = waits
        self._next = 0
        self.status = exchange.status
        self.headers: Mapping[str, str] = exchange.headers

    async def read_some(self) -> bytes:
        chunks = self._exchange.chunks
        while self._next < len(chunks):
            at, text = chunks[self._next]
            await self._until(at)
            self._next += 1
            if text:  # a piece of which nothing is left, which would look like the end
                return text.encode(self._exchange.encoding or "utf-8")
        return await self._ending()

    async def _ending(self) -> bytes:
        exchange = self._exchange
        if exchange.end is not None:
            await self._until(exchange.end)
            return b""
        if exchange.failed is not None:
            await self._until(exchange.failed.at)
            raise ConnectionLost(exchange.failed.message)
        await self._until((exchange.cancelled or 0) + PATIENCE)
        raise self._played.cut()

    async def _until(self, milliseconds: int) -> None:
        if not await self._waits.until(milliseconds):
            raise ConnectionLost("the answer was given up")

    def abort(self) -> None:
        self._waits.give_up()

    def release(self) -> None:
        """There is no connection."""
