"""Quantities with units: parse, print, refuse."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wizard_dsl.core import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("2m", 120), ("1h30m", 5400), ("1.5h", 5400), ("250us", 0.00025), ("1d", 86400)],
)
def test_durations(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("unit", "text"),
    [(unit, text) for unit in units.UNITS for text in ("", "30", "5x", " 5s", "-1s", "5 s", "١s", "1e3s", "0/s", "$")],
)
def test_what_carries_no_unit_is_refused_with_an_example(unit: units.Unit, text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        unit.parse(text)


@pytest.mark.parametrize("unit", units.UNITS, ids=lambda unit: unit.name)
def test_the_pattern_admits_what_the_parser_does(unit: units.Unit) -> None:
    assert re.search(unit.pattern, unit.example)
    assert unit.parse(unit.example) is not None


@given(st.text(alphabet="0123456789.$%/smhdkMGiB ute", max_size=10))
def test_pattern_and_parser_agree(text: str) -> None:
    for unit in units.UNITS:
        matches = re.search(unit.pattern, text) is not None and not text.endswith("\n")
        try:
            unit.parse(text)
            parses = True
        except ValueError:
            parses = False
        assert matches == parses, unit.name


@given(st.integers(0, 10**7).map(lambda ms: ms / 1000))
def test_a_printed_duration_parses_back(seconds: float) -> None:
    assert units.parse_duration(units.show_duration(seconds)) == pytest.approx(seconds, rel=1e-5)


@pytest.mark.parametrize("text", ["10/s", "60/minute", "100000 tokens/minute", "5/day"])
def test_a_printed_rate_parses_back(text: str) -> None:
    rate = units.parse_rate(text)
    assert units.parse_rate(units.show_rate(rate)) == rate


def test_sizes_money_and_ratios() -> None:
    assert units.parse_size("10MiB") == 10 * 2**20
    assert units.show_size(64 * 1024) == "64KiB"
    assert units.parse_money("$0.05") == 0.05
    assert units.show_money(0.0021) == "$0.0021"
    assert units.parse_ratio("20%") == 0.2
    assert units.show_ratio(0.2) == "20%"
