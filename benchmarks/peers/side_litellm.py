"""LiteLLM's Router, on aiohttp, its default: no callbacks, no retries, no cool-down of what failed, simple shuffle,
which its documentation recommends where speed counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import litellm
from litellm import Router
from litellm.caching.caching import Cache

from benchmarks.measures import Ask
from benchmarks.peers.worker import KEY, MODEL, PATIENCE, Side, contents, fails, main, messages

litellm.suppress_debug_info = True
litellm.turn_off_message_logging = True


def router(targets: dict[str, str], **options: Any) -> Router:
    """Of one deployment a name."""
    settings = {"model": f"openai/{MODEL}", "api_key": KEY, "timeout": PATIENCE}
    models = [{"model_name": name, "litellm_params": {**settings, "api_base": url}} for name, url in targets.items()]
    return Router(model_list=models, num_retries=0, disable_cooldowns=True, **options)


def asking(opened: Router, name: str) -> Ask:
    async def answer(text: str) -> str:
        whole = await opened.acompletion(model=name, messages=messages(text), temperature=0, max_tokens=120)
        return str(whole.choices[0].message.content)

    return answer


@asynccontextmanager
async def ask(url: str) -> AsyncIterator[Ask]:
    yield asking(router({"good": url}), "good")


@asynccontextmanager
async def cached(url: str) -> AsyncIterator[Ask]:
    litellm.cache = Cache(type="local")
    yield asking(router({"good": url}, cache_responses=True), "good")


@asynccontextmanager
async def failover(url: str) -> AsyncIterator[Ask]:
    yield asking(router({"bad": fails(url), "good": url}, fallbacks=[{"bad": ["good"]}]), "bad")


@asynccontextmanager
async def stream(url: str) -> AsyncIterator[Callable[[str], AsyncIterator[str]]]:
    opened = router({"good": url})

    async def texts(text: str) -> AsyncIterator[str]:
        chunks = await opened.acompletion(
            model="good", messages=messages(text), temperature=0, max_tokens=120, stream=True
        )
        async for piece in contents(chunks):
            yield piece

    yield texts


SIDE = Side(ask=ask, crowd=ask, stream=stream, cached=cached, failover=failover)

if __name__ == "__main__":
    main(SIDE)
