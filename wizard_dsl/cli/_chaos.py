"""`run --chaos FILE`: the faults of a scenario over the targets of one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wizard_dsl.cli._program import refused
from wizard_dsl.spec.diagnostics import render_text

if TYPE_CHECKING:
    from wizard_dsl.analysis.scenario import Scenario
    from wizard_dsl.compiler.program import Program


def faults_of(path: Path | None, program: Program, *, dry: bool) -> Scenario | None:
    """The scenario whose phases lie over the targets of `program`; its warnings go to stderr. Raises SpecError, and
    UsageError where nothing is called that could fail."""
    if path is None:
        return None
    if dry:
        raise click.UsageError("--dry-run calls nothing that could fail; leave out --chaos")
    from wizard_dsl.analysis.reading import open_faults

    opened = open_faults(path, program)
    if not opened.ok or opened.scenario is None:
        raise refused(opened.diagnostics)
    click.echo(render_text(opened.diagnostics), nl=False, err=True)
    return opened.scenario
