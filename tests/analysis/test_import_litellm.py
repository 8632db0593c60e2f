"""Imports of LiteLLM: twelve router configurations, each setting accounted for, and what single settings become."""

from __future__ import annotations

import json
from pathlib import Path

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
from wizard_dsl.analysis.importing.litellm import import_litellm
from wizard_dsl.core.errors import SpecError
from wizard_dsl.spec.diagnostics import has_errors, render_text

FILES = sorted((IMPORTS / "litellm").glob("*.yaml"))
PAIR = """\
model_list:
  - model_name: a
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY}
  - model_name: b
    litellm_params: {model: anthropic/claude-sonnet-4-5, api_key: os.environ/ANTHROPIC_API_KEY}
"""


def imported(text: str, name: str = "config.yaml") -> Imported:
    return import_litellm(read_foreign_text(text, name))


of_file = reader(imported)


def with_router(lines: str) -> Imported:
    return imported(f"{PAIR}router_settings:\n  {lines}\n")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
class TestEveryFile:
    def test_is_imported_as_it_was_reviewed(self, path: Path, snapshot: SnapshotAssertion) -> None:
        assert artefact(of_file(path)) == snapshot(extension_class=Text)

    def test_has_exactly_one_finding_for_each_setting(self, path: Path) -> None:
        made = of_file(path)
        assert [each.setting for each in made.findings] == settings_in_order(path, made)
        assert all(each.why or each.outcome == "mapped" for each in made.findings)
        assert all(each.to for each in made.findings if each.outcome != "dropped")

    def test_has_findings_at_the_lines_where_the_settings_stand(self, path: Path) -> None:
        lines = path.read_text(encoding="utf-8").splitlines()
        for each in of_file(path).findings:
            key = each.setting.rsplit(".", 1)[-1].split("[")[0].strip('"')
            assert each.setting.endswith("]") or key in lines[each.line - 1], each

    def test_becomes_a_pipeline_without_errors(self, path: Path, tmp_path: Path) -> None:
        found = compiled(of_file(path), tmp_path).diagnostics
        assert not has_errors(found), render_text(found)

    def test_answers_every_model_against_mocks(self, path: Path, tmp_path: Path) -> None:
        made = of_file(path)
        models = written(made)["inputs"].get("model", {"enum": [None]})["enum"]
        for model in models:
            result = asked(made, tmp_path, prompt="Hello", **({"model": model} if model else {}))
            assert result.ok and len(result.attempts) == 1

    def test_writes_no_key_and_no_password(self, path: Path) -> None:
        text = artefact(of_file(path))
        assert "a-literal" not in text and "sk-" not in text


def settings_in_order(path: Path, made: Imported) -> list[str]:
    """As another parser counts them; merged keys come in an order of its own."""
    expected = settings(path.read_text(encoding="utf-8"))
    order = {each.setting: number for number, each in enumerate(made.findings)}
    return sorted(expected, key=lambda each: order.get(each, -1))


def test_there_are_twelve_configurations_of_different_shapes() -> None:
    assert len(FILES) == 12
    assert len({artefact(of_file(path)).split("--- findings")[0] for path in FILES}) == 12


def test_a_group_makes_as_many_attempts_as_litellm_or_the_next_more() -> None:
    one = "  - model_name: a\n    litellm_params: {{model: openai/m{}}}\n"
    for size, attempts in ((1, 6), (2, 3), (3, 2), (6, 1), (8, 1)):
        listed = "".join(one.format(number) for number in range(size))
        made = imported(f"model_list:\n{listed}router_settings: {{num_retries: 5}}\n")
        target = written(made)["chains"]["a"]["targets"][0]
        own = target.get("policies", {}).get("retry", written(made)["policies"]["default"]["retry"])
        assert own["max_attempts"] == attempts
        assert finding(made, "router_settings.num_retries").outcome == ("mapped" if size == 1 else "approximated")


def test_an_auth_error_falls_back_as_it_does_there(tmp_path: Path) -> None:
    made = with_router("fallbacks: [{a: [b]}]")
    assert written(made)["chains"]["a"]["fallback_on"]["auth"] is True
    assert written(made)["chains"]["b"].get("fallback_on") is None
    assert finding(made, "router_settings.fallbacks[0].a[0]").outcome == "mapped"


