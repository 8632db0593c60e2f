"""Probes: an open breaker without traffic asks its target by itself, so that its return is noticed.

The first probe is due when the breaker may be half-open, later ones every 30 s at the latest, however long the breaker
has grown to stay open: while it does, users do not pay for the question. A probe goes through the breaker's own node as
a half-open lease, so its attempt has the target's timeouts and its verdict counts as any other; it asks for one token,
takes none of a limit (limits stand above the breaker), has a run and a ledger row of its own, and deposits nothing in a
retry budget. A target that is switched off, or that a 429 or an exhausted quota blocks, is not asked. Between two
probes there is a timer, no task; closing the runtime cancels both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wizard_dsl.core.clock import idle
from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.events import BreakerProbed, ObserverFailed
from wizard_dsl.core.messages import Request, message
from wizard_dsl.core.run import Call, Run, nobody

if TYPE_CHECKING:
    from wizard_dsl.core.node import BuildContext, Handler
    from wizard_dsl.policies._breaker import Breaker

#: A target that came back is noticed that many seconds later at most, once the breaker's `reset_timeout` has passed.
INTERVAL: Final = 30.0
_QUESTION: Final = Request(messages=(message("user", "Reply with: ok"),), params={"max_tokens": 1})


class Prober:
    """Probes the target of one node; the timer is the breaker's, of whose nodes only one has it at a time."""

    __slots__ = ("_ask", "_breaker", "_clock", "_emit", "_first", "_lasts", "_path", "_spawn", "_target")

    def __init__(self, ask: Handler, breaker: Breaker, first: float, lasts: float, context: BuildContext) -> None:
        """`first` is the breaker's `reset_timeout`, `lasts` what an attempt may take; both in seconds."""
        self._ask = ask
        self._breaker = breaker
        self._first = first
        self._lasts = lasts
        self._clock = context.clock
        self._emit = context.emit
        self._path = context.path
        self._spawn = context.spawn
        self._target = context.require_target()

    def watch(self) -> None:
        """To be called after a transition."""
        breaker = self._breaker
        if breaker.state.state == "open" and breaker.timer is None and not breaker.probing:
            self._after(self._first)

    def _after(self, longest: float) -> None:
        if not self._breaker.closed:
            now = self._clock.now()
            wait = self._breaker.state.closed_for(now)
            self._breaker.timer = self._clock.call_at(now + min(longest, wait or longest), self._due)

    def _is_open(self) -> bool:
        return self._breaker.state.state in ("open", "half_open")

    @idle
    def _due(self) -> None:
        self._breaker.timer = None
        if self._target.state.is_barred(self._clock.now()):
            self._after(INTERVAL)
        elif self._is_open():
            self._breaker.probing = True
            self._spawn(self._probe())

    async def _probe(self) -> None:
        now = self._clock.now()
        run = nobody(now).child(deadline=now + self._lasts, call=Call(deposited=True), allow_empty=True, probe=True)
        try:
            kind = await self._outcome(run)
            if run.transcript.attempts:  # else a call has the lease, or something below refused
                self._emit(run, BreakerProbed(path=self._path, target=self._target.name, kind=kind))
        except Exception as error:
            self._emit(run, ObserverFailed(path=self._path, error=repr(error)))
        finally:
            self._breaker.probing = False
            if self._is_open():
                self._after(INTERVAL)

    async def _outcome(self, run: Run) -> str:
        try:
            async with await self._ask(_QUESTION, run) as response:
                await response.read()
        except WizardError as error:
            return error.kind
        return "ok"
