"""How fast does a stream pass, and how soon does it begin? Content chunks a second, and the time to the first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import perf_counter
from typing import Any

from benchmarks.baseline import Raw, raw
from benchmarks.harness import Row, mock_server, rounds, row
from benchmarks.subject import FILES, question, subject
from wizard_dsl.runtime.pipeline import Pipeline

CHUNKS = 20_000
STREAMS = 100


async def pieces(pipeline: Pipeline) -> AsyncIterator[str]:
    async with pipeline.stream(question=question()) as stream:
        async for delta in stream:
            yield delta.text


async def rate(begin: Any) -> float:
    """Content chunks a second of one long stream, from before the request to its end."""
    began, count = perf_counter(), 0
    async for text in begin():
        count += bool(text)
    took = perf_counter() - began
    assert count == CHUNKS, f"{count} chunks of {CHUNKS} arrived"
    return count / took


async def first(begin: Any) -> float:
    """The median time to the first chunk of short streams, each read to its end, in seconds."""
    times = []
    for _ in range(STREAMS):
        began, seen = perf_counter(), False
        async for _text in begin():
            if not seen:
                times.append(perf_counter() - began)
                seen = True
    return sorted(times)[len(times) // 2]


async def compare(url: str, measure: Any) -> dict[str, list[float]]:
    async with (
        raw(url) as baseline,
        subject("everything on", url) as full,
        subject("no policies", url) as bare,
    ):
        return await rounds(
            {
                "raw": lambda: measure(lambda: _raw(baseline)),
                "everything on": lambda: measure(lambda: pieces(full)),
                "no policies": lambda: measure(lambda: pieces(bare)),
            }
        )


def _raw(baseline: Raw) -> AsyncIterator[str]:
    return baseline.stream(question())


def main() -> list[Row]:
    rows = []
    with mock_server() as url:
        rates = asyncio.run(compare(f"{url}/chunks/{CHUNKS}/v1", rate))
        firsts = asyncio.run(compare(f"{url}/first/v1", first))
    for name in FILES:
        rows.append(row("stream, 20,000 chunks", name, rates[name], rates["raw"], unit="/s", better="higher"))
    for name in FILES:
        rows.append(row("first chunk of a stream, p50", name, firsts[name], firsts["raw"], unit="s"))
    rows[0] = rows[0].aiming(floor=0.5, goal=0.8)
    rows[2] = rows[2].aiming(floor=1.5, goal=1.25)
    return rows
