"""Each pipeline that comes with the product has tests beside it, and they reach what its policies may do."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest

from wizard_dsl.testing.coverage import Observer, measure
from wizard_dsl.testing.coverage_report import as_text
from wizard_dsl.testing.trying import collect, try_case

ROOT = Path(__file__).parents[2]
LEAST = 0.95
REDACTS = any(point.name == "acme.redact" for point in entry_points(group="wizard_dsl.policies"))


def pipelines() -> list[Path]:
    found = [*ROOT.glob("pipelines/**/*.yaml"), *ROOT.glob("examples/**/*.yaml")]
    return sorted(each for each in found if "\nsteps:" in each.read_text() and ".test." not in each.name)


@pytest.mark.parametrize("path", pipelines(), ids=lambda path: path.stem)
def test_the_tests_of_a_pipeline_pass_and_reach_its_outcomes(path: Path) -> None:
    if "support" in path.parts and not REDACTS:
        pytest.skip("examples/support/acme-redact is not installed: make install")
    suite = collect(path.with_name(f"{path.stem}.test.yaml"))
    assert not suite.found.diagnostics
    observer = Observer()
    outcomes = [try_case(suite, case, observer) for case in suite.cases]
    assert [f"{each.name}: {each.failures}" for each in outcomes if not each.passed] == []
    files = measure(each for outcome in outcomes for each in outcome.seen)
    assert [Path(each.file).name for each in files] == [path.name]
    assert files[0].share.ratio >= LEAST, as_text(files)
