"""Waiting for a recorded moment on the run's clock, in a way that giving up wakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import Future

    from wizard_dsl.core.clock import Clock


class Waits:
    """The waits of one exchange that began at `started`; one at a time."""

    __slots__ = ("_clock", "_started", "_waiter", "over")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = clock.now()
        self._waiter: Future[None] | None = None
        self.over = False

    async def until(self, milliseconds: int) -> bool:
        """Until so long after the start; False where it was given up. A cancelled wait can be begun again."""
        due = self._started + milliseconds / 1000
        if not self.over and due > self._clock.now():
            self._waiter = self._clock.future()
            timer = self._clock.call_at(due, _wake, self._waiter)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        return not self.over

    def give_up(self) -> None:
        """Ends the wait that is under way, and all later ones at once."""
        self.over = True
        if self._waiter is not None:
            _wake(self._waiter)


def _wake(waiter: Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
