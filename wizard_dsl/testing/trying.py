"""Running test files: `collect` reads one and holds it against its pipeline, `try_case` runs one of its cases.

    suite = collect("triage.test.yaml")
    assert not suite.diagnostics
    for case in suite.cases:
        outcome = try_case(suite, case)
        print(outcome.name, outcome.passed)

A case runs in virtual time with a runtime of its own and all targets scripted; nothing of the process's environment is
read. The same file gives the same outcomes, to the byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from wizard_dsl.observe.transcript import render
from wizard_dsl.registry import Registry
from wizard_dsl.spec.diagnostics import DocPath, Place
from wizard_dsl.testing.against import hold_against
from wizard_dsl.testing.cases import Case, Programs, Source, Suite, suite_of
from wizard_dsl.testing.expecting import unmet
from wizard_dsl.testing.playing import Played, Ran, play

#: Sees each sample of a case: coverage, say. What it returns for the samples of a case is kept in its outcome.
Observe = Callable[[Case, Played], Any]


class Failure(msgspec.Struct, frozen=True):
    """One thing that is not as the test says, and where that is written. `expected` and `actual` are empty where
    `what` says it all. `run` counts from 1 where a case has several."""

    what: str
    place: Place
    expected: str = ""
    actual: str = ""
    diff: str = ""
    run: int | None = None

    @property
    def sentence(self) -> str:
        """`attempts: expected 8, was 4`."""
        head = self.what if self.run is None else f"run {self.run}: {self.what}"
        return f"{head}: expected {self.expected}, was {self.actual}" if self.expected else head


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a case. Of several samples, `failures` and `transcript` are those of the first that failed;
    `samples` counts them, `good` those that passed. `seen` is what the observer made of each sample."""

    file: str
    name: str
    place: Place
    passed: bool
    failures: tuple[Failure, ...] = ()
    transcript: str = ""
    samples: int = 1
    good: int = 1
    elapsed: float = 0.0
    seen: tuple[Any, ...] = ()


def collect(path: str | Path, programs: Programs | None = None) -> Suite:
    """The cases of a test file. `suite.found.diagnostics` says all that is wrong with it; with errors among them none
    of its cases can be run. `programs` keeps what is compiled, for several files of one project."""
    suite = suite_of(Path(path), Programs(Registry()) if programs is None else programs)
    hold_against(suite)
    return suite


def try_case(suite: Suite, case: Case, observe: Observe | None = None) -> Outcome:
    """Run a case of a suite without errors."""
    compiled = suite.compiled(case)
    seen: list[Any] = []
    first: tuple[list[Failure], str] | None = None
    good, elapsed = 0, 0.0
    for sample in range(case.spec.repeat):
        played = play(case, compiled, suite.programs.registry, case.seed + sample)
        if observe is not None:
            seen.append(observe(case, played))
        failures = _failures(suite, case, played)
        elapsed += sum(each.result.elapsed for each in played.runs)
        good += not failures
        if failures and first is None:
            first = failures, story(played)
    passed = good / case.spec.repeat >= case.pass_rate - 1e-9
    failures, transcript = first or ([], "")
    return Outcome(
        file=str(case.file),
        name=case.name,
        place=case.place,
        passed=passed,
        failures=() if passed else tuple(failures),
        transcript="" if passed else transcript,
        samples=case.spec.repeat,
        good=good,
        elapsed=elapsed,
        seen=tuple(seen),
    )


def _failures(suite: Suite, case: Case, played: Played) -> list[Failure]:
    """What keeps a sample from passing. Where it broke off, that alone: all else follows from it."""
    if played.broken:
        return [Failure(each, case.place) for each in played.broken]
    source = suite.found.source
    found = [
        Failure(
            miss.what,
            _place(suite, path),
            miss.expected,
            miss.actual,
            miss.diff,
            run=number if len(played.runs) > 1 else None,
        )
        for number, ran in enumerate(played.runs, start=1)
        for assertion in case.runs[ran.planned].assertions
        for path, miss in unmet(assertion, ran, played.program.passes)
    ]
    left = [Failure(each, source.key_at(script.path)) for script, each in _left(case, played)]
    return [*found, *left]


def _place(suite: Suite, path: DocPath) -> Place:
    """Where an assertion is written: its key, or, of a list's entry or of what goes without saying, its value."""
    return suite.found.source.key_at(path)


def _left(case: Case, played: Played) -> Iterator[tuple[Source, str]]:
    """Scripts that were not used up. A pattern may match targets that are never called, as long as one is."""
    for script in case.scripts:
        own = [each for each in played.scripts if each[0] is script]
        if script.shared or not own:
            continue
        called = [each for each in own if each[2]]
        if not called and any(left for _, _, _, left in own):
            yield script, f"the script for '{script.pattern}' was not used: no target that it matches was called"
        for _, target, _, left in called:
            if left:
                items = "an item" if left == 1 else f"{left} items"
                yield script, f"{items} of the script for '{script.pattern}' left over: {target} was not called again"


def story(played: Played) -> str:
    """The transcripts of all runs, each under its number where there are several."""
    if len(played.runs) == 1:
        return _told(played.runs[0])
    parts = [f"run {number}\n{_told(ran)}" for number, ran in enumerate(played.runs, start=1)]
    return "\n".join(parts)


def _told(ran: Ran) -> str:
    if not ran.transcript.events:
        error = ran.result.error
        return f"   0.000  refused before it began: {error.kind}: {error.message}" if error else ""
    return render(ran.transcript, result=ran.result)
