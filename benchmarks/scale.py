"""Does the cost of a call stay flat as everything around it grows? In one process, on mock targets, without sockets.

For each thing that grows the same call is timed at two sizes, in turn. A row says how many times as long it takes at
the larger size, and its note the growth exponent: 0 is flat, 1 grows with the size. Steps and lines are counted by the
step and by the line. `SCALE=n` makes the larger sizes n times smaller.

The last rows are admissions a second under one rate limit that 1, 2 and 4 processes share through a server of state.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from math import log
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import wizard_dsl as wizard
from benchmarks.harness import Row, rounds, row
from benchmarks.measures import p50, question
from benchmarks.shared import admissions
from benchmarks.startup import long_file
from benchmarks.subject import opened
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.registry import Registry

SMALLER = int(os.environ.get("SCALE") or "1")
CALLS = 200
ROUNDS = 5
HEAD = """version: 1
name: scale
inputs: {question: {type: string}}
providers: {mock: {type: mock}}
"""
STEPS = "steps:\n  answer: {prompt: {user: '{{ question }}'}}\n"
POLICIES = {
    "cached": "    policies: {cache: {ttl: 24h, max_entries: 1000000}}\n",
    "sessions": "    policies: {admission: {session: {rate: 1000000/s, burst: 1000000}}}\n",
    "history": "",
    "targets": "",
}
Timed = Callable[[], Awaitable[float]]


def text(kind: str, targets: int = 2) -> str:
    """A pipeline of one step and a chain of so many targets."""
    names = ", ".join(f"mock/m{number}" for number in range(targets))
    return f"{HEAD}chains:\n  default:\n    targets: [{names}]\n{POLICIES[kind]}{STEPS}"


def many_steps(count: int) -> str:
    """A pipeline of so many steps, each of which reads the one before."""
    step = "  step_{number}: {{prompt: {{user: 'Shorten {{{{ {before} }}}}'}}}}\n"
    names = ["question", *(f"steps.step_{number}.text" for number in range(count - 1))]
    steps = "".join(step.format(number=number, before=before) for number, before in enumerate(names))
    return f"{HEAD}chains:\n  default:\n    targets: [mock/a, mock/b]\nsteps:\n{steps}"


@asynccontextmanager
async def a_chain(folder: Path, size: int) -> AsyncIterator[Timed]:
    """A call of a chain with `size` targets, the first of which answers."""
    async with _open(folder, text("targets", size)) as pipeline:
        yield lambda: p50(lambda: pipeline.run(question=question()), CALLS)


@asynccontextmanager
async def a_cache(folder: Path, size: int) -> AsyncIterator[Timed]:
    """A hit among `size` stored answers."""
    async with _open(folder, text("cached")) as pipeline:
        for number in range(size):
            await pipeline.run(question=str(number))
        asked = iter(range(10**9))
        yield lambda: p50(lambda: pipeline.run(question=str(next(asked) * 7919 % size)), CALLS)


@asynccontextmanager
async def a_history(folder: Path, size: int) -> AsyncIterator[Timed]:
    """A run that is recorded, until it is on the disk, in a history of `size` runs."""
    path = folder / "history.db"
    async with _open(folder, text("history"), history=wizard.History(path)) as pipeline:
        await pipeline.run(question=question())
        await pipeline.recorded()
        _copy_runs(path, size)

        async def call() -> None:
            await pipeline.run(question=question())
            await pipeline.recorded()

        yield lambda: p50(call, CALLS // 4)


def _copy_runs(path: Path, size: int) -> None:
    """The one run of a history, as often as that, each with an id and a time of its own."""
    others = "id || seq, began - seq, file, name, hash, kind, elapsed, attempts, cost, served_by, record"
    names = "id, began, file, name, hash, kind, elapsed, attempts, cost, served_by, record"
    numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < ?)"
    chosen = others.replace("seq", "x")
    database = sqlite3.connect(path)
    with database:
        database.execute(f"{numbers} INSERT INTO runs({names}) SELECT {chosen} FROM runs, n WHERE seq = 1", (size,))
    database.close()


@asynccontextmanager
async def some_sessions(folder: Path, size: int) -> AsyncIterator[Timed]:
    """A call of one of `size` sessions that have all been seen."""
    async with _open(folder, text("sessions")) as pipeline:
        for number in range(size):
            await pipeline.run(question=question(), session=str(number))
        asked = iter(range(10**9))
        yield lambda: p50(lambda: pipeline.run(question=question(), session=str(next(asked) * 7919 % size)), CALLS)


@asynccontextmanager
async def some_steps(folder: Path, size: int) -> AsyncIterator[Timed]:
    """One step of a pipeline with `size` steps."""
    async with _open(folder, many_steps(size)) as pipeline:

        async def measure() -> float:
            return await p50(lambda: pipeline.run(question=question()), max(5, 400 // size)) / size

        yield measure


@asynccontextmanager
async def a_file(folder: Path, size: int) -> AsyncIterator[Timed]:
    """One line of a file with `size` lines that is compiled."""
    path = folder / "long.yaml"
    path.write_text(long_file(size))
    registry = Registry(plugins=False)

    async def measure() -> float:
        times = []
        for _ in range(3):
            began = perf_counter()
            compile_file(path, registry, Sources(env={}))
            times.append(perf_counter() - began)
        return median(times) / size

    yield measure


def _open(folder: Path, written: str, **options: Any) -> Any:
    path = folder / "scale.yaml"
    path.write_text(written)
    return opened(path, **options)


#: What grows, from which size to which, and what is timed at both.
GROWING: tuple[tuple[str, int, int, Any], ...] = (
    ("targets of a chain", 10, 1000, a_chain),
    ("cached entries", 1000, 100_000, a_cache),
    ("history rows", 1000, 100_000, a_history),
    ("sessions", 10, 1000, some_sessions),
    ("steps, by the step", 10, 200, some_steps),
    ("lines of a file, by the line", 200, 2000, a_file),
)


def exponent(small: int, large: int, ratio: float) -> float:
    """Of the size, to which power the time grows."""
    return log(ratio) / log(large / small)


async def grow(what: str, small: int, large: int, begin: Any) -> Row:
    """One row: the time at the larger size against that at the smaller."""
    large = max(large // SMALLER, small * 2)
    with TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            sides: dict[str, Timed] = {}
            for name, size in (("small", small), ("large", large)):
                (place := Path(folder) / name).mkdir()
                sides[name] = await stack.enter_async_context(begin(place, size))
            values = await rounds(sides, ROUNDS)
    found = row(f"scale: {what}", f"{large:,} against {small:,}", values["large"], values["small"], unit="s")
    assert found.ratio is not None
    return found.noting(f"growth exponent {exponent(small, large, found.ratio):.2f}")


async def measure() -> list[Row]:
    return [await grow(*each) for each in GROWING]


def main() -> list[Row]:
    return [*asyncio.run(measure()), *asyncio.run(admissions())]
