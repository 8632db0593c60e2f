"""A pull request in one look: what changes in behaviour, which tests it breaks, what of it no test has seen.

Only what changed is looked at: pipelines that behave differently, their tests, and tests that changed themselves with
their snapshots and cassettes. Tests run offline, on the files as the new revision has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from wizard_dsl.analysis.diff import Diff, Side
from wizard_dsl.compiler.program import Program
from wizard_dsl.core.clock import machine_time
from wizard_dsl.registry import Registry
from wizard_dsl.spec.diagnostics import Diagnostic, sentence
from wizard_dsl.testing import coverage
from wizard_dsl.testing.cases import Case, Programs, Suite
from wizard_dsl.testing.snapshots import folder_of
from wizard_dsl.testing.trying import Outcome, collect, try_case


class Broken(msgspec.Struct, frozen=True):
    """A test that fails, or a test file that is not valid, and where it stands. `why` are its failures."""

    test: str
    file: str
    line: int
    why: tuple[str, ...]


class Untested(msgspec.Struct, frozen=True):
    """What no test of a changed pipeline made happen: `share` is written for people, `outcomes` are nodes, each with
    the name and the meaning of an outcome."""

    pipeline: str
    covered: int
    possible: int
    share: str
    outcomes: tuple[tuple[str, str, str], ...]


class Review(msgspec.Struct, frozen=True):
    """`tests` were run, `broken` are those that failed; `invalid` says that a test file could not be read. `bare` are
    changed pipelines without a test."""

    diff: Diff
    tests: int
    broken: tuple[Broken, ...]
    untested: tuple[Untested, ...]
    bare: tuple[str, ...] = ()
    invalid: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain data; keys never disappear."""
        return {
            **self.diff.to_json(),
            "tests": {"run": self.tests, "broken": msgspec.to_builtins(self.broken), "invalid": self.invalid},
            "untested": [
                {**msgspec.structs.asdict(each), "outcomes": [list(one) for one in each.outcomes]}
                for each in self.untested
            ],
            "without_tests": list(self.bare),
        }


def review(diff: Diff, side: Side, changed: frozenset[str], registry: Registry) -> Review:
    """Try the tests that a difference is about. `side` is the new one, `changed` the names of files that changed."""
    assert side.base is not None
    programs = Programs(registry, wall=machine_time())
    suites = [collect(path, programs) for path in side.tests.values()]
    touched = {each.name for each in diff.pipelines if each.state in {"changed", "added"}}
    touched |= _callers(touched, suites, side.base)
    meant = [suite for suite in suites if _is_meant(suite, touched, changed, side.base)]
    wrong = [_invalid(each, side) for suite in meant for each in suite.found.diagnostics if _is_own(each, suite)]
    picked = [(suite, case) for suite in meant if suite.found.ok for case in suite.cases]
    outcomes = [try_case(suite, case, coverage.observe) for suite, case in picked]
    failed = [_failed(each, side) for each in outcomes if not each.passed]
    pipelines = {_name(case.pipeline, side.base) for _, case in picked}
    own = [each.name for each in diff.pipelines if each.state in {"changed", "added"}]
    return Review(
        diff=diff,
        tests=len(outcomes),
        broken=tuple([*wrong, *failed]),
        untested=tuple(_untested(outcomes, own, side.base)),
        bare=tuple(each for each in own if each not in pipelines),
        invalid=bool(wrong),
    )


def _callers(touched: set[str], suites: Sequence[Suite], base: Path) -> set[str]:
    """Pipelines under test that run a changed one as a step."""
    found = set()
    for suite in suites:
        for case in suite.cases if suite.found.ok else ():
            program = suite.compiled(case).program
            if program is not None and any(_name(Path(each), base) in touched for each in _inner(program)):
                found.add(_name(case.pipeline, base))
    return found


def _inner(program: Program) -> Iterator[str]:
    """The files that a program runs, and those that these run."""
    for step in program.steps:
        if step.subprogram is not None:
            yield step.subprogram.file
            yield from _inner(step.subprogram)


def _is_meant(suite: Suite, touched: set[str], changed: frozenset[str], base: Path) -> bool:
    """Whether a test file is about what changed."""
    snapshots = _name(folder_of(suite.file), base)
    if _name(suite.file, base) in changed or any(each.startswith(f"{snapshots}/") for each in changed):
        return True
    return any(_name(path, base) in touched | changed for case in suite.cases for path in _of(case))


def _of(case: Case) -> Iterator[Path]:
    """The files that a case is made of, besides its own."""
    yield case.pipeline
    yield from map(Path, case.options.overlays)
    if case.cassette is not None:
        yield case.cassette


def _name(path: Path, base: Path) -> str:
    """A file as the repository names it."""
    whole = path.resolve()
    return whole.relative_to(base).as_posix() if whole.is_relative_to(base) else str(path)


def _is_own(each: Diagnostic, suite: Suite) -> bool:
    """Whether it is an error of the test file itself. Those of its pipeline, of which it says one, are in the diff."""
    return each.severity == "error" and each.file == str(suite.file)


def _invalid(each: Diagnostic, side: Side) -> Broken:
    return Broken("the test file", side.file(each.file), each.line, (side.told(f"[{each.code}] {sentence(each)}"),))


def _failed(outcome: Outcome, side: Side) -> Broken:
    why = tuple(side.told(each.sentence) for each in outcome.failures)
    return Broken(outcome.name, side.file(outcome.place.file), outcome.place.line, why)


def _untested(outcomes: Sequence[Outcome], names: Sequence[str], base: Path) -> Iterable[Untested]:
    """Of the changed pipelines that have tests."""
    seen = (msgspec.convert(each, coverage.Observed) for outcome in outcomes for each in outcome.seen)
    for file in coverage.measure(seen):
        name = _name(Path(file.file), base)
        if name in names:
            missing = [(node.path, each.name, each.summary) for node in file.nodes for each in node.missing]
            yield Untested(name, file.share.covered, file.share.possible, str(file.share), tuple(missing))
