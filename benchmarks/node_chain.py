"""What does the protocol of nodes cost? Eight that keep nothing, one in the other, over a bare await of the last."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

from benchmarks.harness import Row, figure, rounds
from wizard_dsl.core.node import Handler

NODES = 8
CALLS = 50_000


class Through:
    """A node that only hands on."""

    __slots__ = ("_next",)

    def __init__(self, next: Handler) -> None:
        self._next = next

    async def call(self, request: Any, run: Any) -> Any:
        return await self._next(request, run)


async def last(request: Any, run: Any) -> Any:
    """What a provider would be."""
    return request


async def time_of(handler: Handler) -> float:
    """Seconds a call."""
    request: Any = object()
    run: Any = None
    began = perf_counter()
    for _ in range(CALLS):
        await handler(request, run)
    return (perf_counter() - began) / CALLS


async def measure() -> list[Row]:
    handler: Handler = last
    for _ in range(NODES):
        handler = Through(handler).call
    values = await rounds({"bare": lambda: time_of(last), "chain": lambda: time_of(handler)})
    more = [chain - bare for chain, bare in zip(values["chain"], values["bare"], strict=True)]
    about = "node chain: eight nodes over a bare await"
    return [figure(about, "time added", more, unit="s").aiming(floor=2.5e-6, goal=1.2e-6, of="value")]


def main() -> list[Row]:
    return asyncio.run(measure())
