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


class Event:
    """One attempt of the model: what it said, and when its lease is over (None: it has none)."""

    def __init__(self, period: int, lease: float | None) -> None:
        self.period = period
        self.lease = lease
        self.good = self.bad = self.slow = self.over = False


class BreakerModel(RuleBasedStateMachine):
    """The breaker against a plain list of events, in a window that nothing leaves. An event is one attempt; it is in
    the list of the period (between two transitions) that it began in, or, where its success closed the breaker, of the
    one that it began itself."""

    pairs: Bundle[tuple[Ticket, Event] | None] = Bundle("pairs")
    streams: Bundle[tuple[Ticket, Event] | None] = Bundle("streams")

    def __init__(self) -> None:
        super().__init__()
        limits = Limits(
            failure_threshold=4, failure_ratio=0.6, slow_ratio=0.5, minimum_calls=5, window=1e9,
            reset_timeout=10, max_reset_timeout=35, half_open_max_calls=2, success_threshold=2,
        )  # fmt: skip
        self.real = BreakerState(limits)
        self.now = 0.0
        self.state, self.period, self.until, self.timeout = "closed", 0, 0.0, 10.0
        self.events: list[Event] = []
        self.leases: list[Event] = []
        self.closer: tuple[Event, float] | None = None
        self.good_leases = 0

    def moved(self, state: str) -> None:
        self.state = state
        self.period += 1
        self.events, self.leases, self.closer, self.good_leases = [], [], None, 0

    def opens(self, timeout: float) -> None:
        self.moved("open")
        self.timeout, self.until = timeout, self.now + timeout

    def judged(self) -> None:
        good, bad, slow = (sum(getattr(each, what) for each in self.events) for what in ("good", "bad", "slow"))
        failing = bad >= 4 or (bad > 0 and good + bad >= 5 and bad >= 0.6 * (good + bad))
        hanging = slow > 0 and len(self.events) >= 5 and slow >= 0.5 * len(self.events)
        if self.state == "closed" and (failing or hanging):
            self.opens(10)

    def counts(self, event: Event) -> bool:
        """Whether the first verdict of an attempt still matters."""
        alive = event.lease is None or (event in self.leases and event.lease >= self.now)
        event.over = True
        if event in self.leases:
            self.leases.remove(event)
        return event.period == self.period and alive

    @rule(seconds=st.sampled_from([0, 1, 5, 10, 11, 20, 35]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=pairs, forced=st.booleans())
    def call(self, forced: bool) -> tuple[Ticket, Event] | None:
        ticket = self.real.admit(self.now, LEASE, forced=forced)
        taken = [each for each in self.leases if each.lease is not None and each.lease > self.now]
        if self.state == "open" and (forced or self.now >= self.until):
            self.moved("half_open")
            taken = []
        admitted = self.state in ("closed", "forced_closed") or (self.state == "half_open" and len(taken) < 2)
        assert (ticket is not None) == admitted
        if ticket is None:
            return None
        event = Event(self.period, self.now + LEASE if self.state == "half_open" else None)
        if event.lease is not None:
            self.leases = [*taken, event]
        return ticket, event

    @rule(target=streams, pair=consumes(pairs), late=st.booleans())
    def succeeds(self, pair: tuple[Ticket, Event] | None, late: bool) -> tuple[Ticket, Event] | None:
        if pair is None:
            return None
        ticket, event = pair
        self.real.success(ticket, self.now, late=late)
        if not self.counts(event):
            return None
        event.good, event.slow = True, late
        if self.state != "half_open":
            self.events.append(event)
            self.judged()
        else:
            self.good_leases += 1
            if self.good_leases == 2:
                grown = min(2 * self.timeout, 35)
                self.moved("closed")
                self.closer = (event, grown)
                event.period, self.timeout = self.period, 10
        return pair

    @rule(pair=consumes(streams))
    def a_stream_breaks(self, pair: tuple[Ticket, Event] | None) -> None:
        if pair is None:
            return
        ticket, event = pair
        self.real.failure(ticket, self.now)
        if event.period != self.period:
            return
        if self.closer is not None and self.closer[0] is event:
            self.opens(self.closer[1])
        elif self.state == "half_open":
            self.opens(min(2 * self.timeout, 35))
        else:
            event.good, event.bad = False, True
            self.judged()

    @rule(pair=consumes(pairs))
    def fails(self, pair: tuple[Ticket, Event] | None) -> None:
        if pair is not None:
            self.real.failure(pair[0], self.now)
            self.ended_badly(pair[1], "bad")

    @rule(pair=consumes(pairs))
    def is_overtaken(self, pair: tuple[Ticket, Event] | None) -> None:
        if pair is not None:
            self.real.overtaken(pair[0], self.now)
            self.ended_badly(pair[1], "slow")

    def ended_badly(self, event: Event, how: str) -> None:
        if not self.counts(event):
            return
        if self.state == "half_open":
            self.opens(min(2 * self.timeout, 35))
        else:
            setattr(event, how, True)
            self.events.append(event)
            self.judged()

    @rule(pair=consumes(pairs))
    def says_nothing(self, pair: tuple[Ticket, Event] | None) -> None:
        if pair is not None:
            self.real.neutral(pair[0])
            self.counts(pair[1])

    @rule(control=st.sampled_from(["force_open", "force_close", "reset"]))
    def is_controlled(self, control: str) -> None:
        getattr(self.real, control)()
        self.moved({"force_open": "forced_open", "force_close": "forced_closed", "reset": "closed"}[control])
        self.timeout = 10 if control == "reset" else self.timeout

    @invariant()
    def both_say_the_same(self) -> None:
        assert self.real.state == self.state
        good, bad = (sum(getattr(each, what) for each in self.events) for what in ("good", "bad"))
        assert (self.real.counts.first, self.real.counts.second) == (good, bad)
        assert self.real.slow.first + self.real.slow.second == sum(each.slow for each in self.events)
        if self.state == "open":
            assert self.real.closed_for(self.now) == (self.until - self.now if self.now < self.until else None)


TestBreakerModel = BreakerModel.TestCase
TestBreakerModel.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
