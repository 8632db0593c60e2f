"""Adaptive concurrency as a state machine, and against a simulated server."""

from __future__ import annotations

from heapq import heappop, heappush

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wizard_dsl.policies._adaptive import Adaptive, Ended, after, start

LATENCIES = st.floats(0, 100)


class AdaptiveMachine(RuleBasedStateMachine):
    """Attempts begin where there is a place, and end in any order with any latency and outcome."""

    @initialize(low=st.integers(1, 10), more=st.integers(0, 50))
    def begin(self, low: int, more: int) -> None:
        self.state = start(low, low + more)
        self.now = 0.0
        self.running: list[float] = []
        self.cuts: list[tuple[float, float]] = []

    @rule(seconds=LATENCIES)
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: len(self.running) < self.state.places)
    @rule()
    def enter(self) -> None:
        self.running.append(self.now)

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 100), overload=st.booleans())
    def leave(self, which: int, overload: bool) -> None:
        in_use = len(self.running) >= self.state.places
        began = self.running.pop(which % len(self.running))
        before, self.state = self.state, after(self.state, Ended(began, overload, in_use), self.now)
        if self.state.limit < before.limit:
            assert began >= before.cut_at, "what began before the last cut does not cut again"
            assert self.state.limit == pytest.approx(max(before.low, before.limit * 0.9))
        elif self.state.limit > before.limit:
            assert in_use and not overload, "only a limit in use grows, and only on a success"
            assert self.state.limit <= before.limit + 1 / before.limit + 1e-9

    @invariant()
    def it_stays_within_its_bounds(self) -> None:
        assert self.state.low <= self.state.limit <= self.state.high
        assert self.state.low <= self.state.places <= self.state.high

    @invariant()
    def places_are_not_more_than_the_limit(self) -> None:
        assert self.state.places <= self.state.limit + 1e-6


AdaptiveMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
test_any_sequence_of_attempts = AdaptiveMachine.TestCase


def served(capacity: int, low: int, high: int, *, attempts: int, limit_429: int | None = None) -> list[int]:
    """The places after each of `attempts`, under more demand than any limit allows. The server answers in a second
    as long as it has `capacity`, in proportion slower beyond; from `limit_429` at once it refuses."""
    state, now = start(low, high), 0.0
    running: list[tuple[float, float, bool]] = []
    seen = []
    for _ in range(attempts):
        while len(running) < state.places:
            load = len(running) + 1
            refused = limit_429 is not None and load > limit_429
            heappush(running, (now + (0.05 if refused else max(1.0, load / capacity)), now, refused))
        in_use = len(running) >= state.places
        now, began, refused = heappop(running)
        state = after(state, Ended(began, refused, in_use), now)
        seen.append(state.places)
    return seen


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 40), st.integers(1, 5), st.integers(80, 200))
def test_it_finds_the_capacity_of_a_server_that_slows_down(capacity: int, low: int, high: int) -> None:
    seen = served(capacity, low, high, attempts=5_000)[-1_500:]
    least, most = max(low, min(high, capacity)), 2 * max(low, capacity) + 1
    assert least <= sum(seen) / len(seen) <= most and max(seen) <= most


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 40), st.integers(80, 200))
def test_it_stays_near_the_number_at_which_a_server_refuses(allowed: int, high: int) -> None:
    seen = served(10_000, 1, high, attempts=5_000, limit_429=allowed)[-1_500:]
    assert 0.75 * allowed <= sum(seen) / len(seen) <= allowed + 1 and max(seen) <= allowed + 1


def test_it_begins_at_the_minimum_and_a_round_of_successes_adds_one_place() -> None:
    state, now = start(2, 10), 0.0
    assert state.places == 2
    for _ in range(3):
        state = after(state, Ended(now, False, True), now + 1)
        now += 1
    assert state.places == 3


def test_a_limit_that_is_not_in_use_does_not_grow() -> None:
    state = start(2, 10)
    for _ in range(50):
        state = after(state, Ended(0.0, False, False), 1.0)
    assert state.limit == 2


def test_a_burst_of_refusals_cuts_once() -> None:
    state = Adaptive(1, 100, 50.0, best=1.0)
    for end in (1.0, 1.1, 1.2):
        state = after(state, Ended(0.0, True, True), end)
    assert state.limit == 45.0
    assert after(state, Ended(1.0, True, True), 2.0).limit == pytest.approx(40.5)


@pytest.mark.parametrize(("latency", "limit"), [(1.5, 10.1), (1.9, 10.0), (2.0, 9.0)])
def test_near_the_best_latency_it_grows_at_twice_the_best_it_is_cut_and_between_it_stays(
    latency: float, limit: float
) -> None:
    state = Adaptive(1, 100, 10.0, best=1.0)
    assert after(state, Ended(0.0, False, True), latency).limit == pytest.approx(limit)


def test_a_target_that_became_slower_for_good_is_not_taken_for_overloaded_for_ever() -> None:
    state, now = Adaptive(1, 100, 20.0, best=1.0), 0.0
    for _ in range(2_000):
        state = after(state, Ended(now, False, True), now + 3)
        now += 3
    assert state.best == pytest.approx(3.0, rel=0.35) and state.places > 20
