"""Every registered component of every kind keeps to the rules that are public for plug-ins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from exchanges import CHAT, EXCHANGES

from wizard_dsl.core.messages import Request, message
from wizard_dsl.registry import BUILT_INS, Registry
from wizard_dsl.testing.conformance import RULES, RULES_BY_KIND, Case, cases

REGISTRY = Registry(plugins=False)
PRESETS = tuple(
    name for name in REGISTRY.names("providers") if BUILT_INS["providers"][name].split(":")[0].endswith("presets")
)
INTERNAL = ("contract", "on_rate_limit", "safety")
#: What a preset may do differently from the protocol it speaks.
OF_PRESETS = ("declaration", "round-trip", "endpoint", "secret")


def asked_for_a_number(text: str) -> Request:
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    return Request(messages=(message("user", text),), schema=schema)


def is_adaptive(config: Any) -> bool:
    return config.adaptive is not msgspec.UNSET


HOW: dict[str, list[dict[str, Any]]] = {
    "contract": [{"request": asked_for_a_number, "answer": '{"n": 1}'}, {"request": asked_for_a_number, "at_once": 3}],
    "concurrency": [{"configs": [{"limit": 1}, {"limit": 3, "per": "chain", "max_wait": "2s"}], "learns": is_adaptive}],
    "circuit_breaker": [{"configs": [{"failure_threshold": 1}, {"per": "chain"}]}],
    "rate_limit": [{"configs": [{"rate": "1/s", "burst": 1}, {"rate": "1/s", "burst": 2, "max_wait": "0s"}]}],
    "timeout": [{"configs": [{"total": "2s"}]}],
    "deadline": [{"configs": [{"after": "2s"}]}],
    "safety": [{"configs": [{"block_when": "'one' in text"}]}],
}


def running() -> Iterator[Case]:
    policies = [*REGISTRY.all_policies(), *(REGISTRY.policy(name) for name in INTERNAL)]
    for each in [*policies, *REGISTRY.all_strategies()]:
        assert each is not None
        for how in HOW.get(each.name, [{}]):
            yield from (case for case in cases(each, **how) if not is_dear(case))


def is_dear(case: Case) -> bool:
    """In a whole ladder, and where streams are resumed, the defaults are tried; each example stands alone."""
    return any(each in str(case) for each in ("in a ladder", "restart", "continue")) and "[defaults" not in str(case)


def providers() -> Iterator[Case]:
    for each in REGISTRY.all_providers():
        if each.name == "embedded":
            yield from (case for case in cases(each, alone=True) if case.rule != "exchange")
        elif each.name == "mock":
            yield from cases(each, alone=True)
        else:
            preset = each.name in PRESETS  # its node is openai_compatible's
            found = cases(each, exchanges=[EXCHANGES.get(each.name, CHAT)])
            yield from (case for case in found if not preset or case.rule in OF_PRESETS)


def stores() -> Iterator[Case]:
    for name in REGISTRY.names("stores"):
        each = REGISTRY.store(name)
        assert each is not None
        yield from cases(each)
        yield from cases(each, threads=True)


@pytest.mark.parametrize("case", [*running()], ids=str)
def test_a_policy_or_strategy_behaves(case: Case) -> None:
    case()


@pytest.mark.parametrize("case", [*providers()], ids=str)
def test_a_provider_behaves(case: Case) -> None:
    case()


@pytest.mark.parametrize("case", [*stores()], ids=str)
def test_a_store_behaves(case: Case) -> None:
    case()


@pytest.mark.parametrize("case", [case for each in REGISTRY.all_steps() for case in cases(each)], ids=str)
def test_a_step_is_as_it_is_declared(case: Case) -> None:
    case()


def test_every_rule_was_tried() -> None:
    """Those of lint rules are tried in tests/lint: none of ours is of that type."""
    tried = {case.rule for case in (*running(), *providers(), *stores())}
    assert tried == {*RULES} - {*RULES_BY_KIND["Rules of lint"]}
