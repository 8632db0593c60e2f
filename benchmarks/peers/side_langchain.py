"""LangChain's ChatOpenAI on OpenAI's client over aiohttp, which makes it faster: no retries, no tracing, and its own
cache in memory and fallbacks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.caches import InMemoryCache
from langchain_openai import ChatOpenAI
from openai import DEFAULT_CONNECTION_LIMITS, DefaultAioHttpClient

from benchmarks.measures import Ask
from benchmarks.peers.worker import KEY, MODEL, PATIENCE, SYSTEM, Side, fails, main


@asynccontextmanager
async def http(**options: Any) -> AsyncIterator[Any]:
    async with DefaultAioHttpClient(timeout=PATIENCE, **options) as client:
        yield client


def chat(url: str, client: Any, **options: Any) -> Any:
    return ChatOpenAI(
        model=MODEL,
        base_url=url,
        api_key=KEY,
        temperature=0,
        max_tokens=120,
        max_retries=0,
        timeout=PATIENCE,
        http_async_client=client,
        **options,
    )


def asking(model: Any) -> Ask:
    async def answer(text: str) -> str:
        return str((await model.ainvoke([("system", SYSTEM), ("human", text)])).content)

    return answer


@asynccontextmanager
async def ask(url: str) -> AsyncIterator[Ask]:
    async with http() as client:
        yield asking(chat(url, client))


@asynccontextmanager
async def crowd(url: str) -> AsyncIterator[Ask]:
    limits = type(DEFAULT_CONNECTION_LIMITS)(max_connections=None, max_keepalive_connections=None)
    async with http(limits=limits) as client:
        yield asking(chat(url, client))


@asynccontextmanager
async def cached(url: str) -> AsyncIterator[Ask]:
    async with http() as client:
        yield asking(chat(url, client, cache=InMemoryCache()))


@asynccontextmanager
async def failover(url: str) -> AsyncIterator[Ask]:
    async with http() as client:
        yield asking(chat(fails(url), client).with_fallbacks([chat(url, client)]))


@asynccontextmanager
async def stream(url: str) -> AsyncIterator[Callable[[str], AsyncIterator[str]]]:
    async with http() as client:
        model = chat(url, client)

        async def texts(text: str) -> AsyncIterator[str]:
            async for chunk in model.astream([("system", SYSTEM), ("human", text)]):
                yield chunk.content

        yield texts


SIDE = Side(ask=ask, crowd=crowd, stream=stream, cached=cached, failover=failover)

if __name__ == "__main__":
    main(SIDE)
