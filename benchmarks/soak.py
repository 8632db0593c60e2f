"""Does memory grow? The slope of the resident memory over 200,000 calls with everything on (`SOAK_CALLS=n`: so many).

Memory is looked at forty times; the first quarter, in which caches and statistics fill, does not count.
"""

from __future__ import annotations

import asyncio
import gc
import os
from statistics import linear_regression

from benchmarks.harness import Row, figure, mock_server
from benchmarks.measures import crowd, resident
from benchmarks.subject import subject

CALLS = int(os.environ.get("SOAK_CALLS") or "200000")
AT_ONCE = 50
LOOKS = 40


def slope(calls: list[int], memory: list[float]) -> float:
    """kB that a thousand calls add, of MB after so many calls; the first quarter is left out."""
    begin = len(calls) // 4
    return linear_regression(calls[begin:], memory[begin:]).slope * 1000 * 1024


async def measure(url: str) -> list[Row]:
    calls: list[int] = []
    memory: list[float] = []
    async with subject("everything on", url) as pipeline:
        for number in range(1, LOOKS + 1):
            _, errors = await crowd(lambda text: pipeline.run(question=text), max(CALLS // LOOKS, AT_ONCE), AT_ONCE)
            assert not errors, errors
            gc.collect()
            calls.append(number * max(CALLS // LOOKS, AT_ONCE))
            memory.append(resident())
    about = f"soak: {calls[-1]:,} calls"
    grown = figure(about, "growth of a thousand calls", [slope(calls, memory)], unit="kB")
    return [grown.aiming(floor=5, goal=1, of="value"), figure(about, "resident", memory, unit="MB")]


def main() -> list[Row]:
    with mock_server() as url:
        return asyncio.run(measure(f"{url}/v1"))
