"""What does an answer from the cache cost? A whole run that hits in memory, against a raw call."""

from __future__ import annotations

import asyncio

from benchmarks.baseline import raw
from benchmarks.harness import Row, mock_server, p50, rounds, row
from benchmarks.subject import question, subject

CALLS = 400
HITS = 4000


async def measure(url: str) -> list[Row]:
    same = question()
    async with raw(url) as baseline, subject("everything on", url) as full:
        await full.run(question=same)
        hit = await full.run(question=same)
        assert hit.steps["answer"].cached, "the second run was to be answered by the cache"
        values = await rounds(
            {
                "raw": lambda: p50(lambda: baseline.ask(question()), CALLS),
                "hit": lambda: p50(lambda: full.run(question=same), HITS),
            }
        )
    return [
        row("cache hit in memory, whole run, p50", "everything on", values["hit"], values["raw"], unit="s").aiming(
            floor=0.08, goal=0.045
        )
    ]


def main() -> list[Row]:
    with mock_server() as url:
        return asyncio.run(measure(f"{url}/v1"))
