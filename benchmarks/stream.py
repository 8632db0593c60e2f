"""How fast does a stream pass, and how soon does it begin? Content chunks a second, and the time to the first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from benchmarks.baseline import Raw, raw
from benchmarks.harness import Row, mock_server, rounds, row
from benchmarks.measures import chunk_rate, first_chunk, question
from benchmarks.subject import FILES, subject
from wizard_dsl.runtime.pipeline import Pipeline

CHUNKS = 20_000
STREAMS = 100


async def pieces(pipeline: Pipeline, asked: str) -> AsyncIterator[str]:
    async with pipeline.stream(question=asked) as stream:
        async for delta in stream:
            yield delta.text


async def compare(url: str, measure: Any, count: int) -> dict[str, list[float]]:
    async with (
        raw(url) as baseline,
        subject("everything on", url) as full,
        subject("no policies", url) as bare,
    ):
        return await rounds(
            {
                "raw": lambda: measure(lambda: _raw(baseline), count),
                "everything on": lambda: measure(lambda: pieces(full, question()), count),
                "no policies": lambda: measure(lambda: pieces(bare, question()), count),
            }
        )


def _raw(baseline: Raw) -> AsyncIterator[str]:
    return baseline.stream(question())


def main() -> list[Row]:
    rows = []
    with mock_server() as url:
        rates = asyncio.run(compare(f"{url}/chunks/{CHUNKS}/v1", chunk_rate, CHUNKS))
        firsts = asyncio.run(compare(f"{url}/first/v1", first_chunk, STREAMS))
    for name in FILES:
        rows.append(row("stream, 20,000 chunks", name, rates[name], rates["raw"], unit="/s", better="higher"))
    for name in FILES:
        rows.append(row("first chunk of a stream, p50", name, firsts[name], firsts["raw"], unit="s"))
    rows[0] = rows[0].aiming(floor=0.5, goal=0.8)
    rows[2] = rows[2].aiming(floor=1.5, goal=1.25)
    return rows
