"""Many files at once: a share of them in each process, with the findings of one after the other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from wizard_dsl.cli._files import Kind
from wizard_dsl.cli._looking import MANY, Looker
from wizard_dsl.registry import Registry
from wizard_dsl.spec.diagnostics import Diagnostic

_File = tuple[Path, Kind]


def look(files: Sequence[_File], registry: Registry, *, plugins: bool) -> list[Diagnostic]:
    """The findings of all files, in their order."""
    processes = min(_cores(), len(files) // (MANY // 2))
    if processes < 2:
        return _share(files, Looker(registry))
    size = -(-len(files) // (2 * processes))
    shares = [files[at : at + size] for at in range(0, len(files), size)]
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin)
    try:
        return [each for found in pool.map(_looked, shares, [plugins] * len(shares)) for each in found]
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin() -> None:
    """In a new worker: an interrupt ends it without a word, for the one who asked says it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _looked(files: Sequence[_File], plugins: bool) -> list[Diagnostic]:
    return _share(files, Looker(Registry(plugins=plugins)))


def _share(files: Sequence[_File], looker: Looker) -> list[Diagnostic]:
    return [each for path, kind in files for each in looker.findings(path, kind)]
