"""Every declaration: what it says of itself holds."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
import yaml

from wizard_dsl.core.component import PolicyConfig, PolicyType, StrategyType
from wizard_dsl.policies.admission import ADMISSION
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.concurrency import CONCURRENCY
from wizard_dsl.policies.contract import CONTRACT
from wizard_dsl.policies.deadline import DEADLINE
from wizard_dsl.policies.on_rate_limit import ON_RATE_LIMIT
from wizard_dsl.policies.rate_limit import RATE_LIMIT
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.policies.retry_budget import RETRY_BUDGET
from wizard_dsl.policies.timeout import TIMEOUT
from wizard_dsl.strategies.sequential import SEQUENTIAL

WRITTEN = (CIRCUIT_BREAKER, CONCURRENCY, CONTRACT, DEADLINE, RATE_LIMIT, RETRY, RETRY_BUDGET, TIMEOUT)
ALL = (*WRITTEN, ADMISSION, ON_RATE_LIMIT)


def read(type: PolicyType, raw: Any) -> PolicyConfig:
    """The config of a policy's value in a file."""
    return msgspec.convert(raw if isinstance(raw, dict) else {type.scalar: raw}, type.config)


@pytest.mark.parametrize("type", ALL, ids=lambda type: type.name)
def test_examples_parse_and_fit_together(type: PolicyType) -> None:
    for example in type.examples:
        document = yaml.safe_load(re.sub(r"\boff\b", "'off'", example.yaml))
        assert list(document) == [type.name]
        raw = document[type.name]
        maps = {"retry_on", "trip_on"}
        raw = {
            key: {str(name): each for name, each in value.items()} if key in maps else value
            for key, value in (raw if isinstance(raw, dict) else {type.scalar: raw}).items()
        }
        assert list(type.check(read(type, raw))) == []


@pytest.mark.parametrize("type", WRITTEN, ids=lambda type: type.name)
def test_the_scalar_names_a_field_and_every_field_is_described(type: PolicyType) -> None:
    assert type.scalar in type.config.__struct_fields__
    schema = msgspec.json.schema(type.config)["$defs"][type.config.__name__]
    assert all(node.get("description") for node in schema["properties"].values())


@pytest.mark.parametrize(
    ("type", "raw"),
    [
        (RETRY, {"max_attempts": 0}),
        (RETRY, {"max_attempts": 11}),
        (RETRY, {"jitter": 1.5}),
        (RETRY, {"jitter": "some"}),
        (RETRY, {"base": 1}),
        (RETRY, {"multiplier": 0.5}),
        (RETRY, {"retry_on": {"circuit_open": True}}),
        (RETRY, {"retry_on": {"999": True}}),
        (RETRY, {"backoff": {"server": "quadratic"}}),
        (RETRY, {"when": 503}),
        (RETRY_BUDGET, {"ratio": 0.2}),
        (RATE_LIMIT, {"rate": "100000 tokens/minute"}),
        (RATE_LIMIT, {"rate": "0/s"}),
        (RATE_LIMIT, {"burst": 0}),
        (RATE_LIMIT, {"follow_headers": "yes"}),
        (RATE_LIMIT, {"warn_at": 0.8}),
        (ADMISSION, {"global": {"per": "endpoint"}}),
        (ADMISSION, {"global": {"follow_headers": True}}),
        (CONCURRENCY, {"limit": 0}),
        (CONCURRENCY, {"adaptive": {"min": 0}}),
        (CONCURRENCY, {"limit": "adaptive"}),
        (CIRCUIT_BREAKER, {"failure_threshold": 0}),
        (CIRCUIT_BREAKER, {"failure_threshold": "never"}),
        (CIRCUIT_BREAKER, {"probe": "on"}),
        (CIRCUIT_BREAKER, {"trip_on": {"cancelled": True}}),
        (TIMEOUT, {"total": 40}),
        (DEADLINE, {}),
        (DEADLINE, {"after": "off"}),
        (CONTRACT, {"repairs": 9}),
    ],
)
def test_what_is_not_in_the_grammar_is_refused(type: PolicyType, raw: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(type, raw)


@pytest.mark.parametrize(
    ("type", "defaults"),
    [
        (RETRY, {"max_attempts": 3, "base": "1s", "multiplier": 2, "max_delay": "30s", "jitter": 0.25}),
        (RETRY_BUDGET, {"ratio": "20%", "floor": "3/s", "window": "10s"}),
        (
            RATE_LIMIT,
            {
                "rate": "10/s",
                "burst": 20,
                "windows": [],
                "per": "target",
                "token_estimate": 1000,
                "follow_headers": False,
                "warn_at": "80%",
            },
        ),
        (
            CIRCUIT_BREAKER,
            {
                "failure_threshold": 5,
                "window": "60s",
                "failure_ratio": "off",
                "minimum_calls": 10,
                "reset_timeout": "30s",
                "max_reset_timeout": "5m",
                "half_open_max_calls": 1,
                "success_threshold": 1,
                "per": "target",
            },
        ),
        (TIMEOUT, {"connect": "5s", "first_chunk": "60s", "idle": "30s", "total": "5m"}),
        (CONTRACT, {"repairs": 1}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_defaults_are_those_of_the_reference(type: PolicyType, defaults: dict[str, Any]) -> None:
    config = read(type, {})
    assert {name: getattr(config, name) for name in defaults} == defaults


def test_a_strategy_has_nothing_to_set_and_says_what_it_raises() -> None:
    assert isinstance(SEQUENTIAL, StrategyType) and SEQUENTIAL.raises and SEQUENTIAL.emits
    assert msgspec.convert({}, SEQUENTIAL.config) is not None
