"""The limits of what still arrives: one timer a response, re-armed lazily, none for each chunk."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from wizard_dsl.core.clock import Clock, Timer, settle
from wizard_dsl.core.errors import AttemptTimeout, WizardError


class Limits:
    """An absolute deadline, a limit of each wait, and a limit of the sum of waits; `abort` gets what passed.

    Only `due` runs while the reader holds back. On the same instant data wins: a due timer lets everything that
    became ready have its turn, and looks again.
    """

    __slots__ = (
        "_abort", "_clock", "_due_at", "_idle", "_late", "_since", "_timer", "_timer_at", "_within",
    )  # fmt: skip

    def __init__(self, clock: Clock, abort: Callable[[WizardError], None]) -> None:
        self._clock = clock
        self._abort: Callable[[WizardError], None] | None = abort
        self._due_at = inf
        self._late: Callable[[], WizardError] | None = None
        self._idle = inf
        self._within = inf
        self._since: float | None = None
        self._timer: Timer | None = None
        self._timer_at = inf

    def due(self, at: float, late: Callable[[], WizardError]) -> None:
        """Tighten the deadline, an absolute loop time; `late` makes the error that says so."""
        if at < self._due_at:
            self._due_at, self._late = at, late
            self._arm()

    def take_due(self) -> tuple[float, Callable[[], WizardError]] | None:
        """Lift the deadline and return it."""
        at, late = self._due_at, self._late
        self._due_at, self._late = inf, None
        return None if late is None else (at, late)

    def idle(self, seconds: float) -> None:
        """Tighten the limit of each wait."""
        self._idle = min(self._idle, seconds)
        self._arm()

    def within(self, seconds: float) -> None:
        """Tighten the limit of the sum of waits."""
        self._within = min(self._within, seconds)
        self._arm()

    def wait_began(self) -> None:
        """The source is being awaited from now on."""
        self._since = self._clock.now()
        if self._next_look() < self._timer_at:
            self._arm()

    def wait_ended(self) -> None:
        """The source is not awaited any more."""
        if self._since is not None:
            self._within -= self._clock.now() - self._since
            self._since = None

    def close(self) -> None:
        """Nothing arrives any more."""
        self._abort = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next_look(self) -> float:
        if self._since is None:
            return self._due_at
        return min(self._due_at, self._since + self._idle, self._since + self._within)

    def _arm(self) -> None:
        at = self._next_look()
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
            self._timer = None
        self._timer_at = at
        if at != inf:
            self._timer = self._clock.call_at(at, self._fire)

    def _fire(self) -> None:
        self._timer, self._timer_at = None, inf
        if self._clock.now() < self._next_look():
            self._arm()
        else:
            settle(self._clock, self._expire)

    def _expire(self) -> None:
        if self._abort is None:
            return
        now = self._clock.now()
        if now < self._next_look():
            self._arm()
        else:
            self._abort(self._passed(now))

    def _passed(self, now: float) -> WizardError:
        """What the limit that is due means; the deadline first."""
        if self._late is not None and now >= self._due_at:
            return self._late()
        assert self._since is not None
        if now >= self._since + self._idle:
            return AttemptTimeout(f"nothing arrived for {self._idle:g} s (timeout.idle)", phase="idle")
        return AttemptTimeout("the answer took too long (timeout.total)", phase="total")
