"""What we ship is tested the way we tell users to: its test files pass, and leave little out."""

from __future__ import annotations

import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wizard_dsl.registry import Registry
from wizard_dsl.testing.cases import Programs, Suite
from wizard_dsl.testing.coverage import Observer, measure
from wizard_dsl.testing.coverage_report import as_text
from wizard_dsl.testing.suites import How, run
from wizard_dsl.testing.trying import Outcome, collect, try_case

ROOT = Path(__file__).parents[2]
SHIPPED = [ROOT / "pipelines", ROOT / "examples"]
FILES = sorted(path for folder in SHIPPED for path in folder.rglob("*.test.yaml"))
ENOUGH = 0.95
INSTALLED = any(point.name == "acme.redact" for point in entry_points(group="wizard_dsl.policies"))
TEN_MINUTES = ROOT / "examples" / "outage" / "reply.test.yaml"


def suite_of(path: Path) -> Suite:
    if "support" in path.parts and not INSTALLED:
        pytest.skip("examples/support/acme-redact is not installed: make install")
    suite = collect(path, Programs(Registry()))
    assert suite.found.diagnostics == []
    return suite


def short(path: Path) -> str:
    return str(path.relative_to(ROOT)).removesuffix(".test.yaml")


@pytest.mark.parametrize("path", FILES, ids=short)
def test_a_test_file_passes_and_shows_nearly_all_that_its_policies_may_do(path: Path) -> None:
    suite = suite_of(path)
    observer = Observer()
    outcomes = [try_case(suite, case, observer) for case in suite.cases]
    assert [each for each in outcomes if not each.passed] == []
    (measured,) = measure(each for outcome in outcomes for each in outcome.seen)
    assert measured.share.ratio >= ENOUGH, as_text([measured])


def test_every_pipeline_that_we_ship_has_a_test_file() -> None:
    tested = {case.pipeline.resolve() for path in FILES for case in collect(path).cases}
    shipped = {
        path
        for folder in SHIPPED
        for path in folder.rglob("*.yaml")
        if path.name.count(".") == 1 and path.name != "wizard.yaml"
    }
    assert shipped
    assert shipped - tested == set()


def outage() -> list[Any]:
    suite = suite_of(TEN_MINUTES)
    found = [(suite, case) for case in suite.cases if case.name.startswith("ten minutes")]
    assert len(found) == 2
    return found


def as_bytes(outcomes: Any) -> list[bytes]:
    return [msgspec.json.encode(each) for each in outcomes]


def test_ten_minutes_of_outage_are_the_same_bytes_a_hundred_times() -> None:
    told = as_bytes(run(outage()[:1] * 100, How()))
    assert len(told) == 100
    assert len(set(told)) == 1


def test_ten_minutes_of_outage_are_the_same_bytes_in_four_processes() -> None:
    cases = outage()
    here = as_bytes(run(cases, How()))
    assert set(as_bytes(run(cases * 50, How(), jobs=4))) == set(here)


def test_the_suite_of_an_outage_takes_less_than_half_a_second() -> None:
    """Of the time of this process alone. The best of three, as the first one imports."""

    def once() -> float:
        begun = time.process_time()
        suite = suite_of(TEN_MINUTES)
        outcomes: list[Outcome] = [try_case(suite, case) for case in suite.cases]
        assert outcomes and all(each.passed for each in outcomes)
        return time.process_time() - begun

    assert min(once() for _ in range(3)) < 0.5
