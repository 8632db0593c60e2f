"""Single-flight among processes: of equal calls in several processes one asks, and the others wait for what it gets.

Each process has its own flight first; the leader of that one seeks a lease. Who has it asks, and renews it meanwhile.
The others look again and again, ever less often, until one of these is so:

    the answer    it is stored: they give it, whole, also where they stream
    the error     their own copy of it, once
    no answer     not one to store (it was cut, say): each goes on alone
    no leader     it died, was cancelled, or met *its* deadline, budget or limit: one of them takes over
    no time       their own deadline passed
    no state      it cannot be asked: each goes on alone
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from wizard_dsl.core.bound import Figure
from wizard_dsl.core.errors import DeadlineExceeded, WizardError
from wizard_dsl.core.state import StateUnavailable
from wizard_dsl.policies._entry import Refusal, decode
from wizard_dsl.policies._flight import is_private
from wizard_dsl.policies._lease_state import LEASE

if TYPE_CHECKING:
    from wizard_dsl.core.clock import Clock, Timer
    from wizard_dsl.core.node import Spawn, Store
    from wizard_dsl.core.response import Outcome, Response
    from wizard_dsl.core.state import State

#: Seconds after which the lease of a process that died is another's, and between two renewals.
LASTS: Final = 3.0
RENEW: Final = 1.0
#: Seconds for which those who followed a flight are told how it ended; longer than they look away.
LINGERS: Final = 2.0
#: Seconds between two looks, at first, by how much they grow, and at most.
FIRST, GROWS, LONGEST = 0.01, 1.5, 0.25
#: How many flights a call follows before it goes alone.
ROUNDS: Final = 2
#: Bytes of an answer that is handed over with the lease; a larger one is looked for in the store.
HANDED: Final = 256 * 1024


def following(flight: Figure) -> Figure:
    """The seconds of a flight that may follow those of other processes, and wait for the lease of one that died."""
    return flight.times(1 + ROUNDS) + Figure(ROUNDS * (LASTS + LONGEST))


class Leases:
    """The leases of one cache in this process. `spawn` runs what nobody waits for."""

    def __init__(self, state: State, store: Store, clock: Clock, spawn: Spawn) -> None:
        self._state = state
        self._store = store
        self._clock = clock
        self._spawn = spawn
        self._process = os.urandom(8).hex()
        self._sought = 0
        self._held: dict[str, Lease] = {}
        self._timer: Timer | None = None

    async def seek(self, key: str, deadline: float, follows: Callable[[], None]) -> Lease | bytes | None:
        """The lease of `key`, which must be ended; or the stored form of an answer that another process got, empty
        where it lies in the store alone; None: go on without. `follows` is called once where another one's flight is
        under way. Raises that one's error, and DeadlineExceeded at `deadline`, a loop time."""
        self._sought += 1
        lease = Lease(self, key, f"{self._process}.{self._sought}")
        following, delay, rounds = "", FIRST, 0
        while True:
            what, text = await self._take(lease, following, deadline)
            if what == "lead":
                return self._hold(lease, after=bool(text))
            if what != "wait":
                return _ended(what, text)
            if text != following:
                following, delay, rounds = text, FIRST, rounds + 1
                if rounds > ROUNDS:
                    return None
                if rounds == 1:
                    follows()
            await self._look_away(delay, deadline)
            delay = min(LONGEST, delay * GROWS)

    async def _take(self, lease: Lease, following: str, deadline: float) -> tuple[str, str]:
        try:
            return await self.say(lease, "take", LASTS, deadline, following=following)
        except StateUnavailable:
            self.give_up(lease)
            return "alone", ""
        except BaseException:
            self.give_up(lease)
            raise

    async def _look_away(self, delay: float, deadline: float) -> None:
        left = deadline - self._clock.now()
        await self._clock.sleep(min(delay, left))
        if left <= delay:
            raise DeadlineExceeded("the deadline passed while an equal call of another process was followed")

    async def say(self, lease: Lease, what: str, lasts: float, until: float, **more: str) -> tuple[str, str]:
        """One decision. Raises StateUnavailable, also where the reply makes no sense."""
        arguments = {"what": what, "owner": lease.owner, "lasts": lasts, **more}
        reply = (await self._state.decide(LEASE, f"flight:{lease.key}", arguments, until=until)).reply
        if not (isinstance(reply, list) and len(reply) == 2 and all(isinstance(each, str) for each in reply)):
            raise StateUnavailable("a reply that is none")
        return reply[0], reply[1]

    # -- what is held -------------------------------------------------------------------------------

    def _hold(self, lease: Lease, *, after: bool) -> Lease:
        lease.after = after
        self._held[lease.owner] = lease
        if self._timer is None:
            self._timer = self._clock.call_at(self._clock.now() + RENEW, self._renew)
        return lease

    def _renew(self) -> None:
        self._timer = self._clock.call_at(self._clock.now() + RENEW, self._renew)
        for lease in self._held.values():
            self._spawn(self._told(lease, "renew", LASTS))

    def end(self, lease: Lease, kind: str, value: str) -> None:
        """See Lease."""
        del self._held[lease.owner]
        if not self._held and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._spawn(self._told(lease, "end", LINGERS, kind=kind, value=value))

    def stored(self, key: str, response: Response) -> bytes | None:
        """What the store has of an answer that was got just now; None where it was not stored."""
        value = None if response.served.stale else self._store.look(key)
        entry = None if value is None else decode(value)
        return None if entry is None or entry.expires <= self._clock.wall() else value

    def give_up(self, lease: Lease) -> None:
        """It may have been given, and nobody holds it."""
        self._spawn(self._told(lease, "end", LINGERS, kind="", value=""))

    async def _told(self, lease: Lease, what: str, lasts: float, **more: str) -> None:
        """What nobody waits for. Where the state is away the lease ends by itself."""
        try:
            await self.say(lease, what, lasts, self._clock.now() + LASTS, **more)
        except StateUnavailable:
            return