def test_a_fallback_for_one_kind_is_taken_for_that_kind_alone() -> None:
    chain = written(with_router("context_window_fallbacks: [{a: [b]}]"))["chains"]["a"]
    assert chain["fallback_on"].pop("context_length") is True
    assert set(chain["fallback_on"].values()) == {False}
    assert len(chain["targets"]) == 2


A, B = "openai/gpt-4o", "anthropic/claude-sonnet-4-5"


@pytest.mark.parametrize(
    ("router", "script", "calls"),
    [
        ("{num_retries: 2, fallbacks: [{a: [b]}]}", [503, 503, 503], [A, A, A, B]),
        ("{num_retries: 2, fallbacks: [{a: [b]}]}", [503, "Hi"], [A, A]),
        ("{num_retries: 2, fallbacks: [{a: [b]}]}", [401], [A, B]),
        ("{num_retries: 2, fallbacks: [{a: [b]}]}", [400], [A, B]),
        ("{num_retries: 0, fallbacks: [{a: [b]}]}", [503], [A, B]),
        ("{num_retries: 1, default_fallbacks: [b]}", [500, 500], [A, A, B]),
        ("{num_retries: 1}", [503, 503], [A, A]),
        ("{num_retries: 1, context_window_fallbacks: [{a: [b]}]}", [503, 503], [A, A]),
        ("{num_retries: 3, retry_policy: {TimeoutErrorRetries: 1}}", [408, 408, "Hi"], [A, A]),
        ("{num_retries: 3, retry_policy: {TimeoutErrorRetries: 1}}", [500, 500, 500, "Hi"], [A, A, A, A]),
        ("{num_retries: 3, retry_policy: {InternalServerErrorRetries: 0}}", [500, "Hi"], [A]),
        ("{num_retries: 0, retry_policy: {AuthenticationErrorRetries: 2}}", [401, 401, "Hi"], [A, A, A]),
        ("{num_retries: 0, retry_policy: {AuthenticationErrorRetries: 2}}", [500, "Hi"], [A]),
    ],
)
def test_a_call_asks_whom_it_asked_there(tmp_path: Path, router: str, script: list[object], calls: list[str]) -> None:
    assert called(with_router(router), tmp_path, {"openai/*": script, "anthropic/*": ["Hi"]}, model="a") == calls


def test_a_prompt_that_does_not_fit_goes_to_the_group_that_is_named_for_it(tmp_path: Path) -> None:
    made = with_router("{num_retries: 1, context_window_fallbacks: [{a: [b]}]}")
    script = [{"status": 400, "body": '{"error": {"code": "context_length_exceeded", "message": "too long"}}'}]
    assert called(made, tmp_path, {"openai/*": script, "anthropic/*": ["Hi"]}, model="a") == [A, B]


def test_a_limit_is_kept_only_where_litellm_keeps_it() -> None:
    one = "{model_name: a, litellm_params: {model: openai/%s, rpm: 6}}"
    text = f"model_list: [{one % 'm'}, {one % 'n'}]\n"
    free = written(imported(text))["chains"]["a"]
    assert [each["weight"] for each in free["targets"]] == [6, 6] and "fallback_on" not in free
    kept = written(imported(f"{text}router_settings: {{enable_pre_call_checks: true}}\n"))["chains"]["a"]
    assert kept["targets"][0]["policies"]["rate_limit"] == {"windows": ["6/minute"], "max_wait": "0s"}
    assert kept["fallback_on"] == {"local_limit": True}


def test_a_weight_of_the_only_deployment_is_dropped() -> None:
    made = imported("model_list: [{model_name: a, litellm_params: {model: openai/m, weight: 3, rpm: 6}}]\n")
    for name in ("weight", "rpm"):
        found = finding(made, f"model_list[0].litellm_params.{name}")
        assert (found.outcome, found.why) == ("dropped", "there is nobody to weigh the deployment against")
    assert "weight" not in written(made)["chains"]["a"]["targets"][0]


