"""The calls that wait for the end of one target's block."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import Future

    from wizard_dsl.core.clock import Clock, Timer
    from wizard_dsl.core.target import TargetState


class Waiters:
    """They are woken in the order in which they came, one a turn of the loop. If what the first of them learns blocks
    the target again, the others are not disturbed: of a thousand waiters one asks, and not all of them wake up only to
    lie down again.
    """

    __slots__ = ("_limits", "_state", "_timer")

    def __init__(self, state: TargetState) -> None:
        self._state = state
        self._limits: dict[Future[float], float] = {}
        self._timer: Timer | None = None

    async def wait(self, clock: Clock, limit: float) -> float:
        """Sleep until the 429's block that is known now has ended, however often it is prolonged meanwhile. Where it is
        prolonged beyond loop time `limit`, or for another reason, until the end that was known before. Returns that
        end, a loop time."""
        turn: Future[float] = clock.future()
        self._limits[turn] = limit
        if self._timer is None:
            self._arm(clock)
        try:
            return await turn
        finally:
            self._limits.pop(turn, None)
            if not self._limits and self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _arm(self, clock: Clock) -> None:
        known = self._state.blocked
        assert known is not None, "who waits has seen the block"
        self._timer = clock.call_at(known.until, self._due, clock, known.until)

    def _due(self, clock: Clock, ended: float) -> None:
        """The block that was to end at `ended` has ended, or was prolonged."""
        self._timer = None
        known = self._state.blocked
        if known is None or known.until <= ended:
            self._wake(next(iter(self._limits)), ended)
            if self._limits:
                self._timer = clock.call_soon(self._due, clock, ended)
            return
        for turn in [
            turn for turn, limit in self._limits.items() if limit < known.until or known.kind != "rate_limited"
        ]:
            self._wake(turn, ended)
        if self._limits:
            self._arm(clock)

    def _wake(self, turn: Future[float], ended: float) -> None:
        del self._limits[turn]
        if not turn.done():
            turn.set_result(ended)
