"""wizard prove: invariants over all sequences of faults."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import msgspec

from wizard_dsl.analysis._prove_text import render
from wizard_dsl.analysis.prove import Job, Limits, Report, prove
from wizard_dsl.analysis.workers import cores
from wizard_dsl.cli._inputs import given
from wizard_dsl.cli._interrupting import until_interrupted
from wizard_dsl.cli._output import as_json, format_option, layer_options
from wizard_dsl.cli._program import refused
from wizard_dsl.cli._progress import Progress
from wizard_dsl.cli._registry import has_plugins, registry_of
from wizard_dsl.cli._variables import referenced
from wizard_dsl.compiler.compile import Compiled
from wizard_dsl.core.units import parse_duration
from wizard_dsl.spec.diagnostics import render_text

_FINDINGS = 1
_INTERRUPTED = 130


class _Duration(click.ParamType):  # type: ignore[type-arg]
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds, above 0."""
        try:
            seconds = parse_duration(value) if isinstance(value, str) else float(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if seconds <= 0:
            self.fail(f"'{value}' is no time in which anything could happen", param, ctx)
        return seconds


@click.command("prove", short_help="Try the invariants of a file over all sequences of faults.")
@click.argument("file", type=click.Path(path_type=Path))
@format_option("text", "json")
@click.option("--depth", type=click.IntRange(0), default=3, show_default=True, help="Outcomes that are faults.")
@click.option("--runs", type=click.IntRange(1), default=2000, show_default=True, help="Sequences at most.")
@click.option("--time", "seconds", type=_Duration(), metavar="DURATION", help="Real time after which the search ends.")
@click.option("--jobs", type=click.IntRange(1), help="Processes at once (default: one a core).")
@click.option("--no-states", "closed", is_flag=True, help="Begin with closed breakers and full buckets only.")
@click.option("--deadline", type=_Duration(), metavar="DURATION", help="Of each run; tightens the file's.")
@click.option("--verbose", is_flag=True, help="List every class of outcomes.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the first test here.")
@click.option("-i", "--input", "pairs", multiple=True, metavar="NAME=VALUE", help="An input, which is then not varied.")
@click.option("--input-file", type=click.Path(path_type=Path), help="Inputs as YAML or JSON.")
@layer_options
def command(file: Path, form: str, verbose: bool, output: Path | None, **options: Any) -> int:
    """Play FILE against an adversary that chooses the outcome of every attempt, and look whether its `invariants`, and
    those that every file has, hold.

    The real executor runs, in virtual time; nothing is asked. Exits with 1 where an invariant does not hold: the
    smallest sequence that shows it is printed as a transcript and as a test.
    """
    registry = registry_of()
    job = _job(file, options)
    compiled = _compiled(job.compiled(registry))
    assert compiled.program is not None
    inputs = given(compiled.program.inputs, options["pairs"], options["input_file"])
    job = msgspec.structs.replace(job, inputs=msgspec.json.encode(inputs))
    _check_output(output)
    progress = Progress(options["runs"], "sequences, at most")
    with until_interrupted() as halted:
        try:
            report = prove(
                job,
                compiled,
                registry,
                Limits(options["depth"], options["runs"], options["seconds"]),
                processes=options["jobs"] or cores(),
                env=referenced(compiled, os.environ),
                folder=(file if output is None else output).absolute().parent,
                progress=progress.at,
                halted=halted,
            )
        finally:
            progress.clear()
    click.echo(render(report, verbose=verbose) if form == "text" else as_json(report.to_json()), nl=False)
    _write(report, output)
    if report.stopped == "interrupted":
        return _INTERRUPTED
    return 0 if report.holds else _FINDINGS


def _job(file: Path, options: dict[str, Any]) -> Job:
    return Job(
        file=file,
        overlays=tuple(options["overlays"]),
        sets=tuple(options["sets"]),
        env=msgspec.json.encode(dict(os.environ)),
        deadline=options["deadline"],
        states=not options["closed"],
        plugins=has_plugins(),
    )


def _compiled(compiled: Compiled) -> Compiled:
    """Its warnings go to stderr. Raises SpecError."""
    if compiled.program is None:
        raise refused(compiled.diagnostics)
    click.echo(render_text(compiled.diagnostics), nl=False, err=True)
    return compiled


def _check_output(output: Path | None) -> None:
    """Raises UsageError before anything is played."""
    if output is None:
        return
    if not output.name.endswith((".test.yaml", ".test.yml")):
        raise click.UsageError(f"'{output}' is no name of a test file: they end in .test.yaml")
    if output.exists():
        raise click.UsageError(f"{output} is there already, and is not changed")
    if not output.absolute().parent.is_dir():
        raise click.UsageError(f"there is no folder {output.parent}")


def _write(report: Report, output: Path | None) -> None:
    tests = [each.test for each in report.violations if each.test]
    if output is not None and tests:
        output.write_text(tests[0], encoding="utf-8")
