"""wizard test: run test files."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from wizard_dsl.cli._coverage import Wanted, coverage_options
from wizard_dsl.cli._files import find_tests
from wizard_dsl.cli._interrupting import until_interrupted
from wizard_dsl.cli._output import format_option, refuse_unwritable
from wizard_dsl.cli._registry import has_plugins, registry_of
from wizard_dsl.cli._test_report import REPORTS, Tested, as_junit
from wizard_dsl.cli.main import INTERRUPTED
from wizard_dsl.core.clock import machine_time
from wizard_dsl.spec.diagnostics import has_errors, ordered, render_text
from wizard_dsl.testing.cases import Programs, Suite
from wizard_dsl.testing.selecting import BadSelection, Picks, selection
from wizard_dsl.testing.snapshots import obsolete, remove
from wizard_dsl.testing.suites import How, Picked, run
from wizard_dsl.testing.trying import Outcome, collect

if TYPE_CHECKING:
    from wizard_dsl.testing.cassettes import Record

FINDINGS: Final = 1
INVALID: Final = 3
#: More cases than this are worth the time that other processes take to begin.
_MANY: Final = 1500
_MOST_JOBS: Final = 4


@click.command("test", short_help="Run test files, offline and in virtual time.")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("-k", "words", metavar="EXPR", help="Only tests whose names have these words: 'outage and not slow'.")
@click.option("-x", "--exitfirst", is_flag=True, help="Stop at the first failure.")
@click.option("--update", is_flag=True, help="Approve all snapshots as they are now, and remove those of no test.")
@format_option(*REPORTS)
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit's XML to this file, too.")
@click.option(
    "--record",
    "how",
    type=click.Choice(["none", "missing", "all"]),
    default="none",
    help="Ask the providers first, with the keys of this process, and write the cassettes of the tests.",
)
@click.option("-j", "--jobs", type=click.IntRange(1), help="Processes (default: one, and more for many tests).")
@coverage_options
@click.option("--watch", "again", is_flag=True, help="Run again whenever a file changes, until Ctrl-C.")
def command(paths: tuple[Path, ...], again: bool, how: Record, **options: Any) -> int:
    """Run the test files among PATHS and below them (default: the working directory).

    Exits with 1 where a test fails, with 3 where a test file is not valid: the tests of the others are run. Ctrl-C
    ends it after the tests that are under way, and tells what came of those that were run.
    """
    picks = _picks(options["words"])
    refuse_unwritable(options["junit"], "--junit")
    where = paths or (Path(),)
    found = find_tests(where)
    if how != "none":
        if again:
            raise click.UsageError("--record asks the providers once; leave out --watch")
        from wizard_dsl.cli._record import record_cassettes

        record_cassettes(found, picks, how)
    if again:
        from wizard_dsl.cli._test_watch import watch

        watch(lambda: _once(find_tests(where), picks, options), lambda: find_tests(where))
    return _once(find_tests(where), picks, options)[0]


def _once(found: Sequence[Path], picks: Picks | None, options: dict[str, Any]) -> tuple[int, list[Suite]]:
    """Run them once; the exit code, and what was looked at."""
    programs = Programs(registry_of(), wall=machine_time())
    suites = [collect(path, programs) for path in found]
    wrong = ordered(each for suite in suites for each in suite.found.diagnostics)
    if wrong:
        click.echo(render_text(wrong), err=True, nl=False)
    picked = [
        (suite, case) for suite in suites if suite.found.ok for case in suite.cases if picks is None or picks(case.id)
    ]
    if picks is not None and not picked and all(suite.found.ok for suite in suites):
        raise click.UsageError(f"-k: no test has '{options['words']}' in its name")
    wanted: Wanted = options["wanted"]
    how = How("update" if options["update"] else "compare", wanted.observer, has_plugins())
    with until_interrupted() as halted:
        outcomes = list(_told(picked, how, options, halted))
        left_out = len(picked) - len(outcomes) if halted() else 0
    left = obsolete(suites)
    if options["update"]:
        _remove(left)
    covered = None if left_out else wanted.measure(outcomes)
    tested = Tested(outcomes, [] if options["update"] else left, wrong, covered, left_out)
    click.echo(REPORTS[options["form"]](tested), nl=False)
    if options["junit"] is not None:
        options["junit"].write_text(as_junit(tested), encoding="utf-8")
    if left_out:
        return INTERRUPTED, suites
    failed = not wanted.is_enough(covered) or any(not each.passed for each in outcomes)
    return INVALID if has_errors(wrong) else FINDINGS if failed else 0, suites


def _remove(paths: Sequence[Path]) -> None:
    """Raises UsageError where a snapshot cannot be removed."""
    try:
        remove(paths)
    except OSError as error:
        raise click.UsageError(f"--update cannot remove {error.filename}: {error.strerror}") from None


def _told(picked: Sequence[Picked], how: How, options: dict[str, Any], halted: Callable[[], bool]) -> Iterator[Outcome]:
    """The outcomes as they come, with how far it is on a terminal; to the first failure where that is asked for, and
    until it is halted."""
    progress = sys.stderr.isatty()
    jobs = options["jobs"] or (min(_MOST_JOBS, os.cpu_count() or 1) if len(picked) > _MANY else 1)
    coming = run(picked, how, jobs=jobs)
    try:
        for number, outcome in enumerate(coming, start=1):
            if progress:
                click.echo(f"\r{number}/{len(picked)}", nl=False, err=True)
            yield outcome
            if halted() or (options["exitfirst"] and not outcome.passed):
                return
    finally:
        coming.close()
        if progress:
            click.echo("\r\x1b[K", nl=False, err=True)


def _picks(words: str | None) -> Picks | None:
    """Raises UsageError."""
    try:
        return None if words is None else selection(words)
    except BadSelection as error:
        raise click.UsageError(f"-k: {error}") from None
