"""What the peers are asked beside us. Each side is a process of its own, fresh for each question; all take turns in the
same rounds against the same server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import msgspec

from benchmarks import failover, throughput
from benchmarks.cache_hit import HITS
from benchmarks.harness import ROUNDS, mock_server
from benchmarks.in_flight import MANY
from benchmarks.peers.crowds import Imports, Waiting
from benchmarks.peers.driver import Measure, Process, Program, in_turn, running
from benchmarks.peers.evaluations import Cases, Rows, Version
from benchmarks.peers.found import RAW, Aims, Found, found
from benchmarks.rows import ROWS
from benchmarks.sequential import CALLS
from benchmarks.stream import CHUNKS, STREAMS
from benchmarks.throughput import AT_ONCE

#: Milliseconds that the server waits where an answer is to come from a cache: see `worker.HIT`.
_WAIT = 50
#: `SCALE=n`: so many times fewer calls and chunks.
SCALE = int(os.environ.get("SCALE") or "1")
Programs = Mapping[str, Program]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A command of `worker.py` that all sides get; raw gets `baseline` in its place where that is given. `floor` and
    `goal` are ours."""

    about: str
    command: dict[str, Any]
    path: str = "/v1"
    unit: str = "s"
    better: str = "lower"
    baseline: dict[str, Any] | None = None
    floor: float
    goal: float

    async def measured(self, programs: Programs) -> Found:
        """All sides in turn."""
        with mock_server() as url:
            async with AsyncExitStack() as stack:
                sides: dict[str, Measure] = {}
                for name, program in programs.items():
                    process = await stack.enter_async_context(running(program))
                    sides[name] = partial(_value, process, self._command(name, url))
                values, reasons = await in_turn(sides, ROUNDS)
        return found(self.about, values, reasons, unit=self.unit, better=self.better, aims=Aims(self.floor, self.goal))

    def _command(self, name: str, url: str) -> dict[str, Any]:
        if name == RAW and self.baseline is not None:
            return {**self.baseline, "url": f"{url}/v1"}
        return {**self.command, "url": f"{url}{self.path}"}


async def _value(process: Process, command: dict[str, Any]) -> float:
    return float((await process.ask(**command))["value"])


_CALL = {"do": "sequential", "count": CALLS // SCALE}

QUESTIONS: dict[str, Question | Waiting | Imports | Version | Cases | Rows] = {
    "sequential": Question(about="sequential call, p50", command=_CALL, floor=1.35, goal=1.2),
    "throughput": Question(
        about="requests/s, 100 at a time",
        command={"do": "throughput", "count": throughput.CALLS // SCALE, "at_once": AT_ONCE},
        unit="/s",
        better="higher",
        floor=0.62,
        goal=0.70,
    ),
    "stream": Question(
        about=f"stream, {CHUNKS // SCALE:,} chunks",
        command={"do": "chunks", "count": CHUNKS // SCALE},
        path=f"/chunks/{CHUNKS // SCALE}/v1",
        unit="/s",
        better="higher",
        floor=0.5,
        goal=0.8,
    ),
    "first": Question(
        about="first chunk of a stream, p50",
        command={"do": "first", "count": STREAMS // SCALE},
        path="/first/v1",
        floor=1.5,
        goal=1.25,
    ),
    "cached": Question(
        about="cache hit in memory, p50 (baseline: a raw call)",
        command={"do": "cached", "count": HITS // SCALE},
        path=f"/wait/{_WAIT}/v1",
        baseline=_CALL,
        floor=0.08,
        goal=0.045,
    ),
    "failover": Question(
        about="failover after a 500, time added (baseline: a raw call)",
        command={"do": "failover", "count": failover.CALLS // SCALE},
        baseline=_CALL,
        floor=1.3,
        goal=1.1,
    ),
    "few": Waiting(count=MANY // 10, seconds=1, time=Aims(2.0, 1.4, "value"), call=Aims(40, 25, "value")),
    "many": Waiting(count=MANY, seconds=5, time=Aims(1.3, 1.15), process=Aims(300, 300, "value")),
    "imports": Imports(),
    "version": Version(),
    "cases": Cases(ROWS // SCALE),
    "rows": Rows(ROWS // SCALE),
}
