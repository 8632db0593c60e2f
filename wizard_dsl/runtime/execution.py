"""One run of one program: the step graph, what its steps made, and the result at any time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from wizard_dsl.core.errors import Cancelled, DeadlineExceeded, StepFailed, StreamBufferFull, WizardError
from wizard_dsl.core.events import RunEnded, RunStarted, StepEnded, StepStarted
from wizard_dsl.core.guard import Guard
from wizard_dsl.core.messages import Assembler, Completion, Delta
from wizard_dsl.core.result import (
    AttemptRow,
    ErrorRow,
    PipelineRow,
    Result,
    StepRow,
    Totals,
    attempt_row,
    seconds,
    totals,
)
from wizard_dsl.core.run import Call, Run
from wizard_dsl.core.step import Sink, StepCall, StepRunner, StepValue, as_text
from wizard_dsl.runtime.states import StepState, error_row
from wizard_dsl.runtime.together import together

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import Program, StepPlan
    from wizard_dsl.core.clock import Clock
    from wizard_dsl.core.record import Asked
    from wizard_dsl.core.run import Emit
    from wizard_dsl.prompts.template import Scope

#: The guard of a whole run only acts where nothing below it did: it lets inner ones go first, and so does it with
#: the guards of the files it runs, down to three of them within each other.
_OUTER_LOOKS = 16
_INNER_LOOKS = 4
#: Timers fire by up to the clock's resolution early, in seconds.
_DUST = 1e-6


class Execution(msgspec.Struct, eq=False):
    """Runs the steps of `program` once. `runners` are its linked steps, by name; `views` is what its templates see as
    `steps` in `scope`, and is filled as the steps end, but for the `unseen` one, at which nothing looks. `asked` is how
    the run came to be, where it is recorded."""

    program: Program
    run: Run
    runners: Mapping[str, StepRunner]
    clock: Clock
    emit: Emit
    scope: Scope
    views: dict[str, Any]
    sink: Sink | None
    unseen: StepPlan | None = None
    states: dict[str, StepState] = {}
    text: str = ""
    output: Any = None
    error: ErrorRow | None = None
    ended: float | None = None
    asked: Asked | None = None
    _seen: list[list[Delta]] = []

    async def execute(self) -> None:
        """Run to the end. Raises the run's error; what was made stays readable. A sink that no step streamed to is
        handed the text in one piece."""
        self.emit(self.run, RunStarted(pipeline=self.program.name))
        step = self.run.scope.step
        depth = min(3, step.count("/") + 1) if step else 0
        guard = Guard(self.clock, self.run.deadline, looks=_OUTER_LOOKS - _INNER_LOOKS * depth)
        try:
            await guard.over(self._steps())
            self._render_output()
        except BaseException as error:
            failure = self._failure(error, guard.disarm())
            try:
                self._close(failure)
                if failure is error:
                    raise
                raise failure from None
            finally:
                del failure  # an exception left in a frame it passed through is a cycle
        guard.disarm()
        self._close(None)
        if self.sink is not None and not self._seen and self.text:
            await self.sink([Delta(text=self.text)])

    def _failure(self, error: BaseException, cut: bool) -> BaseException:
        """What the run failed with: the deadline, where that is what cancelled it, else the error itself."""
        if cut and isinstance(error, asyncio.CancelledError):
            return DeadlineExceeded("the run's deadline passed", where=self.program.name)
        return error

    def _close(self, failure: BaseException | None) -> None:
        self.ended = self.clock.now()
        kind = "ok" if failure is None else self._failed_with(failure)
        self.emit(self.run, RunEnded(kind=kind, elapsed=self.ended - self.run.transcript.started))

    def _failed_with(self, failure: BaseException) -> str:
        """Keeps it as the run's error; its kind."""
        if isinstance(failure, WizardError):
            self.error = error_row(failure)
        elif not isinstance(failure, Exception):
            self.error = error_row(Cancelled("the run was cancelled"))
        return "bug" if self.error is None else self.error.kind

    # -- the graph ----------------------------------------------------------------------------------

    async def _steps(self) -> None:
        if self.program.straight:
            for plan in self.program.steps:
                await self._step(plan)
            return
        done = {plan.name: asyncio.Event() for plan in self.program.steps}
        await together(self._when_ready(plan, done) for plan in self.program.steps)

    async def _when_ready(self, plan: StepPlan, done: Mapping[str, asyncio.Event]) -> None:
        for name in plan.needs:
            await done[name].wait()
        await self._step(plan)
        done[plan.name].set()

    async def _step(self, plan: StepPlan) -> None:
        state = self.states[plan.name] = StepState(started=self.clock.now())
        try:
            if (plan.needs or plan.when is not None) and self._not_wanted(plan):
                state.skipped = True
                self._note(plan, None, "skipped")
            elif plan.for_each is not None:
                await self._each(plan, state)
            else:
                await self._guarded(plan, self.scope, state, None)
        except WizardError as error:
            state.error = error_row(error)
            raise
        except asyncio.CancelledError:
            state.error = self._cut(plan)
            raise
        finally:
            state.ended = self.clock.now()
        if plan is not self.unseen:
            self.views[plan.name] = state.view()

    def _not_wanted(self, plan: StepPlan) -> bool:
        """A needed step did not run, or the condition is false."""
        for name, how in plan.needs.items():
            if how == "ran" and self.states[name].skipped:
                return True
        return plan.when is not None and not plan.when_each and not plan.when.evaluate(self.scope)

    async def _each(self, plan: StepPlan, state: StepState) -> None:
        """Items at once, at most `concurrency` of them; results in input order."""
        values = self._items(plan)
        items = state.items = [StepState(skipped=True) for _ in values]
        order = iter(enumerate(values))

        async def work() -> None:
            for index, item in order:
                scope = self.scope.with_values(item=item, index=index)
                if plan.when_each and not plan.when.evaluate(scope):
                    self._note(plan, index, "skipped")
                else:
                    items[index].skipped = False
                    await self._guarded(plan, scope, items[index], index)

        try:
            await together(work() for _ in range(min(plan.concurrency, len(values))))
        finally:
            served = next((item.value.served_by for item in reversed(items) if item.value.served_by), None)
            state.value = StepValue(text="\n".join(item.value.text for item in items), served_by=served)

    def _items(self, plan: StepPlan) -> list[Any]:
        values = plan.for_each.evaluate(self.scope)
        if not isinstance(values, list):
            sentence = f"for_each wants a list, not {type(values).__name__}"
            raise StepFailed(sentence, where=f"steps.{plan.name}")
        return values

    async def _guarded(self, plan: StepPlan, scope: Any, state: StepState, item: int | None) -> None:
        """One execution of a step; `on_error` decides what a failure does."""
        streams = self.sink is not None and plan.name == self.program.streamed and item is None
        run = self._run_of(plan, item, streams)
        self.emit(self.run, StepStarted(step=plan.name, item=item))
        try:
            if plan.sticky is not None:
                run = run.child(scope=replace(run.scope, sticky=_sticky(plan.sticky.evaluate(scope))))
            state.value = await self.runners[plan.name].run(StepCall(scope, run, self._listen if streams else None))
        except WizardError as error:
            self._note(plan, item, error.kind)
            state.error = error_row(error)
            if plan.on_error == "fail" or self._is_the_end(error):
                state.value = self._partial(error.partial, streams)
                raise
            self._instead(plan, state)
            if streams and self._seen:
                await self._listen([Delta(text=state.value.text, reset=True)])
        except asyncio.CancelledError:
            state.error = self._cut(plan)
            self._note(plan, item, state.error.kind)
            state.value = self._partial(None, streams)
            raise
        else:
            live = None if state.value.cached or state.value.shared else state.value.position
            self._note(plan, item, "ok", live)

    def _run_of(self, plan: StepPlan, item: int | None, streams: bool) -> Run:
        outer = self.run.scope
        name = self._step_name(plan.name) if outer.step else plan.name
        scope = replace(outer, step=name, item=item, streams=streams, sticky=None)
        return replace(self.run, scope=scope, commit="content" if streams else "end", call=Call())

    def _is_the_end(self, error: WizardError) -> bool:
        """Whether `error` says that the whole run is over: `on_error` has no time, or no reader, for anything else."""
        return error.kind in {"cancelled", "stream_buffer"} or (error.kind == "deadline" and self._is_late())

    def _is_late(self) -> bool:
        return self.clock.now() >= self.run.deadline - _DUST

    def _cut(self, plan: StepPlan) -> ErrorRow:
        """Why a step was cancelled while it ran."""
        where = f"steps.{plan.name}"
        if self._is_late():
            return error_row(DeadlineExceeded("the run's deadline passed", where=where))
        return error_row(Cancelled("cancelled while it ran", where=where))

    def _step_name(self, name: str) -> str:
        scope = self.run.scope
        return f"{scope.place}/{name}" if scope.step else name

    def _partial(self, partial: Completion | None, streams: bool) -> StepValue:
        if partial is None:
            return StepValue(text=self.heard().text if streams else "")
        return StepValue(text=partial.text, tool_calls=partial.tool_calls, usage=partial.usage)

    def _instead(self, plan: StepPlan, state: StepState) -> None:
        if isinstance(plan.on_error, Mapping):
            default = plan.on_error["default"]
            state.value = StepValue(text=as_text(default), json=default)
        else:
            state.skipped = True

    def _note(self, plan: StepPlan, item: int | None, kind: str, position: int | None = None) -> None:
        self.emit(self.run, StepEnded(step=plan.name, kind=kind, item=item, chain=plan.chain, position=position))

    async def _listen(self, batch: list[Delta]) -> None:
        assert self.sink is not None
        self._seen.append(batch)
        try:
            await self.sink(batch)
        except StreamBufferFull as full:
            full.partial = self.heard()
            raise

    def heard(self) -> Completion:
        """What the consumer of the stream was given so far, with what is being handed over."""
        assembler = Assembler()
        for batch in self._seen:
            for delta in batch:
                assembler.add(delta)
        return assembler.completion()

    # -- the output ---------------------------------------------------------------------------------

    def _render_output(self) -> None:
        output = self.program.output
        if output is None:
            assert self.program.passes is not None
            self.text = self.states[self.program.passes].value.text
            self.output = self.text
        elif isinstance(output, Mapping):
            self.output = {name: template.value(self.scope) for name, template in output.items()}
            self.text = as_text(self.output.get("text", self.output))
        else:
            self.output = output.value(self.scope)
            self.text = as_text(self.output)

    def value(self) -> StepValue:
        """The run as a step of another file."""
        served = self.states[self.program.passes].value if self.program.passes else StepValue()
        json = None if isinstance(self.output, str) else self.output
        if json is None and self.program.passes:
            json = served.json
        return StepValue(
            text=self.text, json=json, served_by=served.served_by, position=served.position, usage=served.usage
        )

    # -- the result ---------------------------------------------------------------------------------

    def result(self) -> Result:
        """The result so far; valid at any time."""
        transcript, program, states = self.run.transcript, self.program, self.states
        at = self.clock.now() if self.ended is None else self.ended
        now = at - transcript.started
        attempts = [attempt_row(attempt, now) for attempt in transcript.attempts] if transcript.attempts else []
        whole = totals(attempts)
        steps: dict[str, StepRow] = {}
        for plan in program.steps:
            state = states.get(plan.name)
            if state is not None:
                steps[plan.name] = self._row(plan.name, state, attempts, whole, at)
        source = program.passes
        passed = None if source is None else states.get(source)
        served = None if passed is None else passed.value
        done = self.ended is not None and self.error is None
        return Result(
            self.run.scope.run_id,
            PipelineRow(program.name, program.hash),
            done,
            self.text if done else self._so_far(served),
            self.output if done else None,
            served.served_by if served is not None else None,
            seconds(now),
            steps[source].tokens_per_second if source in steps else None,
            whole.cost,
            whole.usage,
            attempts,
            self.error,
            not done,
            steps,
        )

    def _so_far(self, served: StepValue | None) -> str:
        return self.heard().text or (served.text if served is not None else "")

    def _row(self, step: str, state: StepState, attempts: list[AttemptRow], whole: Totals, now: float) -> StepRow:
        own = []
        if attempts:
            name = self._step_name(step)
            inside = f"{name}/", f"{name}["
            own = [row for row in attempts if row.step == name or row.step.startswith(inside)]
        sums = whole if len(own) == len(attempts) else totals(own)
        return state.row(own, sums, now, self.program.api_versions.get(state.value.served_by or ""))


def _sticky(value: Any) -> str | None:
    """What is hashed of a chain's `sticky`: a text as it is, else canonical JSON; null leaves it to chance."""
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value, order="deterministic").decode()
