"""Seeds side by side: each a job of its own, on all cores, with the same bytes as one after the other."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import signal
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import msgspec

from wizard_dsl.analysis.engine import simulate
from wizard_dsl.analysis.figures import SeedFigures
from wizard_dsl.analysis.reading import compiled_for
from wizard_dsl.analysis.scenario import Scenario
from wizard_dsl.registry import Registry

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

#: Told how many runs have ended, now and then.
Progress = Callable[[int], None]
#: Seconds between two looks at how far the others are.
_LOOK: Final = 0.2
#: How a count stands on the board that workers write to.
_COUNT: Final = struct.Struct("q")


class Job(msgspec.Struct, frozen=True):
    """One seed of one pipeline. `plugins`: whether installed kinds may be used."""

    scenario: Scenario
    pipeline: Path
    overlays: tuple[str, ...]
    sets: tuple[str, ...]
    seed: int
    plugins: bool = True


def play(jobs: Sequence[Job], processes: int, progress: Progress | None = None) -> list[SeedFigures | None]:
    """The figures of every job, in their order. With one process everything happens in this one. An interrupt ends what
    is under way and leaves no process behind: a job that has not ended by then has None."""
    if processes <= 1 or len(jobs) <= 1:
        return _one_by_one(jobs, progress)
    return _at_once(jobs, min(processes, len(jobs)), progress)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _one_by_one(jobs: Sequence[Job], progress: Progress | None) -> list[SeedFigures | None]:
    found: list[SeedFigures | None] = []
    with suppress(KeyboardInterrupt):
        for figures in _in_turn(jobs, progress):
            found.append(figures)
    return found + [None] * (len(jobs) - len(found))


def _in_turn(jobs: Sequence[Job], progress: Progress | None) -> Iterator[SeedFigures]:
    done = 0
    for job in jobs:
        before = done

        def tick(ended: int, before: int = before) -> None:
            if progress is not None:
                progress(before + ended)

        figures = _figures(_played(job, tick))
        done += figures.runs
        yield figures


def _played(job: Job, tick: Callable[[int], None]) -> bytes:
    """The figures of a job as JSON: what comes out of another process is what comes out of this one."""
    registry = Registry(plugins=job.plugins)
    compiled = compiled_for(job.scenario, job.pipeline, registry, job.overlays, job.sets)
    return msgspec.json.encode(simulate(compiled, registry, job.scenario, job.seed, tick))


def _figures(encoded: bytes) -> SeedFigures:
    return msgspec.json.decode(encoded, type=SeedFigures)


def _at_once(jobs: Sequence[Job], processes: int, progress: Progress | None) -> list[SeedFigures | None]:
    with TemporaryDirectory() as folder:
        board = Path(folder) / "ended"
        board.write_bytes(bytes(_COUNT.size * len(jobs)))
        pool = ProcessPoolExecutor(processes, mp_context=fresh_or_forked(), initializer=_begin)
        futures: list[Future[bytes]] = []
        try:
            futures += (pool.submit(_work, job, board, number) for number, job in enumerate(jobs))
            _watch(futures, board, progress)
        except BaseException as error:
            for process in multiprocessing.active_children():
                process.terminate()
            if not isinstance(error, KeyboardInterrupt):
                raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    found = [_figures(each.result()) if _ended_well(each) else None for each in futures]
    return found + [None] * (len(jobs) - len(found))


def _ended_well(future: Future[bytes]) -> bool:
    return not future.cancelled() and future.exception() is None


def _watch(futures: Sequence[Future[bytes]], board: Path, progress: Progress | None) -> None:
    """Until all have ended, or one has failed."""
    left: set[Future[bytes]] = set(futures)
    while left:
        done, left = wait(left, timeout=_LOOK)
        if progress is not None:
            progress(sum(count for (count,) in _COUNT.iter_unpack(board.read_bytes())))
        for future in done:
            future.result()


def fresh_or_forked() -> BaseContext:
    """A forked worker begins at once, and inherits what is imported; where that is not safe, a fresh one."""
    linux = os.uname().sysname == "Linux" if hasattr(os, "uname") else False
    return multiprocessing.get_context("fork" if linux else "spawn")


def _begin() -> None:
    """In a new worker: an interrupt ends it without a word, for the one who asked says it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _work(job: Job, board: Path, number: int) -> bytes:
    """In a worker; its count of ended runs stands at its place on the board."""
    with board.open("r+b") as file, mmap.mmap(file.fileno(), 0) as counts:

        def tick(ended: int) -> None:
            _COUNT.pack_into(counts, number * _COUNT.size, ended)

        return _played(job, tick)
