"""One sample of a case: a fresh runtime in virtual time, every target scripted, and all that can be seen of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import msgspec

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.result import Cost, PipelineRow, Result, UsageRow
from wizard_dsl.core.run import Transcript
from wizard_dsl.core.units import parse_duration
from wizard_dsl.runtime.runtime import running
from wizard_dsl.runtime.states import error_row
from wizard_dsl.runtime.together import together
from wizard_dsl.testing import virtual
from wizard_dsl.testing.scripted import Script, Scripted

if TYPE_CHECKING:
    from pathlib import Path

    from wizard_dsl.compiler.compile import Compiled
    from wizard_dsl.compiler.program import Program, TargetPlan
    from wizard_dsl.core.events import Event
    from wizard_dsl.core.messages import Request
    from wizard_dsl.core.node import BuildContext, Node
    from wizard_dsl.core.response import Response
    from wizard_dsl.core.run import Run
    from wizard_dsl.policies._breaker import BreakerFigures
    from wizard_dsl.registry import Registry
    from wizard_dsl.runtime.pipeline import Pipeline
    from wizard_dsl.runtime.stream import Stream
    from wizard_dsl.testing.cases import Case, PlannedRun, Source
    from wizard_dsl.testing.cassettes import Cassette


class Asked(msgspec.Struct, frozen=True):
    """One exchange that a script answered. `place` is the step, with the item of its loop."""

    target: str
    place: str
    request: Any  # a Request; msgspec need not look into it


class Ran(msgspec.Struct, frozen=True):
    """One run: what came of it, what the policies did, and how the breakers stood afterwards. `planned` is its place
    among the runs of its case, `inputs` what it was given."""

    planned: int
    inputs: Mapping[str, Any]
    result: Result
    transcript: Transcript
    breakers: Mapping[str, BreakerFigures]


class Played(msgspec.Struct, frozen=True):
    """One sample. `broken` says why it could not be played to its end, in sentences; `left` counts the items that no
    call used, by the script's target. `behind` are the events of what belongs to no run: probes of breakers, refreshes
    of a cache; the place that speaks stands before each."""

    program: Program
    runs: tuple[Ran, ...]
    asked: tuple[Asked, ...]
    broken: tuple[str, ...]
    scripts: tuple[tuple[Source, str, int, int], ...]
    behind: tuple[tuple[str, Any], ...] = ()


class _Recorded(Script):
    """A script that tells what was asked, and why it could not answer."""

    def __init__(self, name: str, source: Source | None, stage: _Stage) -> None:
        super().__init__(name, () if source is None else source.items)
        self.source = source
        self._stage = stage

    def take(self, request: Request, run: Run) -> Any:
        self._stage.asked.append(Asked(self.name, run.scope.place, request))
        try:
            if self.source is None:
                raise _NoReply(f"target {self.name} is called, and no pattern of `targets` matches it")
            return super().take(request, run)
        except AssertionError as error:
            self._stage.broken.append(str(error))
            raise


class _NoReply(AssertionError):
    """A call that the test says nothing about; no policy catches it."""


class _Stage:
    """The scripts of one sample, its cassette, and what they saw."""

    def __init__(self, sources: Sequence[Source], cassette: Cassette | None) -> None:
        self.asked: list[Asked] = []
        self.broken: list[str] = []
        self.scripts: dict[str, _Recorded] = {}
        self.cassette = cassette
        self._sources = sources

    def provide(self, plan: TargetPlan, context: BuildContext) -> Node:
        source = next((each for each in self._sources if fnmatchcase(plan.name, each.pattern)), None)
        if source is None and self.cassette is not None:
            return _Heard(self.cassette.provide(plan, context), plan.name, self)
        if plan.name not in self.scripts:
            self.scripts[plan.name] = _Recorded(plan.name, source, self)
        return Scripted(self.scripts[plan.name], context.clock)


class _Heard:
    """A target on a cassette; what is asked of it is kept as what is asked of a script."""

    def __init__(self, node: Node, name: str, stage: _Stage) -> None:
        self._node = node
        self._name = name
        self._stage = stage

    async def call(self, request: Request, run: Run) -> Response:
        self._stage.asked.append(Asked(self._name, run.scope.place, request))
        return await self._node.call(request, run)


class Sample:
    """The runs of one sample; what was begun stays readable when it is stopped."""

    def __init__(self, case: Case, program: Program, cassette: Cassette | None) -> None:
        self.case = case
        self.program = program
        self.stage = _Stage(case.scripts, cassette)
        self.done: list[Ran] = []
        self.begun: list[tuple[int, Mapping[str, Any], Stream]] = []
        self.told: list[tuple[Transcript, str, Event]] = []

    async def play(self, compiled: Compiled, registry: Registry, seed: int) -> None:
        """Play them in the running loop. Nothing is kept beyond them: no cache, no state, no account."""
        sinks, provide = [self._hear], self.stage.provide
        async with running(compiled, registry, seed=seed, mock=True, sinks=sinks, provide=provide) as pipeline:
            clock = LoopClock()
            for index, planned in enumerate(self.case.runs):
                if planned.after:
                    await clock.sleep(planned.after)
                await self._together(pipeline, index, planned)

    def _hear(self, run: Run, event: Event) -> None:
        self.told.append((run.transcript, run.scope.place, event))

    def _behind(self, runs: Sequence[Ran]) -> Iterator[tuple[str, Event]]:
        own = {id(each.transcript) for each in runs}
        return ((place, event) for transcript, place, event in self.told if id(transcript) not in own)

    async def _together(self, pipeline: Pipeline, index: int, planned: PlannedRun) -> None:
        """The runs that begin at once, each to its end."""
        streams: list[Stream] = []
        for _ in range(planned.times):
            try:
                streams.append(await self._begin(pipeline, index, planned))
            except WizardError as error:
                self._refused(pipeline, index, planned, error)
        await together(self._finish(each) for each in streams)
        self.begun.clear()
        for stream in streams:
            self.done.append(Ran(index, planned.inputs, stream.result, stream.transcript, pipeline.breakers()))

    async def _begin(self, pipeline: Pipeline, index: int, planned: PlannedRun) -> Stream:
        begin = pipeline.stream if self.case.spec.stream else pipeline.start
        stream = begin(
            inputs=planned.inputs,
            deadline=planned.deadline,
            session=planned.session,
            principal=planned.principal,
        )
        self.begun.append((index, planned.inputs, stream))
        return await stream.__aenter__()

    async def _finish(self, stream: Stream) -> None:
        limit = self.case.spec.cancel_after
        reading = asyncio.create_task(_read(stream))
        try:
            done, _ = await asyncio.wait([reading], timeout=None if limit is None else parse_duration(limit))
            if not done:
                await stream.cancel()
            await reading
        finally:
            if not reading.done():
                reading.cancel()
                await stream.cancel()

    def _refused(self, pipeline: Pipeline, index: int, planned: PlannedRun, error: WizardError) -> None:
        """A run that did not begin, as the result it would have: its inputs were not as declared, or unsafe."""
        result = Result(
            run_id="",
            pipeline=PipelineRow(self.program.name, self.program.hash),
            ok=False,
            text="",
            output=None,
            served_by=None,
            elapsed=0.0,
            tokens_per_second=None,
            cost=Cost(0.0, "reported"),
            usage=UsageRow(0, 0, "reported"),
            attempts=[],
            error=error_row(error),
            partial=True,
            steps={},
        )
        self.done.append(Ran(index, planned.inputs, result, Transcript(0.0), pipeline.breakers()))

    def played(self, broken: Sequence[str]) -> Played:
        cassette = self.stage.cassette
        missed = [each.explain() for each in cassette.misses] if cassette is not None else []
        so_far = [Ran(index, inputs, each.result, each.transcript, {}) for index, inputs, each in self.begun]
        runs = (*self.done, *so_far)
        return Played(
            program=self.program,
            runs=runs,
            behind=tuple(self._behind(runs)),
            asked=tuple(self.stage.asked),
            broken=tuple(dict.fromkeys([*self.stage.broken, *missed, *broken])),
            scripts=tuple(
                (each.source, each.name, len(each.calls), each.left)
                for each in self.stage.scripts.values()
                if each.source is not None
            ),
        )


async def _read(stream: Stream) -> None:
    """Read to the end. Errors of the run stand in its result."""
    with suppress(WizardError):
        await stream.finish()


def _tape(file: Path, compiled: Compiled) -> Cassette:
    from wizard_dsl.testing.cassettes import Cassette

    return Cassette(file, compiled)


def play(case: Case, compiled: Compiled, registry: Registry, seed: int) -> Played:
    """Play one sample in virtual time. Raises nothing of what happens in it; `compiled` must have a program, and the
    case's cassette be one."""
    assert compiled.program is not None
    sample = Sample(case, compiled.program, None if case.cassette is None else _tape(case.cassette, compiled))
    broken: list[str] = []
    try:
        virtual.run(sample.play(compiled, registry, seed), max_steps=case.max_steps)
    except virtual.StepLimit:
        broken.append(
            f"stopped after {case.max_steps:,} turns of the event loop: something repeats without end, or `max_steps` "
            "is too low"
        )
    except virtual.Stalled as error:
        broken.append(str(error))
    except AssertionError as error:
        broken.append(str(error))
    except Exception as error:
        broken.append(f"{type(error).__name__}: {error}")
    return sample.played(broken)
