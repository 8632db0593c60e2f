"""wizard validate: every diagnostic of files and folders, offline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from wizard_dsl.cli._files import Found, find
from wizard_dsl.cli._looking import MANY, Looker
from wizard_dsl.cli._output import format_option
from wizard_dsl.cli._registry import has_plugins, registry_of
from wizard_dsl.lint.allow import RULE_CODES, with_allowed
from wizard_dsl.lint.plugins import broken_rules
from wizard_dsl.spec.diagnostics import (
    Diagnostic,
    counted,
    render_github,
    render_json,
    render_sarif,
    render_text,
)
from wizard_dsl.spec.load import shown

if TYPE_CHECKING:
    from wizard_dsl.registry import Registry

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
@click.option("--fix", is_flag=True, help="Put right in the files what is certain, and say what was done.")
@click.option("--diff", is_flag=True, help="Only show what --fix would do.")
@click.option("-v", "--verbose", is_flag=True, help="Name the files that are looked at, and those that are not.")
def command(paths: tuple[Path, ...], form: str, strict: bool, fix: bool, diff: bool, verbose: bool) -> int:
    """Report everything that is wrong with PATHS (default: the working directory) on stdout.

    In a folder, pipelines, wizard.yaml, *.overlay.yaml, *.test.yaml and *.sim.yaml are looked at. Needs no network and
    no environment.
    Exits with 1 where there are findings, and with --diff where something would change.
    """
    found = _files(paths or (Path(),))
    if verbose:
        _name(found)
    registry = registry_of()
    told = frozenset({*RULE_CODES, *(each.name for each in registry.rules())})
    if diff:
        return _show_diff(found, registry, told, form)
    if fix:
        _fix(found, registry, told)
    every = _every(found, registry)
    pipelines = [shown(path) for path, kind in found.files if kind == "pipeline"]
    diagnostics = with_allowed([*every, *broken_rules(registry.problems)], pipelines, told)
    click.echo(RENDERERS[form](diagnostics), nl=False)
    if form == "text":
        click.echo(summary(diagnostics, len(found.files)), err=True)
    return int(any(each.severity == "error" or strict for each in counted(diagnostics)))


def _every(found: Found, registry: Registry) -> list[Diagnostic]:
    """The findings of all files; of many, by several processes."""
    if len(found.files) < MANY:
        looker = Looker(registry)
        return [each for path, kind in found.files for each in looker.findings(path, kind)]
    from wizard_dsl.cli import _looking_at_once

    return _looking_at_once.look(found.files, registry, plugins=has_plugins())


def _fix(found: Found, registry: Registry, told: frozenset[str]) -> None:
    from wizard_dsl.cli import _mending

    made = _mending.remedies(found.files, registry, told)
    _mending.write(made)
    click.echo(_mending.told(made), err=True, nl=False)


def _show_diff(found: Found, registry: Registry, told: frozenset[str], form: str) -> int:
    if form not in ("text", "json"):
        raise click.UsageError(f"a difference has no form {form}; use --format text or json")
    from wizard_dsl.cli import _mending

    made = _mending.remedies(found.files, registry, told)
    click.echo(_mending.diff_json(made) if form == "json" else _mending.diff(made), nl=False)
    click.echo(_mending.told(made), err=True, nl=False)
    return int(bool(made))


def _files(paths: tuple[Path, ...]) -> Found:
    """Raises UsageError where there is nothing to look at."""
    found = find(paths)
    if found.missing:
        raise click.UsageError(f"there is no file or folder '{found.missing[0]}'")
    if not found.files:
        named = ", ".join(map(str, paths))
        raise click.UsageError(
            f"there is no pipeline, wizard.yaml or overlay in {named}; `wizard init` begins a project"
        )
    return found


def _name(found: Found) -> None:
    for path, kind in found.files:
        click.echo(f"{path}: {kind}", err=True)
    for path in found.others:
        click.echo(f"{path}: not looked at", err=True)


def summary(diagnostics: Sequence[Diagnostic], files: int) -> str:
    """`3 errors, 1 warning, 1 allowed in 2 files`; the files are those looked at."""
    errors = sum(each.severity == "error" for each in diagnostics)
    allowed = sum(each.allowed is not None for each in diagnostics)
    warnings = len(diagnostics) - errors - allowed
    parts = [_counted(errors, "error")] if errors else []
    parts += [_counted(warnings, "warning")] if warnings else []
    if allowed:
        parts = [*(parts or ["no findings"]), f"{allowed} allowed"]
    return f"{', '.join(parts) or 'no findings'} in {_counted(files, 'file')}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
