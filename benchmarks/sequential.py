"""What does a call cost, one after the other? The median time of a whole run, against raw aiohttp."""

from __future__ import annotations

import asyncio

from benchmarks.baseline import raw
from benchmarks.harness import Row, mock_server, rounds, row
from benchmarks.measures import p50, question
from benchmarks.subject import FILES, subject

CALLS = 400


async def measure(url: str) -> list[Row]:
    async with (
        raw(url) as baseline,
        subject("everything on", url) as full,
        subject("no policies", url) as bare,
    ):
        values = await rounds(
            {
                "raw": lambda: p50(lambda: baseline.ask(question()), CALLS),
                "everything on": lambda: p50(lambda: full.run(question=question()), CALLS),
                "no policies": lambda: p50(lambda: bare.run(question=question()), CALLS),
            }
        )
    rows = [row("sequential call, p50", name, values[name], values["raw"], unit="s") for name in FILES]
    return [rows[0].aiming(floor=1.35, goal=1.2), *rows[1:]]


def main() -> list[Row]:
    with mock_server() as url:
        return asyncio.run(measure(f"{url}/v1"))
