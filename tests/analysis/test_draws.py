"""Draws of a scenario: spread as the file says, and each the same whatever else is drawn."""

from __future__ import annotations

import pytest

from wizard_dsl.analysis._draws import Draws, Lognormal, draws_of, durations, tokens
from wizard_dsl.analysis.scenario import Spread, TokenSpread
from wizard_dsl.core.run import nobody


def test_half_of_a_spread_is_below_its_median_and_99_in_100_below_its_p99() -> None:
    spread = durations(Spread(median="800ms", p99="4s"))
    values = sorted(spread.at(Draws(f"attempt {number}").pair(0)) for number in range(10_000))
    assert values[0] > 0
    assert values[5_000] == pytest.approx(0.8, rel=0.04)
    assert values[9_900] == pytest.approx(4.0, rel=0.1)


def test_a_single_value_and_a_median_alone_are_no_spread() -> None:
    draws = [(0.0, 0.0), (0.3, 0.7), (0.999, 0.1)]
    assert {durations("2s").at(each) for each in draws} == {2.0}
    assert {tokens(TokenSpread(median=7)).at(each) for each in draws} == {7}
    assert Lognormal(0.0, 0.0).at(draws[1]) == 0.0


def test_the_draws_of_an_attempt_are_even_and_tell_nothing_about_each_other() -> None:
    draws = [Draws(f"seed/{number}") for number in range(4000)]
    for index in range(8):
        values = [each.number(index) for each in draws]
        assert sum(values) / len(values) == pytest.approx(0.5, abs=0.03)
    both = sum((each.number(0) - 0.5) * (each.number(1) - 0.5) for each in draws) / len(draws)
    assert both == pytest.approx(0, abs=0.01)
    assert len({each.named("a") for each in draws} | {each.named("b") for each in draws}) == 8000


def test_probes_are_of_no_run_and_each_has_a_chance_of_its_own() -> None:
    found = {draws_of(1, "one", nobody(at), at).number(0) for at in (1.0, 2.0, 3.0)}
    assert len(found) == 3
