"""The example of a simulated outage: it holds, has no findings, and stands in the documentation as it is."""

from __future__ import annotations

import re
from pathlib import Path

from wizard_dsl.analysis.reading import open_scenario
from wizard_dsl.analysis.report import report
from wizard_dsl.analysis.workers import Job, play
from wizard_dsl.lint.rules import lint
from wizard_dsl.registry import Registry

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "outage"
SCENARIO = FOLDER / "outage.sim.yaml"


def test_the_example_meets_its_expectations_and_shows_the_outage() -> None:
    opened = open_scenario(SCENARIO, Registry(plugins=False))
    assert opened.ok and opened.scenario is not None
    seeds = play([Job(opened.scenario, opened.pipeline, (), (), seed=0, plugins=False)], processes=1)
    made = report(SCENARIO.name, opened.scenario, (opened.scenario.pipeline, seeds), None)
    assert made.met, [each.sentence(1) for each in made.verdicts if not each.met]
    opens = [point.at for point in seeds[0].breakers["openai/gpt-4o-mini"] if point.state == "open"]
    assert 120 < opens[0] < 130


def test_the_example_has_no_findings() -> None:
    opened = open_scenario(SCENARIO, Registry(plugins=False))
    assert opened.compiled is not None
    assert [*opened.diagnostics, *opened.compiled.diagnostics, *lint(opened.compiled)] == []


def test_the_page_shows_the_scenario_as_it_is() -> None:
    page = (ROOT / "docs" / "how-to" / "simulate.md").read_text(encoding="utf-8")
    shown = re.search(r"^```yml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert shown is not None
    assert shown[1] == SCENARIO.read_text(encoding="utf-8")
