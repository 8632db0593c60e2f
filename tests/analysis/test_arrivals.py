"""Arrivals: as many as the rate says, when it says so."""

from __future__ import annotations

from itertools import pairwise

import pytest
from simulation_kit import scenario

from wizard_dsl.analysis._arrivals import arrivals, questions, stretches


def load(**keys):
    return scenario(keys).load


def within(times: list[float], start: float, end: float) -> int:
    return sum(start <= at < end for at in times)


def test_even_arrivals_are_spaced_evenly() -> None:
    times = arrivals(load(rate="10/s", duration="20s"), seed=0)
    assert len(times) == 200
    assert times[0] == pytest.approx(0.05)
    assert {round(b - a, 9) for a, b in pairwise(times)} == {0.1}


def test_poisson_arrivals_are_as_many_as_the_rate_says_and_their_gaps_are_exponential() -> None:
    times = arrivals(load(rate="20/s", duration="10m", arrivals="poisson"), seed=3)
    assert len(times) == pytest.approx(12_000, rel=0.03)
    gaps = [b - a for a, b in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert variance == pytest.approx(mean**2, rel=0.1)  # as an exponential's
    assert times == sorted(times) and times[-1] < 600


def test_the_same_seed_gives_the_same_arrivals_and_another_seed_others() -> None:
    poisson = load(arrivals="poisson")
    assert arrivals(poisson, 1) == arrivals(poisson, 1)
    assert arrivals(poisson, 1) != arrivals(poisson, 2)


def test_a_spike_has_its_own_rate_and_before_and_after_it_the_load_has_its_own() -> None:
    times = arrivals(load(duration="60s", shape=[{"from": "20s", "to": "30s", "rate": "50/s"}]), 0)
    assert [within(times, 0, 20), within(times, 20, 30), within(times, 30, 60)] == [200, 500, 300]


def test_a_ramp_reaches_its_rate_evenly_from_the_rate_before() -> None:
    shape = [
        {"from": "10s", "to": "20s", "rate": "30/s", "ramp": True},
        {"from": "20s", "to": "30s", "rate": "30/s"},
        {"from": "30s", "to": "40s", "rate": "10/s", "ramp": True},
    ]
    times = arrivals(load(duration="50s", shape=shape), 0)
    assert [within(times, start, start + 10) for start in range(0, 50, 10)] == [100, 200, 300, 200, 100]
    assert within(times, 10, 15) == 75  # 10/s to 20/s over five seconds
    assert times == sorted(times)


def test_a_change_without_an_end_lasts_until_the_load_ends() -> None:
    found = stretches(load(duration="30s", shape=[{"from": "10s", "rate": "1/s"}]))
    assert [(each.start, each.end, each.last) for each in found] == [(0.0, 10.0, 10.0), (10.0, 30.0, 1.0)]


def test_without_repeats_every_arrival_asks_something_new() -> None:
    asked = questions(load(inputs=[{"question": "a"}, {"question": "b"}]), 0, 300)
    assert [each.first for each in asked] == list(range(300))
    assert sum(each.inputs for each in asked) == pytest.approx(150, abs=40)


def test_a_share_of_arrivals_repeats_what_an_earlier_one_asked() -> None:
    asked = questions(load(repeats="30%"), 0, 2000)
    again = [number for number, each in enumerate(asked) if each.first != number]
    assert len(again) == pytest.approx(600, abs=70)
    assert all(asked[number].first < number for number in again)
