"""Sliding windows on the injected wall clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits.strategies import FixedWindowRateLimiter

from wizard_dsl.core.units import Rate
from wizard_dsl.policies._windows import Windows
from wizard_dsl.testing.virtual import EPOCH


class Wall:
    def __init__(self, now: float = EPOCH) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def windows(*rates: tuple[float, float], now: float = EPOCH) -> tuple[Windows, Wall]:
    wall = Wall(now)
    return Windows([Rate(*rate) for rate in rates], wall), wall


def take(gate: Windows, times: int) -> int:
    """How many of `times` are admitted."""
    return sum(gate.take(0.0) is not None for _ in range(times))


def test_sixty_a_minute_admits_sixty_and_no_more() -> None:
    gate, wall = windows((60, 60))
    assert take(gate, 70) == 60
    wall.now += 59.9
    assert take(gate, 5) == 0


def test_it_is_not_aligned_to_the_calendar() -> None:
    """Sixty at the end of one minute leave no room for sixty at the start of the next."""
    gate, wall = windows((60, 60), now=EPOCH + 59)
    assert take(gate, 60) == 60
    wall.now = EPOCH + 61
    assert take(gate, 60) <= 2


def test_a_request_counts_in_all_windows_or_in_none() -> None:
    gate, wall = windows((2, 1), (3, 60))
    assert take(gate, 5) == 2
    wall.now += 3
    assert take(gate, 5) == 1
    wall.now += 3
    assert take(gate, 5) == 0


def test_one_given_back_makes_room_for_one_in_the_window_it_was_counted_in() -> None:
    gate, wall = windows((2, 60))
    first, _ = gate.take(0.0), gate.take(0.0)
    assert first is not None and gate.take(0.0) is None
    gate.give(first, 0.0)
    assert take(gate, 2) == 1
    wall.now += 90
    late = gate.take(0.0)
    wall.now += 60
    assert late is not None
    gate.give(late, 0.0)
    assert take(gate, 5) == 2
    wall.now += 300
    gate.give(late, 0.0)  # long forgotten
    assert take(gate, 5) == 2


@given(
    st.integers(1, 20),
    st.sampled_from([1, 60]),
    st.lists(st.floats(0, 2), max_size=30),
    st.integers(1, 45),
    st.floats(0, 200),
)
def test_whoever_waits_as_long_as_told_is_admitted_and_not_much_earlier(
    limit: int, period: int, gaps: list[float], place: int, offset: float
) -> None:
    gate, wall = windows((limit, period), now=EPOCH + offset)
    for gap in gaps:
        gate.take(0.0)
        wall.now += gap * period
    told = wall.now + gate.wait(0.0, place)
    for _ in range(place - 1):
        wall.now += gate.wait(0.0, 1)
        assert gate.take(0.0) is not None
    wall.now += gate.wait(0.0, 1)
    assert wall.now == pytest.approx(told, abs=1e-3)
    assert gate.take(0.0) is not None


@given(st.integers(1, 10), st.lists(st.floats(0, 0.5), max_size=100))
def test_no_calendar_window_ever_admits_more_than_its_limit(limit: int, gaps: list[float]) -> None:
    gate, wall = windows((limit, 1))
    admitted: dict[int, int] = {}
    for gap in gaps:
        wall.now += gap
        if gate.take(0.0) is not None:
            admitted[int(wall.now)] = admitted.get(int(wall.now), 0) + 1
    assert all(count <= limit for count in admitted.values())


def test_the_library_can_look_clear_and_is_told_what_is_not_kept() -> None:
    gate, _ = windows((2, 60))
    limiter, (item,) = gate._limiter, gate._items
    assert take(gate, 5) == 2 and not limiter.test(item)
    limiter.clear(item)
    assert limiter.test(item) and take(gate, 5) == 2
    with pytest.raises(NotImplementedError, match="only sliding windows"):
        FixedWindowRateLimiter(limiter.storage).hit(item)
