"""A server that sends exactly the bytes it is told."""

from __future__ import annotations

import asyncio
import contextlib


class RawServer:
    """Answers each request with the next action of `script`: bytes to send, a number of seconds to wait, `close`,
    or `hang`. A list is one request; connections stay open between requests."""

    def __init__(self, script):
        self.script = list(script)
        self.requests = []
        self.connections = 0
        self.lost = asyncio.Event()
        self._server = None
        self._writers = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *exc):
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        self.connections += 1
        self._writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0
                )
                self.requests.append(head + await reader.readexactly(size))
                if not await self._answer(reader, writer, self.script.pop(0)):
                    break
        writer.close()

    async def _answer(self, reader, writer, actions):
        for action in actions:
            if isinstance(action, bytes):
                writer.write(action)
                await writer.drain()
            elif action == "hang":
                await reader.read(1)
                self.lost.set()
                return False
            elif action == "close":
                return False
            else:
                await asyncio.sleep(action)
        return True


async def read_all(answer):
    """The whole body."""
    parts = []
    while data := await answer.read_some():
        parts.append(data)
    return b"".join(parts)


def response(body=b"", *, status=200, type="application/json", extra=b""):
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {type}\r\ncontent-length: {len(body)}\r\n".encode()
    return head + extra + b"\r\n" + body


def chunked(*pieces, type="text/event-stream", end=True):
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {type}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return head + body + (b"0\r\n\r\n" if end else b"")
