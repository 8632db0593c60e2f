"""wizard import: another tool's configuration as a pipeline file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from wizard_dsl.analysis.importing.difference import Difference, difference
from wizard_dsl.analysis.importing.findings import Imported
from wizard_dsl.analysis.importing.reading import read_foreign, read_foreign_bytes
from wizard_dsl.analysis.importing.sources import SOURCES
from wizard_dsl.cli._output import as_json, format_option
from wizard_dsl.cli._registry import registry_of
from wizard_dsl.cli._rewriting import INVALID, STDIN
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.lint.allow import with_allowed
from wizard_dsl.lint.rules import lint
from wizard_dsl.spec.diagnostics import Diagnostic, has_errors, render_json, render_text
from wizard_dsl.spec.load import shown as shown_path
from wizard_dsl.spec.source import MAX_BYTES, Source


@click.command("import", short_help="Turn another tool's configuration into a pipeline file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--from", "source", type=click.Choice(list(SOURCES)), required=True, help="Whose configuration it is.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write it here, not to stdout.")
@click.option(
    "--show-difference", "shown", is_flag=True, help="Play an outage with what the source documents beside it."
)
@format_option("text", "json")
def command(file: Path, source: str, output: Path | None, shown: bool, form: str) -> int:
    """Turn FILE, a configuration of another tool, into a pipeline file.

    Every setting of FILE has one finding on stderr: mapped, approximated or dropped, with the reason. A key that stands
    in FILE is never written: the pipeline refers to a variable. Nothing that exists is changed. `-` reads stdin. Where
    the new file has errors, as one that is too large, they are told with exit code 3.

    --show-difference plays an outage in virtual time, with the new file and with one that does what the source
    documents; with -o it writes that one and the scenario, too.
    """
    _writable(output)
    name = "imported" if output is None else output.stem
    made = SOURCES[source](_read(file), file.parent, name)
    found = _diagnostics(made, output or file.with_name("imported.yaml"))
    code = INVALID if has_errors(found) else 0
    apart = _difference(made, name) if shown and not code else None
    paths = _write(made, apart, output) if output is not None else []
    if form == "json":
        click.echo(as_json(_plain(made, apart, found, file, paths)), nl=False)
        return code
    if output is None:
        click.echo(made.pipeline, nl=False)
    _tell(made, found)
    if apart is not None:
        click.echo(apart.text(), nl=False, err=True)
    if output is None and len(made.files) > 1:
        click.echo("there are tests, too; -o FILE writes them beside the pipeline", err=True)
    return code


def _read(file: Path) -> Source:
    """Raises SpecError that shows what is wrong and where."""
    if str(file) == STDIN:
        return read_foreign_bytes(sys.stdin.buffer.read(MAX_BYTES + 1), "stdin")
    return read_foreign(file)


def _diagnostics(made: Imported, name: Path) -> list[Diagnostic]:
    """What the new file gets, but for what comments in it allow."""
    compiled = compile_file(name, registry_of(), Sources(text=made.pipeline))
    found = with_allowed([*compiled.diagnostics, *lint(compiled)], (), (), texts={shown_path(name): made.pipeline})
    return [each for each in found if each.allowed is None]


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


def _difference(made: Imported, name: str) -> Difference:
    """Raises UsageError for a source that routes nothing."""
    found = difference(made, name, registry_of())
    if found is None:
        raise click.UsageError("there is no difference to show: nothing in the source routes calls of chats")
    return found


def _write(made: Imported, apart: Difference | None, output: Path) -> list[str]:
    """The paths of the files. Raises UsageError where one of them is there already, and then writes none."""
    files = [*made.files, *(() if apart is None else apart.files)]
    paths = [output, *(output.with_suffix(each.ending) for each in files[1:])]
    for path in paths[1:]:
        if path.exists():
            raise click.UsageError(f"{path} is there already, and is not changed")
    for path, each in zip(paths, files, strict=True):
        path.write_text(each.text, encoding="utf-8")
    return [str(path) for path in paths]


def _plain(
    made: Imported, apart: Difference | None, found: list[Diagnostic], file: Path, paths: list[str]
) -> dict[str, Any]:
    return {
        "from": made.source,
        "file": str(file),
        "written": paths,
        "files": [msgspec.to_builtins(each) for each in made.files],
        "counts": made.counts(),
        "findings": [msgspec.to_builtins(each) for each in made.findings],
        "notes": list(made.notes),
        "diagnostics": json.loads(render_json(found)),
        "difference": None if apart is None else msgspec.to_builtins(apart),
    }


def _tell(made: Imported, found: list[Diagnostic]) -> None:
    """Findings, notes, and the diagnostics that the new file gets."""
    for each in made.findings:
        click.echo(each.sentence(), err=True)
    for note in made.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(render_text(found), nl=False, err=True)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in made.counts().items())
    click.echo(f"{len(made.findings)} settings: {counts}", err=True)
