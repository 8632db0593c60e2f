"""What `wizard prove` prints for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from wizard_dsl.analysis.prove import Report, Violation


def render(report: Report, *, verbose: bool = False) -> str:
    """The report; with `verbose`, every class of every target."""
    return "".join(f"{line}\n" for line in _lines(report, verbose))


def _lines(report: Report, verbose: bool) -> Iterator[str]:
    broken = {each.name for each in report.violations}
    for violation in report.violations:
        yield from _violation(violation)
        yield ""
    yield "invariants"
    for name, told in report.invariants.items():
        yield f"  {'broken' if name in broken else 'held  '}  {name}: {told}"
    yield ""
    yield "covered"
    for level in report.levels:
        yield f"  depth {level.depth}: {level.played:,} of {level.size:,} sequences"
    yield f"  starts: {'; '.join(report.starts)}"
    for each in report.covered:
        asked = "" if each.asked else ", never called in any sequence"
        yield f"  {each.target} of chain {each.chain}: {len(each.classes)} classes of outcomes{asked}"
        if verbose:
            yield from (f"    {told}" for told in each.classes)
    yield "not covered"
    for told in _left(report):
        yield f"  {told}"
    yield ""
    yield f"{report.file}: {report.verdict}"


def _left(report: Report) -> Iterator[str]:
    if report.stopped == "depth":
        yield f"{report.more:,} sequences of depth {report.depth + 1}, and longer ones"
    elif report.stopped in ("runs", "time", "interrupted"):
        last = report.levels[-1]
        yield f"{last.size - last.played:,} sequences of depth {last.depth}, and longer ones"
    elif report.stopped == "broken":
        yield f"sequences of more than {report.levels[-1].depth} deviations: the search ends where something breaks"
    yield from report.left_out


def _violation(violation: Violation) -> Iterator[str]:
    yield f"{violation.name} does not hold: {violation.sentence}"
    yield f"  start: {violation.start}"
    for number, told in enumerate(violation.outcomes, start=1):
        yield f"  {number}. {told}"
    if violation.transcript:
        yield ""
        yield textwrap.indent(violation.transcript, "  ")
    yield ""
    if not violation.test:
        yield "  No test file can play this."
        return
    how = "fails until it holds" if violation.test_fails else "tells what happens today"
    yield f"  As a test, which {how}:"
    yield ""
    yield textwrap.indent(violation.test.rstrip("\n"), "    ")
