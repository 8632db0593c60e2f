"""One run on the command line: prints what comes, and what became of it."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from wizard_dsl.cli._history import way_to
from wizard_dsl.cli._outlet import Outlet
from wizard_dsl.cli._output import has_colour
from wizard_dsl.cli.main import INTERRUPTED, tell
from wizard_dsl.core.clock import machine_time
from wizard_dsl.core.errors import WizardError
from wizard_dsl.observe.history import History
from wizard_dsl.observe.log import log_sink
from wizard_dsl.observe.summary import summary
from wizard_dsl.observe.transcript import render
from wizard_dsl.runtime.mocks import provide_missing, provide_mocks
from wizard_dsl.runtime.runtime import running

if TYPE_CHECKING:
    from wizard_dsl.analysis.scenario import Scenario
    from wizard_dsl.compiler.compile import Compiled
    from wizard_dsl.compiler.link import Provide
    from wizard_dsl.core.result import Result
    from wizard_dsl.registry import Registry
    from wizard_dsl.runtime.pipeline import Pipeline
    from wizard_dsl.runtime.stream import Stream
    from wizard_dsl.testing.cassettes import Cassette

#: What is printed above is void.
ANEW: Final = "(the stream broke; the answer begins anew)"


class Work:
    """Results go to stdout, everything else to stderr; `run` returns the exit code."""

    def __init__(
        self,
        compiled: Compiled,
        registry: Registry,
        inputs: dict[str, Any],
        options: dict[str, Any],
        tape: Cassette | None = None,
        chaos: Scenario | None = None,
    ) -> None:
        self._compiled = compiled
        self._registry = registry
        self._inputs = inputs
        self._options = options
        self._tape = tape
        self._chaos = chaos
        self._offline = options["mock"] or (tape is not None and tape.record == "none")
        wanted = options["stream"]
        by_default = options["reasoning"] or sys.stdout.isatty()
        self._stream = options["format"] == "text" and (by_default if wanted is None else wanted)
        self._printed = ""
        self._outlet: Outlet | None = None

    async def run(self) -> int:
        seed = 0 if self._offline and self._options["seed"] is None else self._options["seed"]
        async with running(
            self._compiled,
            self._registry,
            seed=seed,
            mock=self._offline,
            sinks=self._sinks(),
            provide=self._provide(seed),
            stored=self._tape is None,
            history=self._history(),
        ) as pipeline:
            code = await self._once(pipeline)
            if self._options["stats"] is not None:
                stats = msgspec.json.encode((await pipeline.stats()).to_json())
                self._options["stats"].write_bytes(msgspec.json.format(stats) + b"\n")
            return code

    def _provide(self, seed: int | None) -> Provide | None:
        """Who takes the place of the providers: a tape, and faults over it or over whoever is there without one."""
        tape = None if self._tape is None else self._tape.provide
        if self._chaos is None:
            return tape
        from wizard_dsl.analysis.chaos import laid_over

        below = tape or (provide_mocks if self._offline else provide_missing(self._compiled.loaded.keyless))
        return laid_over(below, self._chaos, int.from_bytes(os.urandom(6), "big") if seed is None else seed)

    def _sinks(self) -> list[Any]:
        document = self._compiled.loaded.document
        assert document is not None
        log = document.file.observe.log
        return [log_sink(log.level, log.format, secrets=self._compiled.loaded.secrets)]

    def _history(self) -> History | None:
        """Offline time is virtual; the day that the user looks for is not."""
        if self._options["no_history"]:
            return None
        return History(wall=machine_time if self._offline else None)

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
        await self._close(pipeline, stream.result)
        return INTERRUPTED if interrupted else error.exit_code if error is not None else 0

    async def _follow(self, stream: Stream) -> None:
        outlet = self._outlet = Outlet()
        async for delta in stream:
            if not await outlet.room(stream):
                await stream.finish()  # raises why
            if delta.reasoning:
                click.echo(delta.reasoning, nl=False, err=True)
            if delta.reset and self._printed:
                self._end_line()
                click.echo(ANEW, err=True)
                self._printed = ""
            if delta.text:
                self._printed += delta.text
                click.echo(delta.text, nl=False)
                sys.stdout.flush()

    def _show(self, stream: Stream, error: WizardError | None) -> None:
        result = stream.result
        if self._options["format"] == "json":
            click.echo(result.encode())
        else:
            self._show_text(result)
        if self._options["transcript"]:
            click.echo(render(stream.transcript, result=result), err=True)
        if error is not None:
            self._show_error(result, error)

    async def _close(self, pipeline: Pipeline, result: Result) -> None:
        """The last line on a terminal: what happened, and where the whole story is."""
        await pipeline.recorded()
        if not sys.stderr.isatty():
            return
        way = "" if self._options["no_history"] else way_to(result.run_id, self._compiled.loaded.root)
        line = " · ".join(filter(None, [summary(result), way]))
        click.echo(click.style(line, dim=True) if has_colour(sys.stderr) else line, err=True)

    def _show_text(self, result: Result) -> None:
        if not self._stream:
            if result.text:
                click.echo(result.text)
        else:
            self._end_line()

    def _end_line(self) -> None:
        stalled = self._outlet is not None and not self._outlet.has_room()
        if self._printed and not self._printed.endswith("\n") and not stalled:
            click.echo()

    def _show_error(self, result: Result, error: WizardError) -> None:
        tell(error)
        for row in result.attempts:
            status = f" {row.status}" if row.status is not None else ""
            reason = f": {row.message}" if row.message else ""
            click.echo(f"  {row.started:8.3f} s  {row.target}{status} {row.kind}{reason}", err=True)
