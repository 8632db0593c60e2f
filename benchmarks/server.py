"""A server that speaks the OpenAI chat protocol and limits nobody: precomputed bytes, no HTTP library.

    POST /v1/chat/completions             a whole answer, or, where the body asks for it, a stream of 20 chunks
    POST /chunks/N/v1/chat/completions    likewise, with N content chunks, each an HTTP chunk of its own
    POST /first/v1/chat/completions       likewise, with the first content at once and all else a moment later
    POST /wait/N/v1/chat/completions      likewise, all but a first content after N milliseconds
    POST /fail/v1/chat/completions        a status of 500

Run as a program, with the number of its core, it prints its port and serves until its standard input closes.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import sys
from functools import cache
from typing import Any

_ROUTE = re.compile(rb"POST (?:/chunks/(\d+)|(/first)|/wait/(\d+)|(/fail))?/v1/chat/completions ")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_DEFAULT_CHUNKS = 20
#: As many as the fullest question has open at once, and some.
SOCKETS = 12_000
_MOMENT = 0.002  # seconds: whoever measures the first chunk has had it by then
#: Bytes handed to the socket at once: what a busy provider's proxy would put into a few segments.
_WRITE = 64 * 1024

_HEAD = b'{"id":"chatcmpl-1","object":"chat.completion%s","created":1767225600,"model":"mock","choices":[{"index":0,'
_TEXT = "The sky is blue because air scatters short waves of light more than long ones. " * 4
_WHOLE = (
    _HEAD % b""
    + b'"message":{"role":"assistant","content":"%s"},"finish_reason":"stop"}],' % _TEXT.encode()
    + b'"usage":{"prompt_tokens":42,"completion_tokens":64,"total_tokens":106}}'
)
_FAILED = (
    b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\ncontent-length: 54\r\n\r\n"
    b'{"error":{"message":"it broke","type":"server_error"}}'
)
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"


@cache
def whole() -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req-1\r\ncontent-length: %d\r\n\r\n"
    return head % len(_WHOLE) + _WHOLE


@cache
def streamed(count: int) -> tuple[bytes, ...]:
    """The bytes of a stream with `count` content chunks, as pieces to write: up to the first content, the rest."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    events = [_chunk(b'"delta":{"role":"assistant","content":""},"finish_reason":null}]}')]
    events += [_chunk(b'"delta":{"content":"word%d "},"finish_reason":null}]}' % (at % 1000)) for at in range(count)]
    events.append(_chunk(b'"delta":{},"finish_reason":"stop"}]}'))
    events.append(b'data: {"choices":[],"usage":{"prompt_tokens":42,"completion_tokens":%d}}\n\n' % count)
    events.append(b"data: [DONE]\n\n")
    framed = [b"%x\r\n%s\r\n" % (len(event), event) for event in events]
    body = b"".join(framed[2:]) + b"0\r\n\r\n"
    return (head + framed[0] + framed[1], *(body[at : at + _WRITE] for at in range(0, len(body), _WRITE)))


def _chunk(rest: bytes) -> bytes:
    return b"data: " + _HEAD % b".chunk" + rest + b"\n\n"


class Connection(asyncio.Protocol):
    """One kept-alive connection; requests are answered in order."""

    def __init__(self) -> None:
        self._seen = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._seen += data
        while (border := self._seen.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._seen, 0, border + 2)
            end = border + 4 + (int(length[1]) if length else 0)
            if len(self._seen) < end:
                return
            self._answer(self._seen[:border], self._seen[border + 4 : end])
            self._seen = self._seen[end:]

    def _answer(self, head: bytes, body: bytes) -> None:
        route = _ROUTE.match(head)
        if route is None:
            self._transport.write(_NOT_FOUND)
        elif route[4]:
            self._transport.write(_FAILED)
        elif b'"stream":true' in body:
            first, *rest = streamed(int(route[1] or _DEFAULT_CHUNKS))
            self._transport.write(first)
            if wait := _MOMENT if route[2] else int(route[3] or 0) / 1000:
                asyncio.get_running_loop().call_later(wait, self._transport.writelines, rest)
            else:
                self._transport.writelines(rest)
        elif route[3]:
            asyncio.get_running_loop().call_later(int(route[3]) / 1000, self._transport.write, whole())
        else:
            self._transport.write(whole())


def pin(core: int) -> None:
    """Keep this process on one of the cores it may use, where there are two."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) > 1:
            os.sched_setaffinity(0, {cores[core % len(cores)]})


def open_files(count: int) -> str:
    """Let this process have that many sockets. Returns a sentence where the system does not: how many it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count:
        return ""
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return "" if hard >= count else f"RLIMIT_NOFILE is {hard}, {count} are needed"
    return ""


async def serve() -> None:
    loop = asyncio.get_running_loop()
    open_files(SOCKETS)
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    pin(int(sys.argv[1]))
    asyncio.run(serve())
