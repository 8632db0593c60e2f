"""Policies: how they are inherited, and in which order they stand."""

from __future__ import annotations

from typing import Any

import pytest

from wizard_dsl.compiler.ladder import BUILT_IN_DEFAULT, configured, convert, in_order, inherit, odd_pairs
from wizard_dsl.compiler.program import PolicyPlan
from wizard_dsl.registry import Registry

REGISTRY = Registry(plugins=False)


def plans(*kinds: str) -> list[PolicyPlan]:
    made = []
    for kind in kinds:
        type = REGISTRY.policy(kind)
        assert type is not None
        made.append(PolicyPlan(type, convert(type, {"limit": 3} if kind == "concurrency" else {}), kind, ""))
    return made


def names(ordered: tuple[PolicyPlan, ...]) -> list[str]:
    return [plan.type.name for plan in ordered]


@pytest.mark.parametrize(
    ("layers", "merged"),
    [
        ([{"retry": {"base": "1s"}}, {"retry": {"max_attempts": 2}}], {"retry": {"base": "1s", "max_attempts": 2}}),
        ([{"retry": {"base": "1s"}}, {"retry": {"base": "2s"}}], {"retry": {"base": "2s"}}),
        ([{"retry": {"base": "1s"}}, {"retry": "off"}], {"retry": "off"}),
        ([{"retry": {"base": "1s"}}, {"retry": "off"}, {"retry": {}}], {"retry": {}}),
        ([{"x": {"map": {"a": 1}}}, {"x": {"map": {"b": 2}}}], {"x": {"map": {"a": 1, "b": 2}}}),
        ([{"x": {"list": [1, 2]}}, {"x": {"list": [3]}}], {"x": {"list": [3]}}),
        ([{"x": {"limit": 8}}, {"x": {"limit": {"min": 1}}}], {"x": {"limit": {"min": 1}}}),
        ([], {}),
    ],
)
def test_maps_merge_lists_and_scalars_replace_and_off_removes(layers: list[Any], merged: dict[str, Any]) -> None:
    assert inherit(*layers) == merged


def test_inheriting_changes_no_layer() -> None:
    below = {"retry": {"backoff": {"server": "none"}}}
    inherit(below, {"retry": {"backoff": {"timeout": "none"}}})
    assert below == {"retry": {"backoff": {"server": "none"}}}


def test_what_is_off_is_not_configured() -> None:
    assert configured({"retry": "off", "cache": {}}) == {"cache": {}}


def test_the_built_in_default_holds_four_policies_with_valid_settings() -> None:
    assert set(BUILT_IN_DEFAULT) == {"timeout", "retry", "retry_budget", "circuit_breaker"}
    for kind, raw in BUILT_IN_DEFAULT.items():
        type = REGISTRY.policy(kind)
        assert type is not None
        assert convert(type, raw) == type.config()


def test_the_order_written_does_not_matter() -> None:
    kinds = ["timeout", "circuit_breaker", "rate_limit", "retry", "concurrency"]
    ladder = ["retry", "rate_limit", "concurrency", "circuit_breaker", "timeout"]
    assert names(in_order(plans(*kinds), None)) == ladder
    assert names(in_order(plans(*reversed(kinds)), None)) == ladder


def test_a_stack_moves_the_kinds_it_names_and_leaves_the_others_in_their_places() -> None:
    kinds = ["retry", "rate_limit", "circuit_breaker", "timeout"]
    assert names(in_order(plans(*kinds), ("timeout", "retry"))) == ["timeout", "rate_limit", "circuit_breaker", "retry"]
    assert names(in_order(plans(*kinds), tuple(reversed(kinds)))) == list(reversed(kinds))


def test_a_kind_that_a_stack_names_and_nobody_configured_is_not_there() -> None:
    assert names(in_order(plans("retry", "timeout"), ("circuit_breaker", "timeout", "retry"))) == ["timeout", "retry"]


def test_two_of_a_kind_keep_their_order_under_a_stack() -> None:
    twice = [*plans("rate_limit"), *plans("retry"), *plans("rate_limit")]
    assert names(in_order(twice, ("rate_limit", "retry"))) == ["rate_limit", "rate_limit", "retry"]


def test_the_canonical_ladder_has_no_odd_pair() -> None:
    kinds = ["deadline", "cache", "contract", "retry", "rate_limit", "concurrency", "circuit_breaker", "timeout"]
    assert odd_pairs(kinds) == []
    assert {(outer, inner) for outer, inner, _ in odd_pairs(["circuit_breaker", "retry"])} == {
        ("circuit_breaker", "retry")
    }
