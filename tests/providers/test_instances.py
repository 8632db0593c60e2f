"""Instances of schemas satisfy them."""

from __future__ import annotations

import re

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wizard_dsl.providers._instances import instance, matching

SCHEMAS = [
    {"type": "string"},
    {"type": "string", "minLength": 30, "maxLength": 31},
    {"type": "string", "maxLength": 2},
    {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"},
    {"type": "string", "format": "date-time"},
    {"type": "integer"},
    {"type": "integer", "minimum": 3, "maximum": 3},
    {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
    {"type": "integer", "maximum": -5},
    {"type": "integer", "multipleOf": 7, "minimum": 1},
    {"type": "number", "minimum": 0, "maximum": 1},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.1},
    {"type": "number", "minimum": 0.2, "maximum": 0.3},
    {"type": "boolean"},
    {"type": "null"},
    {"type": ["string", "null"]},
    {"const": {"a": 1}},
    {"enum": [1, "two", None]},
    {"type": "array", "items": {"type": "integer"}, "minItems": 3, "maxItems": 4},
    {"type": "array", "maxItems": 0},
    {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 3, "uniqueItems": True},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
    {"type": "object"},
    {"type": "object", "minProperties": 2},
    {"type": "object", "minProperties": 1, "additionalProperties": {"type": "integer"}},
    {"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "integer"}}},
    {"properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False},
    {"anyOf": [{"type": "string"}, {"type": "null"}]},
    {"oneOf": [{"type": "object", "required": ["x"], "properties": {"x": {"const": 1}}}, {"type": "null"}]},
    {"allOf": [{"type": "object", "required": ["x"], "properties": {"x": {}}}, {"required": ["y"]}]},
    {"$defs": {"topic": {"enum": ["a", "b"]}}, "type": "array", "items": {"$ref": "#/$defs/topic"}, "minItems": 1},
    {"$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}}}, "$ref": "#/$defs/n"},
    {"$defs": {"a/b": {"type": "integer"}}, "$ref": "#/$defs/a~1b"},
    {},
    True,
]


@pytest.mark.parametrize("seed", ["1", "2", "3"])
@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_an_instance_satisfies_its_schema(schema, seed):
    jsonschema.Draft202012Validator(schema).validate(instance(schema, seed))


def test_the_same_seed_makes_the_same_and_seeds_differ():
    schema = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 999}, "minItems": 5}
    assert instance(schema, "1") == instance(schema, "1") != instance(schema, "2")


@pytest.mark.parametrize("reference", ["#/nowhere", "https://elsewhere.example/schema", "#/$defs/a/b"])
def test_a_reference_that_leads_nowhere_does_no_harm(reference):
    assert isinstance(instance({"$ref": reference, "$defs": {"a": 1}}, "1"), str)


@pytest.mark.parametrize(
    "pattern",
    [r"^[a-z]+$", r"^\d{3}$", r"^(foo|bar)-?x*$", r"^[^a-z]$", r"^.{2,4}$", r"^a\.b$", r"^[A-Z][a-z_]*$", r"^\w+@\w+$"],
)
def test_a_text_matches_its_pattern(pattern):
    assert re.search(pattern, matching(pattern))


def test_a_pattern_that_is_none_still_gives_a_text():
    assert matching("(") and matching("[")


LEAVES = st.sampled_from([each for each in SCHEMAS if isinstance(each, dict) and "$defs" not in each])


@given(
    st.recursive(
        LEAVES,
        lambda inner: st.one_of(
            inner.map(lambda schema: {"type": "array", "items": schema, "minItems": 1}),
            st.dictionaries(st.sampled_from("abc"), inner, min_size=1).map(
                lambda made: {"type": "object", "properties": made, "required": sorted(made)}
            ),
        ),
        max_leaves=6,
    ),
    st.text(max_size=3),
)
@settings(max_examples=100, deadline=None)
def test_nested_schemas_are_satisfied_too(schema, seed):
    jsonschema.Draft202012Validator(schema).validate(instance(schema, seed))
