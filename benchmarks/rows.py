"""How long do 1,000 rows take, 50 at a time, and how much memory? A loop over the API in a process of its own."""

from __future__ import annotations

import asyncio

from benchmarks.harness import Row, mock_server, rounds, row
from benchmarks.load import apart, failures

ROWS = 1000
AT_ONCE = 50


async def measure(url: str) -> list[Row]:
    loads = await rounds({name: apart(name, url, ROWS, AT_ONCE) for name in ("raw", "crowd.yaml")}, apart=True)
    raw, mine = loads["raw"], loads["crowd.yaml"]
    assert not failures(mine), failures(mine)
    about = "1,000 rows, 50 at a time"
    whole = row(about, "whole process", [each.whole for each in mine], [each.whole for each in raw], unit="s")
    calls = row(about, "the calls", [each.took for each in mine], [each.took for each in raw], unit="s")
    most = row(about, "memory of the process", [each.most for each in mine], [each.most for each in raw], unit="MB")
    return [whole.aiming(floor=2.0, goal=1.0, of="value"), calls, most.aiming(floor=120, goal=80, of="value")]


def main() -> list[Row]:
    with mock_server() as url:
        return asyncio.run(measure(f"{url}/v1"))
