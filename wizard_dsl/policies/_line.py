"""A queue before a gate: first come, first served, each woken when its own turn is due.

The gate is a pure state machine that says whether one may pass now, and when the next could. There is one timer
for the head of the queue and one for each waiter's patience; nothing polls.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

from wizard_dsl.core.clock import Clock, Timer, settle
from wizard_dsl.core.errors import AttemptFailed, Rejected

if TYPE_CHECKING:
    from asyncio import Future

    from wizard_dsl.core.run import Run

#: A wait that ends at the deadline fits it, whatever rounding makes of the sum.
DUST: Final = 1e-9


class Gate(Protocol):
    """`take` returns a token that gives the place back, None where there is none now; `wait` is None where only
    a release can tell."""

    def take(self, now: float, /) -> float | None: ...

    def give(self, token: float, now: float, /) -> None: ...

    def wait(self, now: float, place: int, /) -> float | None: ...


class Line:
    """One queue, shared by all nodes of one scope."""

    __slots__ = ("_clock", "_gate", "_queue", "_timer")

    def __init__(self, gate: Gate, clock: Clock) -> None:
        self._gate = gate
        self._clock = clock
        self._queue: OrderedDict[Future[float | None], None] = OrderedDict()
        self._timer: Timer | None = None

    def take(self, now: float) -> float | None:
        """Pass at once, if nobody waits and the gate is free."""
        return None if self._queue else self._gate.take(now)

    def give(self, token: float) -> None:
        """Give a place back; those who wait move up."""
        self._gate.give(token, self._clock.now())
        if self._queue:
            self._pump()

    def wait(self, now: float) -> float | None:
        """Seconds that one who comes now would wait; None where nobody knows."""
        return self._gate.wait(now, len(self._queue) + 1)

    async def stand(self, until: float) -> float | None:
        """Queue; the token, or None where the turn has not come by `until`. A cancelled wait leaves no trace."""
        turn: Future[float | None] = self._clock.future()
        self._queue[turn] = None
        if len(self._queue) == 1:
            self._arm()
        patience = self._clock.call_at(until, settle, self._clock, lambda: self._late(turn))
        try:
            return await turn
        except BaseException:
            self._leave(turn)
            raise
        finally:
            patience.cancel()

    def _leave(self, turn: Future[float | None]) -> None:
        if turn in self._queue:
            self._remove(turn)
        elif turn.done() and not turn.cancelled():
            token = turn.result()
            if token is not None:
                self.give(token)

    def _late(self, turn: Future[float | None]) -> None:
        if turn in self._queue and not turn.done():
            turn.set_result(None)
            self._remove(turn)

    def _remove(self, turn: Future[float | None]) -> None:
        first = next(iter(self._queue)) is turn
        del self._queue[turn]
        if first:
            self._pump()

    def _pump(self) -> None:
        """Let all pass who may, in order; then look again when the next one could."""
        now = self._clock.now()
        while self._queue:
            turn = next(iter(self._queue))
            if not turn.done():
                token = self._gate.take(now)
                if token is None:
                    break
                turn.set_result(token)
            del self._queue[turn]
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._queue:
            return
        now = self._clock.now()
        wait = self._gate.wait(now, 1)
        if wait is not None:
            self._timer = self._clock.call_at(now + wait, self._due)

    def _due(self) -> None:
        self._timer = None
        self._pump()


def nothing_sent(error: BaseException, run: Run, begun: int, target: str) -> bool:
    """Whether a call that ended with `error` never reached the provider. `begun` counts the attempts in the
    transcript before it; a cancelled call reached it if its own attempt was begun since."""
    if isinstance(error, AttemptFailed):
        return error.sent is False
    if isinstance(error, Rejected):
        return True
    scope = run.scope
    return not any(
        row.target == target and row.step == scope.step and row.item == scope.item
        for row in run.transcript.attempts[begun:]
    )
