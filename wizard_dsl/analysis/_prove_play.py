"""One sequence, played: the real executor in virtual time, and an adversary in the place of every target.

The adversary takes the outcomes of the attempts of the run from the sequence, in the order in which they begin, and
answers plainly where it ends. What is played before the run (a start state) is forced target by target.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wizard_dsl.analysis._prove_classes import MOMENT, Classes, Outcome, Spot
from wizard_dsl.compiler.names import subprograms
from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.events import AttemptStarted, BreakerChanged, Event, OutageProbed
from wizard_dsl.core.messages import Completion, Usage, estimate_tokens
from wizard_dsl.core.response import Response
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.providers.mock import embedding
from wizard_dsl.runtime.inputs import Inputs
from wizard_dsl.runtime.runtime import running
from wizard_dsl.runtime.together import together
from wizard_dsl.testing import virtual
from wizard_dsl.testing.scripted import Item, Script, Scripted, read_item

if TYPE_CHECKING:
    from wizard_dsl.compiler.compile import Compiled
    from wizard_dsl.compiler.program import ChainPlan, Program, StepPlan, TargetPlan
    from wizard_dsl.core.figures import LimitFigures
    from wizard_dsl.core.messages import Request
    from wizard_dsl.core.node import BuildContext, Node
    from wizard_dsl.core.result import Result
    from wizard_dsl.core.run import Run, Transcript
    from wizard_dsl.policies._breaker import BreakerFigures
    from wizard_dsl.registry import Registry
    from wizard_dsl.runtime.pipeline import Pipeline
    from wizard_dsl.runtime.stream import Stream

#: Turns of the loop of one sequence; an hour of outage with retries takes a few thousand.
MAX_STEPS: Final = 200_000
#: Turns of the loop in which what was cancelled, or given back behind, comes to its end.
_SETTLE: Final = 12
_DIMENSIONS: Final = 8


class Before(msgspec.Struct, frozen=True):
    """Runs that were made before, `times` of them at once. `forced` is what targets do meanwhile, by name."""

    inputs: Mapping[str, Any]
    forced: Mapping[str, Any] = {}
    after: float = 0.0
    times: int = 1


class Beside(msgspec.Struct, frozen=True):
    """Runs that others make at the same time, `times` of them, one `every` so many seconds, the first just before.
    `forced` are what targets do in them, by name: the runs take them in turn."""

    inputs: Mapping[str, Any]
    forced: tuple[Mapping[str, Any], ...]
    every: float = 0.0
    times: int = 1


class Start(msgspec.Struct, frozen=True):
    """Where a run begins: what was before it and goes on beside it, what it is given, how it is read. `after` seconds
    lie between; with `cancel_after` the caller goes away then. `closed`: a person holds all breakers closed."""

    name: str
    inputs: Mapping[str, Any]
    before: tuple[Before, ...] = ()
    after: float = 0.0
    streams: bool = False
    cancel_after: float | None = None
    beside: Beside | None = None
    closed: bool = False


class Taken(msgspec.Struct, frozen=True):
    """One attempt: its place, its number among the classes there, what it came to, and how many there were."""

    target: str
    step: str
    choice: int
    classes: int
    outcome: Outcome
    run: int


class Seen(msgspec.Struct, kw_only=True):
    """All that can be seen of one sequence. `taken` are the attempts of the run itself, `scripts` everything that
    targets did, in order, with the runs before. `ended` holds the error kinds of those. `bug` is what no run should
    raise. `cancelled` is when the caller went away, in seconds of the run, `lasted` how long it went on after that."""

    result: Result | None = None
    transcript: Transcript | None = None
    deadline: float = 0.0
    taken: list[Taken] = []
    scripts: list[tuple[str, Any]] = []
    ended: list[str | None] = []
    breakers: Mapping[str, BreakerFigures] = {}
    limits: Sequence[LimitFigures] = ()
    attempts: int = 0
    tokens: Mapping[str, float] = {}
    leases: int = 0
    blocked: frozenset[str] = frozenset()
    reserved: int = 0
    tasks: int = 0
    open_calls: list[str] = []
    bug: str = ""
    cancelled: float | None = None
    over: bool = False
    lasted: float = 0.0


#: What an attempt comes to, by its place and its run.
Decide = Callable[[Spot, "Run"], Outcome]


class Stage:
    """A compiled file, ready to be played again and again."""

    def __init__(self, compiled: Compiled, registry: Registry, deadline: float | None = None) -> None:
        assert compiled.program is not None
        self.compiled = compiled
        self.registry = registry
        self.program: Program = compiled.program
        self.deadline = deadline
        self.classes = Classes(compiled.program, deadline)
        self.inputs = Inputs(compiled.program.inputs)
        programs = (self.program, *subprograms(self.program))
        self.all_chains = tuple(chain for program in programs for chain in program.chains.values())
        self._chains = {id(target): chain for chain in self.all_chains for target in chain.targets}

    def play(self, start: Start, choices: Sequence[int], decide: Decide | None = None) -> Seen:
        """Play one sequence; with `decide`, it says what the attempts of the run come to. Raises nothing of what
        happens in it."""
        seen = Seen()
        play = _Play(self, start, choices, seen, decide)
        try:
            virtual.run(play.run(), max_steps=MAX_STEPS)
        except virtual.StepLimit:
            seen.bug = f"it goes on without end: stopped after {MAX_STEPS:,} turns of the event loop"
        except virtual.Stalled:
            seen.bug = "it waits for something that never happens"
        except Exception as error:
            seen.bug = f"{type(error).__name__}: {error}"
        return seen

    def chain_of(self, target: TargetPlan) -> ChainPlan:
        return self._chains[id(target)]

    def step_of(self, name: str) -> StepPlan | None:
        """The step that is called so in a ledger: `outer/inner` is one of the file that `outer` runs."""
        return _step(self.program, name)


def _step(program: Program | None, name: str) -> StepPlan | None:
    own, _, inner = name.partition("/")
    if program is None:
        return None
    plan = next((each for each in program.steps if each.name == own.partition("[")[0]), None)
    return plan if plan is None or not inner else _step(plan.subprogram, inner)


class _Play:
    """One sequence under way."""

    def __init__(
        self, stage: Stage, start: Start, choices: Sequence[int], seen: Seen, decide: Decide | None = None
    ) -> None:
        self.stage = stage
        self.start = start
        self.choices = choices
        self.decide = decide
        self.seen = seen
        self.forced: Mapping[str, Any] | None = None
        self.main: Transcript | None = None
        self.shared: Any = None
        self.gone: asyncio.Event = asyncio.Event()
        self.number = 0
        self._transcripts: dict[int, Transcript] = {}
        self._open: dict[str, str] = {}
        self._probing = False
        self._others: dict[int, Mapping[str, Any]] = {}

    async def run(self) -> None:
        """All of it, in the running loop."""
        stage, clock = self.stage, LoopClock()
        options: dict[str, Any] = {"seed": 0, "mock": True, "sinks": [self._hear], "provide": self._provide}
        async with running(stage.compiled, stage.registry, **options) as pipeline:
            for before in self.start.before:
                await clock.sleep(before.after)
                await self._before(pipeline, before)
            self.forced = None
            await clock.sleep(self.start.after)
            for breaker in self.shared.of("circuit_breaker").values() if self.start.closed else ():
                breaker.force_close()
            others = await self._beside(pipeline, clock)
            try:
                await self._main(pipeline, clock)
            finally:
                for each in others:
                    each.cancel()
                await asyncio.gather(*others, return_exceptions=True)
                await self._look(pipeline, clock)

    async def _before(self, pipeline: Pipeline, before: Before) -> None:
        self.forced = before.forced
        self.number += 1
        streams = [self._begin(pipeline, before.inputs) for _ in range(before.times)]
        await together(self._first(each) for each in streams)
        self.seen.ended.append(next((each.result.error.kind for each in streams if each.result.error), None))

    async def _beside(self, pipeline: Pipeline, clock: LoopClock) -> list[asyncio.Task[None]]:
        """The runs of others; the first has begun."""
        beside = self.start.beside
        if beside is None:
            return []

        async def one(number: int) -> None:
            await clock.sleep(number * beside.every)
            stream = self._begin(pipeline, beside.inputs)
            self._others[id(stream.transcript)] = beside.forced[number % len(beside.forced)]
            await self._first(stream)

        tasks = [asyncio.create_task(one(number)) for number in range(beside.times)]
        await clock.sleep(MOMENT)
        return tasks

    async def _first(self, stream: Stream) -> None:
        with suppress(WizardError):
            async with stream:
                await stream.finish()

    def _begin(self, pipeline: Pipeline, inputs: Mapping[str, Any]) -> Stream:
        begin = pipeline.stream if self.start.streams else pipeline.start
        return begin(inputs=inputs, deadline=self.stage.deadline)

    async def _main(self, pipeline: Pipeline, clock: LoopClock) -> None:
        seen = self.seen
        stream = self._begin(pipeline, self.start.inputs)
        self.main = seen.transcript = stream.transcript
        self.number += 1
        async with stream:
            reading = asyncio.create_task(self._read(stream))
            leaving = asyncio.create_task(self._leave(stream, clock))
            await asyncio.wait([reading, leaving], return_when=asyncio.FIRST_COMPLETED)
            if leaving.done() and leaving.exception() is None and not stream.over:
                seen.cancelled = clock.now() - stream.transcript.started
                await stream.cancel()
                seen.lasted = clock.now() - stream.transcript.started - seen.cancelled
            leaving.cancel()
            await reading
        seen.result = stream.result

    async def _read(self, stream: Stream) -> None:
        with suppress(WizardError):
            await stream.finish()

    async def _leave(self, stream: Stream, clock: LoopClock) -> None:
        """Until the caller goes away: never, at a fixed time, or a moment after what the sequence says."""
        if self.start.cancel_after is not None:
            await clock.sleep(self.start.cancel_after)
        else:
            await self.gone.wait()
            await clock.sleep(MOMENT)

    # -- targets ----------------------------------------------------------------------------------------

    def _provide(self, plan: TargetPlan, context: BuildContext) -> Node:
        self.shared = context.shared
        return _Target(plan, self, context)

    def take(self, plan: TargetPlan, run: Run) -> Item:
        """What the attempt of a target that begins now comes to."""
        seen, stage = self.seen, self.stage
        if run.scope.run_id:  # a breaker that probes asks by itself, in nobody's run
            self._check_breaker(plan, run)
        if run.transcript is not self.main:
            forced = self._others.get(id(run.transcript), self.forced)
            item = (forced or {}).get(plan.name, "an answer")
            step = stage.step_of(run.scope.step)
            if item == "an answer":
                item = stage.classes.of(Spot(plan, stage.chain_of(plan), step, False))[0].item
            seen.scripts.append((plan.name, item))
            return read_item(item)
        spot = Spot(plan, stage.chain_of(plan), stage.step_of(run.scope.step), run.commit == "content")
        classes = stage.classes.of(spot)
        position = len(seen.taken)
        choice = self.choices[position] if position < len(self.choices) else 0
        outcome = classes[choice] if self.decide is None else self.decide(spot, run)
        seen.taken.append(Taken(plan.name, run.scope.step, choice, len(classes), outcome, self.number))
        seen.scripts.append((plan.name, outcome.item))
        if outcome.cancels:
            self.gone.set()
        return read_item(outcome.item)

    def _check_breaker(self, plan: TargetPlan, run: Run) -> None:
        """Note a call while a breaker of the target is open: one of ours, or one that a plug-in tells of."""
        probing = run.probe or self._probing
        for policy in plan.ladder:
            if policy.type is CIRCUIT_BREAKER:
                breaker = self.shared.of("circuit_breaker").get(policy.scope_key)
                if breaker is not None and breaker.state.state in ("open", "forced_open"):
                    self.seen.open_calls.append(plan.name)
        if self._open.get(plan.name) == "open" and not probing:
            self.seen.open_calls.append(plan.name)

    # -- what is seen -----------------------------------------------------------------------------------

    def _hear(self, run: Run, event: Event) -> None:
        self._transcripts.setdefault(id(run.transcript), run.transcript)
        if isinstance(event, BreakerChanged) and event.path.rpartition(".")[2] != CIRCUIT_BREAKER.name:
            self._open[event.target] = event.after
        elif isinstance(event, OutageProbed):
            self._probing = True
        elif isinstance(event, AttemptStarted):
            self._probing = False

    async def _look(self, pipeline: Pipeline, clock: LoopClock) -> None:
        seen, main = self.seen, self.main
        for _ in range(_SETTLE):
            await clock.sleep(0)
        seen.tasks = len(asyncio.all_tasks()) - 1
        seen.breakers = pipeline.breakers()
        seen.limits = pipeline.limits()
        now = clock.now()
        seen.leases = sum(each.state.leases(now) for each in self.shared.of("circuit_breaker").values())
        states = self.shared.of("target").items()
        seen.blocked = frozenset(key for key, each in states if each.blocked is not None and each.blocked.until > now)
        seen.attempts = sum(len(each.attempts) for each in self._transcripts.values())
        seen.tokens = {key: _taken(line, now) for key, line in self.shared.of("rate_limit").items()}
        if main is not None and main.book is not None:
            seen.reserved = sum(each.reserved for each in (await main.book.entries()).values())


def _taken(line: Any, now: float) -> float:
    """The most request tokens that are taken from a limit of ours, whatever its provider says of its own."""
    levels = [each for each in line.levels(now) if each.counts == "requests"]
    return max((each.capacity - (each.available if each.ours is None else each.ours) for each in levels), default=0.0)


class _Target:
    """A target that does what the adversary says."""

    def __init__(self, plan: TargetPlan, play: _Play, context: BuildContext) -> None:
        self._plan = plan
        self._play = play
        self._clock = context.clock

    async def call(self, request: Request, run: Run) -> Response:
        item = self._play.take(self._plan, run)
        script = Script(self._plan.name, [item])
        if request.kind == "embed" and item.status == 200 and not item.body and not item.refuse:
            return await self._embedded(request, run, item)
        return await Scripted(script, self._clock).call(request, run)

    async def _embedded(self, request: Request, run: Run, item: Item) -> Response:
        if item.stall_after is not None or item.cut_after is not None:
            return await Scripted(Script(self._plan.name, [item]), self._clock).call(request, run)
        await self._clock.sleep(0)
        vectors = tuple(embedding(self._plan.name, text, _DIMENSIONS) for text in request.texts)
        usage = Usage(estimate_tokens(request.size()))
        return Response.complete(Completion(embeddings=vectors, finish_reason="stop", usage=usage))
