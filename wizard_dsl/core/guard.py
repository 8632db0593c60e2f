"""A timer that interrupts what the current task awaits.

No timeout of this kind spans a yield: it is armed and disarmed within one await. Imports asyncio, so only the
code that runs programs imports it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any

import msgspec

from wizard_dsl.core.clock import LOOKS, Clock, Timer, settle


class Guard(msgspec.Struct, eq=False):
    """Cancels the current task at `at`, an absolute loop time, once it is armed and unless it is disarmed first.

    `fired` tells afterwards whether a CancelledError is the guard's own. A guard that fired is always
    uncancelled by `disarm`, also when another error came out; a cancellation from elsewhere stays one. `looks` is how
    many turns others get on the due instant; an outer guard gives more than an inner one.
    """

    clock: Clock
    at: float
    looks: int = LOOKS
    fired: bool = False
    _task: asyncio.Task[object] | None = None
    _timer: Timer | None = None

    def arm(self) -> Guard:
        """Set the timer."""
        self._task = asyncio.current_task()
        self._timer = self.clock.call_at(self.at, self._due)
        return self

    @coroutine
    def over(self, work: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """What `work` returns. Arms itself where it first waits: what never waits cannot be interrupted, and needs no
        timer."""
        awaited, over = _advance(work.send, None)
        if not over:
            self.arm()
        while not over:
            try:
                yield awaited
            except BaseException as error:
                awaited, over = _advance(work.throw, error)
            else:
                return (yield from work.__await__())
        return awaited

    def _due(self) -> None:
        self._timer = None
        settle(self.clock, self._fire, self.looks)

    def _fire(self) -> None:
        if self._task is not None:
            self.fired = True
            self._task.cancel()

    def disarm(self) -> bool:
        """Stop the timer and take back its cancel. True where a CancelledError in flight is only the guard's."""
        task, self._task = self._task, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.fired or task is None:
            return False
        return task.uncancel() == 0


def _advance(step: Callable[[Any], Any], value: Any) -> tuple[Any, bool]:
    """What the work waits for now and False, or what it returned and True."""
    try:
        return step(value), False
    except StopIteration as done:
        return done.value, True
    finally:
        del value  # an exception left in a frame it passed through is a cycle
