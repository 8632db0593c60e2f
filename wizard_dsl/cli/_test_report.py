"""What `wizard test` tells of its outcomes. None of it depends on the clock: the same files give the same bytes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from wizard_dsl.testing.trying import Failure, Outcome


def as_text(outcomes: Sequence[Outcome]) -> str:
    """Each file with its numbers, what failed below it, and the sum."""
    lines: list[str] = []
    for file in dict.fromkeys(each.file for each in outcomes):
        own = [each for each in outcomes if each.file == file]
        lines.append(f"{file}: {numbers(own)}")
        for each in own:
            lines += [] if each.passed else _failed(each)
    return "\n".join([*lines, summary(outcomes)]) + "\n"


def numbers(outcomes: Sequence[Outcome]) -> str:
    """`3 passed, 1 failed`."""
    good = sum(each.passed for each in outcomes)
    parts = [f"{good} passed"] if good or not outcomes else []
    parts += [f"{len(outcomes) - good} failed"] if len(outcomes) > good else []
    return ", ".join(parts)


def summary(outcomes: Sequence[Outcome]) -> str:
    """`4 tests in 2 files: 3 passed, 1 failed`."""
    files = len({each.file for each in outcomes})
    tests = f"{len(outcomes)} test{'' if len(outcomes) == 1 else 's'}"
    return f"{tests} in {files} file{'' if files == 1 else 's'}: {numbers(outcomes)}"


def _failed(outcome: Outcome) -> Iterator[str]:
    yield f"  FAILED {outcome.name}"
    if outcome.samples > 1:
        yield f"    {outcome.good} of {outcome.samples} samples passed; of the first that did not:"
    for failure in outcome.failures:
        yield from _told(failure)
    if outcome.transcript:
        yield "    what happened:"
        yield textwrap.indent(outcome.transcript, "    ")


def _told(failure: Failure) -> Iterator[str]:
    place = failure.place
    yield f"    {place.file}:{place.line}:{place.column} {failure.sentence}"
    if failure.diff:
        yield textwrap.indent(failure.diff, "      ")
