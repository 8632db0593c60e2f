"""Does the mock server limit anybody? Bare sockets against raw aiohttp: both ratios are to be well above 1."""

from __future__ import annotations

import asyncio
import socket
from time import perf_counter
from urllib.parse import urlsplit

from benchmarks.baseline import Raw, raw
from benchmarks.harness import Row, mock_server, rounds, row
from benchmarks.measures import chunk_rate, question
from benchmarks.server import streamed, whole
from benchmarks.stream import CHUNKS

CALLS = 800
IN_FLIGHT = 16


class Bare:
    """A connection that knows how long each answer is and looks at none; `IN_FLIGHT` requests are sent at once."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self._socket = socket.create_connection((where.hostname, where.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(1 << 18)

    def _receive(self, size: int) -> None:
        while size > 0:
            size -= self._socket.recv_into(self._buffer)

    async def calls(self) -> float:
        """Whole answers a second."""
        requests = _request("/v1/chat/completions", b'{"stream":false}' + b" " * 250) * IN_FLIGHT
        began = perf_counter()
        for _ in range(CALLS // IN_FLIGHT):
            self._socket.sendall(requests)
            self._receive(len(whole()) * IN_FLIGHT)
        return CALLS // IN_FLIGHT * IN_FLIGHT / (perf_counter() - began)

    async def chunks(self) -> float:
        """Content chunks a second of one long stream."""
        began = perf_counter()
        self._socket.sendall(_request(f"/chunks/{CHUNKS}/v1/chat/completions", b'{"stream":true}'))
        self._receive(sum(map(len, streamed(CHUNKS))))
        return CHUNKS / (perf_counter() - began)

    def close(self) -> None:
        self._socket.close()


def _request(path: str, body: bytes) -> bytes:
    return b"POST %s HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (path.encode(), len(body), body)


async def speed(baseline: Raw) -> float:
    """Whole answers a second of raw aiohttp, one after the other."""
    began = perf_counter()
    for _ in range(CALLS):
        await baseline.ask(question())
    return CALLS / (perf_counter() - began)


async def measure(url: str) -> list[Row]:
    bare = Bare(url)
    async with raw(f"{url}/v1") as calls, raw(f"{url}/chunks/{CHUNKS}/v1") as streams:
        values = await rounds(
            {
                "raw calls": lambda: speed(calls),
                "bare calls": bare.calls,
                "raw chunks": lambda: chunk_rate(lambda: streams.stream(question()), CHUNKS),
                "bare chunks": bare.chunks,
            }
        )
    bare.close()
    return [
        row(f"server, {each} a second", "bare socket", values[f"bare {each}"], values[f"raw {each}"], unit="/s")
        for each in ("calls", "chunks")
    ]


def main() -> list[Row]:
    with mock_server() as url:
        return asyncio.run(measure(url))
