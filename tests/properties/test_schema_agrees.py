"""The published schema accepts a document exactly when loading it finds no schema error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator
from spoiled_documents import LARGE, SMALL, spoiled

from wizard_dsl.registry import Registry
from wizard_dsl.spec.findings import SCHEMA_CODES
from wizard_dsl.spec.load import load
from wizard_dsl.spec.schema import pipeline_schema

REGISTRY = Registry(plugins=False)
VALIDATOR = Draft202012Validator(pipeline_schema(REGISTRY))


def schema_errors(document: dict[str, Any]) -> list[str]:
    loaded = load("no-such-folder/pipeline.yaml", registry=REGISTRY, text=json.dumps(document))
    return [f"{each.code} {each.message}" for each in loaded.diagnostics if each.code in SCHEMA_CODES]


@pytest.mark.parametrize("document", [SMALL, LARGE])
def test_the_documents_to_spoil_are_valid(document: dict[str, Any]) -> None:
    assert list(VALIDATOR.iter_errors(document)) == []
    assert schema_errors(document) == []


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(spoiled())
def test_the_schema_accepts_what_conversion_accepts(document: dict[str, Any]) -> None:
    refused = next(VALIDATOR.iter_errors(document), None)
    found = schema_errors(document)
    assert (refused is not None) == bool(found), (refused, found)
