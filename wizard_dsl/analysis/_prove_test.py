"""A sequence as a test file: what its targets did as scripts, the runs before it, and what has to hold.

The test fails as long as the invariant does not hold, where an expression can say so; else it tells what happens today,
and passes. It is played before it is handed out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wizard_dsl.analysis._prove_classes import as_mapping
from wizard_dsl.analysis._prove_play import Seen, Start
from wizard_dsl.core.units import show_duration
from wizard_dsl.testing.against import hold_against
from wizard_dsl.testing.cases import Programs, suite_of
from wizard_dsl.testing.repro_text import Draft
from wizard_dsl.testing.trying import try_case

if TYPE_CHECKING:
    from wizard_dsl.registry import Registry

_CAUSE: Final = "that"


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What a test is made of. `expected` is the expression of the invariant, empty where none can say it; `options` are
    what lies over the file."""

    name: str
    sentence: str
    expected: str
    start: Start
    seen: Seen
    pipeline: Path
    options: Mapping[str, Any] = {}
    env: Mapping[str, str] = {}


class Written(msgspec.Struct, frozen=True):
    """A test file. `fails`: it fails today, because of the invariant alone; `plays`: it can be played."""

    text: str
    fails: bool
    plays: bool


def as_test(case: Case, folder: Path, registry: Registry) -> Written:
    """The test, to be written into `folder`."""
    draft = _draft(case, folder)
    text = draft.render()
    suite = suite_of(folder / f"{case.name}.test.yaml", Programs(registry), text=text)
    hold_against(suite)
    if not suite.found.ok or not suite.cases:
        return Written(text, fails=False, plays=False)
    outcome = try_case(suite, suite.cases[0])
    told = {failure.what.partition(".")[0] for failure in outcome.failures}
    return Written(text, fails=told == {_CAUSE}, plays=outcome.passed or told == {_CAUSE})


def _draft(case: Case, folder: Path) -> Draft:
    draft = Draft(
        head=[f"{case.name}: {case.sentence}", "As `wizard prove` found it."],
        pipeline=os.path.relpath(case.pipeline, folder),
        name=f"{case.name} holds" if case.expected else f"{case.name} does not hold here",
        options=dict(_options(case)),
        env=dict(case.env),
        inputs=dict(case.start.inputs),
        targets=_scripts(case.seen),
        runs=list(_runs(case)),
        expect=dict(_expected(case)),
    )
    if not case.expected:
        draft.differs.append("no expression can say what does not hold; this is what happens today")
    return draft


def _options(case: Case) -> Iterator[tuple[str, Any]]:
    yield from case.options.items()
    if case.start.streams:
        yield "stream", True
    gone = case.start.cancel_after if case.start.cancel_after is not None else case.seen.cancelled
    if gone is not None:
        yield "cancel_after", show_duration(round(gone, 6))


def _scripts(seen: Seen) -> dict[str, list[Any]]:
    """What each target did, in order; the same several times in a row as one item."""
    made: dict[str, list[tuple[Any, int]]] = {}
    for target, item in seen.scripts:
        items = made.setdefault(target, [])
        if items and items[-1][0] == item:
            items[-1] = item, items[-1][1] + 1
        else:
            items.append((item, 1))
    return {target: [each for pair in items for each in _repeated(*pair)] for target, items in made.items()}


def _repeated(item: Any, times: int) -> Iterator[Any]:
    few = 3
    if times <= few and not isinstance(item, Mapping):
        yield from [item] * times
        return
    whole = as_mapping(item)
    yield whole if times == 1 else {**whole, "times": times}


def _runs(case: Case) -> Iterator[dict[str, Any]]:
    """The runs before, each with the error that it ended with, and the run itself."""
    if not case.start.before:
        return
    for before, kind in zip(case.start.before, case.seen.ended, strict=False):
        run: dict[str, Any] = {}
        if before.inputs != case.start.inputs:
            run["inputs"] = dict(before.inputs)
        if before.after:
            run["after"] = show_duration(before.after)
        if before.times > 1:
            run["times"] = before.times
        yield {**run, "expect": {"error": kind}}
    yield {"after": show_duration(case.start.after)} if case.start.after else {}


def _expected(case: Case) -> Iterator[tuple[str, Any]]:
    result = case.seen.result
    if case.expected:
        yield _CAUSE, case.expected
    if result is None:
        return
    yield "error", None if result.error is None else result.error.kind
    yield "attempts", len(result.attempts)
