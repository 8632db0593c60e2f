"""What rate_limit and concurrency share: how a call waits in a line, and what it is told when it may not."""

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

    async def stand(self, until: float, tokens: int, /) -> Taken | None: ...


class Waiting:
    """The slow path of one node: wait for a turn, or refuse. `max_wait` is seconds, None: up to the deadline."""

    __slots__ = ("_clock", "_context", "_line", "_max_wait", "_name", "_target")

    def __init__(self, name: str, line: Queue, max_wait: float | None, context: BuildContext) -> None:
        self._name = name
        self._line = line
        self._max_wait = max_wait
        self._context = context
        self._clock = context.clock
        self._target = context.require_target()

    async def turn(self, run: Run, began: float, tokens: int = 0) -> Taken:
        """What a call that had to queue took. Raises RateLimitExceeded, DeadlineExceeded, or, where the target closed
        meanwhile, CircuitOpen or TargetBlocked; then it is given back."""
        until = run.deadline if self._max_wait is None else min(run.deadline, began + self._max_wait)
        wait = self._line.wait(began, tokens)
        if until <= began:
            raise self._too_late(run, until, tokens)
        if wait is not None and began + wait > until + DUST:
            raise self._refused(run, wait)
        taken = await self._line.stand(until, tokens)
        now = self._clock.now()
        run.call.waited += now - began
        if taken is None:
            raise self._too_late(run, until, tokens)
        self._context.emit(run, LimitWaited(path=self._context.path, limit=self._name, seconds=now - began))
        closed = self._target.closed_for(now)
        if closed is not None:
            self._line.give(taken)
            raise self._target.refusal(closed, now)
        return taken

    def _refused(self, run: Run, wait: float | None) -> WizardError:
        self._context.emit(run, LimitRefused(path=self._context.path, limit=self._name, retry_after=wait))
        known = "a turn" if wait is None else f"a turn in {show_duration(round(wait, 3))}"
        allowed = "max_wait" if self._max_wait is not None else "the deadline"
        return RateLimitExceeded(
            f"{self._name} of {self._target.name}: {known} is later than {allowed} allows",
            limit=self._name,
            where=self._context.path,
            retry_after=wait,
        )

    def _too_late(self, run: Run, until: float, tokens: int) -> WizardError:
        if until >= run.deadline:
            return DeadlineExceeded(
                f"{self._name} of {self._target.name}: no turn before the deadline", where=self._context.path
            )
        return self._refused(run, self._line.wait(self._clock.now(), tokens))


def bound_waiting(name: str, max_wait: str | None, inner: Bound, facts: BoundFacts) -> Bound:
    """Latency grows by `max_wait`; without one only the deadline bounds the wait."""
    if max_wait is None:
        return inner.with_latency(inner.latency + Figure(facts.deadline, f"{name}.max_wait is not set"))
    return inner.with_latency(inner.latency + Figure(parse_duration(max_wait)))
