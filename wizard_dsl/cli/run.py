"""wizard run: run a pipeline file."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import click

from wizard_dsl.cli._chaos import faults_of
from wizard_dsl.cli._completing import names_of
from wizard_dsl.cli._inputs import gather
from wizard_dsl.cli._output import refuse_unwritable
from wizard_dsl.cli._registry import registry_of
from wizard_dsl.cli._tape import open_tape, refuse_contradictions, replays, with_tape
from wizard_dsl.cli._work import Work
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.runtime.runtime import require
from wizard_dsl.spec.diagnostics import ordered, render_text
from wizard_dsl.testing import virtual


@click.command("run", short_help="Run a pipeline file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-i",
    "--input",
    "pairs",
    multiple=True,
    metavar="NAME=VALUE",
    shell_complete=names_of("inputs", "="),
    help="An input; NAME=@FILE reads a file.",
)
@click.option("--input-file", type=click.Path(path_type=Path), help="Inputs as a YAML or JSON mapping.")
@click.option("--stream/--no-stream", default=None, help="Print the answer as it comes (default: on a terminal).")
@click.option("--format", type=click.Choice(["text", "json"]), default="text", help="What stdout gets.")
@click.option("--mock", is_flag=True, help="Answer every target by the mock provider, in virtual time.")
@click.option("--cassette", type=click.Path(path_type=Path), metavar="FILE", help="Replay recorded exchanges, offline.")
@click.option(
    "--record",
    type=click.Choice(["none", "missing", "all"]),
    help="What to ask for and write to the cassette (default: none).",
)
@click.option("--chaos", type=click.Path(path_type=Path), metavar="FILE", help="Lay a scenario's faults over targets.")
@click.option("--seed", type=int, help="Chance and ids derive from it.")
@click.option("--chain", shell_complete=names_of("chains"), help="Ask this chain in every step.")
@click.option("--deadline", metavar="DURATION", help="Of the whole run, such as 20s; tightens the file's.")
@click.option("--overlay", "overlays", multiple=True, metavar="FILE", help="A partial document over the file.")
@click.option("--set", "sets", multiple=True, metavar="PATH=VALUE", help="One value over everything else.")
@click.option("--reasoning", is_flag=True, help="Stream the model's reasoning too, to stderr.")
@click.option("--transcript", is_flag=True, help="Tell on stderr what the policies did.")
@click.option(
    "--stats",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what the policies counted to this file, as JSON.",
)
@click.option("--no-history", is_flag=True, help="Do not record this run.")
@click.option("--dry-run", is_flag=True, help="Show messages, tokens, cache key, target and worst case; call nothing.")
def command(file: Path, **options: Any) -> int:
    """Run FILE. The result goes to stdout, everything else to stderr.

    An input that is the only required one may come from stdin.
    """
    _refuse_what_would_be_ignored(options)
    registry = registry_of()
    sources = Sources(
        overlays=options["overlays"],
        sets=options["sets"],
        env=dict(os.environ),
        mock=options["mock"] or options["dry_run"] or replays(options),
        chain=options["chain"],
    )
    compiled = compile_file(file, registry, sources)
    program = require(compiled)
    warnings = [each for each in ordered(compiled.diagnostics) if each.severity == "warning"]
    if warnings:
        click.echo(render_text(warnings), err=True)
    chaos = faults_of(options["chaos"], program, dry=options["dry_run"])
    inputs = gather(program.inputs, options["pairs"], options["input_file"])
    if options["dry_run"]:
        from wizard_dsl.cli._dry_run import show

        click.echo(virtual.run(show(compiled, registry, inputs, form=options["format"])))
        return 0
    tape = open_tape(compiled, options)
    work = Work(compiled, registry, inputs, options, tape, chaos)
    is_virtual = options["mock"] or replays(options)
    return with_tape(tape, lambda: virtual.run(work.run()) if is_virtual else asyncio.run(work.run()))


def _refuse_what_would_be_ignored(options: dict[str, Any]) -> None:
    """Raises UsageError: JSON comes in one piece, and reasoning only in a stream."""
    if options["format"] == "json" and (options["stream"] or options["reasoning"]):
        raise click.UsageError("--format json prints one object at the end; leave out --stream and --reasoning")
    refuse_contradictions(options)
    _refuse_unwritable(options["stats"], options["dry_run"])
    if options["reasoning"] and options["stream"] is False:
        raise click.UsageError("--reasoning is told while the answer comes; leave out --no-stream")


def _refuse_unwritable(path: Path | None, dry: bool) -> None:
    """Raises UsageError before anything is asked and paid for."""
    if path is not None and (dry or str(path) == "-"):
        raise click.UsageError("--stats takes the path of a file, and a run: stdout is for the result alone")
    refuse_unwritable(path, "--stats")
