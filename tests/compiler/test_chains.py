"""Chains: targets looked up, policies inherited, shared settings agreed on."""

from __future__ import annotations

from pathlib import Path

import pytest
from compiler_kit import DEFAULT, HEAD, ONE, compile_text, found, program

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.registry import Registry


def ladder(policies: str, folder: Path, sets: str = "") -> str:
    text = f"{HEAD}{sets}chains: {{default: {{targets: [a], policies: {policies}}}}}\n{ONE}"
    return program(text, folder).chains["default"].ladder()


@pytest.mark.parametrize(
    ("policies", "line"),
    [
        ("{}", "sequential > retry > circuit_breaker > timeout"),
        ("{deadline: 45s, cache: 1h}", "deadline > cache > sequential > retry > circuit_breaker > timeout"),
        ("{circuit_breaker: off, retry: off}", "sequential > timeout"),
        ("{use: none}", "sequential"),
        ("{use: none, retry: 2}", "sequential > retry"),
        ("{use: quick}", "sequential > retry > rate_limit"),
        ("{use: quick, retry: off}", "sequential > rate_limit"),
        ("{stack: [timeout, retry]}", "sequential > timeout > circuit_breaker > retry"),
    ],
)
def test_a_set_lies_under_the_chains_own_policies(tmp_path: Path, policies: str, line: str) -> None:
    assert ladder(policies, tmp_path, "policies: {quick: {retry: 2, rate_limit: 5/s}}\n") == line


def test_the_files_default_is_merged_over_the_built_in_one(tmp_path: Path) -> None:
    sets = "policies: {default: {retry: off, concurrency: 3, timeout: 9s}}\n"
    assert ladder("{}", tmp_path, sets) == "sequential > concurrency > circuit_breaker > timeout"
    text = f"{HEAD}{sets}{DEFAULT}{ONE}"
    (target,) = program(text, tmp_path).chains["default"].targets
    timeout = target.ladder[-1]
    assert timeout.config.total == "9s"  # type: ignore[attr-defined]
    assert timeout.config.idle == "30s"  # type: ignore[attr-defined]
    assert timeout.origin == ("policies", "default", "timeout")


def test_a_targets_policies_lie_over_its_chains(tmp_path: Path) -> None:
    text = f"""{HEAD}
chains:
  default:
    policies: {{retry: {{max_attempts: 5, base: 2s}}}}
    targets: [a, {{provider: b, policies: {{retry: {{max_attempts: 2}}}}}}]
{ONE}"""
    first, second = program(text, tmp_path).chains["default"].targets
    told = [(target.ladder[0].config.max_attempts, target.ladder[0].config.base) for target in (first, second)]  # type: ignore[attr-defined]
    assert told == [(5, "2s"), (2, "2s")]
    assert second.ladder[0].origin == ("chains", "default", "targets", 1, "policies", "retry")


def test_a_provider_has_its_own_limit_beside_the_targets(tmp_path: Path) -> None:
    text = (
        "version: 1\nproviders: {a: {type: mock, model: m, policies: {rate_limit: 5/s}}}\n"
        f"chains: {{default: {{targets: [a, a/n], policies: {{rate_limit: 1/s}}}}}}\n{ONE}"
    )
    first, second = program(text, tmp_path).chains["default"].targets
    limits = [
        [plan.scope_key for plan in target.ladder if plan.type.name == "rate_limit"] for target in (first, second)
    ]
    assert limits[0][0] != limits[1][0]
    assert limits[0][1] == limits[1][1]
    assert limits[0][1].startswith("provider:a:")


def test_a_set_that_is_not_there_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    text = HEAD + "policies: {quick: {retry: 2}}\nchains: {default: {targets: [a], policies: {use: quik}}}\n" + ONE
    (only,) = compile_text(text, tmp_path).diagnostics
    assert (only.code, only.line, only.suggestion) == ("E043", 5, "did you mean 'quick'?")


def test_a_set_of_policies_among_the_targets_is_told_where_it_belongs(tmp_path: Path) -> None:
    text = HEAD + "policies: {quick: {retry: 2}}\nchains: {default: {targets: [a, quick]}}\n" + ONE
    (only,) = compile_text(text, tmp_path).diagnostics
    hint = "it is a set of policies: write policies: {use: quick} in the chain"
    assert (only.code, only.line, only.suggestion) == ("E043", 5, hint)


def test_a_target_that_stands_twice_is_reported_where_it_stands_again(tmp_path: Path) -> None:
    text = f"""{HEAD}chains:
  default:
    targets:
      - nope/x
      - a
      - {{provider: b, enabled: false}}
      - a/m
{ONE}"""
    assert found(text, tmp_path) == [
        "7:9 E043 there is no provider 'nope'",
        "10:9 E063 target 'a/m' stands twice in chain 'default' (as 'a')",
    ]


