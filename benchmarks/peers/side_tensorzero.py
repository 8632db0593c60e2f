"""TensorZero's gateway, embedded in the process: observability off, so that it stores nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from tempfile import NamedTemporaryFile
from typing import Any

from tensorzero import AsyncTensorZeroGateway

from benchmarks.measures import Ask
from benchmarks.peers.worker import MODEL, SYSTEM, Side, fails, main

_PARAMS = {"chat_completion": {"temperature": 0, "max_tokens": 120}}
_HEAD = """
[gateway]
observability.enabled = false

[models.model]
routing = [{names}]
"""
_PROVIDER = """
[models.model.providers.{name}]
type = "openai"
model_name = "{model}"
api_base = "{url}/"
api_key_location = "none"
"""


@asynccontextmanager
async def gateway(**targets: str) -> AsyncIterator[AsyncTensorZeroGateway]:
    """With one model, which asks the targets in that order."""
    text = _HEAD.format(names=", ".join(f'"{name}"' for name in targets))
    text += "".join(_PROVIDER.format(name=name, model=MODEL, url=url) for name, url in targets.items())
    with NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(text)
        file.flush()
        built = await AsyncTensorZeroGateway.build_embedded(config_file=file.name)
    async with built as opened:
        yield opened


def given(text: str) -> dict[str, Any]:
    return {
        "model_name": "model",
        "input": {"system": SYSTEM, "messages": [{"role": "user", "content": text}]},
        "params": _PARAMS,
    }


def asking(opened: AsyncTensorZeroGateway) -> Ask:
    async def answer(text: str) -> str:
        return str((await opened.inference(**given(text))).content[0].text)

    return answer


@asynccontextmanager
async def ask(url: str) -> AsyncIterator[Ask]:
    async with gateway(good=url) as opened:
        yield asking(opened)


@asynccontextmanager
async def failover(url: str) -> AsyncIterator[Ask]:
    async with gateway(bad=fails(url), good=url) as opened:
        yield asking(opened)


@asynccontextmanager
async def stream(url: str) -> AsyncIterator[Callable[[str], AsyncIterator[str]]]:
    async with gateway(good=url) as opened:

        async def texts(text: str) -> AsyncIterator[str]:
            async for chunk in await opened.inference(**given(text), stream=True):
                for block in chunk.content:
                    yield block.text

        yield texts


SIDE = Side(ask=ask, crowd=ask, stream=stream, cached="its cache is in a database beside it", failover=failover)

if __name__ == "__main__":
    main(SIDE)
