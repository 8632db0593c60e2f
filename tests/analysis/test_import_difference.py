"""The difference an import makes: a second pipeline that does what the source documents, and an outage for both."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import yaml
from import_kit import IMPORTS, REGISTRY, read_foreign_text

from wizard_dsl.analysis.importing.difference import Difference, difference
from wizard_dsl.analysis.importing.findings import Imported
from wizard_dsl.analysis.importing.litellm import import_litellm
from wizard_dsl.analysis.importing.portkey import import_portkey
from wizard_dsl.analysis.importing.promptfoo import import_promptfoo
from wizard_dsl.analysis.reading import open_scenario
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.spec.diagnostics import has_errors, render_text

FILES = sorted([*(IMPORTS / "litellm").glob("*.yaml"), *(IMPORTS / "portkey").glob("*.json")])
PAIR = """\
model_list:
  - {model_name: a, litellm_params: {model: openai/m}}
  - {model_name: b, litellm_params: {model: anthropic/m}}
router_settings: {num_retries: 2, fallbacks: [{a: [b]}], allowed_fails: 3, cooldown_time: 5}
"""


def imported(path: Path) -> Imported:
    source = read_foreign_text(path.read_text(encoding="utf-8"), path.name)
    return import_litellm(source) if path.parent.name == "litellm" else import_portkey(source)


@cache
def of_pair() -> Difference:
    found = difference(import_litellm(read_foreign_text(PAIR, "config.yaml")), "routes", REGISTRY)
    assert found is not None
    return found


def number(found: Difference, measure: str) -> tuple[float, float]:
    (row,) = [each for each in found.rows if each.measure == measure]
    return float(row.documented.rstrip("%")), float(row.imported.rstrip("%"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_a_source_documents_is_a_pipeline_without_errors(path: Path) -> None:
    routing = imported(path).routing
    assert routing is not None
    found = compile_file("imported.yaml", REGISTRY, Sources(text=routing.documented)).diagnostics
    assert not has_errors(found), render_text(found)
    default = yaml.safe_load(routing.documented)["policies"]["default"]
    assert default["retry_budget"] in ("off", False)


def test_it_differs_from_the_import_in_policies_alone() -> None:
    made = imported(IMPORTS / "litellm" / "fallbacks.yaml")
    assert made.routing is not None
    there, here = yaml.safe_load(made.routing.documented), yaml.safe_load(made.pipeline)
    assert there.pop("policies") != here.pop("policies")
    assert there == here


def test_a_cooldown_ends_for_all_calls_and_a_breaker_lets_one_through() -> None:
    there, here = number(of_pair(), "attempts on what is down")
    assert here < there / 2


def test_repeats_multiply_by_the_groups_that_a_call_passes() -> None:
    assert number(of_pair(), "attempts of one call at most") == (6, 6)
    there, here = number(of_pair(), "attempts per call")
    assert 1 <= here < there


def test_it_says_where_it_is_documented_and_that_it_is_a_model() -> None:
    text = of_pair().text()
    assert "the difference: openai/m answers 503 for two of five minutes\n" in text
    assert "a model of what is documented at https://docs.litellm.ai/docs/routing, not a measurement" in text
    assert "cooldown: after 5s all calls go back to a deployment" in text


def test_the_scenario_and_the_other_pipeline_can_be_played_again(tmp_path: Path) -> None:
    made = import_litellm(read_foreign_text(PAIR, "config.yaml"))
    (tmp_path / "routes.yaml").write_text(made.pipeline)
    for each in of_pair().files:
        (tmp_path / f"routes{each.ending}").write_text(each.text)
    opened = open_scenario(tmp_path / "routes.sim.yaml", REGISTRY)
    assert opened.ok, render_text(opened.diagnostics)
    assert [each.ending for each in of_pair().files] == [".documented.yaml", ".sim.yaml"]


def test_the_load_stays_below_the_limits_of_the_source() -> None:
    text = "model_list: [{model_name: a, litellm_params: {model: openai/m, rpm: 6}}]\n"
    made = import_litellm(read_foreign_text(f"{text}router_settings: {{enable_pre_call_checks: true}}\n", "c.yaml"))
    found = difference(made, "c", REGISTRY)
    assert found is not None
    assert yaml.safe_load(found.files[1].text)["load"]["rate"] == "3/minute"


def test_who_falls_back_for_one_kind_alone_has_nobody_in_an_outage() -> None:
    text = PAIR.replace("fallbacks:", "context_window_fallbacks:")
    routing = import_litellm(read_foreign_text(text, "config.yaml")).routing
    assert routing is not None
    assert (routing.down, routing.share, routing.most[0]) == (["openai/m"], 0.6, 3)


@pytest.mark.parametrize("down", ["alone", "beside"])
def test_a_target_with_nobody_behind_it_has_no_breaker_unasked(down: str) -> None:
    one = '{"provider": "openai", "override_params": {"model": "m"}}'
    balanced = f'{{"strategy": {{"mode": "loadbalance"}}, "targets": [{one}, {one.replace("openai", "groq")}]}}'
    made = import_portkey(read_foreign_text(one if down == "alone" else balanced, "config.json"))
    breaker = yaml.safe_load(made.pipeline)["policies"]["default"].get("circuit_breaker", "default")
    assert breaker in (("off", False) if down == "alone" else ("default",))


def test_an_evaluation_has_no_difference_to_show() -> None:
    source = read_foreign_text("prompts: [Hello]\nproviders: openai:gpt-4o\n", "promptfooconfig.yaml")
    assert difference(import_promptfoo(source, IMPORTS, "imported"), "imported", REGISTRY) is None
