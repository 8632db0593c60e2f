"""The client of OpenAI, on aiohttp, which its documentation recommends for many requests at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from openai import DEFAULT_CONNECTION_LIMITS, AsyncOpenAI, DefaultAioHttpClient

from benchmarks.measures import Ask
from benchmarks.peers.worker import KEY, MODEL, PATIENCE, Side, contents, main, messages


@asynccontextmanager
async def client(url: str, **options: Any) -> AsyncIterator[AsyncOpenAI]:
    http = DefaultAioHttpClient(timeout=PATIENCE, **options)
    async with AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, http_client=http) as opened:
        yield opened


async def answer(opened: AsyncOpenAI, text: str) -> str:
    whole = await opened.chat.completions.create(model=MODEL, messages=messages(text), temperature=0, max_tokens=120)
    return str(whole.choices[0].message.content)


@asynccontextmanager
async def ask(url: str) -> AsyncIterator[Ask]:
    async with client(url) as opened:
        yield lambda text: answer(opened, text)


@asynccontextmanager
async def crowd(url: str) -> AsyncIterator[Ask]:
    limits = type(DEFAULT_CONNECTION_LIMITS)(max_connections=None, max_keepalive_connections=None)
    async with client(url, limits=limits) as opened:
        yield lambda text: answer(opened, text)


@asynccontextmanager
async def stream(url: str) -> AsyncIterator[Callable[[str], AsyncIterator[str]]]:
    async with client(url) as opened:

        async def texts(text: str) -> AsyncIterator[str]:
            chunks = await opened.chat.completions.create(
                model=MODEL, messages=messages(text), temperature=0, max_tokens=120, stream=True
            )
            async for piece in contents(chunks):
                yield piece

        yield texts


SIDE = Side(ask=ask, crowd=crowd, stream=stream, cached="it has no cache", failover="it has no second target")

if __name__ == "__main__":
    main(SIDE)
