"""How long until something is on the screen, and how much memory is gone? Whole processes against `python -c pass`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter

from benchmarks.harness import HERE, Row, rounds, row

ROUNDS = 11
LINES = 200
WIZARD = str(Path(sys.executable).with_name("wizard"))
#: What a program begins with that uses aiohttp, and one that uses us.
RAW_IMPORTS, IMPORTS = "import aiohttp", "import wizard_dsl; wizard_dsl.open"
_MEMORY = """
{imports}
with open("/proc/self/status") as status:
    print(next(line for line in status if line.startswith("VmRSS")).split()[1])
"""
_SMALL = HERE / "pipelines" / "small.yaml"


def long_file(lines: int = LINES) -> str:
    """A valid pipeline of that many lines: one provider, and step after step."""
    text = (
        "version: 1\nname: long\ninputs:\n  question: {type: string, maxLength: 2000}\n"
        "providers:\n  mock: {type: mock}\nchains:\n  default:\n    targets: [mock/a, mock/b]\n"
        "    policies: {retry: {max_attempts: 2, max_delay: 5s}, cache: {ttl: 1h}}\nsteps:\n"
    )
    step = (
        "  {name}:\n    prompt:\n      system: Answer briefly.\n"
        "      user: |\n        About {{{{ {before} }}}}\n        in one sentence.\n"
    )
    before, number = "question", 0
    while text.count("\n") + step.count("\n") <= lines:
        text += step.format(name=f"step_{number}", before=before)
        before, number = f"steps.step_{number}.text", number + 1
    return text + "# end\n" * (lines - text.count("\n"))


def whole(*command: str, env: dict[str, str] | None = None) -> Callable[[], Awaitable[float]]:
    """The time of a process from its start to its end, in seconds. Raises CalledProcessError where it fails."""

    async def measure() -> float:
        began = perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
        return perf_counter() - began

    return measure


def first_output(*command: str) -> Callable[[], Awaitable[float]]:
    """The time from a process's start to the first byte on its standard output, in seconds."""

    async def measure() -> float:
        began = perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.read(1), f"{command} printed nothing"
            took = perf_counter() - began
            process.stdout.read()
        assert process.returncode == 0
        return took

    return measure


def memory(
    imports: str, python: str = sys.executable, env: dict[str, str] | None = None
) -> Callable[[], Awaitable[float]]:
    """The resident memory of a process after a program's imports, in MB (Linux). Raises CalledProcessError where they
    fail."""

    async def measure() -> float:
        program = _MEMORY.format(imports=imports)
        done = subprocess.run([python, "-c", program], check=True, capture_output=True, text=True, env=env)
        return float(done.stdout) / 1024

    return measure


async def measure(long: str) -> list[Row]:
    asked = ("--mock", "-i", "question=Why?", "--stream")
    values = await rounds(
        {
            "pass": whole(sys.executable, "-c", "pass"),
            "version": whole(WIZARD, "--version"),
            "validate": whole(WIZARD, "validate", long),
            "run": first_output(WIZARD, "run", str(_SMALL), *asked),
        },
        ROUNDS,
        apart=True,
    )
    sizes = await rounds({"aiohttp": memory(RAW_IMPORTS), "wizard": memory(IMPORTS)}, 3, apart=True)
    against = values["pass"]
    return [
        row("`wizard --version`", "process", values["version"], against, unit="s").aiming(floor=5, goal=4.5),
        row("`wizard validate`, 200 lines", "process", values["validate"], against, unit="s").aiming(floor=18, goal=13),
        row("`wizard run --mock`, to the first output", "process", values["run"], against, unit="s").aiming(
            floor=25, goal=18
        ),
        row(
            "memory after import of the API (baseline: aiohttp)",
            "process",
            sizes["wizard"],
            sizes["aiohttp"],
            unit="MB",
        ).aiming(floor=60, goal=45, of="value"),
    ]


def main() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        long = Path(folder) / "long.yaml"
        long.write_text(long_file())
        return asyncio.run(measure(str(long)))
