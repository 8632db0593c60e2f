"""Invariants over all sequences of faults: the real executor in virtual time, against an adversary.

    report = prove(Job(Path("triage.yaml")), compiled, registry, Limits(depth=3))
    report.holds          # nothing was found
    report.verdict        # "holds for all 1,204 sequences up to depth 3"
    report.violations     # each with its smallest counter-example: transcript and test

What is said is what was shown: how many sequences were played, of which classes, from which states, and what was not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from wizard_dsl.analysis._prove_checks import BUILT_IN
from wizard_dsl.analysis._prove_classes import Outcome, Spot
from wizard_dsl.analysis._prove_play import Seen, Stage, Start
from wizard_dsl.analysis._prove_search import First, Found, Halted, Level, Limits, Prepared, Progress, search
from wizard_dsl.analysis._prove_test import Case, as_test
from wizard_dsl.analysis._prove_workers import Job, judging, prepared
from wizard_dsl.observe.transcript import render

if TYPE_CHECKING:
    from wizard_dsl.compiler.compile import Compiled
    from wizard_dsl.registry import Registry

__all__ = ["Job", "Limits", "Report", "Violation", "prove"]

#: What no sequence has, whatever the file.
ALWAYS_LEFT_OUT = (
    "several runs at once, and other processes that share state",
    "tool calls, answers that end for another reason than stop, `x-should-retry`, connections that are slow to open",
)


class Violation(msgspec.Struct, frozen=True):
    """An invariant that does not hold, and the smallest sequence that shows it: `outcomes` are its attempts, as
    `target: outcome`. `test` is a test file; `test_fails`: because of the invariant, until it holds."""

    name: str
    sentence: str
    start: str
    depth: int
    outcomes: tuple[str, ...]
    transcript: str
    test: str
    test_fails: bool


class Covered(msgspec.Struct, frozen=True):
    """What was tried of one target in one chain: its classes of outcomes, beside the kinds that each stands for."""

    chain: str
    target: str
    classes: tuple[str, ...]
    asked: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was shown. `levels` are the depths that were played; `stopped` says what ended the search, `more` how many
    sequences of the next depth, or of this one, were not played."""

    file: str
    invariants: Mapping[str, str]
    levels: tuple[Level, ...]
    stopped: str
    more: int
    depth: int
    violations: tuple[Violation, ...]
    starts: tuple[str, ...]
    covered: tuple[Covered, ...]
    left_out: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.violations

    @property
    def played(self) -> int:
        return sum(level.played for level in self.levels)

    @property
    def verdict(self) -> str:
        """One sentence, and never more than was shown."""
        count = f"{self.played:,} sequences"
        if self.violations:
            first = min(self.violations, key=lambda each: each.depth)
            return (
                f"{len(self.violations)} of {len(self.invariants)} invariants broken, the first at depth {first.depth}"
            )
        if self.covered and not any(each.asked for each in self.covered):
            return f"nothing was shown: no target was asked in {count}; name inputs with -i that lead to an attempt"
        if self.stopped == "all":
            return f"holds for all {count}: there are no others of these classes"
        if self.stopped == "depth":
            return f"holds for all {count} up to depth {self.depth}"
        whole = [level.depth for level in self.levels if level.played == level.size]
        upto = f"; up to depth {whole[-1]} all were played" if whole else ""
        return f"no violation in {count}, not exhausted{upto}"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "file": self.file,
            "holds": self.holds,
            "verdict": self.verdict,
            "sequences": self.played,
            **{key: msgspec.to_builtins(getattr(self, key)) for key in self.__struct_fields__ if key != "file"},
        }


def prove(
    job: Job,
    compiled: Compiled,
    registry: Registry,
    limits: Limits,
    *,
    processes: int = 1,
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
    halted: Halted | None = None,
) -> Report:
    """Search a compiled file, which is what `job` compiles to. `env` are the variables that a test of it needs,
    `folder` is where such a test would be written; where `halted` says so, the search ends, and what was shown until
    then is told. Raises InputInvalid for inputs that the file does not take."""
    ready = prepared(job, compiled, registry)
    with judging(job, ready, processes) as (judge, batch):
        found = search(len(ready.starts.all), judge, limits, batch, progress, halted)
    teller = _Teller(job, ready, registry, env or {}, folder or job.file.absolute().parent)
    return Report(
        file=str(job.file),
        invariants={**BUILT_IN, **_stated(ready.stage)},
        levels=tuple(found.levels),
        stopped=found.stopped,
        more=found.more,
        depth=limits.depth,
        violations=tuple(teller.violation(first) for first in found.firsts.values()),
        starts=tuple(start.name for start in ready.starts.all),
        covered=tuple(_covered(ready.stage, found)),
        left_out=(*ready.starts.missed, *ALWAYS_LEFT_OUT),
    )


def _stated(stage: Stage) -> dict[str, str]:
    return {name: " ".join(each.source.split()) for name, each in stage.program.invariants.items()}


class _Teller:
    """Makes of the first sequence that breaks an invariant what a person reads."""

    def __init__(self, job: Job, ready: Prepared, registry: Registry, env: Mapping[str, str], folder: Path) -> None:
        self._job = job
        self._ready = ready
        self._registry = registry
        self._env = env
        self._folder = folder

    def violation(self, first: First) -> Violation:
        start = self._ready.starts.all[first.order.start]
        seen = self._ready.stage.play(start, first.order.choices)
        written = as_test(self._case(first, start, seen), self._folder, self._registry)
        transcript = "" if seen.transcript is None else render(seen.transcript, result=seen.result)
        return Violation(
            name=first.broken.name,
            sentence=first.broken.sentence,
            start=start.name,
            depth=first.depth,
            outcomes=tuple(f"{each.target}: {each.outcome.name}" for each in seen.taken),
            transcript=transcript,
            test=written.text if written.plays else "",
            test_fails=written.fails,
        )

    def _case(self, first: First, start: Start, seen: Seen) -> Case:
        job = self._job
        options: dict[str, Any] = {}
        if job.overlays:
            options["overlay"] = list(job.overlays)
        if job.sets:
            options["set"] = {key: value for key, _, value in (each.partition("=") for each in job.sets)}
        if job.deadline is not None:
            options["deadline"] = f"{job.deadline:g}s"
        broken = first.broken
        return Case(
            name=broken.name,
            sentence=broken.sentence,
            expected=broken.expected,
            start=start,
            seen=seen,
            pipeline=job.file.absolute(),
            options=options,
            env=self._env,
        )


def _covered(stage: Stage, found: Found) -> list[Covered]:
    """For each target that a step of the file may ask, all classes that it has in some step."""
    made = []
    for chain in stage.program.chains.values():
        steps = [step for step in stage.program.steps if step.chain == chain.name]
        for target in chain.targets if steps else ():
            spots = [Spot(target, chain, step, False) for step in steps]
            spots += [Spot(target, chain, step, True) for step in steps if step.name == stage.program.streamed]
            classes = dict.fromkeys(_told(each) for spot in spots for each in stage.classes.of(spot))
            made.append(Covered(chain.name, target.name, tuple(classes), target.name in found.asked))
    return made


def _told(outcome: Outcome) -> str:
    more = [kind for kind in outcome.covers if kind not in outcome.name and kind not in ("ok", "contract", "cancelled")]
    return f"{outcome.name}; the same as {', '.join(more)}" if more else outcome.name
