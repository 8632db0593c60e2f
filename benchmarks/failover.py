"""What does a failover cost? The time that a first target's 500 adds to a call, against a raw call.

In each round calls with and without the failure alternate. The raw side is `try` and `except` over two endpoints. The
first target's 500 is not repeated (`retry_on: {server: false}`): what is measured is the way to the next.
"""

from __future__ import annotations

import asyncio

import aiohttp

from benchmarks.baseline import Raw, raw
from benchmarks.harness import Row, mock_server, rounds, row
from benchmarks.measures import added, question
from benchmarks.subject import opened, subject

CALLS = 300


async def either(first: Raw, second: Raw, asked: str) -> str:
    """What anybody would write by hand."""
    try:
        return await first.ask(asked)
    except aiohttp.ClientResponseError:
        return await second.ask(asked)


async def measure(url: str) -> list[Row]:
    async with (
        raw(url) as good,
        raw(url.replace("/v1", "/fail/v1")) as bad,
        subject("everything on", url) as plain,
        opened("failover.yaml", url) as failing,
    ):
        result = await failing.run(question=question())
        assert [each.status for each in result.attempts] == [500, 200], result.attempts
        values = await rounds(
            {
                "raw": lambda: added(lambda: good.ask(question()), lambda: either(bad, good, question()), CALLS),
                "wizard": lambda: added(
                    lambda: plain.run(question=question()), lambda: failing.run(question=question()), CALLS
                ),
            }
        )
    call = [whole for whole, _ in values["raw"]]
    about = "failover after a 500, time added (baseline: a raw call)"
    return [
        row(about, "everything on", [more for _, more in values["wizard"]], call, unit="s").aiming(floor=1.3, goal=1.1),
        row(about, "raw try and except", [more for _, more in values["raw"]], call, unit="s"),
    ]


def main() -> list[Row]:
    with mock_server() as url:
        return asyncio.run(measure(f"{url}/v1"))
