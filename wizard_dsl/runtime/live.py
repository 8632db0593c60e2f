"""A program made live: its chains linked and its steps built, once for many runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wizard_dsl.compiler.link import Linked, Services, call_handler, link
from wizard_dsl.compiler.program import Program, StepPlan
from wizard_dsl.core.run import Run
from wizard_dsl.core.step import Sink, StepContext, StepRunner, StepValue, Subprogram
from wizard_dsl.prompts.template import Scope
from wizard_dsl.runtime.execution import Execution
from wizard_dsl.runtime.guard import InputGuard
from wizard_dsl.runtime.inputs import Inputs

if TYPE_CHECKING:
    from wizard_dsl.core.node import Handler
    from wizard_dsl.registry import Registry


class Live:
    """The runners of one program's steps; `execution` begins a run of it. A file that several steps run is live
    once, among `others`, where it is held to the same budgets: its chains have one retry budget."""

    def __init__(
        self, program: Program, services: Services, registry: Registry, others: dict[Any, Live] | None = None
    ) -> None:
        self.program = program
        self.inputs = Inputs(program.inputs)
        self._guard = InputGuard(program.guard, program.inputs)
        self.linked: Linked = link(program, services)
        self._services = services
        self._registry = registry
        self._others = {} if others is None else others
        last = program.straight and program.output is None and program.steps
        self._unseen = program.steps[-1] if last else None
        self._runners: dict[str, StepRunner] = {step.name: self._runner(step) for step in program.steps}

    @property
    def programs(self) -> list[Program]:
        """This one, and those that its steps run."""
        return [self.program, *(each.program for each in self._others.values() if each is not self)]

    def _runner(self, step: StepPlan) -> StepRunner:
        context = StepContext(
            name=step.name,
            path=f"steps.{step.name}",
            templates=step.templates,
            handler=self._handler(step),
            prompt=step.prompt,
            params=step.params,
            tools=step.tools,
            subprogram=None if step.subprogram is None else self._subprogram(step.subprogram),
        )
        runner: StepRunner = step.type.build(step.config, context)
        return runner

    def _handler(self, step: StepPlan) -> Handler | None:
        if step.chain is None:
            return None
        own = step.own(assessed=self._services.assess is not None)
        return call_handler(self.linked.chains[step.chain], own)

    def ladder(self, chain: str) -> str:
        """What calls of a chain pass, as `Program.ladder` tells it."""
        return self.program.ladder(chain, assessed=self._services.assess is not None)

    def _subprogram(self, program: Program) -> Subprogram:
        key = program.file, program.budgets
        if key not in self._others:
            self._others[key] = Live(program, self._services, self._registry, self._others)
        inner = self._others[key]

        async def run(inputs: Mapping[str, Any], outer: Run, sink: Sink | None) -> StepValue:
            now = self._services.clock.now()
            deadline = min(outer.deadline, now + program.deadline)
            execution = inner.execution(inputs, outer.child(deadline=deadline), sink)
            await execution.execute()
            return execution.value()

        return run

    def execution(self, inputs: Mapping[str, Any], run: Run, sink: Sink | None) -> Execution:
        """Begin a run. Raises InputInvalid, or SafetyBlocked where the input guard refuses."""
        values, told = self._guard.check(self.inputs.check(inputs))
        for each in told:
            self._services.emit(run, each)
        views: dict[str, Any] = {}
        scope = Scope({**values, "steps": views})
        clock, emit = self._services.clock, self._services.emit
        return Execution(self.program, run, self._runners, clock, emit, scope, views, sink, self._unseen)
