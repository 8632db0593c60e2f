"""wizard config: settings outside the pipeline file, and where they come from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from wizard_dsl.cli._output import as_json, columns, format_option
from wizard_dsl.cli._registry import registry_of
from wizard_dsl.cli._resolved import Resolved, as_data, as_yaml, resolved
from wizard_dsl.cli._variables import Row, rows
from wizard_dsl.spec.diagnostics import Diagnostic, has_errors, render_text
from wizard_dsl.spec.load import load
from wizard_dsl.spec.project import find_project, user_config


@click.group("config", short_help="Show the configuration and where it comes from.")
def command() -> None:
    """Show the settings that lie under and over a pipeline file."""


@command.command("show", short_help="Settings files, settings and variables.")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@format_option("text", "json")
@click.option("--all", "everything", is_flag=True, help="All variables, not only those that are set.")
def show(file: Path | None, form: str, everything: bool) -> int:
    """Show the user's file, the project file of FILE (default: of the working directory) and the WIZARD_* variables.

    Exits with 1 where one of them is wrong.
    """
    env = dict(os.environ)
    files = _files(file or Path(), env)
    settings, found = _settings(files, env)
    table = [row for row in rows(env, registry_of()) if everything or row.is_set]
    if form == "json":
        click.echo(as_json(_data(files, settings, table)), nl=False)
    else:
        click.echo(_text(files, settings, table, everything), nl=False)
    click.echo(render_text(found), nl=False, err=True)
    return int(has_errors(found))


@command.command("path", short_help="Where the settings files are.")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@format_option("text", "json")
def path(file: Path | None, form: str) -> int:
    """Print the paths of the settings files that apply, lowest layer first."""
    files = _files(file or Path(), dict(os.environ))
    if form == "json":
        click.echo(as_json({name: None if each is None else str(each) for name, each in files.items()}), nl=False)
    else:
        click.echo("".join(f"{each}\n" for each in files.values() if each is not None), nl=False)
    return 0


Files = dict[str, Path | None]


def _files(file: Path, env: dict[str, str]) -> Files:
    """The files by their layer, None where there is none. Raises UsageError where `file` is not there."""
    if not file.exists():
        raise click.UsageError(f"there is no file or folder '{file}'")
    return {"user": user_config(env), "project": find_project(file).file}


def _settings(files: Files, env: dict[str, str]) -> tuple[Resolved | None, list[Diagnostic]]:
    """The settings of the files and variables, merged; None where no file has any, or one is wrong."""
    registry = registry_of()
    file = files["project"] or files["user"]
    if file is None:
        return None, []
    loaded = load(file, registry=registry, env=env, mock=True, kind="project")
    found = [each for each in loaded.diagnostics if each.code not in ("E031", "E032")]
    return (None if has_errors(found) else resolved(loaded.places, registry)), found


def _text(files: Files, settings: Resolved | None, table: list[Row], everything: bool) -> str:
    shown = [(name, "none" if each is None else str(each)) for name, each in files.items()]
    parts = [f"files\n{columns(shown)}"]
    if settings is not None:
        parts.append(f"settings\n{_indented(as_yaml(settings))}")
    if table:
        parts.append(f"variables\n{columns([(row.name, row.shown, row.summary) for row in table])}")
    else:
        parts.append("variables\n  no WIZARD_ variable is set; --all lists what each sets\n")
    return "\n".join(parts)


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())


def _data(files: Files, settings: Resolved | None, table: list[Row]) -> dict[str, Any]:
    return {
        "files": {name: None if each is None else str(each) for name, each in files.items()},
        "settings": None if settings is None else as_data(settings),
        "variables": [
            {"name": row.name, "is_set": row.is_set, "value": row.value, "summary": row.summary} for row in table
        ],
    }
