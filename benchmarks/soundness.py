"""Does any run need more than its plan says, and how far below is it?

20,000 random cases (`SOUNDNESS=n`: so many), each a random file, targets that do as they like and up to nine callers,
some of whom go away. A row is the share that the neediest run of a case had of its plan; beside it stand how many runs
there were, and how many were beyond their plan: there must be none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.harness import Row

CASES = int(os.environ.get("SOUNDNESS", "20000"))
FIRST = int(os.environ.get("SOUNDNESS_FROM", "0"))
FIGURES = ("attempts", "latency", "cost")
#: Of one case: by figure the largest share of the plan, how many runs there were, and what was beyond.
Case = tuple[dict[str, float], int, list[str]]


def main() -> list[Row]:
    with TemporaryDirectory() as folder, ProcessPoolExecutor(os.cpu_count()) as pool:
        numbers = range(FIRST, FIRST + CASES)
        cases = [case for case in pool.map(partial(_case, folder), numbers, chunksize=50) if case is not None]
    runs = sum(count for _, count, _ in cases)
    beyond = [each for _, _, broken in cases for each in broken]
    print(f"{len(cases):,} cases, {runs:,} runs, {len(beyond)} beyond their plan", *beyond, sep="\n", file=sys.stderr)
    return [_row(name, cases, runs, beyond) for name in FIGURES]


def _case(folder: str, number: int) -> Case | None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "properties"))
    from plan_kit import hold

    played = hold(number, Path(folder))
    if played is None:
        return None
    shares = {}
    for name in FIGURES:
        held = [each for each in (getattr(run, name) for run in played.runs) if each is not None and each.most > 0]
        if held:
            shares[name] = max(each.actual / each.most for each in held)
    return shares, len(played.runs), [f"case {number}: {each}" for each in played.broken()]


def _row(name: str, cases: list[Case], runs: int, beyond: list[str]) -> Row:
    shares = sorted(_of(name, cases))
    return Row(
        question="of the planned",
        subject=name,
        ratio=median(shares),
        lowest=shares[0],
        highest=shares[-1],
        value=float(runs),
        baseline=float(sum(f" {name}: " in each for each in beyond)),
        unit=" runs",
        better="higher",
    )


def _of(name: str, cases: list[Case]) -> Iterator[float]:
    return (shares[name] for shares, _, _ in cases if name in shares)