def test_cooldowns_become_a_breaker_and_can_be_off() -> None:
    breaker = written(with_router("{allowed_fails: 2, cooldown_time: 90}"))["policies"]["default"]["circuit_breaker"]
    assert (breaker["failure_threshold"], breaker["reset_timeout"], breaker["window"]) == (3, "1m30s", "60s")
    assert written(with_router("disable_cooldowns: true"))["policies"]["default"]["circuit_breaker"] in ("off", False)


def test_router_settings_win_over_litellm_settings_and_both_are_told() -> None:
    made = imported(f"{PAIR}litellm_settings: {{num_retries: 7}}\nrouter_settings: {{num_retries: 1}}\n")
    assert written(made)["policies"]["default"]["retry"]["max_attempts"] == 2
    assert finding(made, "litellm_settings.num_retries").why == "router_settings sets it, too, and wins"


def test_deployments_of_one_service_share_a_provider_until_they_set_a_model_up_differently() -> None:
    one = "{model_name: %s, litellm_params: {model: openai/m, temperature: %s}}"
    made = imported(f"model_list: [{one % ('a', 0)}, {one % ('b', 0)}, {one % ('c', 1)}]\n")
    assert list(written(made)["providers"]) == ["openai", "openai_2"]
    assert [each["targets"][0]["provider"] for each in written(made)["chains"].values()] == [
        "openai",
        "openai",
        "openai_2",
    ]


def test_a_deployment_that_stands_twice_in_a_group_is_one_target_with_both_weights() -> None:
    one = "{model_name: a, litellm_params: {model: openai/%s, weight: %s}}"
    made = imported(f"model_list: [{one % ('m', 2)}, {one % ('m', 3)}, {one % ('n', 1)}]\n")
    assert [each["weight"] for each in written(made)["chains"]["a"]["targets"]] == [5, 1]


def test_a_key_that_stands_there_gets_a_variable_that_the_source_does_not_use() -> None:
    one = "{model_name: a, litellm_params: {model: openai/m, api_key: %s}}"
    made = imported(f"model_list: [{one % 'os.environ/OPENAI_API_KEY'}, {one % 'sk-secret'}, {one % 'sk-secret'}]\n")
    keys = [each["api_key"] for each in written(made)["providers"].values()]
    assert keys == ["${env:OPENAI_API_KEY}", "${env:OPENAI_API_KEY_2}"]
    assert "OPENAI_API_KEY_2" in str(finding(made, "model_list[1].litellm_params.api_key").why)


def test_budgets_of_other_lengths_are_scaled_and_said_to_be() -> None:
    week = imported(f"{PAIR}litellm_settings: {{max_budget: 70, budget_duration: 7d}}\n")
    assert written(week)["budgets"] == {"month": "$300.00"}
    assert finding(week, "litellm_settings.max_budget").outcome == "approximated"
    day = imported(f"{PAIR}litellm_settings: {{max_budget: 5, budget_duration: 24h}}\n")
    assert written(day)["budgets"] == {"day": "$5.00"}
    assert finding(day, "litellm_settings.max_budget").outcome == "mapped"


def test_time_for_every_attempt_is_left() -> None:
    made = with_router("{timeout: 300, num_retries: 3, fallbacks: [{a: [b]}]}")
    assert written(made)["deadline"] == "41m"
    assert "deadline" not in written(with_router("{timeout: 10, num_retries: 3}"))


@pytest.mark.parametrize(
    ("line", "setting", "why"),
    [
        ("num_retries: many", "num_retries", "the value is not a whole number"),
        ("num_retries: -1", "num_retries", "the value is not a whole number"),
        ("cooldown_time: {}", "cooldown_time", "the value is not a number of seconds"),
        ("timeout: 0", "timeout", "the value is not a number of seconds"),
        ("fallbacks: 3", "fallbacks", "the value is not of the form that the setting has"),
        ("retry_policy: []", "retry_policy", "the value is not of the form that the setting has"),
        ("fallbacks: [{z: [a]}]", "fallbacks[0].z[0]", "model_list has no group 'z'"),
        ("fallbacks: [{a: [z]}]", "fallbacks[0].a[0]", "model_list has no group or id 'z'"),
    ],
)
def test_a_value_that_makes_no_sense_is_dropped_with_the_reason(line: str, setting: str, why: str) -> None:
    found = finding(with_router(line), f"router_settings.{setting}")
    assert (found.outcome, found.why, found.line) == ("dropped", why, 7)


