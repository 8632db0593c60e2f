"""Pipelines: one runtime, many runs; run them, or stream them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from wizard_dsl.core import units
from wizard_dsl.core.errors import InputInvalid, SpecError, StreamBufferFull, WizardError
from wizard_dsl.core.messages import Delta
from wizard_dsl.core.result import Result
from wizard_dsl.core.run import Call, Run, Scope, Transcript
from wizard_dsl.core.step import Sink
from wizard_dsl.runtime import own_limits
from wizard_dsl.runtime.breakers import breakers
from wizard_dsl.runtime.caches import Caches
from wizard_dsl.runtime.channel import Between, Channel, between, says_something
from wizard_dsl.runtime.execution import Execution
from wizard_dsl.runtime.statistics import Stats
from wizard_dsl.runtime.stream import Stream
from wizard_dsl.runtime.targets import switch, switched_on
from wizard_dsl.runtime.together import together

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import StreamRule
    from wizard_dsl.core.figures import LimitFigures
    from wizard_dsl.core.http import PoolFigures
    from wizard_dsl.policies._breaker import Breaker, BreakerFigures
    from wizard_dsl.policies._shelf import CacheStats
    from wizard_dsl.runtime.live import Live
    from wizard_dsl.runtime.recording import Recording
    from wizard_dsl.runtime.runtime import Runtime

#: Takes one delta of a streamed run; may be a coroutine function, and then holds the stream back. What a plain
#: function returns does not matter.
OnDelta = Callable[[Delta], object]


class Pipeline:
    """A compiled pipeline in a runtime. Runs share breakers, limits, caches and connections."""

    def __init__(self, live: Live, runtime: Runtime, recording: Recording | None = None) -> None:
        self._live = live
        self._runtime = runtime
        self._recording = recording
        self._runs = 0

    @property
    def name(self) -> str:
        return self._live.program.name

    async def run(
        self,
        *,
        inputs: Mapping[str, Any] | None = None,
        deadline: float | str | None = None,
        on_delta: OnDelta | None = None,
        reasoning: bool = False,
        principal: str | None = None,
        repeat: int = 0,
        wait: bool = True,
        session: str | None = None,
        **named: Any,
    ) -> Result:
        """Run once. Inputs by name, or as a mapping where a name is taken by an option.

        `deadline` in seconds, or as `"20s"`, tightens the file's. With `on_delta` the answer is streamed into it;
        with `reasoning`, reasoning deltas too. Runs of different `repeat` share no stored answers: samples of one
        question. `session` names whose budget is spent besides. Without `wait` no call waits for one of our own
        limits: where one has no room, RateLimitExceeded says which, and when it will. Where the file's `stream`
        section does not hold a run back for its consumer, a callback that can be awaited runs in a task of its own.
        Raises the run's WizardError, with what was made as `.result`.
        """
        sink = None if on_delta is None else _callback(on_delta)
        between = None if sink is None or self._rule.when_full == "block" else self._between()
        given = _inputs(inputs, named)
        whose = principal, session
        listener = sink if between is None else between.put
        execution = self._begin(given, deadline, listener, reasoning=reasoning, whose=whose, repeat=repeat, wait=wait)
        if sink is None or between is None:
            await self._execute(execution)
        else:
            await self._apart(execution, between, sink)
        return execution.result()

    async def _apart(self, execution: Execution, between: Between, sink: Sink) -> None:
        """The run and its consumer as tasks of their own: neither waits for the other. What the run failed with is
        told once the consumer had what came before, but for a consumer that was too slow: it is not waited for."""
        failed: list[WizardError] = []

        async def work() -> None:
            try:
                await self._execute(execution)
            except StreamBufferFull:
                raise
            except WizardError as error:
                failed.append(error)
            finally:
                between.close()

        async def consume() -> None:
            while (batch := await between.get()) is not None:
                await sink(batch)

        await together([work(), consume()])
        if failed:
            raise failed.pop()

    @property
    def _rule(self) -> StreamRule:
        return self._live.program.stream

    def _between(self) -> Between:
        return between(self._rule, self._runtime.services.clock)

    async def try_run(self, **options: Any) -> Result | None:
        """As `run` without `wait`, and None where one of our own limits has no room. Options are those of `run`.
        Other errors are raised; a run of several steps may have made some of them before it gives up."""
        try:
            return await self.run(**options, wait=False)
        except WizardError as error:
            if error.kind != "local_limit":
                raise
            return None

    async def _execute(self, execution: Execution) -> None:
        try:
            await execution.execute()
        except WizardError as error:
            error.result, error.transcript = execution.result(), execution.run.transcript
            raise
        finally:
            if self._recording is not None:
                self._recording.ended(execution, self.breakers())

    async def recorded(self) -> None:
        """Wait until the runs that ended stand in the history, where there is one: not for long, and not for one that
        cannot be written."""
        if self._recording is not None:
            await self._recording.written()

    def stream(
        self,
        *,
        inputs: Mapping[str, Any] | None = None,
        deadline: float | str | None = None,
        reasoning: bool = False,
        principal: str | None = None,
        repeat: int = 0,
        session: str | None = None,
        **named: Any,
    ) -> Stream:
        """Run once, as an async iterator of deltas: `async with pipeline.stream(…) as stream`."""
        channel = self._between()
        given = _inputs(inputs, named)
        whose = principal, session
        execution = self._begin(given, deadline, channel.put, reasoning=reasoning, whose=whose, repeat=repeat)
        return Stream(execution, channel, self._execute)

    def start(
        self,
        *,
        inputs: Mapping[str, Any] | None = None,
        deadline: float | str | None = None,
        principal: str | None = None,
        repeat: int = 0,
        session: str | None = None,
        **named: Any,
    ) -> Stream:
        """As `stream`, without deltas: a run that can be awaited with `finish`, looked at and cancelled."""
        given = _inputs(inputs, named)
        whose = principal, session
        execution = self._begin(given, deadline, None, reasoning=False, whose=whose, repeat=repeat)
        return Stream(execution, Channel(), self._execute)

    def _begin(
        self,
        inputs: Mapping[str, Any],
        deadline: float | str | None,
        sink: Sink | None,
        *,
        reasoning: bool,
        whose: tuple[str | None, str | None],
        repeat: int,
        wait: bool = True,
    ) -> Execution:
        """`whose`: the principal and the session."""
        if repeat < 0:
            raise InputInvalid(f"a repeat index is 0 or more, not {repeat}", where="repeat")
        number = self._runs
        self._runs += 1
        runtime, program = self._runtime, self._live.program
        now = runtime.services.clock.now()
        limit = program.deadline if deadline is None else min(program.deadline, _seconds(deadline))
        scope = Scope(
            run_id=runtime.run_id(number),
            number=number,
            pipeline=program.name,
            principal=whose[0],
            repeat=repeat,
            session=whose[1],
        )
        run = Run(
            scope=scope,
            deadline=now + limit,
            transcript=Transcript(now),
            call=Call(),
            reasoning=reasoning,
            patient=wait,
        )
        execution = self._live.execution(inputs, run, sink)
        if self._recording is not None:
            self._recording.begun(execution, inputs, deadline, sink)
        return execution

    def ladder(self, chain: str) -> str:
        """One line for a test: the kinds that calls of `chain` pass, outermost first, on any of its targets, from any
        of its steps."""
        return self._live.ladder(chain)

    def describe(self) -> dict[str, Any]:
        """The compiled program as plain data."""
        return self._live.program.describe()

    @property
    def cache(self) -> Caches:
        """The caches of this pipeline: figures, entries, clearing, warming."""
        return Caches(lambda: self._runtime.shared.of("cache").values(), self.run)

    async def stats(self) -> Stats:
        """What the runs of this runtime did so far, and how things stand now. Caches that cannot be asked are left out,
        and `unusable` says why."""
        caches: list[CacheStats] = []
        unusable: list[str] = []
        try:
            caches = await self.cache.stats()
        except SpecError as error:
            unusable.append(error.message)
        return Stats(
            counted=self._runtime.statistics.counted(),
            breakers=self.breakers(),
            limits=self.limits(),
            caches=caches,
            pools=self.pools(),
            unusable=unusable,
        )

    def breakers(self) -> dict[str, BreakerFigures]:
        """The circuit breakers, by the target they stand before; that of a whole provider as `providers.NAME`, that of
        one chain (`per: chain`) as `CHAIN: TARGET`."""
        return {name: breaker.figures() for name, breaker in self._breakers().items()}

    def breaker(self, name: str) -> Breaker:
        """The breaker of that name in `breakers`, to be opened, closed or reset by hand. Raises InputInvalid."""
        known = self._breakers()
        if name not in known:
            hint = f"one of: {', '.join(known)}" if known else "no chain has a circuit_breaker"
            raise InputInvalid(f"there is no circuit breaker '{name}'", where=name, suggestion=hint)
        return known[name]

    def _breakers(self) -> dict[str, Breaker]:
        return breakers(self._live.programs, self._runtime.shared.of("circuit_breaker"))

    def limits(self) -> list[LimitFigures]:
        """Every limit of ours, now: what is available and who waits. Looking takes nothing."""
        return own_limits.figures(self._runtime.shared, self._runtime.services.clock.now())

    def targets(self) -> dict[str, bool]:
        """All targets by name: whether each is switched on. What is `enabled: false` in the file is none of them."""
        return switched_on(self._live.programs, self._runtime.shared.of("target"))

    def enable(self, target: str, on: bool = True) -> None:
        """Switch a target on, or off, in all chains while this runtime lasts. Raises InputInvalid."""
        switch(self._live.programs, self._runtime.shared.of("target"), target, on=on)

    def pools(self) -> list[PoolFigures]:
        """Connections of each provider, now and in all."""
        return self._runtime.services.http.figures()


def _callback(on_delta: OnDelta) -> Sink:
    async def sink(batch: list[Delta]) -> None:
        for delta in filter(says_something, batch):
            held = on_delta(delta)
            if isawaitable(held):
                await held

    return sink


def _inputs(mapping: Mapping[str, Any] | None, named: Mapping[str, Any]) -> dict[str, Any]:
    twice = mapping.keys() & named.keys() if mapping else ()
    if twice:
        raise InputInvalid(f"input '{min(twice)}' is given twice", where=min(twice))
    return {**(mapping or {}), **named}


def _seconds(deadline: float | str) -> float:
    if isinstance(deadline, str):
        try:
            deadline = units.parse_duration(deadline)
        except ValueError as error:
            raise InputInvalid(str(error), where="deadline") from None
    if not deadline > 0:  # NaN is not
        raise InputInvalid(f"a deadline is a positive number of seconds, not {deadline:g}", where="deadline")
    return float(deadline)
