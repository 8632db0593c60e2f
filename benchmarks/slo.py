"""Are the original service levels kept? `make slo` prints each with its figure, pass or fail; it ends with 1 on a fail.

Levels whose feature is not there are listed as such. Own time is measured on the mock provider, in this process and
without sockets, so that nothing of it is a provider's. Streams, starts and load are measured from outside.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any, NamedTuple

import wizard_dsl as wizard
from benchmarks import failover, soak, stream
from benchmarks.harness import mock_server, show
from benchmarks.measures import added, crowd, first_chunk, p50, question, resident
from benchmarks.memory import kept
from benchmarks.scale import HEAD, STEPS, text
from benchmarks.startup import WIZARD, whole
from benchmarks.subject import opened, subject
from wizard_dsl.runtime.pipeline import Pipeline

CALLS = 1000
#: Levels of what is not there yet.
NOT_THERE = (
    ("C-4", "assessment of a shell command, p95 below 50 ms"),
    ("C-8", "choice of a backend below 50 ms"),
    ("C-9", "first command from the embedded model below 2 s"),
)


class Level(NamedTuple):
    """One service level: what was measured of it, and what it must be below, or above where it is a rate."""

    id: str
    words: str
    value: float
    limit: float
    unit: str

    @property
    def kept(self) -> bool:
        return self.value > self.limit if self.unit == "/s" else self.value < self.limit


async def times(call: Callable[[], Awaitable[Any]], count: int = CALLS) -> list[float]:
    """The seconds of each call."""
    taken = []
    for _ in range(count):
        began = perf_counter()
        await call()
        taken.append(perf_counter() - began)
    return taken


async def own_time(folder: Path) -> list[Level]:
    """Of a call, of a hit, of a repeat, and of memory: in this process."""
    (folder / "plain.yaml").write_text(text("targets"))
    (folder / "cached.yaml").write_text(text("cached"))
    before = resident()
    async with opened(folder / "plain.yaml") as plain, opened(folder / "cached.yaml") as cached:
        grown = resident() - before
        calls = quantiles(await times(lambda: plain.run(question=question())), n=100)
        await cached.run(question="Why?")
        hits = quantiles(await times(lambda: cached.run(question="Why?")), n=100)
        began, busy = perf_counter(), process_time()
        await asyncio.sleep(1)
        idle = (process_time() - busy) / (perf_counter() - began)
    entries = await kept("cached", 1000, lambda pipeline, number: pipeline.run(question=str(number)))
    sessions = await kept("sessions", 1000, lambda pipeline, number: pipeline.run(session=str(number), question="?"))
    return [
        Level("NFR-PERF", "own time of a call, p50", calls[49], 0.1, "s"),
        Level("NFR-PERF", "own time of a call, p99", calls[98], 0.5, "s"),
        Level("NFR-PERF", "cache hit, p99", hits[98], 0.001, "s"),
        Level("NFR-PERF", "own time of a repeated attempt", await repeated(folder), 0.005, "s"),
        Level("NFR-PERF", "memory of a pipeline beyond imports", grown / 2, 10, "MB"),
        Level("NFR-PERF", "memory of 1,000 cached entries", entries, 50, "MB"),
        Level("NFR-PERF", "memory of a session", sessions / 1000, 1, "MB"),
        Level("NFR-PERF", "processor while idle", idle * 100, 5, "%"),
    ]


async def repeated(folder: Path) -> float:
    """What each further attempt on a target adds that fails at once, with no delay between attempts."""
    head = HEAD.replace("{type: mock}", "{type: mock, reply: [{status: 503}]}")
    policies = "{use: none, retry: {max_attempts: NUMBER, base: 0s}}"
    chain = f"chains:\n  default:\n    targets: [mock/a]\n    policies: {policies}\n"
    for number in (1, 3):
        (folder / f"retry{number}.yaml").write_text(head + chain.replace("NUMBER", str(number)) + STEPS)
    async with opened(folder / "retry1.yaml") as once, opened(folder / "retry3.yaml") as thrice:
        one = await p50(lambda: failing(once), CALLS // 4)
        three = await p50(lambda: failing(thrice), CALLS // 4)
    return (three - one) / 2


async def failing(pipeline: Pipeline) -> None:
    """A run that fails, as it is meant to."""
    with suppress(wizard.WizardError):
        await pipeline.run(question=question())


async def served(url: str) -> list[Level]:
    """Over sockets, against the mock server: rate, streams, failover, growth."""
    async with subject("everything on", url) as full, opened("failover.yaml", url) as failing:
        took, errors = await crowd(lambda text: full.run(question=text, session=text), CALLS * 2, 100)
        assert not errors, errors
        _, failed_over = await added(
            lambda: full.run(question=question()), lambda: failing.run(question=question()), failover.CALLS
        )
        first = await first_chunk(lambda: stream.pieces(full, question()), stream.STREAMS)
        gaps = await gaps_of(full)
        grown = await soak.measure(url)
    return [
        Level("NFR-PERF", "requests a second, of 100 sessions at once", CALLS * 2 / took, 1000, "/s"),
        Level("NFR-PERF", "growth of a thousand calls under load", grown[0].value, 100, "kB"),
        Level("NFR-PERF", "first token of a stream, and its overhead", first, 0.05, "s"),
        Level("NFR-PERF", "tokens a second of a stream", len(gaps) / sum(gaps), 50, "/s"),
        Level("C-7", "between two chunks, at most", max(gaps), 0.1, "s"),
        Level("S-4.3.2", "failover, time added", failed_over, 0.1, "s"),
    ]


async def gaps_of(pipeline: Pipeline) -> list[float]:
    """The seconds between chunks of a stream that its server sends at once."""
    last, gaps = perf_counter(), []
    async for _ in stream.pieces(pipeline, question()):
        now = perf_counter()
        gaps.append(now - last)
        last = now
    return gaps[1:]


async def starts() -> list[Level]:
    """Whole processes; the median of five."""
    found = []
    for option in ("--version", "--help"):
        measure = whole(WIZARD, option)
        found.append(Level("C-9", f"wizard {option}", median([await measure() for _ in range(5)]), 0.1, "s"))
    small = str(Path(__file__).parent / "pipelines" / "small.yaml")
    run = whole(WIZARD, "run", small, "--mock", "-i", "question=Why?")
    return [
        *found,
        Level("C-7", "first output of wizard run --mock", median([await run() for _ in range(5)]), 0.5, "s"),
    ]


def report(levels: list[Level]) -> str:
    """A Markdown table of levels, then those whose feature is not there."""
    lines = ["| requirement | level | figure | limit | |", "| --- | --- | --- | --- | --- |"]
    for each in levels:
        sign, word = ("above" if each.unit == "/s" else "below"), "pass" if each.kept else "fail"
        bound = f"{sign} {show(each.limit, each.unit)}"
        lines.append(f"| {each.id} | {each.words} | {show(each.value, each.unit)} | {bound} | {word} |")
    return "\n".join([*lines, *(f"| {id} | {words} | | | not there |" for id, words in NOT_THERE)])


def main() -> int:
    with TemporaryDirectory() as folder:
        levels = asyncio.run(own_time(Path(folder)))
    levels += asyncio.run(starts())
    with mock_server() as url:
        levels += asyncio.run(served(f"{url}/v1"))
    print(report(levels))
    return 0 if all(each.kept for each in levels) else 1


if __name__ == "__main__":
    sys.exit(main())