def test_an_unknown_key_is_kept_as_a_finding_with_what_was_meant() -> None:
    found = finding(with_router("num_retires: 3"), "router_settings.num_retires")
    assert found.outcome == "dropped" and "unknown key" in str(found.why)
    assert str(found.why).endswith("did you mean 'num_retries'?")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modellist: []\n", "is 'modellist' meant to be it?"),
        ("providers: {}\n", "lists its deployments there"),
        ("model_list: []\n", "lists its deployments there"),
        ("model_list: [{model_name: a}]\n", "each needs a model_name"),
    ],
)
def test_a_file_that_is_no_proxys_is_refused_with_a_hint(text: str, said: str) -> None:
    with pytest.raises(SpecError) as failed:
        imported(text)
    assert said in str(failed.value.suggestion)
    assert failed.value.where.startswith("config.yaml:")


def test_a_file_that_is_no_yaml_is_refused_with_its_line() -> None:
    with pytest.raises(SpecError, match=r"config.yaml:2:1 error\[E008\]"):
        imported("model_list: [\n")


def test_merged_keys_do_not_replace_those_that_stand_there() -> None:
    text = (
        "base: &a {api_key: os.environ/A, temperature: 1}\nmore: &b {temperature: 2, seed: 3}\n"
        "model_list: [{model_name: a, litellm_params: {<<: [*a, *b], model: openai/m, seed: 4}}]\n"
    )
    made = imported(text)
    assert written(made)["chains"]["a"]["targets"][0]["params"] == {"temperature": 1, "seed": 4}
    assert finding(made, "model_list[0].litellm_params.temperature").line == 1


def test_one_target_in_two_groups_with_different_limits_has_them_in_each_chain(tmp_path: Path) -> None:
    one = "{model_name: %s, litellm_params: {model: openai/m, rpm: %s}}"
    made = imported(
        f"model_list: [{one % ('a', 5)}, {one % ('b', 10)}]\nrouter_settings: {{enable_pre_call_checks: true}}\n"
    )
    limits = [each["targets"][0]["policies"]["rate_limit"] for each in written(made)["chains"].values()]
    assert [each["per"] for each in limits] == ["chain", "chain"]
    assert not has_errors(compiled(made, tmp_path).diagnostics)


def test_of_two_ways_to_ask_one_target_in_a_group_the_first_is_taken(tmp_path: Path) -> None:
    one = "{model_name: a, litellm_params: {model: openai/m, temperature: %s}}"
    made = imported(f"model_list: [{one % 0}, {one % 1}]\n")
    assert [each["params"] for each in written(made)["chains"]["a"]["targets"]] == [{"temperature": 0}]
    found = finding(made, "model_list[1].litellm_params.temperature")
    assert (found.outcome, found.to) == ("dropped", None) and "the same target" in str(found.why)
    assert not has_errors(compiled(made, tmp_path).diagnostics)


def test_what_looks_like_a_key_is_not_written_wherever_it_stands() -> None:
    key = "sk-proj-abcdefghijkl0123456789"
    params = {"model": "openai/m", "user": key, "extra_headers": {"x-team": key}, "api_base": f"https://me:{key}@x.com"}
    made = imported(json.dumps({"model_list": [{"model_name": "a", "litellm_params": params}]}))
    assert key not in artefact(made)
    assert finding(made, "model_list[0].litellm_params.user").outcome == "approximated"
    assert written(made)["providers"]["openai"]["headers"] == {"x-team": "${env:OPENAI_X_TEAM}"}


def test_the_name_of_a_model_is_no_key() -> None:
    made = imported("model_list: [{model_name: a, litellm_params: {model: openrouter/xai-grok-2-vision-1212}}]\n")
    assert written(made)["chains"]["a"]["targets"][0]["model"] == "xai-grok-2-vision-1212"


@pytest.mark.parametrize(
    ("model", "outcome"),
    [("mistral/mistral-embed", "embed"), ("openai/text-embedding-3-small", "embed"), ("openai/gpt-4o", "generate")],
)
def test_a_model_for_embeddings_is_known_by_its_name(model: str, outcome: str) -> None:
    (step,) = written(imported(f"model_list: [{{model_name: a, litellm_params: {{model: {model}}}}}]\n"))[
        "steps"
    ].values()
    assert step.get("type", "generate") == outcome


