"""wizard cache: what a pipeline's lasting caches hold and how they do; clear and warm them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wizard_dsl.cli._caches import compiled_here, counted, entry_row, figures, look, require_lasting, rows
from wizard_dsl.cli._output import as_json, columns, format_option, layer_options
from wizard_dsl.cli._registry import registry_of
from wizard_dsl.core.errors import TABLE
from wizard_dsl.runtime.runtime import running

if TYPE_CHECKING:
    from wizard_dsl.compiler.compile import Compiled
    from wizard_dsl.runtime.caches import Warmed

FILE = click.argument("file", type=click.Path(path_type=Path))
_PREFIX = click.option("--prefix", metavar="HEX", help="Keys that begin so.")
_GLOB = click.option("--glob", metavar="PATTERN", help="Names chain/target/key that match; * matches / too.")
_MODEL = click.option("--model", metavar="NAME", help="Answers of this target or model.")
_EXPIRED = click.option("--expired", is_flag=True, help="Entries that nobody is given any more.")


@click.group("cache", short_help="Look at, clear and warm the caches on disk or on a server.")
def command() -> None:
    """The caches with `store: disk` of a pipeline file, and all of them where `state` names a Redis server. A cache in
    memory is its process's own.

    Exits with 3 where the store cannot be used: locked, corrupt, not ours or away.
    """


@command.command("stats", short_help="Hits, misses, entries, evictions.")
@FILE
@format_option("text", "json")
@layer_options
def stats(file: Path, form: str, overlays: tuple[str, ...], sets: tuple[str, ...]) -> int:
    """Print the figures of each cache, over all processes since its folder was made."""
    found = look(compiled_here(file, overlays, sets, mock=True), lambda caches: caches.stats())
    if form == "json":
        click.echo(as_json([each.to_json() for each in found]), nl=False)
    else:
        click.echo("\n".join(map(figures, found)), nl=False)
    return 0


@command.command("list", short_help="What is stored.")
@FILE
@_PREFIX
@_GLOB
@_MODEL
@_EXPIRED
@format_option("text", "json")
@layer_options
def list_(file: Path, form: str, overlays: tuple[str, ...], sets: tuple[str, ...], **picked: Any) -> int:
    """List the entries, without their content: the one that leaves a full cache first before the others."""
    found = look(compiled_here(file, overlays, sets, mock=True), lambda caches: caches.entries(**picked))
    if form == "json":
        click.echo(as_json([each.to_json() for each in found]), nl=False)
    else:
        click.echo(columns([entry_row(each) for each in found], indent=""), nl=False)
    return 0


@command.command("clear", short_help="Remove entries.")
@FILE
@click.option("--all", "everything", is_flag=True, help="All entries.")
@_PREFIX
@_GLOB
@_MODEL
@_EXPIRED
@format_option("text", "json")
@layer_options
def clear(
    file: Path, everything: bool, form: str, overlays: tuple[str, ...], sets: tuple[str, ...], **picked: Any
) -> int:
    """Remove entries of FILE's caches and print how many; where several options are given, those that fit them all.

    A process that runs keeps what it holds in its own memory until its time is over.
    """
    if everything == any(picked.values()):
        raise click.UsageError("say what to remove: --all, or --prefix, --glob, --model, --expired")
    removed = look(compiled_here(file, overlays, sets, mock=True), lambda caches: caches.clear(**picked))
    click.echo(as_json({"removed": removed}) if form == "json" else f"{counted(removed)} removed\n", nl=False)
    return 0


@command.command("warm", short_help="Run a pipeline for a list of inputs.")
@FILE
@click.option("--input-file", type=click.Path(path_type=Path), required=True, help="One JSON object of inputs a line.")
@click.option("--concurrency", type=click.IntRange(1), default=4, show_default=True, help="Runs at once.")
@format_option("text", "json")
@layer_options
def warm(
    file: Path, input_file: Path, concurrency: int, form: str, overlays: tuple[str, ...], sets: tuple[str, ...]
) -> int:
    """Run FILE for each line of a list of inputs, so that equal runs find their answers stored.

    Failures go to stderr; the exit code is that of the first one.
    """
    compiled = compiled_here(file, overlays, sets, mock=False)
    require_lasting(compiled)
    warmed = asyncio.run(_warm(compiled, rows(input_file), concurrency))
    for each in warmed.failed:
        click.echo(f"row {each.index + 1}: {each.kind}: {each.message}", err=True)
    told = (
        f"{warmed.inputs} inputs: {warmed.asked} asked, {warmed.present} stored before, {len(warmed.failed)} failed\n"
    )
    click.echo(as_json(warmed.to_json()) if form == "json" else told, nl=False)
    return TABLE[warmed.failed[0].kind].exit_code if warmed.failed else 0


async def _warm(compiled: Compiled, inputs: list[dict[str, Any]], concurrency: int) -> Warmed:
    async with running(compiled, registry_of()) as pipeline:
        return await pipeline.cache.warm(inputs, concurrency=concurrency)
