"""Sliding windows on the injected wall clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits.strategies import FixedWindowRateLimiter

from wizard_dsl.core.units import Rate
from wizard_dsl.policies._line import Taken
from wizard_dsl.policies._windows import CountedWindow, Windows
from wizard_dsl.testing.virtual import EPOCH


class Wall:
    def __init__(self, now: float = EPOCH) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def windows(*rates: tuple[float, float] | tuple[float, float, bool], now: float = EPOCH) -> tuple[Windows, Wall]:
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
    assert take(gate, 60) == 0


def test_one_a_minute_leaves_a_minute_between_two() -> None:
    gate, wall = windows((1, 60), now=EPOCH + 59.9)
    assert take(gate, 2) == 1
    wall.now = EPOCH + 60.1
    assert take(gate, 1) == 0 and gate.wait(0.0, 1) == pytest.approx(59.8)
    wall.now = EPOCH + 119.9
    assert take(gate, 2) == 1


def test_a_window_of_many_is_counted_and_good_to_one_call() -> None:
    gate, wall = windows((600, 60), now=EPOCH + 59)
    assert take(gate, 700) == 600
    wall.now = EPOCH + 61
    assert 10 <= take(gate, 700) <= 11


@given(
    st.integers(1, 12),
    st.sampled_from([1, 60]),
    st.lists(st.tuples(st.floats(0, 0.4), st.sampled_from(["take", "take", "take", "give", "wait"])), max_size=120),
)
def test_no_stretch_of_the_length_of_a_small_window_ever_holds_more_than_its_limit(
    limit: int, period: int, steps: list[tuple[float, str]]
) -> None:
    gate, wall = windows((limit, period))
    admitted: list[Taken] = []
    for gap, what in steps:
        wall.now += gap * period
        if what == "wait":
            wall.now += gate.wait(0.0, 1)
        if what == "give" and admitted:
            gate.give(admitted.pop(), 0.0)
        elif (taken := gate.take(0.0)) is not None:
            admitted.append(taken)
        else:
            assert sum(each.at + period > wall.now for each in admitted) == limit, "refused where there was room"
    times = [each.at for each in admitted]
    assert all(first + period <= last for first, last in zip(times, times[limit:], strict=False))


def test_a_request_counts_in_all_windows_or_in_none() -> None:
    gate, wall = windows((2, 1), (3, 60))
    assert take(gate, 5) == 2
    wall.now += 3
    assert take(gate, 5) == 1
    wall.now += 3
    assert take(gate, 5) == 0


@pytest.mark.parametrize("limit", [2, 200])
def test_one_given_back_makes_room_for_one_in_the_window_it_was_counted_in(limit: int) -> None:
    gate, wall = windows((limit, 60))
    take(gate, limit - 2)
    first, _ = gate.take(0.0), gate.take(0.0)
    assert first is not None and gate.take(0.0) is None
    gate.give(first, 0.0)
    assert take(gate, 2) == 1
    wall.now += 90
    late = gate.take(0.0)
    wall.now += 60
    assert late is not None
    gate.give(late, 0.0)
    assert take(gate, limit + 5) == limit
    wall.now += 300
    gate.give(late, 0.0)  # long forgotten
    assert take(gate, limit + 5) == limit


@given(
    st.one_of(st.integers(1, 20), st.integers(101, 120)),
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


@given(st.integers(101, 110), st.lists(st.floats(0, 0.05), max_size=250))
def test_no_calendar_window_ever_admits_more_than_its_limit(limit: int, gaps: list[float]) -> None:
    gate, wall = windows((limit, 1))
    admitted: dict[int, int] = {}
    for gap in gaps:
        wall.now += gap
        if gate.take(0.0) is not None:
            admitted[int(wall.now)] = admitted.get(int(wall.now), 0) + 1
    assert all(count <= limit for count in admitted.values())


def test_the_library_can_look_clear_and_is_told_what_is_not_kept() -> None:
    gate, _ = windows((200, 60))
    (window,) = gate._windows
    assert isinstance(window, CountedWindow)
    limiter, item = window._limiter, window._item
    assert take(gate, 250) == 200 and not limiter.test(item)
    limiter.clear(item)
    assert limiter.test(item) and take(gate, 250) == 200
    with pytest.raises(NotImplementedError, match="only sliding windows"):
        FixedWindowRateLimiter(limiter.storage).hit(item)


def test_calls_and_llm_tokens_are_counted_in_one_step_and_a_call_counts_in_both_or_in_none() -> None:
    gate, wall = windows((3, 60), (1000, 60, True))
    assert gate.take(0.0, 600) is not None
    assert gate.take(0.0, 500) is None
    assert [gate.take(0.0, 200) is not None for _ in range(3)] == [True, True, False]
    wall.now += 120
    assert gate.take(0.0, 1000) is not None


def test_equal_windows_of_requests_and_tokens_do_not_share_a_counter() -> None:
    gate, _ = windows((10, 60), (10, 60, True))
    assert [gate.take(0.0, 5) is not None for _ in range(3)] == [True, True, False]


def test_what_was_not_used_is_room_again_and_what_was_used_besides_is_a_debt() -> None:
    gate, wall = windows((1000, 60, True))
    first = gate.take(0.0, 900)
    assert first is not None and gate.take(0.0, 200) is None
    gate.settle(first, 100, 0.0)
    second = gate.take(0.0, 900)
    assert second is not None
    gate.settle(second, 2900, 0.0)
    assert gate.take(0.0, 1) is None
    told = gate.wait(0.0, 1, 0, 400)
    wall.now += told - 0.01
    assert gate.take(0.0, 400) is None
    wall.now += 0.01
    assert gate.take(0.0, 400) is not None
    assert 60 < told < 120


@given(
    st.lists(st.tuples(st.floats(0, 40), st.integers(1, 500), st.integers(0, 500)), max_size=40),
    st.integers(1, 500),
    st.floats(0, 100),
)
def test_whoever_needs_tokens_and_waits_as_long_as_told_has_them(
    steps: list[tuple[float, int, int]], need: int, offset: float
) -> None:
    gate, wall = windows((500, 60, True), now=EPOCH + offset)
    for gap, tokens, used in steps:
        wall.now += gap
        taken = gate.take(0.0, tokens)
        if taken is not None:
            gate.settle(taken, used, 0.0)
    wall.now += gate.wait(0.0, 1, 0, need)
    assert gate.take(0.0, need) is not None


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(1, 100)), max_size=60))
def test_no_calendar_window_admits_more_tokens_than_its_limit(steps: list[tuple[float, int]]) -> None:
    gate, wall = windows((100, 60, True))
    admitted: dict[int, int] = {}
    for gap, tokens in steps:
        wall.now += gap
        if gate.take(0.0, tokens) is not None:
            number = int(wall.now // 60)
            admitted[number] = admitted.get(number, 0) + tokens
    assert all(count <= 100 for count in admitted.values())
