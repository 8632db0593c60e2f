"""What is measured of anything that asks or streams, with nothing but the standard library: it runs in the
interpreters of other projects, too (`peers/`)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

#: Asks one question.
Ask = Callable[[str], Awaitable[Any]]
#: The texts of one answer as they come.
Stream = Callable[[], AsyncIterator[str]]

#: Every question is a new one, so that no cache ever answers unless it is meant to.
numbers = count()


def question() -> str:
    return f"Why is the sky blue, and why is number {next(numbers)} not?"


async def p50(call: Callable[[], Awaitable[Any]], count: int) -> float:
    """The median time of `count` calls, one after the other, in seconds."""
    times = []
    for _ in range(count):
        began = perf_counter()
        await call()
        times.append(perf_counter() - began)
    return median(times)


async def crowd(ask: Ask, count: int, at_once: int) -> tuple[float, Counter[str]]:
    """The seconds that `count` calls took, `at_once` of them at a time, and how often which error ended one."""
    errors: Counter[str] = Counter()
    waiting = iter(range(count))

    async def work() -> None:
        for _ in waiting:
            try:
                await ask(question())
            except Exception as error:
                errors[type(error).__name__] += 1

    began = perf_counter()
    await asyncio.gather(*(work() for _ in range(at_once)))
    return perf_counter() - began, errors


def resident(field: str = "VmRSS") -> float:
    """MB of this process (Linux): `VmRSS` now, `VmHWM` the most there ever was."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


async def chunk_rate(begin: Stream, chunks: int) -> float:
    """Content chunks a second of one long stream of so many, from before the request to its end."""
    began, count = perf_counter(), 0
    async for text in begin():
        count += bool(text)
    took = perf_counter() - began
    assert count == chunks, f"{count} chunks of {chunks} arrived"
    return count / took


async def first_chunk(begin: Stream, streams: int) -> float:
    """The median time to the first chunk with text of short streams, each read to its end, in seconds."""
    times = []
    for _ in range(streams):
        began, seen = perf_counter(), False
        async for text in begin():
            if text and not seen:
                times.append(perf_counter() - began)
                seen = True
    return sorted(times)[len(times) // 2]


async def added(
    plain: Callable[[], Awaitable[Any]], failing: Callable[[], Awaitable[Any]], calls: int
) -> tuple[float, float]:
    """The median time of a plain call, and how much longer a failing one takes, in seconds; they alternate."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(calls):
        for call, kept in zip((plain, failing), times, strict=True):
            began = perf_counter()
            await call()
            kept.append(perf_counter() - began)
    return median(times[0]), median(times[1]) - median(times[0])
