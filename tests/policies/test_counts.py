"""The sliding window in ten buckets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wizard_dsl.policies._counts import Counts

GAPS = st.lists(st.floats(0, 30), min_size=1, max_size=60)


@given(GAPS)
def test_an_event_may_live_one_bucket_longer_than_the_window_and_never_shorter(gaps: list[float]) -> None:
    counts, window, now, times = Counts(10.0), 10.0, 0.0, []
    for gap in gaps:
        now += gap
        counts.add_first(now)
        times.append(now)
        surely = sum(1 for at in times if at > now - window)
        perhaps = sum(1 for at in times if at >= now - window * 1.1 - 1e-9)
        assert surely <= counts.first <= perhaps


@given(GAPS)
def test_taking_back_what_was_counted_leaves_nothing(gaps: list[float]) -> None:
    counts, now = Counts(10.0), 0.0
    for gap in gaps:
        bucket = counts.add_first(now)
        now += gap
        counts.remove_first(bucket, now)
        assert counts.first == 0


def test_what_has_left_the_window_cannot_be_taken_back_from_others() -> None:
    counts = Counts(10.0)
    bucket = counts.add_first(0.5)
    counts.add_first(11.7)
    counts.remove_first(bucket, 11.7)
    assert counts.first == 1


def test_the_one_that_was_taken_is_taken_back_and_what_has_left_the_window_is_not() -> None:
    counts = Counts(10.0)
    for at in (0.5, 4.5, 8.5):
        counts.add_second(at)
    counts.remove_second(9.0, 4.5)
    assert counts.second == 2
    counts.advance(12.0)
    assert counts.second == 1, "the newest one is left"
    counts.remove_second(12.0, 0.5)
    assert counts.second == 1, "the oldest had left by itself"
    counts.remove_second(12.0, 7.9)
    assert counts.second == 0, "counted a little after it was asked for"


def test_a_clock_that_steps_back_a_little_does_no_harm() -> None:
    counts = Counts(10.0)
    counts.add_second(5.0)
    counts.add_second(3.9)
    assert counts.second == 2
