"""What `wizard test` tells of its outcomes: as text, JSON, GitHub's annotations and JUnit's XML. None of it depends on
the clock: the same files give the same bytes."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wizard_dsl.cli._output import as_json
from wizard_dsl.core.regex import regex
from wizard_dsl.spec.diagnostics import Diagnostic, finding, has_errors, render_github, render_json, render_text
from wizard_dsl.testing.trying import Failure, Outcome

if TYPE_CHECKING:
    from wizard_dsl.testing.coverage import FileCoverage

#: What XML 1.0 cannot hold, whatever it is escaped as.
_NOT_XML: Final = regex("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class Tested(msgspec.Struct, frozen=True):
    """One round of tests: what came of the cases, snapshots that no test has any more, what is wrong with the files,
    what is covered, where that was measured, and how many cases an interrupt left out."""

    outcomes: Sequence[Outcome]
    obsolete: Sequence[Path] = ()
    diagnostics: Sequence[Diagnostic] = ()
    covered: Sequence[FileCoverage] | None = None
    left_out: int = 0


def as_text(tested: Tested) -> str:
    """Each file with its numbers, what failed below it, the sum, and the policy coverage where it was measured; nothing
    where no file was valid, for what is wrong is told elsewhere."""
    if not tested.outcomes and has_errors(tested.diagnostics):
        return ""
    lines: list[str] = []
    for file in dict.fromkeys(each.file for each in tested.outcomes):
        own = [each for each in tested.outcomes if each.file == file]
        lines.append(f"{file}: {numbers(own)}")
        for each in own:
            lines += [] if each.passed else _failed(each)
    lines += [f"{path}: no test has this snapshot any more; --update removes it" for path in tested.obsolete]
    left = f"; interrupted before the other {tested.left_out}" if tested.left_out else ""
    lines.append(summary(tested.outcomes) + left)
    if tested.covered is None:
        return "\n".join(lines) + "\n"
    from wizard_dsl.testing.coverage_report import as_text as coverage

    return "\n".join(lines) + "\n" + coverage(tested.covered, Path.cwd())


def numbers(outcomes: Sequence[Outcome]) -> str:
    """`3 passed, 1 failed`, and how many snapshots were written."""
    good = sum(each.passed for each in outcomes)
    written = sum(each.written for each in outcomes)
    parts = [f"{good} passed"] if good or not outcomes else []
    parts += [f"{len(outcomes) - good} failed"] if len(outcomes) > good else []
    parts += [f"{written} snapshot{'' if written == 1 else 's'} written"] if written else []
    return ", ".join(parts)


def summary(outcomes: Sequence[Outcome]) -> str:
    """`4 tests in 2 files: 3 passed, 1 failed`."""
    files = len({each.file for each in outcomes})
    tests = f"{len(outcomes)} test{'' if len(outcomes) == 1 else 's'}"
    return f"{tests} in {files} file{'' if files == 1 else 's'}: {numbers(outcomes)}"


def _failed(outcome: Outcome) -> Iterator[str]:
    yield f"  FAILED {outcome.name}"
    yield textwrap.indent(_body(outcome), "    ")


def _body(outcome: Outcome) -> str:
    """All that is told of a failed case."""
    lines: list[str] = []
    if outcome.samples > 1:
        lines.append(f"{outcome.good} of {outcome.samples} samples passed; of the first that did not:")
    for failure in outcome.failures:
        lines.append(_at(failure) + failure.sentence)
        lines += [textwrap.indent(failure.diff, "  ")] if failure.diff else []
    lines += ["what happened:", outcome.transcript] if outcome.transcript else []
    return "\n".join(lines)


def _at(failure: Failure) -> str:
    place = failure.place
    return f"{place.file}:{place.line}:{place.column} " if place.line else f"{place.file}: "


# -- for machines -----------------------------------------------------------------------------------


def as_object(tested: Tested) -> str:
    """One JSON object; keys never disappear. Diagnostics are as `validate` has them."""
    good = sum(each.passed for each in tested.outcomes)
    made = {
        "tests": len(tested.outcomes),
        "passed": good,
        "failed": len(tested.outcomes) - good,
        "left_out": tested.left_out,
        "cases": [_plain(each) for each in tested.outcomes],
        "obsolete_snapshots": [str(each) for each in tested.obsolete],
        "diagnostics": json.loads(render_json(tested.diagnostics)),
        "coverage": None if tested.covered is None else _coverage(tested.covered),
    }
    return as_json(made)


def _coverage(covered: Sequence[FileCoverage]) -> dict[str, Any]:
    from wizard_dsl.testing.coverage_report import as_data

    return as_data(covered, Path.cwd())


def _plain(outcome: Outcome) -> dict[str, Any]:
    return {
        "file": outcome.file,
        "line": outcome.place.line,
        "name": outcome.name,
        "passed": outcome.passed,
        "samples": outcome.samples,
        "samples_passed": outcome.good,
        "elapsed": round(outcome.elapsed, 6),
        "snapshot_written": outcome.written,
        "failures": [
            {
                "what": each.what,
                "expected": each.expected or None,
                "actual": each.actual or None,
                "diff": each.diff or None,
                "run": each.run,
                "file": each.place.file,
                "line": each.place.line,
                "column": each.place.column,
            }
            for each in outcome.failures
        ],
        "transcript": outcome.transcript or None,
    }


def as_github(tested: Tested) -> str:
    """Annotations of the pull request, one a finding or a failure."""
    failed = [(each, failure) for each in tested.outcomes if not each.passed for failure in each.failures]
    return render_github(tested.diagnostics) + "".join(_annotation(each, failure) for each, failure in failed)


def _annotation(outcome: Outcome, failure: Failure) -> str:
    text = f"{outcome.name}: {failure.sentence}" + (f"\n{failure.diff}" if failure.diff else "")
    found: Diagnostic = finding("test failed", text, failure.place)
    return render_github([found])


def as_junit(tested: Tested) -> str:
    """JUnit's XML: a suite a file, a case a test, an error a file that is not valid. Nothing in it is a time: virtual
    ones would say nothing here, and real ones would make every report differ from the last."""
    wrong = [each for each in tested.diagnostics if each.severity == "error"]
    cases = [each.file for each in tested.outcomes]
    invalid = list(dict.fromkeys(each.file for each in wrong))
    failed = [each.file for each in tested.outcomes if not each.passed]
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f'<testsuites name="wizard" tests="{len(cases) + len(invalid)}" failures="{len(failed)}" '
        f'errors="{len(invalid)}" skipped="{tested.left_out}">',
    ]
    for file in dict.fromkeys((*cases, *invalid)):
        bad = int(file in invalid)
        lines.append(
            f'  <testsuite name={_quoted(file)} tests="{cases.count(file) + bad}" failures="{failed.count(file)}" '
            f'errors="{bad}">'
        )
        lines += [line for each in tested.outcomes if each.file == file for line in _case(each)]
        lines += _error(file, [each for each in wrong if each.file == file]) if bad else []
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>"]) + "\n"


def _error(file: str, wrong: Sequence[Diagnostic]) -> Iterator[str]:
    """What stands for the tests of a file that is not valid."""
    yield f'    <testcase classname={_quoted(file)} name="the file is valid" line="{wrong[0].line}">'
    yield f"      <error message={_quoted(wrong[0].message)}>{_escaped(render_text(wrong))}</error>"
    yield "    </testcase>"


def _case(outcome: Outcome) -> Iterator[str]:
    head = f'    <testcase classname={_quoted(outcome.file)} name={_quoted(outcome.name)} line="{outcome.place.line}"'
    if outcome.passed:
        yield f"{head}/>"
        return
    yield f"{head}>"
    told = "; ".join(each.sentence for each in outcome.failures)
    yield f"      <failure message={_quoted(told)}>{_escaped(_body(outcome))}</failure>"
    yield "    </testcase>"


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'.replace("\n", "&#10;").replace("\t", "&#9;")


def _escaped(text: str) -> str:
    from html import escape

    return escape(_NOT_XML.sub("�", text))


#: What stdout gets, by `--format`.
REPORTS: Final[Mapping[str, Callable[[Tested], str]]] = MappingProxyType(
    {"text": as_text, "json": as_object, "github": as_github}
)
