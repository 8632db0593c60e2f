"""How long does a call take past a target whose breaker is open, to the next? In one process, without sockets.

The time that one more target with an open breaker adds to a run: runs of a chain with and without it alternate.
"""

from __future__ import annotations

import asyncio

from benchmarks.harness import Row, figure, rounds
from benchmarks.measures import added, question
from benchmarks.subject import opened

TARGET = "first/a"

CALLS = 300


async def measure() -> list[Row]:
    async with (
        opened("breaker.yaml") as both,
        opened("breaker.yaml", sets=["chains.default.targets=[second/b]"]) as one,
    ):
        both.breaker(TARGET).force_open()
        result = await both.run(question=question())
        assert [each.target for each in result.attempts if each.kind == "ok"] == ["second/b"], result.attempts
        values = await rounds(
            {"open": lambda: added(lambda: one.run(question=question()), lambda: both.run(question=question()), CALLS)}
        )
    more = [late for _, late in values["open"]]
    return [
        figure("breaker open: time to the next target", "in process", more, unit="s").aiming(
            floor=20e-6, goal=5e-6, of="value"
        )
    ]


def main() -> list[Row]:
    return asyncio.run(measure())
