"""A file on the command line → its program, or every diagnostic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from wizard_dsl.cli._registry import registry_of
from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.compiler.program import Program
from wizard_dsl.core.errors import SpecError
from wizard_dsl.spec.diagnostics import Diagnostic, ordered, render_text


def compiled_offline(
    file: Path, overlays: Sequence[str], sets: Sequence[str], *, files: bool = False
) -> tuple[Compiled, Program]:
    """The program of a file, its references unresolved, but with `files` those to files; warnings go to stderr. Raises
    SpecError."""
    sources = Sources(overlays=tuple(overlays), sets=tuple(sets), files=files)
    compiled = compile_file(file, registry_of(), sources)
    if compiled.program is None:
        raise refused(compiled.diagnostics)
    click.echo(render_text(compiled.diagnostics), nl=False, err=True)
    return compiled, compiled.program


def refused(found: Sequence[Diagnostic]) -> SpecError:
    """The error that shows what is wrong with a file."""
    return SpecError(render_text(found).rstrip("\n"), diagnostics=tuple(ordered(found)))
