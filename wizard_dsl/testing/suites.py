"""Many cases at once: in this process, or in several, which is told apart by nothing but the time it takes.

A worker is a process of its own that reads test files by itself; what is to be tried goes to it in lines of JSON, and
outcomes come back. Results come in the order of the cases whoever is done first. When this process ends, however it
ends, the workers do: their input is closed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, Final

import msgspec

from wizard_dsl.testing.cases import Case, Programs, Suite
from wizard_dsl.testing.trying import Observe, Outcome, Snapshots, collect, try_case

#: Cases that go to a worker together.
CHUNK: Final = 25

Picked = tuple[Suite, Case]


class How(msgspec.Struct, frozen=True):
    """How cases are tried. `observe` is `module:function`, see trying.Observe; what it returns must be plain data."""

    snapshots: Snapshots = "compare"
    observe: str | None = None
    plugins: bool = True


class _Order(msgspec.Struct, frozen=True):
    """Cases of one file that a worker is to try."""

    file: str
    names: list[str]


def run(picked: Sequence[Picked], how: How, *, jobs: int = 1) -> Generator[Outcome, None, None]:
    """The outcomes in the order of the cases, each as soon as it is known. Closing the iterator stops the rest."""
    if jobs == 1 or len(picked) <= CHUNK:
        observe = observer(how.observe)
        for suite, case in picked:
            yield try_case(suite, case, observe, snapshots=how.snapshots)
    else:
        yield from _in_workers(list(_orders(picked)), how, jobs)


def observer(name: str | None) -> Observe | None:
    """The function that `module:function` names."""
    if name is None:
        return None
    module, _, function = name.partition(":")
    found: Observe = getattr(import_module(module), function)
    return found


def _orders(picked: Sequence[Picked]) -> Iterator[_Order]:
    """The cases in their order, in chunks of one file."""
    order: _Order | None = None
    for _, case in picked:
        file = str(case.file)
        if order is None or order.file != file or len(order.names) == CHUNK:
            if order is not None:
                yield order
            order = _Order(file, [])
        order.names.append(case.name)
    if order is not None:
        yield order


def _in_workers(orders: list[_Order], how: How, jobs: int) -> Generator[Outcome, None, None]:
    workers = [_Worker(how) for _ in range(min(jobs, len(orders)))]
    idle: SimpleQueue[_Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def ask(order: _Order) -> list[Outcome]:
        worker = idle.get()
        try:
            return worker.ask(order)
        finally:
            idle.put(worker)

    from concurrent.futures import ThreadPoolExecutor

    threads = ThreadPoolExecutor(len(workers))
    try:
        for future in [threads.submit(ask, order) for order in orders]:
            yield from future.result()
    finally:
        for worker in workers:
            worker.stop()
        threads.shutdown(cancel_futures=True)


class _Worker:
    """A process that tries cases. It has a session of its own, so that Ctrl-C is this process's affair."""

    def __init__(self, how: How) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._send(how)

    def ask(self, order: _Order) -> list[Outcome]:
        """The outcomes of the order's cases. Raises RuntimeError where the process is gone."""
        with suppress(OSError):
            self._send(order)
        line = self._out.readline()
        if not line:
            raise RuntimeError(f"a worker ended while it tried {order.file}")
        return msgspec.json.decode(line, type=list[Outcome])

    def stop(self) -> None:
        """End the process at once; it holds nothing that could be lost."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    @property
    def _out(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _send(self, message: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(message) + b"\n")
        self._process.stdin.flush()


def work(orders: IO[bytes], answers: IO[bytes]) -> None:
    """Be a worker: the first line says how, each following one is an order."""
    from wizard_dsl.registry import Registry

    how = msgspec.json.decode(orders.readline(), type=How)
    observe = observer(how.observe)
    programs = Programs(Registry(plugins=how.plugins))
    suites: dict[str, Suite] = {}
    for line in iter(orders.readline, b""):
        order = msgspec.json.decode(line, type=_Order)
        if order.file not in suites:
            suites[order.file] = collect(Path(order.file), programs)
        suite = suites[order.file]
        wanted = {case.name: case for case in suite.cases}
        outcomes = [try_case(suite, wanted[name], observe, snapshots=how.snapshots) for name in order.names]
        answers.write(msgspec.json.encode(outcomes) + b"\n")
        answers.flush()


if __name__ == "__main__":
    output = sys.stdout.buffer
    sys.stdout = sys.stderr  # what a plug-in prints is no answer
    with suppress(BrokenPipeError):
        work(sys.stdin.buffer, output)
