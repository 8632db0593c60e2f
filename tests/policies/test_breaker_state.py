"""The breaker as a pure state machine."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wizard_dsl.policies._breaker_state import BreakerState, Limits, Ticket

LEASE = 11.0


def breaker(**limits: Any) -> BreakerState:
    return BreakerState(Limits(**limits))


def admit(state: BreakerState, now: float) -> Ticket:
    ticket = state.admit(now, LEASE)
    assert ticket is not None
    return ticket


def fail(state: BreakerState, now: float, times: int = 1) -> None:
    for _ in range(times):
        state.failure(admit(state, now), now)


def succeed(state: BreakerState, now: float, times: int = 1) -> None:
    for _ in range(times):
        state.success(admit(state, now), now)


def opened(**limits: Any) -> BreakerState:
    """One that opened at time 0, for 30 seconds."""
    state = breaker(failure_threshold=1, **limits)
    fail(state, 0)
    return state


def test_it_opens_at_failure_threshold_failures_in_the_window() -> None:
    state = breaker()
    fail(state, 0, 4)
    assert state.state == "closed"
    fail(state, 1)
    assert state.state == "open"
    assert state.closed_for(1) == 30 and state.closed_for(30.5) == 0.5 and state.closed_for(31) is None


def test_successes_between_failures_do_not_reset_the_count() -> None:
    state = breaker(failure_threshold=3)
    for now in range(3):
        succeed(state, now)
        fail(state, now)
    assert state.state == "open"


def test_failures_older_than_the_window_do_not_count() -> None:
    state = breaker(failure_threshold=2, window=60)
    fail(state, 0)
    fail(state, 66.1)
    assert state.state == "closed"
    fail(state, 100)
    assert state.state == "open"


def test_it_opens_at_failure_ratio_once_minimum_calls_were_seen() -> None:
    state = breaker(failure_threshold=None, failure_ratio=0.5, minimum_calls=10)
    fail(state, 0, 9)
    assert state.state == "closed"
    fail(state, 0)
    assert state.state == "open"


def test_the_ratio_is_evaluated_on_every_verdict_also_on_a_success() -> None:
    state = breaker(failure_threshold=None, failure_ratio=0.5, minimum_calls=4)
    fail(state, 0, 3)
    succeed(state, 0)
    assert state.state == "open"


def test_a_ratio_below_its_limit_stays_closed_and_neutral_counts_for_nothing() -> None:
    state = breaker(failure_threshold=None, failure_ratio=0.5, minimum_calls=4)
    succeed(state, 0, 3)
    fail(state, 0, 2)
    for _ in range(20):
        state.neutral(admit(state, 0))
    assert state.state == "closed"
    fail(state, 0)
    assert state.state == "open"


def test_either_or_both_may_be_configured() -> None:
    state = breaker(failure_threshold=5, failure_ratio=0.9, minimum_calls=2)
    fail(state, 0, 2)
    assert state.state == "open"
    state = breaker(failure_threshold=None, failure_ratio=None)
    fail(state, 0, 100)
    assert state.state == "closed"


def test_half_open_admits_a_bounded_number_at_once_and_no_others() -> None:
    state = opened(half_open_max_calls=2)
    assert state.admit(29, LEASE) is None
    admit(state, 30)
    assert state.state == "half_open" and state.closed_for(30) is None
    admit(state, 31)
    assert state.admit(32, LEASE) is None
    assert state.closed_for(32) == 30 + LEASE - 32


def test_success_threshold_successes_close_it() -> None:
    state = opened(half_open_max_calls=1, success_threshold=2)
    succeed(state, 30)
    assert state.state == "half_open"
    succeed(state, 31)
    assert state.state == "closed" and (state.counts.first, state.counts.second) == (0, 0)


def test_one_failure_opens_it_for_twice_as_long_up_to_max_reset_timeout() -> None:
    state, now, waits = opened(max_reset_timeout=100), 0.0, []
    for _ in range(4):
        waits.append(state.closed_for(now))
        now += waits[-1] or 0
        fail(state, now)
    assert waits == [30, 60, 100, 100]


def test_growth_is_forgotten_when_it_closes() -> None:
    state = opened()
    fail(state, 30)
    succeed(state, 90)
    fail(state, 90)
    assert state.closed_for(90) == 30


def test_a_neutral_verdict_leaves_it_half_open_for_the_next_call() -> None:
    state = opened()
    state.neutral(admit(state, 30))
    assert state.state == "half_open" and state.closed_for(30) is None
    succeed(state, 31)
    assert state.state == "closed"


def test_a_lease_expires_and_the_late_result_is_dropped() -> None:
    state = opened()
    lost = admit(state, 30)
    assert state.admit(30 + LEASE - 0.1, LEASE) is None
    admit(state, 30 + LEASE)
    state.failure(lost, 50)
    assert state.state == "half_open"
    late = opened()
    ticket = admit(late, 30)
    late.success(ticket, 30 + LEASE + 1)
    assert late.state == "half_open" and late.closed_for(42) is None


def test_results_of_calls_from_before_a_transition_are_dropped() -> None:
    state = breaker(failure_threshold=1)
    early, failing = admit(state, 0), admit(state, 0)
    late = admit(state, 0)
    state.failure(failing, 1)
    assert state.state == "open"
    state.success(early, 2)
    state.failure(late, 3)
    assert state.closed_for(3) == 28
    probe = admit(state, 31)
    state.failure(early, 32)
    assert state.state == "half_open"
    state.success(probe, 33)
    assert state.state == "closed"


def test_a_broken_stream_replaces_its_success_by_one_failure() -> None:
    state = breaker(failure_threshold=2)
    ticket = admit(state, 0)
    state.success(ticket, 0)
    assert (state.counts.first, state.counts.second) == (1, 0)
    state.failure(ticket, 5)
    assert (state.counts.first, state.counts.second) == (0, 1)
    fail(state, 6)
    assert state.state == "open"


def test_a_broken_stream_whose_success_has_left_the_window_still_counts_as_a_failure() -> None:
    state = breaker(failure_threshold=2)
    ticket = admit(state, 0)
    state.success(ticket, 0)
    succeed(state, 100)
    state.failure(ticket, 100)
    assert (state.counts.first, state.counts.second) == (1, 1)


def test_a_breaker_that_this_success_had_closed_opens_again_for_twice_as_long_with_an_emptied_window() -> None:
    state = opened()
    probe = admit(state, 30)
    state.success(probe, 31)
    assert state.state == "closed"
    succeed(state, 32, 3)
    state.failure(probe, 40)
    assert state.state == "open" and state.closed_for(40) == 60
    assert (state.counts.first, state.counts.second) == (0, 0)
    fail(state, 100)
    assert state.closed_for(100) == 120


def test_a_broken_stream_of_a_closing_success_that_is_long_past_is_dropped() -> None:
    state = opened()
    probe = admit(state, 30)
    state.success(probe, 31)
    fail(state, 32)
    succeed(state, 62)
    state.failure(probe, 63)
    assert state.state == "closed"


def test_a_stream_that_breaks_while_half_open_opens_it() -> None:
    state = opened(success_threshold=2)
    probe = admit(state, 30)
    state.success(probe, 31)
    assert state.state == "half_open"
    state.failure(probe, 32)
    assert state.state == "open" and state.closed_for(32) == 60


def test_force_open_never_probes_and_names_no_time() -> None:
    state = breaker()
    state.force_open()
    assert state.closed_for(0) == inf and state.closed_for(1e9) == inf
    assert state.admit(1e9, LEASE) is None


def test_force_close_admits_all_and_still_records() -> None:
    state = opened()
    state.force_close()
    fail(state, 1, 50)
    assert state.state == "forced_closed" and state.counts.second == 50


def test_reset_is_closed_with_window_and_growth_emptied() -> None:
    state = opened()
    fail(state, 30)
    state.reset()
    assert state.state == "closed" and state.counts.second == 0
    fail(state, 31)
    assert state.closed_for(31) == 30


def overtake(state: BreakerState, now: float, times: int = 1) -> None:
    for _ in range(times):
        state.overtaken(admit(state, now), now)


def late(state: BreakerState, now: float, times: int = 1) -> None:
    for _ in range(times):
        state.success(admit(state, now), now, late=True)


@pytest.mark.parametrize("slow", [overtake, late])
def test_it_opens_at_slow_ratio_once_minimum_calls_were_seen(slow: Any) -> None:
    state = breaker(slow_ratio=0.9, minimum_calls=10)
    slow(state, 0, 9)
    assert state.state == "closed"
    slow(state, 1)
    assert state.state == "open" and state.closed_for(1) == 30


def test_slow_and_success_of_one_attempt_are_one_event() -> None:
    state = breaker(failure_threshold=None, slow_ratio=0.5, minimum_calls=4)
    late(state, 0, 2)
    succeed(state, 0)
    assert state.state == "closed"  # three events, not five
    succeed(state, 0)
    assert state.state == "open"


def test_an_overtaken_attempt_is_no_success_and_no_failure() -> None:
    state = breaker(failure_threshold=None, failure_ratio=0.5, slow_ratio=1, minimum_calls=2)
    succeed(state, 0)
    overtake(state, 0, 30)
    assert state.state == "closed" and (state.counts.first, state.counts.second) == (1, 0)
    fail(state, 0)
    assert state.state == "open"


def test_failures_are_in_time_for_the_slow_ratio() -> None:
    state = breaker(failure_threshold=None, slow_ratio=0.5, minimum_calls=4)
    fail(state, 0, 3)
    overtake(state, 0, 2)
    assert state.state == "closed"
    overtake(state, 0)
    assert state.state == "open"


def test_slow_verdicts_older_than_the_window_do_not_count() -> None:
    state = breaker(slow_ratio=0.5, minimum_calls=2, window=60)
    overtake(state, 0)
    succeed(state, 66.1)
    succeed(state, 66.2)
    assert state.state == "closed" and state.slow.first == 0
    overtake(state, 67, 2)
    assert state.state == "open" and (state.slow.first, state.slow.second) == (0, 0)


def test_a_late_stream_that_breaks_stays_one_slow_event() -> None:
    state = breaker(failure_threshold=None, slow_ratio=0.5, minimum_calls=3)
    ticket = admit(state, 0)
    state.success(ticket, 0, late=True)
    state.failure(ticket, 1)
    assert (state.counts.first, state.counts.second, state.slow.second) == (0, 1, 1)
    succeed(state, 1)
    assert state.state == "closed"  # two events, one of them slow
    late(state, 1)
    assert state.state == "open"


def test_half_open_an_overtaken_lease_opens_it_again_and_a_late_answer_closes_it() -> None:
    state = opened()
    overtake(state, 30)
    assert state.state == "open" and state.closed_for(30) == 60
    late(state, 90)
    assert state.state == "closed" and state.slow.second == 0


def test_an_overtaken_attempt_from_before_a_transition_is_dropped() -> None:
    state = breaker(failure_threshold=1, slow_ratio=0.1, minimum_calls=1)
    ticket = admit(state, 0)
    fail(state, 0)
    lease = admit(state, 30)
    state.overtaken(ticket, 31)
    assert state.state == "half_open"
    state.overtaken(lease, 30 + LEASE + 1)
    assert state.state == "half_open"  # the lease had expired


def test_a_result_on_the_instant_at_which_its_lease_expires_counts() -> None:
    state = opened()
    lease = admit(state, 30)
    state.success(lease, 30 + LEASE)
    assert state.state == "closed"


@given(st.lists(st.tuples(st.floats(0, 20), st.booleans()), max_size=80), st.integers(1, 6))
def test_a_closed_breaker_opens_exactly_when_the_window_holds_enough_failures(
    verdicts: list[tuple[float, bool]], threshold: int
) -> None:
    """Against a list of times; a bucket's width of doubt is allowed."""
    state, now, failures = breaker(failure_threshold=threshold, window=30), 0.0, list[float]()
    for gap, good in verdicts:
        now += gap
        ticket = admit(state, now)
        if good:
            state.success(ticket, now)
        else:
            failures.append(now)
            state.failure(ticket, now)
        surely = sum(1 for at in failures if at > now - 30)
        perhaps = sum(1 for at in failures if at >= now - 33 - 1e-9)
        if state.state == "open":
            assert perhaps >= threshold
            return
        assert surely < threshold


@pytest.mark.parametrize("reset", [10.0, 1000.0])
def test_a_cap_below_the_reset_timeout_never_shortens_it(reset: float) -> None:
    state = opened(reset_timeout=reset, max_reset_timeout=5)
    fail(state, reset)
    assert state.closed_for(reset) == reset
