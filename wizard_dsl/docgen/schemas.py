"""The JSON Schemas as text."""

from __future__ import annotations

import json
from typing import Any

from wizard_dsl.analysis.scenario import SCENARIO
from wizard_dsl.core.result import result_schema
from wizard_dsl.registry import Registry
from wizard_dsl.spec import schema
from wizard_dsl.testing._cassette_lines import line_schema
from wizard_dsl.testing.documents import schema_of
from wizard_dsl.testing.testfile import TEST_FILE

_LINE = "One line of a *.cassette.jsonl file: a recorded exchange."
_RESULT = "What `wizard run --format json` prints."


def pipeline(registry: Registry) -> str:
    return pretty(schema.pipeline_schema(registry))


def project(registry: Registry) -> str:
    return pretty(schema.project_schema(registry))


def overlay(registry: Registry) -> str:
    return pretty(schema.overlay_schema(registry))


def test(registry: Registry) -> str:
    return pretty(of_test())


def of_test() -> dict[str, Any]:
    """The schema of test files."""
    return schema_of(TEST_FILE)


def simulation(registry: Registry) -> str:
    return pretty(of_simulation())


def of_simulation() -> dict[str, Any]:
    """The schema of scenarios."""
    return schema_of(SCENARIO)


def result(registry: Registry) -> str:
    return pretty(of_result())


def cassette(registry: Registry) -> str:
    return pretty(of_cassette())


def of_cassette() -> dict[str, Any]:
    """The schema of one line of a cassette, which does not depend on the components either."""
    return {
        "$schema": schema.DRAFT,
        "$id": f"{schema.BASE}/cassette.schema.json",
        "description": _LINE,
        **line_schema(),
    }


def of_result() -> dict[str, Any]:
    """The schema of what a run gives, as it is published; it does not depend on the components."""
    made = result_schema()
    head = {"$schema": schema.DRAFT, "$id": f"{schema.BASE}/result.schema.json", "description": _RESULT}
    return {**head, **{key: each for key, each in made.items() if key not in head}}


def pretty(made: dict[str, Any]) -> str:
    """Indented, in the order it was made, with a line break at the end."""
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"
