"""Scenarios in a few lines, for the tests of the simulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wizard_dsl.analysis.engine import simulate
from wizard_dsl.analysis.figures import SeedFigures
from wizard_dsl.analysis.scenario import Scenario, of_plain
from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.registry import Registry

REGISTRY = Registry(plugins=False)

CHAIN = """\
version: 1
inputs: {question: {type: string}}
providers:
  one: {type: mock, model: one-1}
  two: {type: mock, model: two-1}
chains:
  default:
    targets: [one, two]
steps:
  answer: {prompt: {user: "{{ question }}"}}
"""


def scenario(load: dict[str, Any] | None = None, **more: Any) -> Scenario:
    """A scenario of 10 even runs a second for 20 seconds, with `load` and `more` over it."""
    plain = {"rate": "10/s", "duration": "20s", "arrivals": "even", **(load or {})}
    return of_plain({"version": 1, "pipeline": "p.yaml", "load": plain, **more})


def compiled(folder: Path, text: str = CHAIN) -> Compiled:
    (folder / "p.yaml").write_text(text)
    return compile_file(folder / "p.yaml", REGISTRY, Sources(env={}, mock=True))


def played(folder: Path, played: Scenario, text: str = CHAIN, seed: int = 0) -> SeedFigures:
    """One seed of a scenario."""
    return simulate(compiled(folder, text), REGISTRY, played, seed)
