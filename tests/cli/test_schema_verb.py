"""wizard schema: what editors and CI are given."""

from __future__ import annotations

import json

import pytest
from cli_kit import Wizard
from jsonschema import Draft202012Validator


@pytest.mark.parametrize("which", ["pipeline", "project", "overlay", "result"])
def test_each_is_a_json_schema(wizard: Wizard, which: str) -> None:
    code, out, err = wizard("schema", which)
    assert (code, err) == (0, "")
    schema = json.loads(out)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"]


def test_they_are_told_apart_by_their_titles(wizard: Wizard) -> None:
    titles = {
        json.loads(wizard("schema", which).out)["title"] for which in ("pipeline", "project", "overlay", "result")
    }
    assert len(titles) == 4


def test_the_pipeline_schema_is_the_default(wizard: Wizard) -> None:
    assert wizard("schema") == wizard("schema", "pipeline")


def test_an_unknown_one_is_wrong_usage(wizard: Wizard) -> None:
    assert wizard("schema", "pipelines").code == 2
