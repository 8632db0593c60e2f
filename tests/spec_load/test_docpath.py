"""What stands at a path of a document."""

from __future__ import annotations

from typing import Any

import pytest

from wizard_dsl.spec.diagnostics import DocPath
from wizard_dsl.spec.docpath import stands_in, value_in

DATA = {"a": [{"b": 1}, None], "text": "abc", "none": None}


@pytest.mark.parametrize(
    ("path", "value", "there"),
    [
        ((), DATA, True),
        (("a", 0, "b"), 1, True),
        (("a", 1), None, True),
        (("none",), None, True),
        (("a", 2), None, False),
        (("a", -1), None, False),
        (("a", "b"), None, False),
        (("text", 0), None, False),
        (("none", "a"), None, False),
        (("b",), None, False),
    ],
)
def test_a_path_leads_through_mappings_and_lists_only(path: DocPath, value: Any, there: bool) -> None:
    assert value_in(DATA, path) == value and stands_in(DATA, path) is there
