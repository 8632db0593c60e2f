"""How much memory does one more take: a call in flight, an open stream, a cached entry, a session? Of thousands each.

Each kind has a process of its own, `python -m benchmarks.memory KIND SIDE URL COUNT`, that prints kB for each. Calls in
flight and streams are compared with raw aiohttp; a stream is open, with its first chunk read.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.baseline import raw
from benchmarks.harness import HERE, Row, figure, mock_server, rounds, row
from benchmarks.measures import crowd, question, resident
from benchmarks.scale import text
from benchmarks.server import SOCKETS, open_files
from benchmarks.subject import opened

ROUNDS = 3
COUNTS = {"in flight": 2000, "stream": 1000, "cached entry": 20_000, "session": 5000}
#: A call of these takes so long that all are in flight, or open, at once.
WAIT = "/wait/8000/v1"


@asynccontextmanager
async def asking(side: str, url: str) -> AsyncIterator[Any]:
    """The side's own object, with a connection made."""
    if side == "raw":
        async with raw(url, limit=0) as baseline:
            yield baseline.ask, baseline.stream
    else:
        async with opened("crowd.yaml", url) as pipeline:

            async def pieces(text: str) -> AsyncIterator[str]:
                async with pipeline.stream(question=text) as stream:
                    async for delta in stream:
                        yield delta.text

            yield lambda text: pipeline.run(question=text), pieces


async def in_flight(side: str, url: str, count: int) -> float:
    """MB that many calls take at once."""
    async with asking(side, url) as (ask, _):
        await ask(question())
        before = resident()
        _, errors = await crowd(ask, count, count)
        assert not errors, errors
        return resident("VmHWM") - before


async def streams(side: str, url: str, count: int) -> float:
    """MB that many streams take that are open."""
    async with asking(side, url) as (_, begin):
        async for _ in begin(question()):
            pass
        before = resident()
        begun = [begin(question()) for _ in range(count)]
        await asyncio.gather(*(anext(each) for each in begun))
        grown = resident() - before
        await asyncio.gather(*(_to_end(each) for each in begun))
        return grown


async def _to_end(stream: AsyncIterator[str]) -> None:
    async for _ in stream:
        pass


async def kept(kind: str, count: int, call: Callable[[Any, int], Awaitable[Any]]) -> float:
    """MB that stay after so many runs of one of `scale`'s pipelines, the first few left out."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "kept.yaml"
        path.write_text(text(kind))
        async with opened(path) as pipeline:
            for number in range(200):
                await call(pipeline, -number)
            gc.collect()
            before = resident()
            for number in range(1, count + 1):
                await call(pipeline, number)
            gc.collect()
            return resident() - before


async def grown(kind: str, side: str, url: str, count: int) -> float:
    """MB of all of a kind."""
    if kind == "in flight":
        return await in_flight(side, url, count)
    if kind == "stream":
        return await streams(side, url, count)
    if kind == "cached entry":
        return await kept("cached", count, lambda pipeline, number: pipeline.run(question=str(number)))
    return await kept("sessions", count, lambda pipeline, number: pipeline.run(question="Why?", session=str(number)))


def apart(kind: str, side: str, url: str) -> Callable[[], Awaitable[float]]:
    """kB for each of a kind, in a process of its own."""
    count = COUNTS[kind]
    command = [sys.executable, "-m", "benchmarks.memory", kind, side, url, str(count)]

    async def measure() -> float:
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=HERE.parent)
        return float(done.stdout) * 1024 / count

    return measure


async def measure(url: str) -> list[Row]:
    sides = {
        (kind, side): apart(kind, side, url) for kind in ("in flight", "stream") for side in ("raw", "everything on")
    }
    sides |= {(kind, ""): apart(kind, "", url) for kind in ("cached entry", "session")}
    values = await rounds({" ".join(key): side for key, side in sides.items()}, ROUNDS, apart=True)
    rows = [
        row(f"memory: {kind}", "everything on", values[f"{kind} everything on"], values[f"{kind} raw"], unit="kB")
        for kind in ("in flight", "stream")
    ]
    rows += [
        figure(f"memory: {kind}", "in process", values[f"{kind} "], unit="kB") for kind in ("cached entry", "session")
    ]
    return rows


def main() -> list[Row]:
    with mock_server() as url:
        return asyncio.run(measure(url + WAIT))


if __name__ == "__main__":
    open_files(SOCKETS)
    print(asyncio.run(grown(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))))
