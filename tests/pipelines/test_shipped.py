"""The pipelines in `pipelines/`: snapshots on mocks, and once on the embedded model."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

import wizard_dsl as wizard
from wizard_dsl.observe.transcript import render
from wizard_dsl.testing import virtual

ROOT = Path(__file__).parents[2]
LETTER = "Hello.\n\nMy invoice is wrong, I was charged twice.\n\nPlease tell me when I get my money back."
CASES: dict[str, dict[str, Any]] = {
    "answer": {"question": "Why is the sky blue?"},
    "triage": {"ticket": "My invoice is wrong"},
    "summarize": {"document": LETTER},
}


class Text(SingleFileSnapshotExtension):
    """One readable file a snapshot."""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"


async def mocked(name: str, stream: bool) -> tuple[Any, str]:
    async with wizard.open(ROOT / "pipelines" / f"{name}.yaml", env={}, mock=True, seed=7) as pipeline:
        begin = pipeline.stream if stream else pipeline.start
        async with begin(inputs=CASES[name]) as run:
            result = await run.finish()
            return result, render(run.transcript, result=result)


@pytest.mark.parametrize("name", CASES)
def test_output_and_transcript_on_mocks(name: str, snapshot: SnapshotAssertion) -> None:
    result, story = virtual.run(mocked(name, stream=False))
    shown = json.dumps(result.to_json(), indent=2, ensure_ascii=False)
    assert f"{shown}\n\n{story}\n" == snapshot(extension_class=Text)


@pytest.mark.parametrize("name", CASES)
def test_the_same_seed_gives_the_same_bytes(name: str) -> None:
    first, _ = virtual.run(mocked(name, stream=False))
    second, _ = virtual.run(mocked(name, stream=False))
    assert first.encode() == second.encode()


@pytest.mark.parametrize("name", CASES)
def test_streamed_and_whole_answers_are_the_same_text(name: str) -> None:
    whole, _ = virtual.run(mocked(name, stream=False))
    streamed, _ = virtual.run(mocked(name, stream=True))
    assert streamed.output == whole.output


@pytest.mark.parametrize("name", CASES)
def test_what_we_ship_has_no_finding(name: str) -> None:
    from wizard_dsl.compiler.compile import Sources, compile_file
    from wizard_dsl.lint.rules import lint
    from wizard_dsl.registry import Registry

    compiled = compile_file(ROOT / "pipelines" / f"{name}.yaml", Registry(), Sources())
    assert [*compiled.diagnostics, *lint(compiled)] == []


@pytest.mark.embedded
@pytest.mark.skipif(find_spec("xllamacpp") is None, reason="the extra `embedded` is not installed")
@pytest.mark.parametrize("name", CASES)
def test_each_runs_on_the_embedded_model_and_its_result_keeps_to_the_schema(name: str) -> None:
    result = wizard.run(ROOT / "pipelines" / f"{name}.yaml", inputs=CASES[name], env={}, seed=7)
    schema = json.loads((ROOT / "schemas" / "result.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(json.loads(result.encode()))
    assert result.ok
    assert result.text
    assert result.tokens_per_second