@pytest.mark.parametrize("form", ["${env:%s}", "https://${env:%s}/v1"])
def test_endpoints_in_two_variables_are_not_one_before_they_are_known(tmp_path: Path, form: str) -> None:
    def codes(first: str, second: str) -> list[str]:
        each = "{type: openai_compatible, api_key: '${env:KEY}', base_url: '%s'}"
        providers = f"providers: {{a: {each % (form % first)}, b: {each % (form % second)}}}\n"
        file = tmp_path / "p.yaml"
        file.write_text(f"version: 1\n{providers}chains: {{default: {{targets: [a/m, b/m]}}}}\n{ONE}")
        return [each.code for each in compile_file(file, Registry(plugins=False), Sources()).diagnostics]

    assert codes("ONE", "TWO") == []
    assert codes("ONE", "ONE") == ["E063"]


def test_a_disabled_target_is_no_twin_and_takes_no_place(tmp_path: Path) -> None:
    text = HEAD + "chains: {default: {targets: [{provider: a, enabled: false}, b, a/m]}}\n" + ONE
    targets = program(text, tmp_path).chains["default"].targets
    assert [(target.name, target.position) for target in targets] == [("b", 0), ("a/m", 1)]


BREAKERS = """chains:
  default: {targets: [a], policies: {circuit_breaker: 5}}
  other: {targets: [a/m], policies: {circuit_breaker: %s}}
"""


def test_two_chains_that_set_a_shared_policy_differently_name_both_lines(tmp_path: Path) -> None:
    (only,) = compile_text(HEAD + BREAKERS % "6" + ONE, tmp_path).diagnostics
    assert (only.code, only.line) == ("E064", 6)
    assert "here and in chains.default.policies.circuit_breaker" in only.message
    assert [(each.line, each.message) for each in only.related] == [(5, "the other setting")]


@pytest.mark.parametrize("other", ["5", "{failure_threshold: 6, per: chain}", "off"])
def test_alike_or_per_chain_or_off_is_no_conflict(tmp_path: Path, other: str) -> None:
    assert found(HEAD + BREAKERS % other + ONE, tmp_path) == []


def test_policies_without_shared_state_may_differ_freely(tmp_path: Path) -> None:
    text = "chains:\n  default: {targets: [a], policies: {retry: 5}}\n  other: {targets: [a], policies: {retry: 6}}\n"
    assert found(HEAD + text + ONE, tmp_path) == []


def test_two_targets_of_a_chain_that_share_an_endpoints_limit_must_agree_on_it(tmp_path: Path) -> None:
    text = f"""{HEAD}chains:
  default:
    targets:
      - {{provider: a, policies: {{rate_limit: {{rate: 1/s, per: endpoint}}}}}}
      - {{provider: b, policies: {{rate_limit: {{rate: 5/s, per: endpoint}}}}}}
{ONE}"""
    assert [line[:9] for line in found(text, tmp_path)] == ["8:46 E064"]
    assert found(text.replace("5/s", "1/s"), tmp_path) == []


def test_a_file_run_as_a_step_shares_the_state_and_must_agree_too(tmp_path: Path) -> None:
    inner = "version: 1\nproviders: {x: {type: mock, model: m}}\nchains: {default: {targets: [x]}}\n" + ONE
    text = f"""{HEAD}chains: {{default: {{targets: [a], policies: {{circuit_breaker: 6}}}}}}
steps: {{one: {{prompt: {{user: x}}}}, two: {{type: pipeline, file: inner.yaml}}}}
"""
    (only,) = compile_text(text, tmp_path, inner=inner).diagnostics
    assert only.code == "E064"
    assert (Path(only.file).name, only.line) == ("inner.yaml", 3)
    assert "of case.yaml" in only.message
    assert [(Path(each.file).name, each.line) for each in only.related] == [("case.yaml", 4)]
    assert found(text.replace("circuit_breaker: 6", "retry: 6"), tmp_path, inner=inner) == []


def test_a_target_needs_a_model_from_somewhere(tmp_path: Path) -> None:
    provider = "{type: openai_compatible, base_url: 'http://127.0.0.1:1'%s}"
    text = "version: 1\nproviders: {o: " + provider + "}\nchains: {default: {targets: [o]}}\n" + ONE
    (only,) = compile_text(text % "", tmp_path).diagnostics
    assert (only.code, only.line) == ("E066", 3)
    assert only.suggestion == "write o/MODEL, or set providers.o.model"
    assert found(text % ", model: x", tmp_path) == []


def test_a_chain_without_an_enabled_target_is_an_error(tmp_path: Path) -> None:
    text = HEAD + "chains: {default: {targets: [{provider: a, enabled: false}]}}\n" + ONE
    assert found(text, tmp_path) == ["4:29 E067 no target of chain 'default' is enabled"]


def test_a_description_holds_neither_keys_nor_headers(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-very-secret")
    text = (
        "version: 1\nproviders: {o: {type: openai, api_key: '${file:key}', headers: {x-team: '${file:key}'}}}\n"
        f"chains: {{default: {{targets: [o/gpt]}}}}\n{ONE}"
    )
    made = program(text, tmp_path)
    assert "sk-very-secret" not in repr(made.describe())
    assert "sk-very-secret" not in made.chains["default"].targets[0].key
