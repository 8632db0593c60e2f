"""Raw aiohttp, which all are compared with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from benchmarks.baseline import raw
from benchmarks.failover import either
from benchmarks.measures import Ask
from benchmarks.peers.worker import Side, fails, main


@asynccontextmanager
async def ask(url: str) -> AsyncIterator[Ask]:
    async with raw(url) as baseline:
        yield baseline.ask


@asynccontextmanager
async def crowd(url: str) -> AsyncIterator[Ask]:
    async with raw(url, limit=0) as baseline:
        yield baseline.ask


@asynccontextmanager
async def stream(url: str) -> AsyncIterator[Callable[[str], AsyncIterator[str]]]:
    async with raw(url) as baseline:
        yield baseline.stream


@asynccontextmanager
async def failover(url: str) -> AsyncIterator[Ask]:
    async with raw(fails(url)) as bad, raw(url) as good:
        yield lambda text: either(bad, good, text)


SIDE = Side(ask=ask, crowd=crowd, stream=stream, cached="it has no cache", failover=failover)

if __name__ == "__main__":
    main(SIDE)
