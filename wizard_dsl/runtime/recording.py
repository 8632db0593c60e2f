"""Hands the runs of a runtime to whoever records them, once each has ended."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from wizard_dsl.core.record import Asked, Chronicle, Record, Setup

if TYPE_CHECKING:
    from wizard_dsl.compiler.compile import Compiled
    from wizard_dsl.core.clock import Clock
    from wizard_dsl.core.step import Sink
    from wizard_dsl.policies._breaker import BreakerFigures
    from wizard_dsl.runtime.execution import Execution


def setup_of(compiled: Compiled, *, seed: int, mock: bool) -> Setup:
    """How the runs of a compiled file come to be."""
    document, program = compiled.loaded.document, compiled.program
    assert document is not None and program is not None
    return Setup(
        file=os.path.abspath(program.file),
        root=os.path.abspath(compiled.loaded.root),
        overlays=tuple(map(os.path.abspath, compiled.sources.overlays)),
        sets=tuple(compiled.sources.sets),
        chain=compiled.sources.chain,
        seed=seed,
        mock=mock,
        content=document.file.history.content,
        secrets=compiled.loaded.secrets,
    )


class Recording:
    """One runtime's recorder, and what it needs to know of each run."""

    def __init__(self, chronicle: Chronicle, setup: Setup, clock: Clock, tell: Callable[[str], None]) -> None:
        self._setup = setup
        self._clock = clock
        self._tell = tell
        self._recorder = chronicle.start(setup, clock, tell)

    def begun(
        self,
        execution: Execution,
        inputs: Mapping[str, Any],
        deadline: float | str | None,
        sink: Sink | None,
    ) -> None:
        """A run begins."""
        execution.asked = Asked(dict(inputs), deadline, sink is not None)
        if self._setup.content != "none":
            execution.run.transcript.exchanges = []

    def ended(self, execution: Execution, breakers: Mapping[str, BreakerFigures]) -> None:
        """A run is over, however it ended, and `breakers` stand so. Whatever is wrong with the recorder changes nothing
        of it."""
        asked, transcript = execution.asked, execution.run.transcript
        if asked is None or execution.ended is None:
            return
        record = Record(
            setup=self._setup,
            asked=asked,
            number=execution.run.scope.number,
            began=self._clock.wall() - (self._clock.now() - transcript.started),
            result=execution.result(),
            transcript=transcript,
            breakers=breakers,
        )
        try:
            self._recorder.ended(record)
        except Exception as error:
            self._tell(repr(error))

    async def written(self) -> None:
        """Wait until the runs that ended are kept."""
        await self._recorder.written()

    async def aclose(self) -> None:
        await self._recorder.aclose()
