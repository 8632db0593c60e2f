"""`wizard test --watch`: run again whenever something that the tests depend on has changed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

import click

from wizard_dsl.cli.main import INTERRUPTED
from wizard_dsl.core.clock import LoopClock
from wizard_dsl.spec.layers import Layer
from wizard_dsl.spec.load import Loaded
from wizard_dsl.testing.cases import Suite
from wizard_dsl.testing.snapshots import folder_of

#: Seconds between two looks.
_EVERY: Final = 0.3
_CLEAR: Final = "\x1b[2J\x1b[H"

Stamps = dict[Path, tuple[int, int]]
Once = Callable[[], tuple[int, list[Suite]]]


def watch(once: Once, files: Callable[[], Sequence[Path]]) -> NoReturn:
    """Run once, and again after each change, until Ctrl-C. `files` finds the test files anew; UsageError is that there
    are none."""
    seen: Stamps = {}
    while True:
        seen = stamps({*seen, *files()})
        code, suites = once()
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        watched = {path for suite in suites for path in behind(suite)}
        snapshots = {folder_of(suite.file) for suite in suites}  # --update writes them while the tests run
        early = {path: seen[path] for path in watched & seen.keys() if path.parent not in snapshots}
        seen = {**stamps(watched), **early}
        click.echo(f"watching {len(seen)} file{'' if len(seen) == 1 else 's'}; Ctrl-C ends", err=True)
        asyncio.run(changed(watched, files, seen))
        if sys.stderr.isatty():
            click.echo(_CLEAR, nl=False, err=True)


async def changed(watched: Iterable[Path], files: Callable[[], Sequence[Path]], before: Stamps) -> None:
    """Wait until one of the files, or which test files there are, is not as before. That there is none is waited out:
    some editors take a file away to write it."""
    clock = LoopClock()
    while True:
        with suppress(click.UsageError):
            if stamps([*watched, *files()]) != before:
                return
        await clock.sleep(_EVERY)


def behind(suite: Suite) -> set[Path]:
    """The files that the outcomes of a suite depend on: the pipeline, what lies over and below it, the prompts of all
    these, cassettes and snapshots."""
    found = {suite.file, *folder_of(suite.file).glob("*.txt")}
    for case in suite.cases:
        found |= {case.pipeline, *map(Path, case.options.overlays)}
        found |= set() if case.cassette is None else {case.cassette}
        compiled = suite.compiled(case)
        found |= {path for each in (compiled.loaded, *compiled.inner) for path in _read_by(each)}
    return found


def _read_by(loaded: Loaded) -> Iterator[Path]:
    """The files that a pipeline was made of, and those that it misses."""
    layers = [each for each in loaded.places.parts if isinstance(each, Layer)]
    yield from (Path(each.source.file) for each in layers if each.source is not None)
    yield from loaded.named


def stamps(paths: Iterable[Path]) -> Stamps:
    """When each file was changed, and its size; a file that is gone has none."""
    found = {}
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        found[path] = (status.st_mtime_ns, status.st_size)
    return found
