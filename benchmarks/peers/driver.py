"""The processes of the sides, as the harness sees them: a command goes in, an answer comes out, or the side falls out
of the question with a reason."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import msgspec

from benchmarks.harness import HERE, rounds

#: A command that takes longer has not finished, seconds.
PATIENCE = 180.0


class Unable(Exception):
    """A side cannot do what a question asks; the text says why."""


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """How to start a side: the words of its command, its environment (None: ours), and the imports that a program which
    uses it begins with."""

    command: list[str]
    env: dict[str, str] | None = None
    imports: str = ""


class Process:
    """One running side. `ask` sends a command and returns the answer; it raises Unable for an answer that says so, for
    a process that ended, and after `patience` seconds; then the process is gone."""

    def __init__(self, process: asyncio.subprocess.Process, said: IO[bytes], patience: float) -> None:
        self._process = process
        self._said = said
        self._patience = patience

    async def ask(self, **command: Any) -> dict[str, Any]:
        writer, reader = self._process.stdin, self._process.stdout
        assert writer is not None and reader is not None
        try:
            writer.write(json.dumps(command).encode() + b"\n")
            line = await asyncio.wait_for(reader.readline(), self._patience)
        except TimeoutError:
            await self.end()
            raise Unable(f"did not finish within {self._patience:g} s") from None
        except ConnectionError:
            line = b""
        if not line:
            raise Unable(f"its process ended with status {await self._process.wait()}: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if reason := answer.get("cannot") or answer.get("error"):
            raise Unable(reason.splitlines()[0][:300])
        return answer

    async def end(self) -> None:
        """End the process, which has no time to tidy up."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"


@asynccontextmanager
async def running(program: Program, patience: float = PATIENCE) -> AsyncIterator[Process]:
    """A side's process, which is ended afterwards."""
    with TemporaryFile() as said:
        process = await asyncio.create_subprocess_exec(
            *program.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
            cwd=HERE.parent,
            env=program.env,
        )
        side = Process(process, said, patience)
        try:
            yield side
        finally:
            await side.end()


#: What one side measures in a round.
Measure = Callable[[], Awaitable[Any]]


async def in_turn(sides: Mapping[str, Measure], count: int) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """Rounds as of the harness, but a side that is Unable falls out and the others go on: the values of those that did
    all rounds, and the reasons of the others."""
    reasons: dict[str, str] = {}

    def lenient(name: str, side: Measure) -> Measure:
        async def measure() -> Any:
            if name in reasons:
                return None
            try:
                return await side()
            except Unable as reason:
                reasons[name] = str(reason)
                return None

        return measure

    values = await rounds({name: lenient(name, side) for name, side in sides.items()}, count, apart=True)
    return {name: each for name, each in values.items() if name not in reasons}, reasons


def module(name: str, python: Path | str, *arguments: str, **more: Any) -> Program:
    """The program of a side in this package; `more` as of Program."""
    return Program(command=[str(python), "-m", f"benchmarks.peers.side_{name}", *arguments], **more)
