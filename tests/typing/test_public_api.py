"""The public surface: what it is, and that it is typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import wizard_dsl

ROOT = Path(__file__).parents[2]


def test_every_public_name_exists_and_is_documented() -> None:
    for name in wizard_dsl.__all__:
        value = getattr(wizard_dsl, name)
        assert name == "__version__" or value.__doc__, name
    assert set(wizard_dsl.__all__) == {*wizard_dsl._HOME_OF, "__version__"}
    assert dir(wizard_dsl) == wizard_dsl.__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Pipelin'"):
        wizard_dsl.Pipelin  # type: ignore[attr-defined]  # noqa: B018


def test_the_api_is_typed_as_it_is_used() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "tests/typing/api.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""


def test_the_sync_door_says_what_to_do_inside_a_loop() -> None:
    import asyncio

    async def main() -> None:
        wizard_dsl.run("pipelines/answer.yaml", mock=True, question="x")

    with pytest.raises(RuntimeError, match=r"await pipeline\.run"):
        asyncio.run(main())


def test_a_run_in_two_lines() -> None:
    result = wizard_dsl.run(ROOT / "pipelines" / "answer.yaml", mock=True, seed=7, question="Why?")
    assert result.ok
    assert result.served_by == "local"
