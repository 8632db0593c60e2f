"""A timer that interrupts what the current task awaits.

No timeout of this kind spans a yield: it is armed and disarmed within one await. Imports asyncio, so only the
code that runs programs imports it.
"""

from __future__ import annotations

import asyncio

from wizard_dsl.core.clock import LOOKS, Clock, Timer, settle


class Guard:
    """Cancels the current task at `at`, an absolute loop time, unless it is disarmed first.

    `fired` tells afterwards whether a CancelledError is the guard's own. A guard that fired is always
    uncancelled by `disarm`, also when another error came out; a cancellation from elsewhere stays one.
    """

    __slots__ = ("_clock", "_looks", "_task", "_timer", "fired")

    def __init__(self, clock: Clock, at: float, *, looks: int = LOOKS) -> None:
        """`looks`: how many turns others get on the due instant; an outer guard gives more than an inner one."""
        self._clock = clock
        self._looks = looks
        self._task: asyncio.Task[object] | None = asyncio.current_task()
        self._timer: Timer | None = clock.call_at(at, self._due)
        self.fired = False

    def _due(self) -> None:
        self._timer = None
        settle(self._clock, self._fire, self._looks)

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
