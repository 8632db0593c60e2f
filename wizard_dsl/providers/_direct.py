"""A request written straight onto a connection of aiohttp: its pool, its sockets and its parser, without the objects
that `ClientSession.request` makes of each request, which cost as much again as all the rest.

It uses what aiohttp does not promise to keep. So it is for the releases it was tried with, for plain POSTs without a
proxy, and everything else takes the session's way, which gives the same answers (tests/servers/test_direct.py compares
them).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp.connector import Connection
from aiohttp.helpers import TimerNoop
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_writer import _serialize_headers
from multidict import CIMultiDict
from yarl import URL

#: The releases of aiohttp whose connector, protocol and parser this was written for.
TRIED = ("3.14.",)


def is_tried() -> bool:
    """Whether the installed aiohttp is one of these."""
    return aiohttp.__version__.startswith(TRIED)


class Road:
    """The way to one URL. `limits` are the keyword arguments of ResponseHandler.set_response_params."""

    __slots__ = ("_connector", "_head", "_headers", "_key", "_limits", "_line", "_request")

    def __init__(self, url: URL, connector: aiohttp.BaseConnector, **limits: Any) -> None:
        self._connector = connector
        self._request = aiohttp.ClientRequest("POST", url, loop=connector._loop, skip_auto_headers=_NOT_OURS)
        del self._request.headers["Content-Length"]  # of no body
        self._key = self._request.connection_key
        self._line = f"POST {url.raw_path_qs} HTTP/1.1"
        self._limits = limits
        self._headers: Mapping[str, str] | None = None
        self._head = b""

    async def send(
        self,
        headers: Mapping[str, str],
        body: bytes,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's
    ) -> Exchange:
        """Write the request, and wait for the head of its answer. Raises what `ClientSession.request` raises."""
        head = self._head if headers == self._headers else self._written(headers)
        connection = await self._connector._get(self._key, []) or await self._connect(timeout)
        try:
            protocol = connection.protocol
            transport = None if protocol is None else protocol.transport
            if protocol is None or transport is None or transport.is_closing():
                raise aiohttp.ClientConnectionResetError("the connection is closing")
            protocol.set_response_params(timer=_NO_TIMER, **self._limits)
            transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
            return await self._answer(connection)
        except BaseException:
            connection.close()
            raise

    async def _connect(self, timeout: aiohttp.ClientTimeout) -> Connection:  # noqa: ASYNC109 - aiohttp's
        try:
            return await self._connector.connect(self._request, [], timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError("no connection in time") from error

    async def _answer(self, connection: Connection) -> Exchange:
        """The first head that is not provisional (100 to 199)."""
        protocol = connection.protocol
        assert protocol is not None
        while True:
            try:
                message, content = await protocol.read()
            except HttpProcessingError as error:
                raise aiohttp.ClientResponseError(
                    self._request.request_info, (), status=error.code, message=error.message, headers=error.headers
                ) from error
            if message.code < 100 or message.code > 199 or message.code == 101:
                return Exchange(connection, message.code, message.headers, content)

    def _written(self, headers: Mapping[str, str]) -> bytes:
        """The head up to the length of the body. Raises ValueError where a header would break out of its line."""
        all_headers = CIMultiDict(self._request.headers)
        all_headers.update(headers)
        head: bytes = _serialize_headers(self._line, all_headers)
        self._headers, self._head = dict(headers), head[:-2] + b"Content-Length: "
        return self._head


class Exchange:
    """An answer whose body may still arrive: what `_aiohttp._Response` needs of a ClientResponse."""

    __slots__ = ("_connection", "content", "headers", "status")

    def __init__(self, connection: Connection, status: int, headers: Mapping[str, str], content: Any) -> None:
        self._connection: Connection | None = connection
        self.status = status
        self.headers = headers
        self.content = content
        content.on_eof(self._ended)

    def _ended(self) -> None:
        """The body is whole. A server that answered before it had read all cannot be asked anything else."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        transport = connection.transport
        if transport is not None and transport.get_write_buffer_size():
            transport.abort()  # what is left of the request is not waited for
            connection.close()
        else:
            connection.release()

    def close(self) -> None:
        """Wake who reads, who then gets ClientConnectionError; the connection is not used again."""
        self._wake()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def release(self) -> None:
        """Give the connection back, which closes it where the body was not read to its end."""
        self._wake()
        self._ended()

    def _wake(self) -> None:
        if self.content.exception() is None:
            self.content.set_exception(aiohttp.ClientConnectionError("Connection closed"))


_NO_TIMER = TimerNoop()
_NOT_OURS = ("User-Agent", "Content-Type")
