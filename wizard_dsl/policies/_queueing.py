"""What rate_limit, concurrency and admission share: how a call waits in a line, and what it is told when it may not."""

from __future__ import annotations

from typing import Protocol

from wizard_dsl.core.bound import Bound, BoundFacts, Figure
from wizard_dsl.core.errors import DeadlineExceeded, RateLimitExceeded, WizardError
from wizard_dsl.core.events import LimitRefused, LimitWaited
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.run import Run
from wizard_dsl.core.units import parse_duration, show_duration
from wizard_dsl.policies._line import DUST, Taken


class Queue(Protocol):
    """What a call stands in, see _line.Line."""

    def give(self, taken: Taken, /) -> None: ...

    def wait(self, now: float, tokens: int, /) -> float | None: ...

    async def stand(self, until: float, tokens: int, deadline: float, /) -> Taken | None: ...


class Waiting:
    """The slow path of one node: wait for a turn in a line, or refuse. `max_wait` is seconds, None: up to the
    deadline. A run that is not patient never waits."""

    __slots__ = ("_clock", "_context", "_max_wait", "_name", "_target", "_who")

    def __init__(self, name: str, max_wait: float | None, context: BuildContext) -> None:
        self._name = name
        self._max_wait = max_wait
        self._context = context
        self._clock = context.clock
        self._target = context.target
        self._who = context.chain.name if context.target is None else context.target.name

    async def turn(self, line: Queue, run: Run, began: float, tokens: int = 0) -> Taken:
        """What a call that had to queue took. Raises RateLimitExceeded, DeadlineExceeded, or, where the target closed
        meanwhile, CircuitOpen or TargetBlocked; then it is given back."""
        until = run.deadline if self._max_wait is None else min(run.deadline, began + self._max_wait)
        wait = line.wait(began, tokens)
        if run.deadline <= began:
            raise self._no_time()
        if until <= began or not run.patient or (wait is not None and began + wait > until + DUST):
            raise self._refused(run, wait)
        taken = await line.stand(until, tokens, run.deadline)
        now = self._clock.now()
        run.call.waited += now - began
        if taken is None:
            raise self._no_time() if until >= run.deadline else self._refused(run, line.wait(now, tokens))
        self._context.emit(run, LimitWaited(path=self._context.path, limit=self._name, seconds=now - began))
        return self._unless_closed(line, taken, now)

    def _unless_closed(self, line: Queue, taken: Taken, now: float) -> Taken:
        """What was taken; it is given back, and why is raised, where the target closed meanwhile."""
        closed = None if self._target is None else self._target.closed_for(now)
        if closed is not None:
            assert self._target is not None
            line.give(taken)
            raise self._target.refusal(closed, now)
        return taken

    def _refused(self, run: Run, wait: float | None) -> WizardError:
        self._context.emit(run, LimitRefused(path=self._context.path, limit=self._name, retry_after=wait))
        known = "a turn" if wait is None else f"a turn in {show_duration(round(wait, 3))}"
        why = f"{known} is later than {'the deadline' if self._max_wait is None else 'max_wait'} allows"
        if not run.patient:
            why = f"{known}, and this run does not wait"
        return RateLimitExceeded(
            f"{self._name} of {self._who}: {why}",
            limit=self._name,
            where=self._context.path,
            retry_after=wait,
        )

    def _no_time(self) -> WizardError:
        return DeadlineExceeded(f"{self._name} of {self._who}: no turn before the deadline", where=self._context.path)


def whose(context: BuildContext) -> str:
    """Whose calls a node of target scope limits: one of all models of a provider or an endpoint, or one target's."""
    scope, target = context.scope_key, context.require_target().name
    if scope.startswith(("provider:", "endpoint:")):
        return target.partition("/")[0]
    return target


def bound_waiting(name: str, max_wait: str | None, inner: Bound, facts: BoundFacts) -> Bound:
    """Latency grows by `max_wait`; without one only the deadline bounds the wait."""
    if max_wait is None:
        return inner.with_latency(inner.latency + Figure(facts.deadline, f"{name}.max_wait is not set"))
    return inner.with_latency(inner.latency + Figure(parse_duration(max_wait)))
