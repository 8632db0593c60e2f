"""Imports of Portkey: gateway configs as chains that do what its documentation says, each setting accounted for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from import_kit import (
    IMPORTS,
    Text,
    artefact,
    asked,
    called,
    compiled,
    finding,
    read_foreign_text,
    reader,
    settings,
    written,
)
from syrupy.assertion import SnapshotAssertion

from wizard_dsl.analysis.importing.findings import Imported
from wizard_dsl.analysis.importing.portkey import import_portkey
from wizard_dsl.core.errors import SpecError
from wizard_dsl.spec.diagnostics import has_errors, render_text

FILES = sorted((IMPORTS / "portkey").glob("*.json"))
ONE = {"provider": "openai", "override_params": {"model": "one"}}
TWO = {"provider": "anthropic", "override_params": {"model": "two"}}


def imported(config: dict[str, Any] | str, name: str = "config.json") -> Imported:
    text = config if isinstance(config, str) else json.dumps(config)
    return import_portkey(read_foreign_text(text, name))


of_file = reader(imported)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
class TestEveryFile:
    def test_is_imported_as_it_was_reviewed(self, path: Path, snapshot: SnapshotAssertion) -> None:
        assert artefact(of_file(path)) == snapshot(extension_class=Text)

    def test_has_exactly_one_finding_for_each_setting(self, path: Path) -> None:
        made = of_file(path)
        assert [each.setting for each in made.findings] == settings(path.read_text(encoding="utf-8").replace("\t", " "))
        assert all(each.why or each.outcome == "mapped" for each in made.findings)

    def test_becomes_a_pipeline_without_errors_that_answers(self, path: Path, tmp_path: Path) -> None:
        made = of_file(path)
        found = compiled(made, tmp_path).diagnostics
        assert not has_errors(found), render_text(found)
        assert asked(made, tmp_path, prompt="Hello").ok

    def test_writes_no_key(self, path: Path) -> None:
        assert "a-literal" not in artefact(of_file(path))


def test_a_fallback_is_for_whatever_is_no_success(tmp_path: Path) -> None:
    made = imported({"strategy": {"mode": "fallback"}, "targets": [ONE, TWO]})
    for status in (400, 401, 404, 429, 500, 503):
        assert called(made, tmp_path, {"openai/*": [status], "anthropic/*": ["Hi"]}) == ["openai/one", "anthropic/two"]


def test_a_fallback_on_some_codes_is_for_these_alone(tmp_path: Path) -> None:
    made = imported({"strategy": {"mode": "fallback", "on_status_codes": [401, 429, 503]}, "targets": [ONE, TWO]})
    for status in (401, 429, 503):
        assert called(made, tmp_path, {"openai/*": [status], "anthropic/*": ["Hi"]})[-1] == "anthropic/two"
    for status in (400, 404, 500, 502):
        assert called(made, tmp_path, {"openai/*": [status], "anthropic/*": ["Hi"]}) == ["openai/one"]


def test_a_balanced_load_falls_back_to_nobody(tmp_path: Path) -> None:
    made = imported({"strategy": {"mode": "loadbalance"}, "targets": [{**ONE, "weight": 1}, {**TWO, "weight": 0}]})
    assert called(made, tmp_path, {"openai/*": [503], "anthropic/*": ["Hi"]}) == ["openai/one"]


def test_a_repeat_is_for_the_codes_that_are_named(tmp_path: Path) -> None:
    made = imported({**ONE, "retry": {"attempts": 2, "on_status_codes": [502]}})
    assert called(made, tmp_path, {"openai/*": [502, 502, "Hi"]}) == ["openai/one"] * 3
    assert called(made, tmp_path, {"openai/*": [503, "Hi"]}) == ["openai/one"]


def test_without_retry_nothing_is_repeated(tmp_path: Path) -> None:
    made = imported(ONE)
    assert called(made, tmp_path, {"openai/*": [503, "Hi"]}) == ["openai/one"]
    assert any("`retry: off`" in note for note in made.notes)


def test_what_stands_above_holds_below_unless_it_is_set_there() -> None:
    inner = {"strategy": {"mode": "fallback"}, "targets": [ONE, {**TWO, "retry": {"attempts": 1}}]}
    made = imported(
        {"retry": {"attempts": 4}, "request_timeout": 5000, "strategy": {"mode": "fallback"}, "targets": [inner]}
    )
    assert written(made)["policies"]["default"]["retry"]["max_attempts"] == 5
    assert written(made)["policies"]["default"]["timeout"] == {"total": "5s"}
    assert written(made)["chains"]["default"]["targets"][1]["policies"]["retry"]["max_attempts"] == 2
    assert (
        finding(made, "targets[0].targets[1].retry.attempts").to
        == "chains.default.targets[1].policies.retry.max_attempts"
    )


def test_weights_within_weights_are_multiplied() -> None:
    pair = {"strategy": {"mode": "loadbalance"}, "weight": 0.5, "targets": [{**ONE, "weight": 3}, {**TWO, "weight": 1}]}
    third = {"provider": "groq", "override_params": {"model": "three"}, "weight": 0.5}
    made = imported({"strategy": {"mode": "loadbalance"}, "targets": [pair, third]})
    assert [each["weight"] for each in written(made)["chains"]["default"]["targets"]] == [0.375, 0.125, 0.5]


@pytest.mark.parametrize(
    ("inputs", "model"),
    [
        ({"user_plan": "paid"}, "openai/ft:gpt-4o-mini:acme"),
        ({"user_plan": "paid", "temperature": 1}, "openai/ft:gpt-4o-mini:acme"),
        ({"user_plan": "free"}, "openai/gpt-4o-mini"),
        ({"temperature": 0.9}, "openai/gpt-4o-mini"),
        ({}, "openai/gpt-4o-mini"),
    ],
)
def test_conditions_choose_as_they_do_there_the_first_that_holds(
    tmp_path: Path, inputs: dict[str, Any], model: str
) -> None:
    made = of_file(IMPORTS / "portkey" / "conditional.json")
    assert [each.target for each in asked(made, tmp_path, prompt="Hello", **inputs).attempts] == [model]


def test_virtual_keys_get_a_variable_each() -> None:
    targets = [{"virtual_key": f"openai-{name}", "override_params": {"model": "m"}} for name in ("a", "b", "a")]
    made = imported({"strategy": {"mode": "loadbalance"}, "targets": targets[:2]})
    keys = [each["api_key"] for each in written(made)["providers"].values()]
    assert keys == ["${env:OPENAI_API_KEY}", "${env:OPENAI_API_KEY_2}"]
    assert "is with Portkey" in str(finding(made, "targets[1].virtual_key").why)


@pytest.mark.parametrize(
    ("setting", "value", "why"),
    [
        ("retry", {"attempts": "many"}, "not a whole number"),
        ("retry", {"attempts": 1, "on_status_codes": [42]}, "no status from 300 to 599"),
        ("cache", {"mode": "clever"}, "the mode simple or semantic"),
        ("request_timeout", -1, "not a number of milliseconds"),
        ("custom_host", "ftp://x", "not an http: or https: URL"),
        ("weight", "heavy", "not a number of at least 0"),
        ("retrys", 3, "did you mean 'retry'?"),
        ("input_guardrails", ["g"], "guardrails are Portkey's"),
    ],
)
def test_what_cannot_be_taken_over_is_dropped_with_the_reason(setting: str, value: Any, why: str) -> None:
    made = imported({**ONE, setting: value})
    found = [each for each in made.findings if each.setting.startswith(setting) and why in str(each.why)]
    assert [each.outcome for each in found] == ["dropped"]


@pytest.mark.parametrize("text", ["{}", '{"strategy": {"mode": "fallback"}}', '{"retry": {"attempts": 3}}', "[1]", "3"])
def test_a_config_that_asks_nobody_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        imported(text)


def test_no_json_is_refused_with_the_line() -> None:
    with pytest.raises(SpecError, match=r"config.json:2:1 error\[E008\]"):
        imported('{"provider": "openai",\n')


def test_a_config_with_an_empty_list_of_targets_asks_nobody() -> None:
    with pytest.raises(SpecError, match="there is nobody to ask"):
        imported({"targets": [], "retry": {"attempts": 2}})


def test_what_stands_in_the_wrong_place_or_has_another_form_here_is_told() -> None:
    made = imported({**ONE, "cbConfig": {"failure_threshold": 3}, "strategy": {"mode": "single"}})
    assert "Portkey reads it in a `strategy`" in str(finding(made, "cbConfig.failure_threshold").why)
    sticky = {"strategy": {"mode": "loadbalance", "sticky_session": {"ttl": 60}}, "targets": [ONE, TWO]}
    assert "sticky: …" in str(finding(imported(sticky), "strategy.sticky_session.ttl").why)


def test_a_virtual_key_names_its_service_in_either_spelling() -> None:
    for virtual in ("openai-prod", "open-ai-virtual-xxxx"):
        made = imported({"virtual_key": virtual, "override_params": {"model": "gpt-4o"}})
        assert [each["type"] for each in written(made)["providers"].values()] == ["openai"]


def test_virtual_keys_of_unknown_services_have_an_address_each() -> None:
    targets = [{"virtual_key": each, "override_params": {"model": "m"}} for each in ("ours-1", "theirs-2")]
    made = imported({"strategy": {"mode": "fallback"}, "targets": targets})
    addresses = [each["base_url"] for each in written(made)["providers"].values()]
    assert addresses == ["${env:PROVIDER_BASE_URL}", "${env:PROVIDER_BASE_URL_2}"]
    why = finding(made, "targets[1].virtual_key").why
    assert why is not None and why.endswith("gateway that speaks OpenAI's protocol into PROVIDER_BASE_URL_2")


def test_a_model_of_workers_ai_keeps_the_at_of_its_name() -> None:
    made = imported({"provider": "workers-ai", "api_key": "k", "override_params": {"model": "@cf/meta/llama-3"}})
    assert written(made)["chains"]["default"]["targets"][0]["model"] == "@cf/meta/llama-3"


@pytest.mark.parametrize(("name", "value"), [("response_format", {"type": "json_object"}), ("tools", [])])
def test_parts_of_a_request_that_are_no_parameters_are_said_to_stand_elsewhere(name: str, value: Any) -> None:
    made = imported({"provider": "openai", "api_key": "k", "override_params": {"model": "m", name: value}})
    (told,) = [each for each in made.findings if name in each.setting]
    assert told.outcome == "dropped" and told.why is not None and "unknown" not in told.why
