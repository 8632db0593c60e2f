"""wizard run: run a pipeline file."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wizard_dsl.cli._inputs import gather
from wizard_dsl.cli.main import INTERRUPTED, tell
from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.core.errors import WizardError
from wizard_dsl.observe.summary import summary
from wizard_dsl.observe.transcript import render
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.runtime import require, running
from wizard_dsl.spec.diagnostics import ordered, render_text
from wizard_dsl.testing import virtual

if TYPE_CHECKING:
    from wizard_dsl.core.result import Result
    from wizard_dsl.runtime.pipeline import Pipeline, Stream


@click.command("run", short_help="Run a pipeline file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-i", "--input", "pairs", multiple=True, metavar="NAME=VALUE", help="An input; NAME=@FILE reads a file.")
@click.option("--input-file", type=click.Path(path_type=Path), help="Inputs as a YAML or JSON mapping.")
@click.option("--stream/--no-stream", default=None, help="Print the answer as it comes (default: on a terminal).")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="What stdout gets.")
@click.option("--mock", is_flag=True, help="Answer every target by the mock provider, in virtual time.")
@click.option("--seed", type=int, help="Chance and ids derive from it.")
@click.option("--chain", help="Ask this chain in every step.")
@click.option("--deadline", metavar="DURATION", help="Of the whole run, such as 20s; tightens the file's.")
@click.option("--overlay", "overlays", multiple=True, metavar="FILE", help="A partial document over the file.")
@click.option("--set", "sets", multiple=True, metavar="PATH=VALUE", help="One value over everything else.")
@click.option("--reasoning", is_flag=True, help="Stream the model's reasoning too, to stderr.")
@click.option("--transcript", is_flag=True, help="Tell on stderr what the policies did.")
@click.option("--dry-run", is_flag=True, help="Show messages, tokens, cache key and first target; call nothing.")
def command(file: Path, **options: Any) -> int:
    """Run FILE. The result goes to stdout, everything else to stderr.

    An input that is the only required one may come from stdin.
    """
    registry = Registry(plugins=os.environ.get("WIZARD_PLUGINS", "all") != "")
    sources = Sources(
        overlays=options["overlays"],
        sets=options["sets"],
        env=dict(os.environ),
        mock=options["mock"],
        chain=options["chain"],
    )
    compiled = compile_file(file, registry, sources)
    program = require(compiled)
    warnings = [each for each in ordered(compiled.diagnostics) if each.severity == "warning"]
    if warnings:
        click.echo(render_text(warnings), err=True)
    inputs = gather(program.inputs, options["pairs"], options["input_file"])
    if options["dry_run"]:
        return _dry_run(compiled, registry, inputs, options)
    work = _Work(compiled, registry, inputs, options)
    return virtual.run(work.run()) if options["mock"] else asyncio.run(work.run())


def _dry_run(compiled: Compiled, registry: Registry, inputs: dict[str, Any], options: dict[str, Any]) -> int:
    from wizard_dsl.cli._dry_run import show

    text = virtual.run(show(compiled, registry, inputs, form=options["form"]))
    click.echo(text)
    return 0


class _Work:
    """One run: prints what comes, and what became of it."""

    def __init__(self, compiled: Compiled, registry: Registry, inputs: dict[str, Any], options: dict[str, Any]) -> None:
        self._compiled = compiled
        self._registry = registry
        self._inputs = inputs
        self._options = options
        wanted = options["stream"]
        self._stream = options["form"] == "text" and (sys.stdout.isatty() if wanted is None else wanted)
        self._printed = ""

    async def run(self) -> int:
        seed = 0 if self._options["mock"] and self._options["seed"] is None else self._options["seed"]
        async with running(
            self._compiled,
            self._registry,
            seed=seed,
            mock=self._options["mock"],
            sinks=self._sinks(),
        ) as pipeline:
            return await self._once(pipeline)

    def _sinks(self) -> list[Any]:
        from wizard_dsl.observe.log import log_sink

        document = self._compiled.loaded.document
        assert document is not None
        log = document.file.observe.log
        return [log_sink(log.level, log.format, secrets=self._compiled.loaded.secrets)]

    async def _once(self, pipeline: Pipeline) -> int:
        deadline = self._options["deadline"]
        if self._stream:
            begun = pipeline.stream(inputs=self._inputs, deadline=deadline, reasoning=self._options["reasoning"])
        else:
            begun = pipeline.start(inputs=self._inputs, deadline=deadline)
        error: WizardError | None = None
        interrupted = False
        async with begun as stream:
            try:
                await self._follow(stream)
            except WizardError as failure:
                error = failure
            except asyncio.CancelledError:
                interrupted = True
                task = asyncio.current_task()
                if task is not None:
                    task.uncancel()
                await stream.cancel()
        self._show(stream, error)
        return INTERRUPTED if interrupted else error.exit_code if error is not None else 0

    async def _follow(self, stream: Stream) -> None:
        async for delta in stream:
            if delta.reasoning:
                click.echo(delta.reasoning, nl=False, err=True)
            if delta.text:
                self._printed += delta.text
                click.echo(delta.text, nl=False)
                sys.stdout.flush()

    def _show(self, stream: Stream, error: WizardError | None) -> None:
        result = stream.result
        if self._options["form"] == "json":
            click.echo(result.encode())
        else:
            self._show_text(result)
        if self._options["transcript"]:
            click.echo(render(stream.transcript, result=result), err=True)
        if error is not None:
            self._show_error(result, error)
        elif sys.stderr.isatty():
            click.echo(click.style(summary(result), dim=True), err=True)

    def _show_text(self, result: Result) -> None:
        if not self._stream:
            if result.text:
                click.echo(result.text)
        elif self._printed and not self._printed.endswith("\n"):
            click.echo()

    def _show_error(self, result: Result, error: WizardError) -> None:
        tell(error)
        for row in result.attempts:
            status = f" {row.status}" if row.status is not None else ""
            reason = f": {row.message}" if row.message else ""
            click.echo(f"  {row.started:8.3f} s  {row.target}{status} {row.kind}{reason}", err=True)
