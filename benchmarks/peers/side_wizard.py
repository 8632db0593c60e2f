"""Wizard: the pipelines of the other questions, with everything on, or with `bare` as argument without policies."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from benchmarks.measures import Ask
from benchmarks.peers.worker import Side, main
from benchmarks.stream import pieces
from benchmarks.subject import opened

Texts = Callable[[str], AsyncIterator[str]]


def asks(file: str) -> Callable[[str], AbstractAsyncContextManager[Ask]]:
    @asynccontextmanager
    async def ask(url: str) -> AsyncIterator[Ask]:
        async with opened(file, url) as pipeline:

            async def text_of(text: str) -> str:
                return (await pipeline.run(question=text)).text

            yield text_of

    return ask


def streams(file: str) -> Callable[[str], AbstractAsyncContextManager[Texts]]:
    @asynccontextmanager
    async def stream(url: str) -> AsyncIterator[Texts]:
        async with opened(file, url) as pipeline:
            yield lambda text: pieces(pipeline, text)

    return stream


FULL = Side(
    ask=asks("full.yaml"),
    crowd=asks("crowd.yaml"),
    stream=streams("full.yaml"),
    cached=asks("full.yaml"),
    failover=asks("failover.yaml"),
)
_POLICY = "that is a policy"
BARE = Side(ask=asks("bare.yaml"), crowd=_POLICY, stream=streams("bare.yaml"), cached=_POLICY, failover=_POLICY)

if __name__ == "__main__":
    main(BARE if "bare" in sys.argv[1:] else FULL)
