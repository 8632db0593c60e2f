"""The breaker's arithmetic: verdicts, window, leases, generations and growth. Pure: (state, event, now) → state.

A transition starts a new generation; results that belong to an older one are dropped. Half-open admits a bounded
number of leases, each with an expiry, so a call that never comes back cannot keep the breaker half-open.

An attempt is one event. `counts` holds its success or failure; `slow` what was slow: an attempt that a hedge overtook
has no other verdict, one whose first content came late is a success besides, and stays slow should its stream break.
A half-open breaker is closed by a late answer, because it is one, and opened again by an overtaken lease: were that
neutral, a hanging target would be asked for ever, behind hedges.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Final, Literal

import msgspec

from wizard_dsl.policies._counts import Counts

State = Literal["closed", "open", "half_open", "forced_open", "forced_closed"]

#: A ratio of exactly the threshold opens, whatever rounding makes of the quotient.
_DUST: Final = 1e-9


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """When it opens and closes. Durations are seconds; None is off."""

    failure_threshold: int | None = 5
    failure_ratio: float | None = None
    slow_ratio: float = 0.9
    minimum_calls: int = 10
    window: float = 60.0
    reset_timeout: float = 30.0
    max_reset_timeout: float = 300.0
    half_open_max_calls: int = 1
    success_threshold: int = 1


class Ticket:
    """One admitted attempt. `generation` is the one that its result belongs to; the rest is what its success did,
    should it have to be replaced: the bucket it counts in, a half-open lease well used, a breaker closed."""

    __slots__ = ("bucket", "generation", "lease", "reopens_for", "succeeded")

    def __init__(self, generation: int, lease: bool) -> None:
        self.generation = generation
        self.lease = lease
        self.succeeded = False
        self.bucket: int | None = None
        self.reopens_for: float | None = None


class BreakerState:
    """See the module. `state` and `generation` are read by others, never written."""

    __slots__ = (
        "_leases", "_limits", "_opened_until", "_successes", "_timeout", "counts", "generation", "slow", "state",
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.counts = Counts(limits.window)  # first: successes, second: failures
        self.slow = Counts(limits.window)  # first: overtaken, second: successes that came late
        self.state: State = "closed"
        self.generation = 0
        self._leases: dict[Ticket, float] = {}
        self._successes = 0
        self._opened_until = 0.0
        self._timeout = limits.reset_timeout

    # -- admission ----------------------------------------------------------------------------------

    def closed_for(self, now: float) -> float | None:
        """Seconds until a call may be admitted, None where it would be now, inf where only a person opens it."""
        match self.state:
            case "closed" | "forced_closed":
                return None
            case "open":
                return self._opened_until - now if now < self._opened_until else None
            case "half_open":
                return self._lease_in(now)
        return inf

    def _lease_in(self, now: float) -> float | None:
        taken = [expires for expires in self._leases.values() if expires > now]
        return None if len(taken) < self._limits.half_open_max_calls else min(taken) - now

    def leases(self, now: float) -> int:
        """How many half-open calls are under way."""
        return sum(expires > now for expires in self._leases.values())

    def admit(
        self, now: float, lease: float, *, forced: bool = False, make: Callable[[int, bool], Ticket] | None = None
    ) -> Ticket | None:
        """A ticket, or None where the gate is closed. `lease` is how long a half-open one lasts, in seconds. A `forced`
        probe does not wait until an open breaker may be half-open; it takes a lease as others do. `make` makes the
        ticket of (generation, lease)."""
        make = make or Ticket
        if self.state == "closed":
            return make(self.generation, False)
        if self.closed_for(now) is not None and not (forced and self.state == "open"):
            return None
        if self.state == "forced_closed":
            return make(self.generation, False)
        if self.state == "open":
            self._change("half_open")
        self._leases = {ticket: expires for ticket, expires in self._leases.items() if expires > now}
        ticket = make(self.generation, True)
        self._leases[ticket] = now + lease
        return ticket

    # -- verdicts -----------------------------------------------------------------------------------

    def success(self, ticket: Ticket, now: float, *, late: bool = False) -> None:
        """The attempt answered, or its stream brought the first content; `late`, if only after `slow_after`."""
        if not self._take_back(ticket, now):
            return
        ticket.succeeded = True
        if self.state != "half_open":
            ticket.bucket = self.counts.add_first(now)
            if late:
                self.slow.add_second(now)
            self._judge(now)
            return
        self._successes += 1
        if self._successes >= self._limits.success_threshold:
            ticket.reopens_for = self._grown()
            self._change("closed")
            self._timeout = self._limits.reset_timeout
            ticket.generation = self.generation

    def overtaken(self, ticket: Ticket, now: float) -> None:
        """The attempt was given up because a hedge answered first."""
        if not self._take_back(ticket, now):
            return
        if self.state == "half_open":
            self._open(now, self._grown())
            return
        self.slow.add_first(now)
        self._judge(now)

    def failure(self, ticket: Ticket, now: float) -> None:
        """The attempt failed; or, after its success, its stream broke, and this replaces the success."""
        if ticket.generation != self.generation:
            return
        if ticket.reopens_for is not None:
            self._open(now, ticket.reopens_for)
        elif ticket.lease and self.state == "half_open":
            if self._take_back(ticket, now) or ticket.succeeded:
                self._open(now, self._grown())
        else:
            if ticket.bucket is not None:
                self.counts.remove_first(ticket.bucket, now)
                ticket.bucket = None
            self.counts.add_second(now)
            self._judge(now)

    def neutral(self, ticket: Ticket) -> None:
        """The attempt says nothing about the target; a lease goes back."""
        self._leases.pop(ticket, None)

    def _take_back(self, ticket: Ticket, now: float) -> bool:
        """Whether the result still counts. A lease is given back; the result of one that had expired is dropped, that
        of one which expires on this instant counts."""
        if ticket.generation != self.generation:
            return False
        if not ticket.lease:
            return True
        expires = self._leases.pop(ticket, None)
        return expires is not None and expires >= now

    def _judge(self, now: float) -> None:
        if not (self.counts.second or self.slow.first or self.slow.second) or self.state != "closed":
            return
        if self._fails() or self._hangs(now):
            self._open(now, self._limits.reset_timeout)

    def _fails(self) -> bool:
        limits, failures = self._limits, self.counts.second
        if limits.failure_threshold is not None and failures >= limits.failure_threshold:
            return True
        return limits.failure_ratio is not None and self._reaches(
            limits.failure_ratio, failures, failures + self.counts.first
        )

    def _hangs(self, now: float) -> bool:
        slow = self.slow
        slow.advance(now)
        self.counts.advance(now)
        total = self.counts.first + self.counts.second + slow.first
        return self._reaches(self._limits.slow_ratio, slow.first + slow.second, total)

    def _reaches(self, ratio: float, part: int, total: int) -> bool:
        return part > 0 and total >= max(1, self._limits.minimum_calls) and part >= ratio * total - _DUST

    # -- transitions --------------------------------------------------------------------------------

    def _grown(self) -> float:
        """The next open time: twice this one, up to the cap."""
        return min(self._timeout * 2, max(self._limits.max_reset_timeout, self._limits.reset_timeout))

    def _open(self, now: float, timeout: float) -> None:
        self._timeout = timeout
        self._opened_until = now + timeout
        self._change("open")

    def _change(self, state: State) -> None:
        self.state = state
        self.generation += 1
        self._leases.clear()
        self._successes = 0
        self.counts.clear()
        self.slow.clear()

    def force_open(self) -> None:
        """Admit nothing until `reset`; never probes."""
        self._change("forced_open")

    def force_close(self) -> None:
        """Admit everything until `reset`, but keep recording."""
        self._change("forced_closed")

    def reset(self) -> None:
        """Closed, with an empty window, growth forgotten."""
        self._timeout = self._limits.reset_timeout
        self._change("closed")

    # -- as plain data, for state that processes share ------------------------------------------------

    def row(self, name: Callable[[Ticket], str]) -> dict[str, Any]:
        """All of it; leases are told by the names of their tickets."""
        return {
            "state": self.state,
            "generation": self.generation,
            "opened_until": self._opened_until,
            "timeout": self._timeout,
            "successes": self._successes,
            "leases": [[name(ticket), expires] for ticket, expires in self._leases.items()],
            "counts": self.counts.row(),
            "slow": self.slow.row(),
        }

    def restore(self, row: Mapping[str, Any], ticket: Callable[[str], Ticket]) -> None:
        """Become what `row` says; `ticket` makes one that equals the one of that name."""
        self.state, self.generation = row["state"], row["generation"]
        self._opened_until, self._timeout, self._successes = row["opened_until"], row["timeout"], row["successes"]
        self._leases = {ticket(name): expires for name, expires in row["leases"]}
        self.counts.restore(row["counts"])
        self.slow.restore(row["slow"])
