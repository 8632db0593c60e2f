"""The arithmetic of growth, slopes and service levels, and the files that `scale.py` makes."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scale import GROWING, a_history, exponent, many_steps, text
from benchmarks.slo import NOT_THERE, Level, report
from benchmarks.soak import slope
from benchmarks.startup import long_file
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.registry import Registry


def test_the_exponent_is_0_where_the_time_is_flat_and_1_where_it_grows_with_the_size() -> None:
    assert exponent(10, 1000, 1.0) == 0
    assert exponent(10, 1000, 100.0) == pytest.approx(1)
    assert exponent(10, 1000, 10_000.0) == pytest.approx(2)


def test_the_slope_leaves_out_what_fills_first() -> None:
    calls = [1000 * number for number in range(1, 41)]
    filling = [20.0 + number for number in range(10)]
    assert slope(calls, filling + [30.0] * 30) == pytest.approx(0)
    assert slope(calls, filling + [30.0 + number / 1024 for number in range(30)]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("value", "unit", "kept"), [(0.9, "s", True), (1.0, "s", False), (1.1, "/s", True), (1.0, "/s", False)]
)
def test_a_level_is_kept_below_its_limit_and_a_rate_above(value: float, unit: str, kept: bool) -> None:
    level = Level("X", "words", value, 1.0, unit)
    assert level.kept == kept
    told = report([level]).splitlines()
    assert told[2].endswith("| pass |" if kept else "| fail |")
    assert len(told) == 3 + len(NOT_THERE) and told[-1].endswith("| not there |")


@pytest.mark.parametrize(
    "written", [text("targets", 1000), text("cached"), text("sessions"), many_steps(200), long_file(2000)]
)
def test_the_files_that_grow_compile(written: str, tmp_path: Path) -> None:
    path = tmp_path / "scale.yaml"
    path.write_text(written)
    assert compile_file(path, Registry(plugins=False), Sources(env={})).program is not None


def test_the_sizes_are_those_of_the_targets() -> None:
    assert len(long_file(2000).splitlines()) == 2000
    assert many_steps(200).count("prompt:") == 200
    assert text("targets", 1000).count("mock/m") == 1000


async def test_a_history_has_as_many_runs_as_are_asked_for(tmp_path: Path) -> None:
    async with a_history(tmp_path, 300) as measure:
        assert await measure() > 0
    database: Any = sqlite3.connect(tmp_path / "history.db")
    (rows,) = database.execute("SELECT count(*) FROM runs").fetchone()
    (different,) = database.execute("SELECT count(DISTINCT id) FROM runs").fetchone()
    database.close()
    assert 340 <= rows == different <= 360
    assert [what for what, small, large, _ in GROWING if large < 10 * small] == []
