"""The line before a limit that many processes share. It stands where `_line.Line` stands, and a call always takes its
slow path: whether there is room is decided elsewhere.

A turn is booked: the decision tells when it is due, and the call sleeps until then. While the state is away each
process goes on alone with its share, the rate and the burst over the number of processes last known, beginning with
what was booked. At the return that is handed in, so nothing is spent twice.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Final

from wizard_dsl.core.events import LimitWaited
from wizard_dsl.core.figures import LimitFigures
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.run import Run
from wizard_dsl.core.state import Decided, State, StateUnavailable
from wizard_dsl.policies._line import Crossings, Level, Line, Taken, figures_of
from wizard_dsl.policies._queueing import Queue, Waiting
from wizard_dsl.policies._shared_bucket import BOOK

#: A turn that came within this time, in seconds, was not waited for: that is what asking takes.
_UNNOTICED: Final = 0.02
#: A patience that no wait exceeds, in seconds.
_FOREVER: Final = 1e12


class SharedBucket:
    """Books tokens; see the module."""

    __slots__ = (
        "_alone", "_burst", "_carries", "_clock", "_key", "_level", "_members", "_owed", "_owed_at", "_rate", "_seen",
        "_spawn", "_state", "crossings", "name", "of",
    )  # fmt: skip

    def __init__(
        self,
        rate: float,
        burst: float,
        key: str,
        state: State,
        context: BuildContext,
        *,
        name: str = "",
        of: str = "",
    ) -> None:
        self.name = name
        self.of = of
        self.crossings = Crossings()
        self._rate = rate
        self._burst = burst
        self._key = key
        self._state = state
        self._clock = context.clock
        self._spawn = context.spawn
        self._members = 1
        self._level = burst  # as last told, at the loop time `_seen`
        self._seen = context.clock.now()
        self._alone: Any = None  # the row of the local form
        self._owed = 0.0  # tokens booked alone that no decision had handed in yet, at the loop time `_owed_at`
        self._owed_at = 0.0
        self._carries = False  # whether one that does is under way

    def take(self, now: float, tokens: int = 0) -> Taken | None:
        """Nobody knows here whether there is room."""
        return None

    def give(self, taken: Taken) -> None:
        """Return a booking, whether it was due or not; nobody waits for that."""
        self._spawn(self._return())

    async def _return(self) -> None:
        await self.book(-1.0, self._clock.now() + _FOREVER)

    def settle(self, taken: Taken, used: int) -> None:
        """A request is a request, whatever it used."""

    def wait(self, now: float, tokens: int = 0) -> float:
        """Seconds that one who comes now would wait, by what was told last."""
        return max(0.0, (1.0 - self._level_at(now)) / self._rate)

    def levels(self, now: float) -> tuple[Level]:
        """What it holds, by what was told last."""
        return (Level("requests", f"{self._rate:g}/s", self._burst, self._level_at(now)),)

    def figures(self, now: float) -> list[LimitFigures]:
        """What is shown of it; who waits elsewhere is not known."""
        return figures_of(self.name, self.of, self.levels(now), waiting=0, wait=self.wait(now))

    def is_idle(self, now: float) -> bool:
        """Its state is elsewhere: it can be made anew, unless something is to be handed in."""
        return not self._owing(now) and not self._booked_alone(now)

    def _level_at(self, now: float) -> float:
        return min(self._burst, self._level + (now - self._seen) * self._rate)

    async def stand(self, until: float, tokens: int = 0, deadline: float = inf) -> Taken | None:
        """Wait for a turn; what was taken, or None where there is none by `until`. Asking takes no longer than until
        `deadline`. A cancelled wait is given back."""
        granted, wait = await self.book(1.0, until, deadline)
        if not granted:
            return None
        taken = Taken(self._clock.now(), tokens)
        try:
            if wait > 0:
                await self._clock.sleep(wait)
        except BaseException:
            self.give(taken)
            raise
        return taken

    async def book(self, amount: float, until: float, deadline: float = inf) -> tuple[bool, float]:
        """(Whether it is booked, seconds until it is due); nothing is booked that is due after `until`."""
        now = self._clock.now()
        carry = self._carried(now)
        arguments = self._arguments(amount, max(0.0, until - now), carry)
        try:
            decided = await self._state.decide(
                BOOK, self._key, arguments, until=deadline, lost=self._lost(amount, carry)
            )
        except StateUnavailable:
            self._carries = self._carries and carry < 0
            return self._book_alone(amount, until)
        except BaseException:
            self._carries = self._carries and carry < 0
            raise
        if carry >= 0:
            self._handed_in(carry)
        granted, wait, self._level = decided.reply
        self._seen, self._members = self._clock.now(), decided.members
        return granted, wait

    def _lost(self, amount: float, carry: float) -> Callable[[Decided], None]:
        """Gives back what was booked too late for the one who asked."""

        def lost(decided: Decided) -> None:
            if carry >= 0:
                self._handed_in(carry)
            if decided.reply[0] and amount > 0:
                self._spawn(self._return())

        return lost

    def _carried(self, now: float) -> float:
        """What a decision that is sent now hands in of the time alone; −1 where there is nothing, or another one
        carries it."""
        if self._carries or (self._alone is None and not self._owing(now)):
            return -1.0
        self._carries = True
        return self._owing(now) + self._booked_alone(now)

    def _handed_in(self, carried: float) -> None:
        """What was booked alone while the decision was under way is still owed."""
        now = self._clock.now()
        self._owed, self._owed_at = max(0.0, self._owing(now) + self._booked_alone(now) - carried), now
        self._alone = None
        self._carries = False

    def _owing(self, now: float) -> float:
        """What is owed: a share of the limit refills it, as it does what is booked alone."""
        return max(0.0, self._owed - (now - self._owed_at) * self._rate / self._members)

    def _arguments(self, amount: float, patience: float, carry: float) -> dict[str, float]:
        return {"rate": self._rate, "burst": self._burst, "amount": amount, "patience": patience, "carry": carry}

    def _share(self, amount: float, patience: float) -> dict[str, float]:
        """The arguments of the local form."""
        whole = self._arguments(amount, patience, -1.0)
        return {**whole, "rate": self._rate / self._members, "burst": self._burst / self._members}

    def _book_alone(self, amount: float, until: float) -> tuple[bool, float]:
        now = self._clock.now()
        row = self._alone or [self._level_at(now) / self._members, now]
        self._alone, (granted, wait, _), _ = BOOK.apply(row, now, self._share(amount, max(0.0, until - now)))
        return granted, wait

    def _booked_alone(self, now: float) -> float:
        """Tokens booked ahead in the local form, of which the others know nothing."""
        if self._alone is None:
            return 0.0
        (level, _), _, _ = BOOK.apply(self._alone, now, self._share(0.0, 0.0))
        return max(0.0, -float(level))


class SharedWaiting(Waiting):
    """As Waiting, where only the decision tells whether and how long a call waits. `front` is the line before it, of
    this process alone, where a provider's own limit is followed."""

    __slots__ = ("_front",)

    def __init__(self, name: str, max_wait: float | None, context: BuildContext, front: Line | None = None) -> None:
        super().__init__(name, max_wait, context)
        self._front = front

    async def turn(self, line: Queue, run: Run, began: float, tokens: int = 0) -> Taken:
        """See Waiting."""
        front = self._front
        if front is None:
            return await self._booked(line, run, began, began, tokens)
        passed = front.take(began, tokens)
        if passed is None:
            passed = await super().turn(front, run, began, tokens)
        try:
            return await self._booked(line, run, began, self._clock.now(), tokens)
        except BaseException:
            front.give(passed)
            raise

    async def _booked(self, line: Queue, run: Run, began: float, since: float, tokens: int) -> Taken:
        """A turn that is due within the patience of a call that `began`, and waits here `since`."""
        until = run.deadline if self._max_wait is None else min(run.deadline, began + self._max_wait)
        taken = await line.stand(until if run.patient else since, tokens, run.deadline)
        now = self._clock.now()
        if taken is None:
            raise self._refused(run, line.wait(now, tokens))
        if now - since > _UNNOTICED:
            run.call.waited += now - since
            self._context.emit(run, LimitWaited(path=self._context.path, limit=self._name, seconds=now - since))
        return self._unless_closed(line, taken, now)
