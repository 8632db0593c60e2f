"""The arithmetic of delays, as SEMANTICS "Retry" writes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wizard_dsl.policies._backoff import Backoff, jittered, largest, plain

JITTERS = st.one_of(st.floats(0, 1), st.sampled_from(["full", "equal", "decorrelated", "none"]))
BACKOFFS = st.builds(
    Backoff,
    base=st.floats(0, 100),
    multiplier=st.floats(1, 1e6),
    max_delay=st.floats(0, 1000),
    jitter=JITTERS,
)
MODES = st.sampled_from(["exponential", "linear", "immediate", "none"])


def test_the_kth_delay_is_base_times_multiplier_to_the_k_minus_1() -> None:
    backoff = Backoff(base=1, multiplier=2, max_delay=30)
    assert [plain(backoff, "exponential", k) for k in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]


def test_linear_is_base_times_k_and_clamped() -> None:
    backoff = Backoff(base=10, max_delay=25)
    assert [plain(backoff, "linear", k) for k in (1, 2, 3)] == [10, 20, 25]


def test_immediate_is_once_then_exponential() -> None:
    assert [plain(Backoff(), "immediate", k) for k in (1, 2, 3)] == [0, 2, 4]


def test_none_never_waits() -> None:
    assert plain(Backoff(), "none", 9) == 0


@pytest.mark.parametrize(
    ("jitter", "low", "middle", "high"),
    [(0.25, 7.5, 10, 12.5), ("full", 0, 5, 10), ("equal", 5, 7.5, 10), ("none", 10, 10, 10)],
)
def test_jitter_spreads_a_delay_of_ten_seconds(jitter: object, low: float, middle: float, high: float) -> None:
    backoff = Backoff(jitter=jitter)  # type: ignore[arg-type]
    spread = [jittered(backoff, 10, draw, 1) for draw in (0.0, 0.5, 1.0)]
    assert spread == pytest.approx([low, middle, high])


def test_decorrelated_is_between_base_and_three_times_the_previous_delay() -> None:
    backoff = Backoff(base=1, jitter="decorrelated")
    assert [jittered(backoff, 8, draw, 4) for draw in (0.0, 0.5, 1.0)] == pytest.approx([1, 6.5, 12])
    assert jittered(backoff, 8, 1.0, 20) == 30


def test_jitter_is_clamped_to_max_delay_again() -> None:
    assert jittered(Backoff(max_delay=10), 10, 1.0, 1) == 10


def test_an_exponent_too_large_for_a_float_is_max_delay() -> None:
    assert plain(Backoff(multiplier=1e300), "exponential", 10) == 30


@given(BACKOFFS, MODES, st.integers(1, 10), st.floats(0, 1, exclude_max=True), st.floats(0, 1000))
def test_no_delay_is_negative_above_max_delay_or_above_its_stated_largest(
    backoff: Backoff, mode: str, k: int, draw: float, previous: float
) -> None:
    delay = jittered(backoff, plain(backoff, mode, k), draw, previous)  # type: ignore[arg-type]
    assert 0 <= delay <= backoff.max_delay
    assert delay <= largest(backoff, mode, k) * (1 + 1e-12)  # type: ignore[arg-type]
