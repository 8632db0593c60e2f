"""A file, proved: what tests of the search share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wizard_dsl.analysis.prove import Job, Limits, Report, prove
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.registry import Registry
from wizard_dsl.spec.diagnostics import render_text

TWO_TARGETS = """\
version: 1
inputs: {question: {type: string}}
providers: {one: {type: mock, model: m}, two: {type: mock, model: n}}
chains: {default: {targets: [one, two]}}
steps: {answer: {prompt: {user: "{{ question }}"}}}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "p.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def proved(
    path: Path, registry: Registry | None = None, *, depth: int = 1, runs: int = 500, processes: int = 1, **job: Any
) -> Report:
    registry = registry or Registry(plugins=False)
    compiled = compile_file(path, registry, Sources(env={}, mock=True))
    assert compiled.program is not None, render_text(compiled.diagnostics)
    made = Job(path, plugins=False, **job)
    return prove(made, compiled, registry, Limits(depth, runs), processes=processes)


def names(report: Report) -> list[str]:
    return [each.name for each in report.violations]
