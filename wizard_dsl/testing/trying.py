"""Running test files: `collect` reads one and holds it against its pipeline, `try_case` runs one of its cases.

    suite = collect("triage.test.yaml")
    assert not suite.diagnostics
    for case in suite.cases:
        outcome = try_case(suite, case)
        print(outcome.name, outcome.passed)

A case runs in virtual time with a runtime of its own and all targets scripted; nothing of the process's environment is
read. The same file gives the same outcomes, to the byte.

A snapshot is compared with what was approved, or approved (`snapshots="update"`), or only made (`"make"`: the outcome
has its text, for those who keep snapshots themselves). A test whose snapshot is not there yet fails: what nobody has
looked at is not approved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from wizard_dsl.core.events import AttemptStarted, RunEnded
from wizard_dsl.core.run import Transcript
from wizard_dsl.observe.transcript import render
from wizard_dsl.registry import Registry
from wizard_dsl.spec.diagnostics import DocPath, Place
from wizard_dsl.testing.against import hold_against
from wizard_dsl.testing.cases import Case, Programs, Source, Suite, suite_of
from wizard_dsl.testing.checking import difference
from wizard_dsl.testing.expecting import unmet, unmet_together
from wizard_dsl.testing.playing import Played, Ran, play
from wizard_dsl.testing.snapshots import approve, approved, first_difference, path_of, snapshot_of, told_once

#: Sees each sample of a case: coverage, say. What it returns for the samples of a case is kept in its outcome.
Observe = Callable[[Case, Played], Any]
Snapshots = Literal["compare", "update", "make"]


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
    `samples` counts them, `good` those that passed. `seen` is what the observer made of each sample. `snapshot` is the
    text of the first sample, where the case has one; `written`: it was approved now, and is new."""

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
    snapshot: str | None = None
    written: bool = False


def collect(path: str | Path, programs: Programs | None = None) -> Suite:
    """The cases of a test file. `suite.found.diagnostics` says all that is wrong with it; with errors among them none
    of its cases can be run. `programs` keeps what is compiled, for several files of one project."""
    suite = suite_of(Path(path), Programs(Registry()) if programs is None else programs)
    hold_against(suite)
    return suite


def try_case(suite: Suite, case: Case, observe: Observe | None = None, *, snapshots: Snapshots = "compare") -> Outcome:
    """Run a case of a suite without errors."""
    trial = _Trial(suite, case)
    seen: list[Any] = []
    for sample in range(case.spec.repeat):
        played = trial.sample(sample)
        if observe is not None:
            seen.append(observe(case, played))
    written = case.spec.snapshot and _snapshot(trial, snapshots)
    passed = trial.enough and not trial.changed
    return Outcome(
        file=str(case.file),
        name=case.name,
        place=case.place,
        passed=passed,
        failures=() if passed else (*trial.failures, *trial.changed),
        transcript="" if passed else trial.failed,
        samples=case.spec.repeat,
        good=trial.good,
        elapsed=trial.elapsed,
        seen=tuple(seen),
        snapshot=trial.text if case.spec.snapshot else None,
        written=written,
    )


class _Trial:
    """The samples of a case so far. `failures` and `failed` (the story) are those of the first sample that failed;
    `text` is the snapshot of the very first, `changed` what is wrong with that; `broke_off`: it has no end."""

    def __init__(self, suite: Suite, case: Case) -> None:
        self.case = case
        self.suite = suite
        self.failures: list[Failure] = []
        self.failed = ""
        self.text = ""
        self.changed: list[Failure] = []
        self.broke_off = False
        self.good = 0
        self.elapsed = 0.0

    def sample(self, number: int) -> Played:
        played = self.play(number)
        failures = _failures(self.suite, self.case, played)
        self.elapsed += sum(each.result.elapsed for each in played.runs)
        self.good += not failures
        if failures and not self.failures:
            self.failures, self.failed = failures, story(played)
        if number == 0 and self.case.spec.snapshot:
            self.text = self._text(played)
            self.broke_off = bool(played.broken)
        return played

    @property
    def enough(self) -> bool:
        """Whether as many samples passed as have to."""
        return self.good / self.case.spec.repeat >= self.case.pass_rate - 1e-9

    def play(self, number: int) -> Played:
        case, suite = self.case, self.suite
        return play(case, suite.compiled(case), suite.programs.registry, case.seed + number)

    def again(self) -> str:
        """The snapshot of the first sample, played once more."""
        return self._text(self.play(0))

    def _text(self, played: Played) -> str:
        """Without what runs cost: prices change without anything of the project."""
        return snapshot_of(self.case, played, story(played, summed_up=False))


def _snapshot(trial: _Trial, snapshots: Snapshots) -> bool:
    """Compare a snapshot, or approve it; true where one was written. What is not the same twice is never approved, nor
    what could not be played to its end, nor what a test expects in vain."""
    if snapshots == "make" or trial.broke_off or (snapshots == "update" and not trial.enough):
        return False
    place = _place(trial.suite, (*trial.case.path, "snapshot"))
    try:
        told, diff, written = _compared(trial, snapshots)
    except OSError as error:
        told, diff, written = f"the snapshot {path_of(trial.case)} cannot be used: {error.strerror}", "", False
    if told:
        trial.changed.append(Failure(told, place, diff=diff))
    return written


def _compared(trial: _Trial, snapshots: Snapshots) -> tuple[str, str, bool]:
    """What is wrong with a snapshot, the difference, and whether it was written. Raises OSError."""
    case, text = trial.case, trial.text
    before = approved(case)
    if before == text:
        return "", "", False
    again = trial.again()
    if again != text:
        where = first_difference(text, again)
        return f"two runs of this test differ, so no snapshot of it can hold: {where}", "", False
    if snapshots == "update":
        approve(case, text)
        return "", "", True
    if before is None:
        return f"there is no snapshot {path_of(case)} yet: --update writes it", "", False
    told = f"the snapshot {path_of(case)} differs: --update approves what is now"
    return told, difference(before, text, "approved", "now"), False


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
    return [*found, *_together(suite, case, played), *left]


def _together(suite: Suite, case: Case, played: Played) -> Iterator[Failure]:
    """What does not hold of several runs together."""
    for index, planned in enumerate(case.runs):
        if planned.outcomes is not None:
            ended = [ran for ran in played.runs if ran.planned == index]
            for path, miss in unmet_together(planned.outcomes, ended):
                yield Failure(miss.what, _place(suite, path), miss.expected, miss.actual)


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


def story(played: Played, *, summed_up: bool = True) -> str:
    """The transcripts of all runs, each under its number where there are several, and each with its line of summary
    where that is asked for. Runs that began at once and are alike are told once."""
    told = told_once(played.runs, lambda ran: _told(ran, summed_up))
    return "\n".join(f"{which}\n{text}" if which else text for which, text in told)


def _told(ran: Ran, summed_up: bool) -> str:
    events = ran.transcript.events
    if not events:
        error = ran.result.error
        return f"   0.000  refused before it began: {error.kind}: {error.message}" if error else ""
    if _is_cut_off(ran):
        last = max(
            (index for index, (_, _, event) in enumerate(events) if isinstance(event, AttemptStarted)), default=0
        )
        told = Transcript(ran.transcript.started)
        told.events = events[: last + 1]
        return render(told)
    return render(ran.transcript, result=ran.result if summed_up else None)


def _is_cut_off(ran: Ran) -> bool:
    """Whether the run ended by an error that is none of its target: no script could answer, say. What the policies
    make of that call would read like a failure of the target."""
    _, _, event = ran.transcript.events[-1]
    return isinstance(event, RunEnded) and event.kind == "bug"
