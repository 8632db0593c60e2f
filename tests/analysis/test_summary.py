"""Means, intervals and verdicts."""

from __future__ import annotations

import pytest
from simulation_kit import scenario

from wizard_dsl.analysis.expectations import judged
from wizard_dsl.analysis.figures import times_of, width_of
from wizard_dsl.analysis.summary import METRICS, Measure, interval, mean_of, shown, student


def test_the_interval_of_a_mean_is_students() -> None:
    measure = mean_of([1.0, 2.0, 3.0, 4.0, 5.0])
    assert measure.mean == 3.0
    assert measure.high == pytest.approx(3 + 2.776 * 1.5811388 / 5**0.5, abs=1e-3)
    assert measure.low == pytest.approx(3 - 2.776 * 1.5811388 / 5**0.5, abs=1e-3)


def test_one_seed_has_no_interval_and_a_value_that_is_not_known_no_mean() -> None:
    assert mean_of([2.5]) == Measure(2.5)
    assert mean_of([2.5, None]) == Measure(None)
    assert mean_of([]) == Measure(None)


def test_the_quantiles_go_on_smoothly_where_the_table_ends() -> None:
    assert student(31) == pytest.approx(2.0395, abs=5e-4)
    assert student(1000) == pytest.approx(1.9623, abs=5e-4)


def test_percentiles_are_values_that_were_seen() -> None:
    times = times_of([float(number) for number in range(1, 101)])
    assert times is not None
    assert (times.p50, times.p90, times.p99, times.max) == (50, 90, 99, 100)
    assert times_of([]) is None
    lone = times_of([7.0])
    assert lone is not None and (lone.p50, lone.p99) == (7.0, 7.0)


def test_slices_are_as_narrow_as_sixty_of_them_can_be() -> None:
    assert [width_of(seconds) for seconds in (3, 20, 60, 600, 86_400)] == [0.1, 0.5, 1, 10, 1800]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.99954, "ratio", "99.954%"),
        (0.8123, "duration", "812ms"),
        (83.04, "duration", "1m23s"),
        (0.000213, "money", "$0.00021"),
        (1.2345678, "number", "1.235"),
        (-0.5, "duration", "-500ms"),
        (None, "money", "unknown"),
    ],
)
def test_values_are_shown_with_their_unit(value, unit, text) -> None:
    assert shown(value, unit) == text


def test_an_interval_shows_nothing_that_cannot_be() -> None:
    assert interval(Measure(0.999, 0.997, 1.001), "ratio") == "99.7% – 100%"
    assert interval(Measure(0.1, -0.2, 0.4), "duration") == "0s – 400ms"
    assert interval(Measure(0.1), "duration") == ""


def test_every_bound_that_is_set_gets_a_verdict_with_what_was_measured() -> None:
    expect = scenario(
        expect={
            "availability": {"at_least": "99.9%"},
            "p99": {"at_most": "12s", "at_least": "1s"},
            "cost_per_run": {"at_most": "$0.01"},
        }
    ).expect
    measured = dict.fromkeys(METRICS, Measure(None))
    measured["availability"] = Measure(0.98, 0.97, 0.99)
    measured["p99"] = Measure(3.0)
    found = judged(expect, measured)
    assert [each.met for each in found] == [False, True, True, False]
    assert found[0].sentence(5) == "availability: expected at least 99.9%, measured 98% (97% – 99%, 5 seeds)"
    assert found[1].sentence(1) == "p99: expected at least 1s, measured 3s (one seed)"
    assert found[3].sentence(5).startswith("cost_per_run: expected at most $0.0100, unknown: an answer has no price")


def test_nothing_is_expected_where_nothing_is_said() -> None:
    assert judged(None, {}) == []
