"""wizard import: another tool's configuration as a pipeline file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from wizard_dsl.analysis.importing.findings import Imported
from wizard_dsl.analysis.importing.sources import SOURCES
from wizard_dsl.cli._output import as_json, format_option
from wizard_dsl.cli._registry import registry_of
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.lint.rules import lint
from wizard_dsl.spec.diagnostics import ordered, render_text


@click.command("import", short_help="Turn another tool's configuration into a pipeline file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--from", "source", type=click.Choice(list(SOURCES)), required=True, help="Whose configuration it is.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write it here, not to stdout.")
@format_option("text", "json")
def command(file: Path, source: str, output: Path | None, form: str) -> int:
    """Turn FILE, a configuration of another tool, into a pipeline file.

    Every setting of FILE has one finding on stderr: mapped, approximated or dropped, with the reason. A key that stands
    in FILE is never written: the pipeline refers to a variable. Nothing that exists is changed.
    """
    _writable(output)
    made = SOURCES[source](file, "imported" if output is None else output.stem)
    paths = _write(made, output) if output is not None else []
    if form == "json":
        click.echo(as_json(_plain(made, file, paths)), nl=False)
        return 0
    if output is None:
        click.echo(made.pipeline, nl=False)
    _tell(made, output or file.with_name("imported.yaml"))
    if output is None and len(made.files) > 1:
        click.echo("there are tests, too; -o FILE writes them beside the pipeline", err=True)
    return 0


def _writable(output: Path | None) -> None:
    """Raises UsageError before anything is done."""
    if output is None:
        return
    if output.suffix not in (".yaml", ".yml"):
        raise click.UsageError(f"'{output}' is no name of a pipeline file: they end in .yaml or .yml")
    if output.exists():
        raise click.UsageError(f"{output} is there already, and is not changed")
    if not output.absolute().parent.is_dir():
        raise click.UsageError(f"there is no folder {output.parent}")


def _write(made: Imported, output: Path) -> list[str]:
    """The paths of the files. Raises UsageError where one of them is there already, and then writes none."""
    paths = [output, *(output.with_suffix(each.ending) for each in made.files[1:])]
    for path in paths[1:]:
        if path.exists():
            raise click.UsageError(f"{path} is there already, and is not changed")
    for path, each in zip(paths, made.files, strict=True):
        path.write_text(each.text, encoding="utf-8")
    return [str(path) for path in paths]


def _plain(made: Imported, file: Path, paths: list[str]) -> dict[str, Any]:
    return {
        "from": made.source,
        "file": str(file),
        "written": paths,
        "files": [msgspec.to_builtins(each) for each in made.files],
        "counts": made.counts(),
        "findings": [msgspec.to_builtins(each) for each in made.findings],
        "notes": list(made.notes),
    }


def _tell(made: Imported, name: Path) -> None:
    """Findings, notes, and the diagnostics that the new file gets."""
    for each in made.findings:
        click.echo(each.sentence(), err=True)
    for note in made.notes:
        click.echo(f"note: {note}", err=True)
    compiled = compile_file(name, registry_of(), Sources(text=made.pipeline))
    click.echo(render_text(ordered([*compiled.diagnostics, *lint(compiled)])), nl=False, err=True)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in made.counts().items())
    click.echo(f"{len(made.findings)} settings: {counts}", err=True)
