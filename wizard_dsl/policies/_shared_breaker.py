"""A breaker that many processes share: each admission and each verdict is one decision on one row.

The machine is `_breaker_state.BreakerState`, run on the row by whoever keeps it. Here is its mirror: the row as told
last, so that the gate can be looked at without asking. While the state is away the mirror's row goes on by itself; at
the return the keeper's word counts, unless it has forgotten: then it takes over the row that lived on here.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from wizard_dsl.core.state import Arguments, Decided, Decision, State, StateUnavailable
from wizard_dsl.policies._breaker_state import BreakerState, Limits, Ticket

if TYPE_CHECKING:
    from asyncio import Future

    from wizard_dsl.core.clock import Clock
    from wizard_dsl.core.node import Spawn

Verdict = Literal["success", "failure", "overtaken", "neutral"]

#: A gate that is closed asks at most this often whether it still is, in seconds.
_REFRESH: Final = 1.0
#: So long it is believed that all leases are taken, in seconds.
_LEASED: Final = 0.1
_HOUR: Final = 3600.0
#: Seconds for which a row is kept, by state, beyond the time that it stays open: growth and a person's word last.
_KEEP: Final = {
    "closed": _HOUR, "open": 24 * _HOUR, "half_open": 24 * _HOUR, "forced_open": 720 * _HOUR,
    "forced_closed": 720 * _HOUR,
}  # fmt: skip


class SharedTicket(Ticket):
    """A ticket that is known by its `id`, in whatever process. `alone`: the local form admitted it. `told` is done
    when the keeper knows of its first verdict."""

    __slots__ = ("alone", "id", "told")

    def __init__(self, id: str) -> None:
        super().__init__(0, False)
        self.id = id
        self.alone = False
        self.told: Future[None] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SharedTicket) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def begin(self, generation: int, lease: bool) -> SharedTicket:
        """Admitted; returns itself."""
        self.generation, self.lease = generation, lease
        return self

    def row(self) -> dict[str, Any]:
        """As the decisions have it."""
        return {
            "id": self.id, "generation": self.generation, "lease": self.lease, "succeeded": self.succeeded,
            "bucket": _or_false(self.bucket), "reopens_for": _or_false(self.reopens_for),
        }  # fmt: skip

    def restore(self, row: dict[str, Any]) -> None:
        """Become what `row` says."""
        self.generation, self.lease, self.succeeded = row["generation"], row["lease"], row["succeeded"]
        self.bucket = None if row["bucket"] is False else row["bucket"]
        self.reopens_for = None if row["reopens_for"] is False else float(row["reopens_for"])


def _or_false(value: float | None) -> float | bool:
    """None as the scripts have it, whose tables hold none."""
    return False if value is None else value


def decide(row: Any, now: float, arguments: Arguments) -> tuple[Any, Any, float]:
    """One event of a breaker; the reply is (row, ticket), the ticket false where it was not admitted."""
    given = {name: None if value is False else value for name, value in arguments["limits"].items()}
    state = BreakerState(msgspec.convert(given, Limits))
    row = row or arguments["known"] or None
    if row is not None:
        state.restore(row, SharedTicket)
    ticket = SharedTicket(arguments["ticket"]["id"])
    ticket.restore(arguments["ticket"])
    admitted = _happens(state, arguments, ticket, now)
    row = state.row(lambda each: each.id if isinstance(each, SharedTicket) else "")
    reply = [row, admitted.row() if admitted is not None else False]
    return row, reply, arguments["keep"][row["state"]] + max(0.0, row["opened_until"] - now)


def _happens(state: BreakerState, arguments: Arguments, ticket: SharedTicket, now: float) -> SharedTicket | None:
    match arguments["event"]:
        case "admit":
            admitted = state.admit(now, arguments["lease"], forced=arguments["forced"], make=ticket.begin)
            return ticket if admitted is not None else None
        case "success":
            state.success(ticket, now, late=arguments["late"])
        case "failure":
            state.failure(ticket, now)
        case "overtaken":
            state.overtaken(ticket, now)
        case "neutral":
            state.neutral(ticket)
        case "force_open" | "force_close" | "reset" as change:
            getattr(state, change)()
    return ticket


_LUA: Final = Path(__file__).parent / "lua"
DECIDE: Final = Decision("breaker", _LUA / "breaker.lua", decide, library=_LUA / "counts.lua")


class SharedBreakerState(BreakerState):
    """The mirror, and the way to the keeper. All times of the row are the keeper's; `closed_for` takes ours."""

    __slots__ = ("_alone", "_arguments", "_asked", "_clock", "_key", "_offset", "_row", "_shared", "_spawn", "_tickets")

    def __init__(self, limits: Limits, key: str, shared: State, clock: Clock, spawn: Spawn) -> None:
        super().__init__(limits)
        self._key = key
        self._shared = shared
        self._clock = clock
        self._spawn = spawn
        self._offset = clock.wall() - clock.now()
        self._row: Any = None
        self._alone = False
        self._asked = -inf
        self._tickets = 0
        plain = {name: _or_false(value) for name, value in msgspec.structs.asdict(limits).items()}
        self._arguments = {"limits": plain, "keep": _KEEP, "late": False, "forced": False, "lease": 0.0}

    # -- the gate -----------------------------------------------------------------------------------

    def closed_for(self, now: float) -> float | None:
        """See BreakerState. Where it is closed, it is asked behind whether it still is; a lease that another process
        has may come back at any time, so after a moment the next call had better ask itself."""
        closed = super().closed_for(now + self._offset)
        if closed is not None and self.state == "half_open" and now - self._asked >= _LEASED:
            return None
        if closed is not None and now - self._asked >= _REFRESH:
            self._asked = now
            self._spawn(self._behind("look"))
        return closed

    async def ask(self, lease: float, *, forced: bool, until: float) -> SharedTicket | None:
        """A ticket, or None where the gate is closed; see `admit`. Asking takes no longer than until `until`."""
        self._tickets += 1
        ticket = SharedTicket(f"{id(self):x}.{self._clock.wall():.6f}.{self._tickets}")
        admitted = await self._event("admit", ticket, until=until, lease=lease, forced=forced)
        return ticket if admitted else None

    # -- verdicts -----------------------------------------------------------------------------------

    def report(self, ticket: SharedTicket, verdict: Verdict, *, late: bool = False) -> Future[None]:
        """Send a verdict, whether or not somebody waits for the future. A second one on a ticket follows the first."""
        before, done = ticket.told, self._clock.future()
        if verdict == "neutral" and not ticket.lease:
            done.set_result(None)
            return done
        ticket.told = done
        self._spawn(self._report(ticket, verdict, late, before, done))
        return done

    async def _report(
        self, ticket: SharedTicket, verdict: Verdict, late: bool, before: Future[None] | None, done: Future[None]
    ) -> None:
        try:
            if before is not None:
                await before
            if not ticket.alone or self._alone:
                await self._event(verdict, ticket, late=late)
        finally:
            if not done.done():
                done.set_result(None)

    # -- by hand ------------------------------------------------------------------------------------

    def force_open(self) -> None:
        super().force_open()
        self._spawn(self._behind("force_open"))

    def force_close(self) -> None:
        super().force_close()
        self._spawn(self._behind("force_close"))

    def reset(self) -> None:
        super().reset()
        self._spawn(self._behind("reset"))

    async def _behind(self, event: str) -> None:
        """An event that belongs to no call."""
        await self._event(event, SharedTicket(""))

    # -- decisions ----------------------------------------------------------------------------------

    async def _event(self, event: str, ticket: SharedTicket, *, until: float = inf, **changes: Any) -> bool:
        """Let it happen; the ticket and the mirror become what the reply says. Whether it was admitted."""
        known = self._row if self._alone else False
        arguments = {**self._arguments, "event": event, "ticket": ticket.row(), "known": known, **changes}
        lost = self._lost(event, ticket)
        try:
            decided = await self._shared.decide(DECIDE, self._key, arguments, until=until, lost=lost)
        except StateUnavailable:
            return self._goes_on_alone(arguments, ticket)
        self._alone = False
        self._offset = decided.now - self._clock.now()
        return self._told(decided.reply, ticket)

    def _lost(self, event: str, ticket: SharedTicket) -> Callable[[Decided], None] | None:
        """Gives back the lease that came too late."""

        def lost(decided: Decided) -> None:
            if decided.reply[1]:
                late = SharedTicket(ticket.id)
                late.restore(decided.reply[1])
                self.report(late, "neutral")

        return lost if event == "admit" else None

    def _goes_on_alone(self, arguments: Arguments, ticket: SharedTicket) -> bool:
        _, reply, _ = DECIDE.apply(self._row, self._clock.now() + self._offset, {**arguments, "known": False})
        self._alone = ticket.alone = True
        return self._told(reply, ticket)

    def _told(self, reply: Any, ticket: SharedTicket) -> bool:
        self._row, admitted = reply
        self.restore(self._row, SharedTicket)
        self._asked = self._clock.now()
        if admitted is False:
            return False
        ticket.restore(admitted)
        return True
