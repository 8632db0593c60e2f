"""Whatever a text looks like: laid out it says the same, with every comment, and stays as it is."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rough_texts import Rough

from wizard_dsl.cli.fmt import laid_out
from wizard_dsl.spec.diagnostics import has_errors
from wizard_dsl.spec.source import Source, load_text

ROOT = Path(__file__).parents[2]
FILES = [path for folder in ("pipelines", "examples") for path in sorted((ROOT / folder).rglob("*.yaml"))]


def says(source: Source) -> str:
    """`1`, `1.0` and `true` are equal in Python, not here."""
    return json.dumps(source.data, sort_keys=True)


def is_kept(text: str) -> bool:
    """False for a text that cannot be read. Fails where its layout loses anything."""
    source = load_text(text, "")
    if has_errors(source.diagnostics):
        return False
    made = laid_out(source, "pipeline")
    assert isinstance(made, str), (made, text)
    again = load_text(made, "")
    assert says(again) == says(source), text
    assert made.count("#") == text.count("#"), text
    assert laid_out(again, "pipeline") == made, text
    return True


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32))
def test_any_text_that_can_be_read_is_laid_out_and_says_the_same(seed: int) -> None:
    is_kept(Rough(random.Random(seed)).text())


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(FILES), st.integers(0, 2**32))
def test_files_that_somebody_works_on_are_laid_out_and_say_the_same(path: Path, seed: int) -> None:
    is_kept(Rough(random.Random(seed)).spoiled(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("kind", ["text", "spoiled"])
def test_enough_of_these_texts_can_be_read(kind: str) -> None:
    source = FILES[0].read_text(encoding="utf-8")
    rough = [Rough(random.Random(seed)) for seed in range(100)]
    assert sum(is_kept(each.text() if kind == "text" else each.spoiled(source)) for each in rough) > 25