@pytest.mark.parametrize("model", ["dall-e-3", "azure/", "openai/whisper-1", "openai/tts-1-hd"])
def test_a_model_that_cannot_be_asked_for_text_is_dropped(model: str) -> None:
    made = imported(f"{PAIR}  - {{model_name: x, litellm_params: {{model: {model}}}}}\n")
    assert list(written(made)["chains"]) == ["a", "b"]
    assert finding(made, "model_list[2].litellm_params.model").outcome == "dropped"


def test_a_lone_deployment_is_not_cut_off_unasked() -> None:
    def breaker(router: str) -> object:
        target = written(with_router(router))["chains"]["a"]["targets"][0]
        return target.get("policies", {}).get("circuit_breaker", "default")

    assert breaker("num_retries: 1") in ("off", False)
    assert breaker("context_window_fallbacks: [{a: [b]}]") in ("off", False)
    assert breaker("fallbacks: [{a: [b]}]") == "default"
    assert breaker("allowed_fails: 3") == "default"


def test_a_fallback_that_is_not_there_leaves_the_chain_as_it_is() -> None:
    made = with_router("context_window_fallbacks: [{a: [c]}]")
    assert "fallback_on" not in written(made)["chains"]["a"]
    assert written(made)["chains"]["a"]["targets"][0]["policies"]["circuit_breaker"] is False  # `off`
    found = finding(made, "router_settings.context_window_fallbacks[0].a[0]")
    assert (found.outcome, found.why) == ("dropped", "model_list has no group or id 'c'")


def test_a_fallback_that_a_wildcard_would_take_is_said_to_need_an_entry() -> None:
    wild = "  - model_name: 'gpt-*'\n    litellm_params: {model: openai/*}\n"
    made = imported(f"{PAIR}{wild}router_settings: {{fallbacks: [{{a: [gpt-9]}}]}}\n")
    why = finding(made, "router_settings.fallbacks[0].a[0]").why
    assert why == "model_list has no group or id 'gpt-9'; the group 'gpt-*' would take it: give it an entry of its own"


def test_a_fallback_to_the_same_deployment_needs_no_other_kinds_of_error() -> None:
    again = "  - model_name: c\n    litellm_params: {model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY}\n"
    chain = written(imported(f"{PAIR}{again}router_settings: {{fallbacks: [{{a: [c]}}]}}\n"))["chains"]["a"]
    assert len(chain["targets"]) == 1 and "fallback_on" not in chain


def test_a_key_in_the_wrong_section_is_said_to_be_read_elsewhere() -> None:
    made = imported(f"{PAIR}general_settings: {{max_budget: 2, num_retries: 1}}\n")
    assert finding(made, "general_settings.max_budget").why == "LiteLLM reads it in router_settings, not here"
    assert finding(made, "general_settings.num_retries").outcome == "dropped"


@pytest.mark.parametrize(
    ("params", "setting", "why"),
    [
        ("tools: [{type: function}]", "tools[0].type", "tools stand in a prompt, under `tools`"),
        ("response_format: {type: json_object}", "response_format.type", "a step declares its schema, under `output`"),
        ("stream: true", "stream", "whoever runs a pipeline chooses to stream"),
        ("rpm: 60", "rpm", "to keep the limit: rate_limit: {windows: …}"),
    ],
)
def test_what_a_request_brings_there_is_said_to_stand_elsewhere(params: str, setting: str, why: str) -> None:
    text = f"model_list:\n  - model_name: a\n    litellm_params: {{model: openai/m, {params}}}\n"
    two = f"{text}  - model_name: a\n    litellm_params: {{model: openai/n}}\n"
    assert why in str(finding(imported(two), f"model_list[0].litellm_params.{setting}").why)


def test_a_thousand_deployments_get_names_of_their_own() -> None:
    one = "  - {{model_name: m, litellm_params: {{model: openai/x, api_key: os.environ/K{}}}}}\n"
    made = imported("model_list:\n" + "".join(one.format(at) for at in range(1000)))
    names = list(written(made)["providers"])
    assert names[:3] == ["openai", "openai_2", "openai_3"] and len(set(names)) == 1000
