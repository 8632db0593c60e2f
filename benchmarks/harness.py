"""What all questions share: rounds in turn, ratios, the mock server on a core of its own, tables and JSON.

Machines are shared and noisy, so only ratios count that were measured side by side: in every round each side runs
once, the order turns from round to round, and the ratio is taken within the round. Reported is the median of the
rounds' ratios with the lowest and the highest.
"""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import msgspec

from benchmarks.server import pin

HERE = Path(__file__).parent
RESULTS = HERE / "results"
ROUNDS = 7

#: One measurement of one side: seconds, bytes, or a rate.
Side = Callable[[], Awaitable[float]]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One ratio of a question. `floor` and `goal` are those of the project; `better` says which way is good."""

    question: str
    subject: str
    ratio: float
    lowest: float
    highest: float
    value: float
    baseline: float
    unit: str
    floor: float | None = None
    goal: float | None = None
    better: str = "lower"

    def aiming(self, *, floor: float, goal: float) -> Row:
        """With what is to be reached, and what at least."""
        return msgspec.structs.replace(self, floor=floor, goal=goal)


async def rounds(sides: Mapping[str, Side], count: int = ROUNDS) -> dict[str, list[float]]:
    """The values of each side, one a round; one more round warms everything up and does not count."""
    values: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(count + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            gc.collect()
            value = await sides[name]()
            if number:
                values[name].append(value)
    return values


def row(
    question: str,
    subject: str,
    values: list[float],
    baseline: list[float],
    *,
    unit: str,
    better: str = "lower",
) -> Row:
    ratios = sorted(mine / theirs for mine, theirs in zip(values, baseline, strict=True))
    return Row(
        question=question,
        subject=subject,
        ratio=median(ratios),
        lowest=ratios[0],
        highest=ratios[-1],
        value=median(values),
        baseline=median(baseline),
        unit=unit,
        better=better,
    )


async def p50(call: Callable[[], Awaitable[Any]], count: int) -> float:
    """The median time of `count` calls, one after the other, in seconds."""
    times = []
    for _ in range(count):
        began = perf_counter()
        await call()
        times.append(perf_counter() - began)
    return median(times)


@contextmanager
def mock_server() -> Iterator[str]:
    """The URL of a running mock server. It has the second core, and this process the first, while it runs."""
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.server", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=HERE.parent,
    )
    assert server.stdout is not None and server.stdin is not None
    try:
        pin(0)
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        if mine is not None:
            os.sched_setaffinity(0, mine)
        server.stdin.close()
        server.wait(timeout=10)
        server.stdout.close()


def machine() -> dict[str, str]:
    """What the numbers were measured on."""
    model = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    facts = {
        "cpu": f"{model or platform.machine()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    return facts | {name: version(name) for name in ("wizard-dsl", "aiohttp", "msgspec", "jinja2")}


def table(rows: list[Row]) -> str:
    """Rows as a Markdown table; ratios carry their spread."""
    lines = [
        "| question | what | ratio (spread) | subject | baseline | floor | goal |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in rows:
        spread = f"{each.ratio:.3g} x ({each.lowest:.3g}-{each.highest:.3g})"
        bounds = [f"{bound:g} x" if bound is not None else "" for bound in (each.floor, each.goal)]
        cells = [each.question, each.subject, spread, _show(each.value, each.unit), _show(each.baseline, each.unit)]
        lines.append(f"| {' | '.join(cells + bounds)} |")
    return "\n".join(lines)


def _show(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value * 1e6:.0f} µs" if value < 0.001 else f"{value * 1e3:.1f} ms"
    if unit == "/s":
        return f"{value:,.0f}/s"
    return f"{value:.1f} {unit}"


def write(name: str, rows: list[Row]) -> Path:
    """The rows as JSON in results/, with machine and versions."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    document = {"question": name, "machine": machine(), "rows": rows}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    return path
