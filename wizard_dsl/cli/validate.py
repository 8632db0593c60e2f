"""wizard validate: every diagnostic of files and folders, offline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from wizard_dsl.cli._files import Found, Kind, find
from wizard_dsl.cli._output import format_option
from wizard_dsl.cli._registry import registry_of
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.core.clock import machine_time
from wizard_dsl.lint.rules import lint
from wizard_dsl.spec.diagnostics import (
    Diagnostic,
    ordered,
    render_github,
    render_json,
    render_sarif,
    render_text,
)
from wizard_dsl.spec.document import BoundsSpec
from wizard_dsl.spec.load import load

if TYPE_CHECKING:
    from wizard_dsl.compiler.compile import Compiled
    from wizard_dsl.registry import Registry
    from wizard_dsl.testing.cases import Programs

RENDERERS: Final[dict[str, Callable[[Sequence[Diagnostic]], str]]] = {
    "text": render_text,
    "json": render_json,
    "sarif": render_sarif,
    "github": render_github,
}


@click.command("validate", short_help="Every diagnostic of files and folders, offline.")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@format_option(*RENDERERS)
@click.option("--strict", is_flag=True, help="A warning counts as a finding.")
@click.option("-v", "--verbose", is_flag=True, help="Name the files that are looked at, and those that are not.")
def command(paths: tuple[Path, ...], form: str, strict: bool, verbose: bool) -> int:
    """Report everything that is wrong with PATHS (default: the working directory) on stdout.

    In a folder, pipelines, wizard.yaml, *.overlay.yaml, *.test.yaml and *.sim.yaml are looked at. Needs no network and
    no environment.
    Exits with 1 where there are findings.
    """
    found = _files(paths or (Path(),))
    if verbose:
        _name(found)
    looker = _Looker(registry_of())
    diagnostics = ordered(each for path, kind in found.files for each in looker.findings(path, kind))
    click.echo(RENDERERS[form](diagnostics), nl=False)
    if form == "text":
        click.echo(summary(diagnostics, len(found.files)), err=True)
    return int(any(each.severity == "error" or strict for each in diagnostics))


def _files(paths: tuple[Path, ...]) -> Found:
    """Raises UsageError where there is nothing to look at."""
    found = find(paths)
    if found.missing:
        raise click.UsageError(f"there is no file or folder '{found.missing[0]}'")
    if not found.files:
        shown = ", ".join(map(str, paths))
        raise click.UsageError(
            f"there is no pipeline, wizard.yaml or overlay in {shown}; `wizard init` begins a project"
        )
    return found


def _name(found: Found) -> None:
    for path, kind in found.files:
        click.echo(f"{path}: {kind}", err=True)
    for path in found.others:
        click.echo(f"{path}: not looked at", err=True)


class _Looker:
    """Looks at files one by one. What reads tests, scenarios and cassettes is imported with the first of them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @cached_property
    def _programs(self) -> Programs:
        from wizard_dsl.testing.cases import Programs

        return Programs(self._registry, wall=machine_time())

    def findings(self, path: Path, kind: Kind) -> list[Diagnostic]:
        """The diagnostics of one file, its references unresolved; those of a pipeline with its warnings. A test file or
        scenario is held against its pipeline, under the variables that it gives."""
        if kind == "pipeline":
            compiled = compile_file(path, self._registry, Sources())
            return [*compiled.diagnostics, *lint(compiled), *_broken_bounds(compiled)]
        if kind == "test":
            from wizard_dsl.testing.trying import collect

            return collect(path, self._programs).found.diagnostics
        if kind == "simulation":
            from wizard_dsl.analysis.reading import open_scenario

            return list(open_scenario(path, self._registry).diagnostics)
        if kind == "cassette":
            from wizard_dsl.testing import _cassette_file

            recorded = _cassette_file.read(path)
            return [*recorded.wrong, *recorded.edited]
        return list(load(path, registry=self._registry, kind="project" if kind == "project" else "overlay").diagnostics)


def _broken_bounds(compiled: Compiled) -> list[Diagnostic]:
    """What a file promises of its worst case and does not hold. Only a file that has `bounds` is planned."""
    if compiled.program is None or compiled.program.bounds == BoundsSpec():
        return []
    from wizard_dsl.analysis.bounds import broken_bounds

    return broken_bounds(compiled)


def summary(diagnostics: Sequence[Diagnostic], files: int) -> str:
    """`3 errors, 1 warning in 2 files`; the files are those looked at."""
    errors = sum(each.severity == "error" for each in diagnostics)
    warnings = len(diagnostics) - errors
    parts = [_counted(errors, "error")] if errors else []
    parts += [_counted(warnings, "warning")] if warnings else []
    return f"{', '.join(parts) or 'no findings'} in {_counted(files, 'file')}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
