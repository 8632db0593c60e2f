"""How many requests a second pass with 100 at a time, against raw aiohttp?"""

from __future__ import annotations

import asyncio

from benchmarks.baseline import raw
from benchmarks.harness import Row, mock_server, rounds, row
from benchmarks.measures import Ask, crowd
from benchmarks.subject import FILES, subject

CALLS = 3000
AT_ONCE = 100


async def rate(ask: Ask) -> float:
    """Answers a second."""
    took, errors = await crowd(ask, CALLS, AT_ONCE)
    assert not errors, errors
    return CALLS / took


async def measure(url: str) -> list[Row]:
    async with (
        raw(url) as baseline,
        subject("everything on", url) as full,
        subject("no policies", url) as bare,
    ):
        values = await rounds(
            {
                "raw": lambda: rate(baseline.ask),
                "everything on": lambda: rate(lambda text: full.run(question=text)),
                "no policies": lambda: rate(lambda text: bare.run(question=text)),
            }
        )
    rows = [
        row("requests/s, 100 at a time", name, values[name], values["raw"], unit="/s", better="higher")
        for name in FILES
    ]
    return [rows[0].aiming(floor=0.62, goal=0.70), *rows[1:]]


def main() -> list[Row]:
    with mock_server() as url:
        return asyncio.run(measure(f"{url}/v1"))
