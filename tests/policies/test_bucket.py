"""The token bucket as a pure state machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wizard_dsl.policies._bucket import Bucket
from wizard_dsl.policies._line import Taken

STEPS = st.lists(st.tuples(st.floats(0, 10), st.sampled_from(["take", "give"])), max_size=100)


@given(st.floats(0.01, 100), st.integers(1, 20), STEPS)
def test_the_level_is_never_negative_and_never_above_burst(
    rate: float, burst: int, steps: list[tuple[float, str]]
) -> None:
    bucket, now = Bucket(rate, burst), 0.0
    for gap, step in steps:
        now += gap
        bucket.take(now) if step == "take" else bucket.give(Taken(now), now)
        assert 0 <= bucket.level(now) <= burst


@given(st.floats(0.01, 100), st.integers(1, 20), st.lists(st.floats(0, 5), max_size=200))
def test_no_window_admits_more_than_burst_plus_rate_times_its_length(
    rate: float, burst: int, gaps: list[float]
) -> None:
    bucket, now, taken = Bucket(rate, burst), 0.0, list[float]()
    for gap in gaps:
        now += gap
        if bucket.take(now) is not None:
            taken.append(now)
    for first, start in enumerate(taken):
        for last, end in enumerate(taken[first:], first):
            assert last - first + 1 <= burst + rate * (end - start) + 1e-6


@given(st.floats(0.01, 100), st.integers(1, 20), st.integers(1, 30), st.floats(0, 1000))
def test_whoever_waits_as_long_as_told_finds_the_token(rate: float, burst: int, place: int, start: float) -> None:
    bucket = Bucket(rate, burst)
    while bucket.take(start) is not None:
        pass
    now = start
    for turn in range(place):
        assert bucket.take(now) is None or turn == 0
        now += bucket.wait(now, 1)
        assert bucket.take(now) is not None
    assert now == pytest.approx(start + place / rate)


def test_it_is_full_at_the_start_and_gains_rate_a_second() -> None:
    bucket = Bucket(2.0, 3)
    assert [bucket.take(0.0) is not None for _ in range(4)] == [True, True, True, False]
    assert bucket.wait(0.0, 1) == 0.5 and bucket.wait(0.0, 4) == 2.0
    assert bucket.take(0.5) == Taken(0.5) and bucket.take(0.6) is None


def test_a_token_given_back_is_there_for_the_next() -> None:
    bucket = Bucket(0.01, 1)
    token = bucket.take(0.0)
    assert token is not None and bucket.take(1.0) is None
    bucket.give(token, 1.0)
    assert bucket.take(1.0) is not None
