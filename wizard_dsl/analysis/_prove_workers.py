"""The search on several cores: each process has the file, and is given some sequences at a time."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from wizard_dsl.analysis._prove_checks import Checks
from wizard_dsl.analysis._prove_play import Stage
from wizard_dsl.analysis._prove_search import BATCH, Judge, Judged, Order, Prepared
from wizard_dsl.analysis._prove_starts import starts
from wizard_dsl.analysis.plan import plan_of
from wizard_dsl.analysis.workers import fresh_or_forked
from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.registry import Registry


class Job(msgspec.Struct, frozen=True):
    """Which file, and what lies over it. `env` and `inputs` are JSON, so that a job can be looked up; `plugins`:
    whether installed kinds may be used."""

    file: Path
    overlays: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    env: bytes = b"{}"
    inputs: bytes = b"{}"
    deadline: float | None = None
    states: bool = True
    plugins: bool = True

    def compiled(self, registry: Registry) -> Compiled:
        """The file, with keys that are missing not missed: no target is called."""
        sources = Sources(
            overlays=self.overlays, sets=self.sets, env=msgspec.json.decode(self.env, type=dict[str, str]), mock=True
        )
        return compile_file(self.file, registry, sources)


def prepared(job: Job, compiled: Compiled, registry: Registry) -> Prepared:
    """What is searched. Raises InputInvalid for inputs that the file does not take."""
    stage = Stage(compiled, registry, job.deadline)
    given: Mapping[str, Any] = msgspec.json.decode(job.inputs)
    most = plan_of(stage.program).worst.attempts
    checks = Checks(stage, most.value if most.bounded else None)
    return Prepared(stage, starts(stage, given, states=job.states), checks)


@contextmanager
def judging(job: Job, own: Prepared, processes: int) -> Iterator[tuple[Judge, int]]:
    """A judge on so many processes, and how many sequences it wants at a time; with one, it is this one. An interrupt
    leaves no process behind."""
    if processes <= 1:
        yield own.judge, BATCH
        return
    pool = ProcessPoolExecutor(processes, mp_context=fresh_or_forked(), initializer=_begin)
    try:
        yield _spread(pool, job, processes), BATCH * processes
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _spread(pool: ProcessPoolExecutor, job: Job, processes: int) -> Judge:
    def judge(orders: Sequence[Order]) -> list[Judged]:
        share = -(-len(orders) // processes)
        parts = [orders[at : at + share] for at in range(0, len(orders), share)]
        made = [pool.submit(_work, job, msgspec.json.encode(part)) for part in parts]
        return [each for done in made for each in msgspec.json.decode(done.result(), type=list[Judged])]

    return judge


def _begin() -> None:
    """In a new worker: an interrupt is for the one who asked, who ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@cache
def _ready(job: Job) -> Prepared:
    """Made once in each process."""
    registry = Registry(plugins=job.plugins)
    return prepared(job, job.compiled(registry), registry)


def _work(job: Job, orders: bytes) -> bytes:
    return msgspec.json.encode(_ready(job).judge(msgspec.json.decode(orders, type=list[Order])))
