"""wizard test: run test files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from wizard_dsl.cli._files import below
from wizard_dsl.cli._registry import registry_of
from wizard_dsl.cli._test_report import as_text
from wizard_dsl.spec.diagnostics import has_errors, ordered, render_text
from wizard_dsl.testing.cases import Programs
from wizard_dsl.testing.testfile import TEST_FILE
from wizard_dsl.testing.trying import Outcome, collect, try_case

FINDINGS = 1
INVALID = 3


@click.command("test", short_help="Run test files, offline and in virtual time.")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
def command(paths: tuple[Path, ...]) -> int:
    """Run the test files among PATHS and below them (default: the working directory).

    Exits with 1 where a test fails, with 3 where a file is not valid.
    """
    programs = Programs(registry_of())
    suites = [collect(path, programs) for path in files(paths or (Path(),))]
    found = ordered(each for suite in suites for each in suite.found.diagnostics)
    if found:
        click.echo(render_text(found), err=True, nl=False)
    outcomes: list[Outcome] = []
    for suite in suites:
        if suite.found.ok:
            outcomes += [try_case(suite, case) for case in suite.cases]
    click.echo(as_text(outcomes), nl=False)
    return INVALID if has_errors(found) else FINDINGS if any(not each.passed for each in outcomes) else 0


def files(paths: Sequence[Path]) -> list[Path]:
    """The test files, each once, in order. Raises UsageError where a path is none, or where there are none."""
    found = list(dict.fromkeys(each for path in paths for each in _in(path)))
    if not found:
        shown = ", ".join(map(str, paths))
        raise click.UsageError(f"there is no test file (*.test.yaml) in {shown}")
    return found


def _in(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (each for each in below(path) if TEST_FILE.owns(each))
    elif not path.exists():
        raise click.UsageError(f"there is no file or folder '{path}'")
    elif not TEST_FILE.owns(path):
        raise click.UsageError(f"'{path}' is no test file: their names end in {' or '.join(TEST_FILE.endings)}")
    else:
        yield path
