"""Of how many plans is the bound of the attempts the truth?

A plan is tight where some run makes as many attempts as it allows (`wizard plan --witness`). Random files, those of the
soundness check, without the ones that have a condition, in which no input need make it true. `TIGHTNESS=n`: so many
files, from `TIGHTNESS_FROM` on, in `TIGHTNESS_PROCESSES`. What has no witness is listed, with what held its best run
back.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.harness import Row

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import Program

FILES = int(os.environ.get("TIGHTNESS", "500"))
FIRST = int(os.environ.get("TIGHTNESS_FROM", "0"))
PROCESSES = int(os.environ.get("TIGHTNESS_PROCESSES", str(os.cpu_count())))


class Found(NamedTuple):
    """The best run of one file: its attempts, those of the plan, and what held it back."""

    number: int
    made: int
    most: float
    held_back: tuple[str, ...]


def main() -> list[Row]:
    with TemporaryDirectory() as folder, ProcessPoolExecutor(PROCESSES) as pool:
        numbers = range(FIRST, FIRST + FILES)
        found = [each for each in pool.map(partial(_found, folder), numbers, chunksize=10) if each is not None]
    missed = [each for each in found if each.made < each.most]
    reasons = Counter(reason for each in missed for reason in each.held_back or ("nothing that was told",))
    counts = (f"{count} held back by {name}" for name, count in reasons.most_common())
    print(*_told(missed), *counts, sep="\n", file=sys.stderr)
    share = 1 - len(missed) / len(found)
    return [
        Row(
            question="bounds of attempts that a run reaches",
            subject="witness",
            ratio=share,
            lowest=share,
            highest=share,
            value=float(len(found) - len(missed)),
            baseline=float(len(found)),
            unit="files",
            better="higher",
        ).aiming(floor=0.95, goal=0.99)
    ]


def _told(missed: list[Found]) -> Iterator[str]:
    for each in missed:
        yield f"file {each.number}: {each.made} of {each.most:g}: {', '.join(each.held_back)}"


def _found(folder: str, number: int) -> Found | None:
    """None of a file that contradicts itself, has a condition, or asks nobody."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "properties"))
    from plan_kit import REGISTRY, no_facts, written

    from wizard_dsl.analysis.plan import plan_of
    from wizard_dsl.analysis.witness import witness

    with written(number, Path(folder)) as (case, _, _):
        if case.program is None or _has_conditions(case.program):
            return None
        shown = witness(case, REGISTRY, plan_of(case.program, library=no_facts))
        return None if shown is None else Found(number, shown.made, shown.most, shown.held_back)


def _has_conditions(program: Program) -> bool:
    """Whether a step of it, or of a file that it runs, has a `when`."""
    inner = [step.subprogram for step in program.steps if step.subprogram is not None]
    return any(step.when is not None for step in program.steps) or any(map(_has_conditions, inner))
