"""WIZARD_* variables and --set flags, right and wrong."""

from __future__ import annotations

from wizard_dsl.spec.layers import Layer, Setting, merge
from wizard_dsl.spec.settings import env_settings, env_table, flag_settings

KINDS = {"retry": ("max_attempts", "base"), "circuit_breaker": ("failure_threshold",), "cache": ("ttl",)}
KNOWN = ("WIZARD_ENV", "WIZARD_CONFIG")


def one(name: str, value: str) -> Setting:
    (setting,), found = env_settings({name: value}, KINDS, KNOWN)
    assert found == []
    return setting


def test_every_key_of_every_kind_has_a_variable() -> None:
    table = env_table(KINDS)
    assert sorted(table) == [
        "WIZARD_CACHE_TTL", "WIZARD_CIRCUIT_BREAKER_FAILURE_THRESHOLD", "WIZARD_ENABLE_CACHING",
        "WIZARD_ENABLE_RETRY", "WIZARD_FALLBACK_CHAIN", "WIZARD_RETRY_BASE", "WIZARD_RETRY_MAX_ATTEMPTS",
    ]  # fmt: skip
    assert table["WIZARD_RETRY_MAX_ATTEMPTS"].path == ("policies", "default", "retry", "max_attempts")


def test_a_value_is_yaml() -> None:
    assert one("WIZARD_RETRY_MAX_ATTEMPTS", "5").value == 5
    assert one("WIZARD_RETRY_BASE", "30s").value == "30s"
    assert one("WIZARD_CACHE_TTL", "off").value == "off"
    assert one("WIZARD_SET__a__b", "[x, {y: 1}]").value == ["x", {"y": 1}]


def test_switches_turn_a_policy_on_with_defaults_or_off() -> None:
    on, off = one("WIZARD_ENABLE_CACHING", "true"), one("WIZARD_ENABLE_RETRY", "False")
    merged = merge([Layer("built-in", {"policies": {"default": {"retry": {"base": "1s"}}}})], [on, off])
    assert merged.data == {"policies": {"default": {"retry": "off", "cache": {}}}}


def test_the_fallback_chain_is_a_list_of_targets() -> None:
    setting = one("WIZARD_FALLBACK_CHAIN", "openai/gpt-4o, local,")
    assert (setting.path, setting.value) == (("chains", "default", "targets"), ["openai/gpt-4o", "local"])


def test_any_path_can_be_set() -> None:
    assert one("WIZARD_SET__chains__writer__targets__0__weight", "2").path == (
        "chains", "writer", "targets", "0", "weight",
    )  # fmt: skip


def test_wrong_variables_are_findings_that_name_them_and_never_their_value() -> None:
    env = {
        "WIZARD_ENABLE_RETRY": "yes-sk-secret",
        "WIZARD_FALLBACK_CHAIN": " , ",
        "WIZARD_SET__": "sk-secret",
        "WIZARD_SET__a____b": "sk-secret",
        "WIZARD_SET__a": "[sk-secret",
        "WIZARD_RETRY_MAX_ATTEMPT": "3",
        "WIZARD_ZZZ_QQQ": "1",
        "WIZARD_ENV": "development",
        "OTHER": "1",
    }
    settings, found = env_settings(env, KINDS, KNOWN)
    assert settings == []
    assert [(each.code, each.file) for each in found] == [
        ("E036", "WIZARD_ENABLE_RETRY"), ("E036", "WIZARD_FALLBACK_CHAIN"), ("W100", "WIZARD_RETRY_MAX_ATTEMPT"),
        ("E036", "WIZARD_SET__"), ("E036", "WIZARD_SET__a"), ("E036", "WIZARD_SET__a____b"), ("W100", "WIZARD_ZZZ_QQQ"),
    ]  # fmt: skip
    assert found[2].suggestion == "did you mean 'WIZARD_RETRY_MAX_ATTEMPTS'?"
    assert "secret" not in f"{found}"


def test_a_flag_is_a_path_and_a_value() -> None:
    settings, found = flag_settings(
        ["a.b[0].c=3", 'policies."acme.redact".mode=x=y', "deadline=", "m.gpt-4o.context=[1]", "t[1][2]=off"]
    )
    assert found == []
    assert [(each.path, each.value) for each in settings] == [
        (("a", "b", 0, "c"), 3),
        (("policies", "acme.redact", "mode"), "x=y"),
        (("deadline",), None),
        (("m", "gpt-4o", "context"), [1]),
        (("t", 1, 2), "off"),
    ]
    assert settings[0].written == "--set a.b[0].c"


def test_a_wrong_flag_is_a_finding() -> None:
    flags = ["a.b", "=3", "a..b=1", "a.=1", "[0]=1", "a[x]=1", "a[0]b=1", 'a."b=1', "a=[1", ""]
    settings, found = flag_settings(flags)
    assert settings == []
    assert [each.code for each in found] == ["E036"] * len(flags)
