"""wizard compare: chains of a file side by side, over rows of inputs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from wizard_dsl.analysis import compare_html
from wizard_dsl.analysis.compare import Comparing
from wizard_dsl.cli._caches import rows as read_rows
from wizard_dsl.cli._comparison import as_text
from wizard_dsl.cli._completing import names_of
from wizard_dsl.cli._inputs import gather
from wizard_dsl.cli._output import as_json, format_option, layer_options, refuse_unwritable
from wizard_dsl.cli._progress import Progress
from wizard_dsl.cli._registry import registry_of
from wizard_dsl.cli.main import INTERRUPTED
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.core.errors import TABLE, InputInvalid
from wizard_dsl.runtime.inputs import Inputs
from wizard_dsl.runtime.runtime import require, running_all
from wizard_dsl.spec.diagnostics import ordered, render_text
from wizard_dsl.testing import virtual

if TYPE_CHECKING:
    from wizard_dsl.analysis.compare import Comparison
    from wizard_dsl.compiler.compile import Compiled
    from wizard_dsl.compiler.program import Program


@click.command("compare", short_help="Two chains side by side: outputs, cost, latency.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--chain",
    "chains",
    required=True,
    metavar="A,B",
    shell_complete=names_of("chains"),
    help="The chains, by name; each is asked in every step.",
)
@click.option("--rows", type=click.Path(path_type=Path), help="One JSON object of inputs a line.")
@click.option("-i", "--input", "pairs", multiple=True, metavar="NAME=VALUE", help="An input, where there are no rows.")
@click.option("--concurrency", type=click.IntRange(1), default=4, show_default=True, help="Runs at once.")
@click.option("--mock", is_flag=True, help="Answer every target by the mock provider, in virtual time.")
@click.option("--seed", type=int, help="Chance and ids derive from it.")
@click.option(
    "--html", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write one page with all of it here."
)
@format_option("text", "json")
@layer_options
def command(file: Path, **options: Any) -> int:
    """Run each row of inputs through each chain of FILE and print what came out next to each other.

    The chains share limits, breakers and budgets. A run that fails is shown like any other; the exit code is that of
    its error where no run of any chain went well.
    """
    names = _names(options["chains"])
    files = [_compiled(file, name, options) for name in names]
    program = require(files[0])
    warnings = [each for each in ordered(files[0].diagnostics) if each.severity == "warning"]
    click.echo(render_text(warnings), nl=False, err=True)
    rows = _rows(program, options)
    refuse_unwritable(options["page"], "--html")
    main = _main(dict(zip(names, files, strict=True)), rows, options)
    comparison, interrupted = virtual.run(main) if options["mock"] else asyncio.run(main)
    if options["page"] is not None:
        options["page"].write_text(compare_html.page(comparison), encoding="utf-8")
    if options["form"] == "json":
        click.echo(as_json(msgspec.to_builtins(comparison)), nl=False)
    else:
        click.echo(as_text(comparison), nl=False)
    return INTERRUPTED if interrupted else _code(comparison)


def _names(text: str) -> list[str]:
    """Raises UsageError."""
    names = [each.strip() for each in text.split(",") if each.strip()]
    if len(names) < 2 or len(set(names)) < len(names):
        raise click.UsageError("--chain takes two or more different chains, such as --chain cheap,writer")
    return names


def _compiled(file: Path, chain: str, options: dict[str, Any]) -> Compiled:
    sources = Sources(
        overlays=options["overlays"], sets=options["sets"], env=dict(os.environ), mock=options["mock"], chain=chain
    )
    compiled = compile_file(file, registry_of(), sources)
    document = compiled.loaded.document
    if document is not None and chain not in document.chains:
        known = ", ".join(document.chains) or "none"
        raise click.UsageError(f"there is no chain '{chain}' in {file}; known there: {known}")
    require(compiled)
    return compiled


def _rows(program: Program, options: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows, each of which is what the file takes. Raises UsageError, InputInvalid."""
    path = options["rows"]
    if path is None:
        return [gather(program.inputs, options["pairs"], None)]
    if options["pairs"]:
        raise click.UsageError("give -i or --rows, not both")
    rows = read_rows(path)
    if not rows:
        raise InputInvalid(f"{path} has no rows", suggestion="write one JSON object of inputs a line")
    inputs = Inputs(program.inputs)
    for number, row in enumerate(rows, 1):
        try:
            inputs.check(row)
        except InputInvalid as error:
            hint = error.suggestion
            raise InputInvalid(f"{path}: row {number}: {error.message}", where=error.where, suggestion=hint) from None
    return rows


async def _main(
    files: dict[str, Compiled], rows: Sequence[dict[str, Any]], options: dict[str, Any]
) -> tuple[Comparison, bool]:
    """The comparison, and whether it was interrupted: then it holds the rows that were done."""
    seed = 0 if options["mock"] and options["seed"] is None else options["seed"]
    async with running_all(list(files.values()), registry_of(), seed=seed, mock=options["mock"]) as pipelines:
        comparing = Comparing(dict(zip(files, pipelines, strict=True)), list(rows))
        progress = Progress(len(rows) * len(files), "runs")
        interrupted = False
        try:
            await comparing.run(concurrency=options["concurrency"], done=progress.step)
        except asyncio.CancelledError:
            interrupted = True
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
        progress.clear()
        return comparing.so_far(), interrupted


def _code(comparison: Comparison) -> int:
    """0, or the exit code of the first error where nothing went well."""
    results = [result for row in comparison.rows for result in row.results.values()]
    errors = [result.error for result in results if result.error is not None]
    return TABLE[errors[0].kind].exit_code if errors and len(errors) == len(results) else 0
