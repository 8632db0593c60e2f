"""`wizard test --record`: the cassettes of the picked tests, before the tests are run on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from wizard_dsl.cli._registry import registry_of
from wizard_dsl.core.errors import SpecError
from wizard_dsl.testing.cases import Programs
from wizard_dsl.testing.cassettes import Record
from wizard_dsl.testing.selecting import Picks
from wizard_dsl.testing.trying import collect


def record_cassettes(found: Sequence[Path], picks: Picks | None, how: Record) -> None:
    """Record, and say on stderr what that came to. Files with errors are left out: they are told when they are run.

    Raises UsageError where `all` would drop what tests recorded that are not picked, SpecError where a key is missing
    or a cassette cannot be used or written.
    """
    from wizard_dsl.testing.recording import record

    programs = Programs(registry_of(), record=True)
    suites = [collect(path, programs) for path in found]
    cases = [(suite, case) for suite in suites if suite.found.ok for case in suite.cases if case.cassette is not None]
    picked = [(suite, case) for suite, case in cases if picks is None or picks(case.id)]
    if how == "all":
        taken = {case.cassette for _, case in picked}
        left = [case for _, case in cases if case.cassette in taken and picks is not None and not picks(case.id)]
        if left:
            said = f"{left[0].cassette} is the cassette of '{left[0].name}' too, which -k leaves out"
            raise click.UsageError(f"{said}: --record all would drop what that test asks; take --record missing")
    if not picked and all(suite.found.ok for suite in suites):
        click.echo("no test here has a cassette, so there is nothing to record", err=True)
    try:
        for each in record(picked, how):
            click.echo(f"{each.path}: {each.recorded} recorded, {each.replayed} replayed", err=True)
    except OSError as error:
        raise SpecError(f"{error.filename} cannot be written: {error.strerror or error}") from error