class Lease:
    """The right to ask for all. Exactly one of `end` and `fail` ends it. `after`: another flight ended
    a moment ago, so the answer may be in the store by now."""

    __slots__ = ("_leases", "after", "key", "owner")

    def __init__(self, leases: Leases, key: str, owner: str) -> None:
        self._leases = leases
        self.key = key
        self.owner = owner
        self.after = False

    def end(self, response: Response, outcome: Outcome) -> None:
        """The flight ended with `outcome`. Those who follow get the answer where it was stored."""
        if outcome.kind == "failed" and outcome.error is not None:
            self.fail(outcome.error)
        elif outcome.kind != "completed":
            self._leases.end(self, "", "")
        elif (value := self._leases.stored(self.key, response)) is None:
            self._leases.end(self, "alone", "")
        else:
            self._leases.end(self, "answer", value.decode() if len(value) <= HANDED else "")

    def fail(self, error: BaseException) -> None:
        """The flight ended with `error`; those who follow get a copy, unless it is the leader's own affair."""
        if is_private(error):
            self._leases.end(self, "", "")
            return
        refusal = Refusal.of(error) if isinstance(error, WizardError) else None
        if refusal is None:
            self._leases.end(self, "alone", "")
        else:
            self._leases.end(self, "error", msgspec.json.encode(refusal).decode())


def _ended(kind: str, value: str) -> bytes | None:
    """What the end of another one's flight means."""
    if kind == "error":
        error = _error(value)
        if error is not None:
            raise error
    return value.encode() if kind == "answer" else None


def _error(value: str) -> WizardError | None:
    """None where it cannot be read: what others left there is not believed."""
    try:
        return msgspec.json.decode(value, type=Refusal).error()
    except (msgspec.MsgspecError, LookupError, TypeError, ValueError):
        return None
