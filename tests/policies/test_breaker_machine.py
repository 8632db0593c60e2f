"""The breaker under any order of admissions, verdicts, passing time and manual control."""

from __future__ import annotations

from math import inf
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from wizard_dsl.policies._breaker_state import BreakerState, Limits, Ticket

LEASE = 11.0


class BreakerMachine(RuleBasedStateMachine):
    """Any order of admissions, verdicts, passing time and manual control keeps the promises."""

    tickets: Bundle[Ticket] = Bundle("tickets")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.state = BreakerState(
            Limits(failure_threshold=2, half_open_max_calls=2, success_threshold=2, max_reset_timeout=100)
        )
        self.leases: dict[int, list[float]] = {}

    @rule(seconds=st.floats(0, 40))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=tickets)
    def call(self) -> Any:
        closed = self.state.closed_for(self.now)
        ticket = self.state.admit(self.now, LEASE)
        assert (ticket is None) == (closed is not None)
        if ticket is None:
            return Ticket(-1, False)
        if ticket.lease:
            open_leases = [at for at in self.leases.get(ticket.generation, []) if at > self.now]
            assert len(open_leases) < 2
            self.leases[ticket.generation] = [*open_leases, self.now + LEASE]
        return ticket

    def _back(self, ticket: Ticket) -> None:
        if ticket.lease and self.leases.get(ticket.generation):
            self.leases[ticket.generation].pop()

    @rule(ticket=tickets)
    def stream_breaks_or_attempt_fails(self, ticket: Ticket) -> None:
        before = self.state.generation
        self.state.failure(ticket, self.now)
        if ticket.generation != before:
            assert self.state.generation == before

    @rule(ticket=consumes(tickets), late=st.booleans())
    def succeeds(self, ticket: Ticket, late: bool) -> None:
        self._back(ticket)
        self.state.success(ticket, self.now, late=late)

    @rule(ticket=consumes(tickets))
    def is_overtaken(self, ticket: Ticket) -> None:
        self._back(ticket)
        self.state.overtaken(ticket, self.now)

    @rule(ticket=consumes(tickets))
    def says_nothing(self, ticket: Ticket) -> None:
        before = self.state.generation, self.state.state
        self._back(ticket)
        self.state.neutral(ticket)
        assert (self.state.generation, self.state.state) == before

    @rule(control=st.sampled_from(["force_open", "force_close", "reset"]))
    def is_controlled(self, control: str) -> None:
        getattr(self.state, control)()

    @invariant()
    def waits_are_bounded_and_counts_never_negative(self) -> None:
        wait = self.state.closed_for(self.now)
        assert wait is None or wait == inf or 0 < wait <= 100
        assert self.state.counts.first >= 0 and self.state.counts.second >= 0
        if self.state.state == "closed":
            assert self.state.counts.second < 2


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
