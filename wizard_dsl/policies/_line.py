"""A queue before a gate: first come, first served, each woken when its own turn is due.

The gate is a pure state machine that says whether one may pass now, and when the next could. There is one timer
for the head of the queue and one for each waiter's patience; nothing polls. Who needs many LLM tokens stands at
the head until there are so many: those who need few do not overtake.

What nodes use of a line is `take`, `give`, `settle`, `wait` and `stand`; another line, such as one that several
processes share, has just these.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec

from wizard_dsl.core.clock import Clock, Timer, settle
from wizard_dsl.core.errors import AttemptFailed, Rejected
from wizard_dsl.core.figures import LimitFigures

if TYPE_CHECKING:
    from asyncio import Future

    from wizard_dsl.core.run import Attempt, Run

#: A wait that ends at the deadline fits it, and a share of exactly a threshold reaches it, whatever rounding makes of
#: the sum.
DUST: Final = 1e-9


class Taken(msgspec.Struct, frozen=True, gc=False):
    """What one call took: a request or a place, at `at` by the gate's own clock, and so many LLM `tokens`."""

    at: float
    tokens: int = 0


class Level(msgspec.Struct, frozen=True):
    """How full one limit of a gate is: `available` of `capacity` units. `rule` is how a file writes it, and `ours` how
    many the rule itself has room for, where its provider says that fewer are left."""

    counts: Literal["requests", "tokens", "places"]
    rule: str
    capacity: float
    available: float
    ours: float | None = None


class Gate(Protocol):
    """`take` is None where there is no room now, `give` takes all of it back, and `settle` replaces the LLM tokens
    that were taken by those that were `used`. `wait` tells the one at `place` (from 1) of a queue, which needs `tokens`
    and those before it `ahead`, in how many seconds it could go at the earliest; None where only a release can tell."""

    def take(self, now: float, tokens: int, /) -> Taken | None: ...

    def give(self, taken: Taken, now: float, /) -> None: ...

    def settle(self, taken: Taken, used: int, now: float, /) -> None: ...

    def wait(self, now: float, place: int, ahead: int, tokens: int, /) -> float | None: ...

    def levels(self, now: float, /) -> Sequence[Level]: ...


class Crossings:
    """Which shares are at or above a threshold now; `above` names them."""

    __slots__ = ("above",)

    def __init__(self) -> None:
        self.above: set[str] = set()

    def crossed(self, name: str, share: float, threshold: float) -> bool:
        """Whether `share` is at or above `threshold`, and was below it when it was looked at last."""
        if share < threshold - DUST:
            self.above.discard(name)
            return False
        if name in self.above:
            return False
        self.above.add(name)
        return True


class Line:
    """One queue, shared by all nodes of one scope. `name` is the limit's, `of` says whose calls it limits, and
    `crossings` which of its levels were told to be nearly used up."""

    __slots__ = ("_clock", "_gate", "_queue", "_queued", "_timer", "crossings", "name", "of")

    def __init__(self, gate: Gate, clock: Clock, *, name: str = "", of: str = "") -> None:
        self.name = name
        self.of = of
        self.crossings = Crossings()
        self._gate = gate
        self._clock = clock
        self._queue: OrderedDict[Future[Taken | None], int] = OrderedDict()
        self._queued = 0  # LLM tokens that those in the queue need
        self._timer: Timer | None = None

    def take(self, now: float, tokens: int = 0) -> Taken | None:
        """Pass at once, if nobody waits and the gate has room."""
        return None if self._queue else self._gate.take(now, tokens)

    def give(self, taken: Taken) -> None:
        """Give all of it back; those who wait move up."""
        self._gate.give(taken, self._clock.now())
        if self._queue:
            self._pump()

    def settle(self, taken: Taken, used: int) -> None:
        """Keep what was taken, with the LLM tokens that were really used, be they more or fewer; those who wait move
        up if they can. Once for each `taken`."""
        self._gate.settle(taken, used, self._clock.now())
        if self._queue:
            self._pump()

    def wait(self, now: float, tokens: int = 0) -> float | None:
        """Seconds that one who comes now would wait at least; None where nobody knows."""
        return self._gate.wait(now, len(self._queue) + 1, self._queued, tokens)

    def levels(self, now: float) -> Sequence[Level]:
        """How full each of its limits is; takes nothing."""
        return self._gate.levels(now)

    def is_idle(self, now: float) -> bool:
        """Whether it is as it was when it was made: nobody waits, and nothing is taken."""
        return not self._queue and all(level.available >= level.capacity for level in self._gate.levels(now))

    def figures(self, now: float) -> list[LimitFigures]:
        """What is shown of it, one for each of its limits."""
        levels = self._gate.levels(now)
        free = not self._queue and all(level.available >= 1 for level in levels)
        wait = 0.0 if free else self.wait(now, 1)
        return figures_of(self.name, self.of, levels, waiting=len(self._queue), wait=wait)

    def look(self) -> None:
        """The gate was changed from outside: let those pass who may."""
        if self._queue:
            self._pump()

    async def stand(self, until: float, tokens: int = 0, deadline: float = inf) -> Taken | None:
        """Queue; what was taken, or None where the turn has not come by `until`. A cancelled wait leaves no trace. A
        line that is kept elsewhere is asked until `deadline` at the latest."""
        turn: Future[Taken | None] = self._clock.future()
        self._queue[turn] = tokens
        self._queued += tokens
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

    def _leave(self, turn: Future[Taken | None]) -> None:
        if turn in self._queue:
            self._remove(turn)
        elif turn.done() and not turn.cancelled():
            taken = turn.result()
            if taken is not None:
                self.give(taken)

    def _late(self, turn: Future[Taken | None]) -> None:
        if turn in self._queue and not turn.done():
            turn.set_result(None)
            self._remove(turn)

    def _remove(self, turn: Future[Taken | None]) -> None:
        first = next(iter(self._queue)) is turn
        self._queued -= self._queue.pop(turn)
        if first:
            self._pump()

    def _pump(self) -> None:
        """Let all pass who may, in order; then look again when the next one could."""
        now = self._clock.now()
        while self._queue:
            turn, tokens = next(iter(self._queue.items()))
            if not turn.done():
                taken = self._gate.take(now, tokens)
                if taken is None:
                    break
                turn.set_result(taken)
            self._queued -= self._queue.pop(turn)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._queue:
            return
        now = self._clock.now()
        wait = self._gate.wait(now, 1, 0, next(iter(self._queue.values())))
        if wait is not None:
            self._timer = self._clock.call_at(now + wait, self._due)

    def _due(self) -> None:
        self._timer = None
        self._pump()


def figures_of(name: str, of: str, levels: Sequence[Level], *, waiting: int, wait: float | None) -> list[LimitFigures]:
    """What is shown of a limit, one for each of its levels."""
    return [
        LimitFigures(name, of, each.counts, each.rule, each.capacity, each.available, waiting, wait) for each in levels
    ]


def nothing_sent(error: BaseException, run: Run, before: Attempt | None) -> bool:
    """Whether a call that ended with `error` never reached the provider. `before` is the last attempt its run's `call`
    had made until then; a cancelled one reached the provider if another was begun since."""
    if isinstance(error, AttemptFailed):
        return error.sent is False
    if isinstance(error, Rejected):
        return True
    return run.call.last is before
