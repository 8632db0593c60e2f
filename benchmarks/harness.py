"""What all questions share: rounds in turn, ratios, the mock server on a core of its own, tables and JSON.

Machines are shared and noisy, so only ratios count that were measured side by side: in every round each side runs
once, the order turns from round to round, and the ratio is taken within the round. Reported is the median of the
rounds' ratios with the lowest and the highest.
"""

from __future__ import annotations

import cProfile
import gc
import os
import platform
import pstats
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Literal, TypeVar

import msgspec

from benchmarks.server import pin

HERE = Path(__file__).parent
RESULTS = HERE / "results"
ROUNDS = 7
#: `ROUNDS=1`: so many in each question, to see whether it works; its figures mean little.
FEWER = int(os.environ.get("ROUNDS") or "0")
#: `PROFILE=1`: write a profile of each side, too.
PROFILE = bool(os.environ.get("PROFILE"))
#: The question that is being asked: results and profiles are named after it.
asked: ContextVar[str] = ContextVar("asked", default="question")

#: One measurement of one side: seconds, bytes, or a rate.
Side = Callable[[], Awaitable[float]]


T = TypeVar("T")
Judged = Literal["ratio", "value"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of a question. `floor` and `goal` are those of the project, of the ratio or of the value as `judged`
    says; `better` says which way is good. `lowest` and `highest` are of the ratio, or of the value where there is no
    baseline. `note` is what a reader must know of this figure."""

    question: str
    subject: str
    lowest: float
    highest: float
    value: float
    unit: str
    ratio: float | None = None
    baseline: float | None = None
    floor: float | None = None
    goal: float | None = None
    judged: Judged = "ratio"
    better: str = "lower"
    note: str = ""

    def aiming(self, *, floor: float, goal: float | None = None, of: Judged = "ratio") -> Row:
        """With what is to be reached, and what at least."""
        return msgspec.structs.replace(self, floor=floor, goal=goal, judged=of)

    def noting(self, note: str) -> Row:
        """With what a reader must know."""
        return msgspec.structs.replace(self, note=note)

    @property
    def figure(self) -> float | None:
        """What floor and goal are about."""
        return self.ratio if self.judged == "ratio" else self.value

    @property
    def reached(self) -> str:
        """`goal`, `floor`, `missed`, or nothing where nothing is aimed at."""
        if self.floor is None or self.figure is None:
            return ""
        sign = 1 if self.better == "lower" else -1
        if self.goal is not None and sign * self.figure <= sign * self.goal:
            return "goal"
        return "floor" if sign * self.figure <= sign * self.floor else "missed"


async def rounds(
    sides: Mapping[str, Callable[[], Awaitable[T]]], count: int = ROUNDS, *, apart: bool = False
) -> dict[str, list[T]]:
    """The values of each side, one a round; one more round warms everything up and does not count. Sides that are
    `apart` are processes, which a profile would not see."""
    values: dict[str, list[T]] = {name: [] for name in sides}
    names = list(sides)
    for number in range((FEWER or count) + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            gc.collect()
            value = await sides[name]()
            if number:
                values[name].append(value)
    for name in names if PROFILE and not apart else []:
        await profile(name, sides[name])
    return values


async def profile(name: str, side: Callable[[], Awaitable[Any]]) -> None:
    """Run a side once more, after what is measured, and write what its time goes to beside the results."""
    profiler = cProfile.Profile()
    profiler.enable()
    await side()
    profiler.disable()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{asked.get()}.{name.replace(' ', '_')}.profile.txt"
    with path.open("w") as file:
        statistics = pstats.Stats(profiler, stream=file).strip_dirs()
        statistics.sort_stats("tottime").print_stats(60)
        statistics.sort_stats("cumulative").print_stats(60)
    print(f"profile: {path}", file=sys.stderr)


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


def figure(
    question: str, subject: str, values: list[float], *, unit: str, better: str = "lower", note: str = ""
) -> Row:
    """A row that nothing is compared with."""
    return Row(
        question=question,
        subject=subject,
        lowest=min(values),
        highest=max(values),
        value=median(values),
        unit=unit,
        better=better,
        note=note,
    )


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
    """Rows as a Markdown table; ratios, and values without a baseline, carry their spread."""
    lines = [
        "| question | what | ratio (spread) | subject | baseline | floor | goal | reached |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [f"| {' | '.join(_cells(each))} |" for each in rows]
    return "\n".join([*lines, *(f"- {each.question}, {each.subject}: {each.note}" for each in rows if each.note)])


def _cells(row: Row) -> list[str]:
    value = show(row.value, row.unit)
    if row.ratio is None:
        spread, value = "", f"{value} ({show(row.lowest, row.unit)} to {show(row.highest, row.unit)})"
    else:
        spread = f"{row.ratio:.3g} x ({row.lowest:.3g}-{row.highest:.3g})"
    baseline = "" if row.baseline is None else show(row.baseline, row.unit)
    return [row.question, row.subject, spread, value, baseline, *bounds(row), row.reached]


def bounds(row: Row) -> list[str]:
    """Floor and goal as words."""
    aims = [bound for bound in (row.floor, row.goal) if bound is not None]
    words = [f"{bound:g} x" if row.judged == "ratio" else show(bound, row.unit) for bound in aims]
    return words + [""] * (2 - len(words))


def show(value: float, unit: str) -> str:
    """A value with its unit; seconds in whatever part of them is readable."""
    if unit == "s" and abs(value) < 0.0001:
        return f"{value * 1e6:.2f} µs"
    if unit == "s" and abs(value) < 1:
        return f"{value * 1e6:.0f} µs" if abs(value) < 0.001 else f"{value * 1e3:.1f} ms"
    if unit in ("/s", "B"):
        return f"{value:,.0f}{unit if unit == '/s' else ' B'}"
    return f"{value:.3g} {unit}" if abs(value) < 1 else f"{value:,.1f} {unit}"


def write(name: str, rows: list[Row], **more: object) -> Path:
    """The rows as JSON in results/, with machine and versions, and whatever more there is to say."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    document = {"question": name, "machine": machine(), "rows": rows, **more}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    return path
