"""The schemas themselves: well-formed, described, and of use in an editor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from wizard_dsl.registry import Registry
from wizard_dsl.spec.schema import for_kind, overlay_schema, pipeline_schema, project_schema

REGISTRY = Registry(plugins=False)
KINDS = ("pipeline", "project", "overlay")


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from nodes(each)
    elif isinstance(value, list):
        for each in value:
            yield from nodes(each)


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_one_of_draft_2020_12(kind: str) -> None:
    made = for_kind(kind, REGISTRY)
    Draft202012Validator.check_schema(made)
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert made["$id"].endswith(f"/{kind}.schema.json")


@pytest.mark.parametrize("kind", KINDS)
def test_every_reference_inside_a_schema_leads_somewhere(kind: str) -> None:
    made = for_kind(kind, REGISTRY)
    for node in nodes(made):
        target: Any = made
        for part in str(node.get("$ref", "#")).split("/")[1:]:
            target = target[part]


@pytest.mark.parametrize("kind", KINDS)
def test_every_definition_is_used(kind: str) -> None:
    made = for_kind(kind, REGISTRY)
    used = {str(node["$ref"]).split("/")[2] for node in nodes(made) if "$ref" in node}
    assert set(made["$defs"]) - used == set()


def test_there_is_no_one_of_and_a_choice_is_between_types() -> None:
    made = pipeline_schema(REGISTRY)
    assert not [node for node in nodes(made) if "oneOf" in node]
    for node in nodes(made):
        kinds = [each.get("type") for each in node.get("anyOf", ()) if each.get("type") in ("object", "array")]
        assert len(kinds) == len(set(kinds))


def test_every_policy_shows_what_it_is_for_and_its_defaults() -> None:
    made = pipeline_schema(REGISTRY)
    for name, node in made["$defs"]["policies.set"]["properties"].items():
        assert node["description"], name
    assert made["$defs"]["policy.retry"]["properties"]["max_attempts"]["default"] == 3


def test_a_target_takes_only_what_works_for_a_target() -> None:
    made = pipeline_schema(REGISTRY)["$defs"]
    assert "retry" in made["policies.target"]["properties"]
    assert "cache" not in made["policies.target"]["properties"]
    assert "cache" in made["policies.chain"]["properties"]
    assert set(made["policies.provider"]["properties"]) == {"rate_limit", "concurrency", "circuit_breaker"}


@pytest.mark.parametrize(
    ("schema", "document", "valid"),
    [
        (pipeline_schema, {}, False),
        (project_schema, {}, True),
        (overlay_schema, {}, True),
        (overlay_schema, {"name": None, "chains": {"a": None, "b": {"targets": None}}}, True),
        (overlay_schema, {"chains": {"a": {"policies": {"retry": None, "cache": {"ttl": None}}}}}, True),
        (overlay_schema, {"chains": {"a": {"targets": [None]}}}, False),
        (overlay_schema, {"steps": {"a": {"when": "x", "concurrency": "many"}}}, False),
        (overlay_schema, {"steps": {"a": {"output": {"repairs": 2}}}}, True),
        (overlay_schema, {"providers": {"a": {"headers": {"Authorization": "literal"}}}}, True),
        (overlay_schema, {"providers": {"a": {"type": "openai", "headers": {"Authorization": "literal"}}}}, False),
        (pipeline_schema, {"version": 1, "policies": {"default": {"acme.redact": {"any": 1}}}}, True),
        (pipeline_schema, {"version": 1, "providers": {"a": {"type": "acme.thing", "any": 1}}}, True),
        (pipeline_schema, {"version": 1, "providers": {"a": {"type": "acme.thing", "model": 1}}}, False),
        (pipeline_schema, {"version": 1, "steps": {"a": {"type": "acme.thing", "any": 1}}}, True),
        (pipeline_schema, {"version": 1, "chains": {"a": {"targets": ["b"], "strategy": "acme.thing"}}}, True),
    ],
)
def test_what_each_schema_takes(schema: Any, document: dict[str, Any], valid: bool) -> None:
    assert Draft202012Validator(schema(REGISTRY)).is_valid(document) is valid


def test_a_secret_takes_a_whole_reference_and_nothing_else() -> None:
    validator = Draft202012Validator(pipeline_schema(REGISTRY))
    for value, valid in (
        ("${env:KEY}", True),
        ("${env:KEY:-}", True),
        ("${env:KEY:-none}", False),
        ("${file:/run/secrets/key}", True),
        ("sk-${env:KEY}", False),
        ("$${env:KEY}", False),
        ("${KEY}", False),
        ("sk-1", False),
    ):
        document = {"version": 1, "providers": {"a": {"type": "openai", "api_key": value}}}
        assert validator.is_valid(document) is valid, value


@pytest.mark.parametrize("kind", ["pipeline", "project", "overlay"])
def test_the_schema_is_made_once_for_many_files(kind: str) -> None:
    assert for_kind(kind, REGISTRY) is for_kind(kind, REGISTRY)
    assert for_kind(kind, REGISTRY) is not for_kind(kind, Registry(plugins=False))
