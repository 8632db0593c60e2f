"""What do calls cost that wait? 1,000 against an answer after one second, 10,000 against one after five: the time of
all, and memory. Each side has a process of its own, and no limit of connections.

`IN_FLIGHT=n` makes fewer: as many in the second question, a tenth of it in the first.
"""

from __future__ import annotations

import asyncio
import os
import sys

from benchmarks.harness import Row, figure, mock_server, rounds, row
from benchmarks.load import Load, apart, failures

MANY = int(os.environ.get("IN_FLIGHT", "10000"))
ROUNDS = 5
FILE = "crowd.yaml"


async def compare(url: str, count: int) -> tuple[list[Load], list[Load]]:
    """The loads of raw aiohttp and of the subject."""
    sides = {"raw": apart("raw", url, count, count), "subject": apart(FILE, url, count, count)}
    loads = await rounds(sides, ROUNDS, apart=True)
    for name, each in loads.items():
        if said := failures(each):
            print(f"{count:,} in flight, {name}: {said}", file=sys.stderr)
    return loads["raw"], loads["subject"]


def rows(count: int, seconds: int, raw: list[Load], mine: list[Load]) -> list[Row]:
    """Time and memory of one question: the time against raw, then what one call takes, then the whole process."""
    about = f"{count:,} in flight, {seconds} s"
    note = failures(mine)

    def each(load: Load) -> float:
        return (load.most - load.before) * 1000 / count

    took = row(about, "time of all", [load.took for load in mine], [load.took for load in raw], unit="s")
    grown = row(about, "memory of a call", [*map(each, mine)], [*map(each, raw)], unit="kB")
    most = row(about, "memory of the process", [load.most for load in mine], [load.most for load in raw], unit="MB")
    failed = figure(about, "errors", [float(sum(load.errors.values())) for load in mine], unit="errors", note=note)
    return [took, grown, most, failed.aiming(floor=0, goal=0, of="value")]


def main() -> list[Row]:
    few = MANY // 10
    with mock_server() as url:
        short = rows(few, 1, *asyncio.run(compare(f"{url}/wait/1000/v1", few)))
        long = rows(MANY, 5, *asyncio.run(compare(f"{url}/wait/5000/v1", MANY)))
    short[0] = short[0].aiming(floor=2.0, goal=1.4, of="value")
    short[1] = short[1].aiming(floor=40, goal=25, of="value")
    long[0] = long[0].aiming(floor=1.3, goal=1.15)
    long[2] = long[2].aiming(floor=300, goal=300, of="value")
    return short + long
