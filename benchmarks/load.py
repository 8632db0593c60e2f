"""Many calls at once, and a process that makes them: `python -m benchmarks.load SIDE URL COUNT AT_ONCE` prints JSON.

A process of its own for each side, so that its memory is its own: what was resident before the calls, and the most that
ever was (Linux). Each side makes one call before it is measured.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter

import msgspec

from benchmarks.baseline import raw
from benchmarks.harness import HERE
from benchmarks.measures import Ask, crowd, question, resident
from benchmarks.server import SOCKETS, open_files
from benchmarks.subject import opened


class Load(msgspec.Struct):
    """What a side took: seconds of all calls, seconds of the whole process, MB before and at the most, and what calls
    failed with. `limited` says that the system allows too few sockets."""

    took: float
    before: float
    most: float
    errors: dict[str, int] = {}
    limited: str = ""
    whole: float = 0.0


@asynccontextmanager
async def side(name: str, url: str) -> AsyncIterator[Ask]:
    """What asks: `raw`, or a pipeline file; both without a limit of connections."""
    if name == "raw":
        async with raw(url, limit=0) as baseline:
            yield baseline.ask
    else:
        async with opened(name, url) as pipeline:
            yield lambda text: pipeline.run(question=text)


async def drive(name: str, url: str, count: int, at_once: int) -> Load:
    """All calls of one side, in this process."""
    limited = open_files(SOCKETS)
    async with side(name, url) as ask:
        await ask(question())
        before = resident()
        took, errors = await crowd(ask, count, at_once)
    return Load(took=took, before=before, most=resident("VmHWM"), errors=dict(errors), limited=limited)


def apart(name: str, url: str, count: int, at_once: int) -> Callable[[], Awaitable[Load]]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.load", name, url, str(count), str(at_once)]

    async def measure() -> Load:
        began = perf_counter()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=HERE.parent)
        load = msgspec.json.decode(done.stdout, type=Load)
        load.whole = perf_counter() - began
        return load

    return measure


def failures(loads: list[Load]) -> str:
    """A sentence about calls that failed in all rounds, and about too few sockets; empty where there is nothing."""
    errors = sum((Counter(load.errors) for load in loads), Counter[str]())
    words = [f"{count} of the calls failed with {name}" for name, count in errors.most_common()]
    return "; ".join([*words, *{load.limited for load in loads if load.limited}])


if __name__ == "__main__":
    asked, where, calls, parallel = sys.argv[1:]
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(drive(asked, where, int(calls), int(parallel)))))
