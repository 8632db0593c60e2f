"""Many calls in flight, and the imports of a program: each measurement has a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import msgspec

from benchmarks.harness import mock_server
from benchmarks.peers.driver import Measure, Program, Unable, in_turn, running
from benchmarks.peers.found import BARE, RAW, Aims, Found, found
from benchmarks.startup import memory, whole

_CROWD_ROUNDS = 3
_IMPORT_ROUNDS = 7


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """So many calls at once, each of which the server answers after so many seconds: time, memory of a call and of the
    process. The aims are ours."""

    count: int
    seconds: int
    time: Aims
    call: Aims | None = None
    process: Aims | None = None

    async def measured(self, programs: Mapping[str, Program]) -> Found:
        """All sides in turn."""
        with mock_server() as url:
            sides = {name: self._side(program, url) for name, program in programs.items() if name != BARE}
            loads, reasons = await in_turn(sides, _CROWD_ROUNDS)
        about = f"{self.count:,} in flight, {self.seconds} s"

        def rows(what: str, unit: str, aims: Aims | None, key: str) -> Found:
            values = {name: [load[key] for load in each] for name, each in loads.items()}
            return found(f"{about}: {what}", values, reasons if key == "value" else {}, unit=unit, aims=aims)

        return (
            rows("time of all", "s", self.time, "value")
            + rows("memory of a call", "kB", self.call, "each")
            + rows("memory of the process", "MB", self.process, "most")
        )

    def _side(self, program: Program, url: str) -> Measure:
        async def measure() -> dict[str, float]:
            async with running(program) as process:
                load = await process.ask(do="waiting", url=f"{url}/wait/{self.seconds * 1000}/v1", count=self.count)
            if load["errors"]:
                words = [f"{number} with {name}" for name, number in load["errors"].items()]
                raise Unable(f"calls failed, {', '.join(words)}")
            each = (load["most"] - load["before"]) * 1000 / self.count
            return {"value": load["value"], "each": each, "most": load["most"]}

        return measure


class Imports(msgspec.Struct, frozen=True):
    """What the imports take of a program that uses a side: time against `python -c pass`, memory against aiohttp's."""

    async def measured(self, programs: Mapping[str, Program]) -> Found:
        """All sides in turn."""
        times: dict[str, Measure] = {RAW: whole(sys.executable, "-c", "pass")}
        sizes: dict[str, Measure] = {}
        for name, program in programs.items():
            python, imports = program.command[0], program.imports
            if imports and name != RAW:
                times[name] = _able(whole(python, "-c", imports, env=program.env))
            if imports:
                sizes[name] = _able(memory(imports, python, program.env))
        took, late = await in_turn(times, _IMPORT_ROUNDS)
        size, large = await in_turn(sizes, _CROWD_ROUNDS)
        about = "imports of a program"
        return found(f"{about}: time of the process (baseline: `python -c pass`)", took, late, unit="s") + found(
            f"{about}: memory (baseline: aiohttp)", size, large, unit="MB", aims=Aims(60, 45, "value")
        )


def _able(measure: Measure) -> Measure:
    async def measured() -> float:
        try:
            return float(await measure())
        except subprocess.CalledProcessError as error:
            raise Unable(f"its imports ended with status {error.returncode}") from error

    return measured
