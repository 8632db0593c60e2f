"""Runs of small pipelines under scripts, recorded and written as test files."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import wizard_dsl as wizard
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.core.result import AttemptRow, Result
from wizard_dsl.observe.history_file import HistoryFile
from wizard_dsl.observe.history_record import Stored
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.runtime import running
from wizard_dsl.spec.layout import formatted
from wizard_dsl.spec.source import load_text
from wizard_dsl.testing import virtual
from wizard_dsl.testing.cases import Programs
from wizard_dsl.testing.repro import Reproduction, reproduce
from wizard_dsl.testing.scripted import Script, Scripted
from wizard_dsl.testing.trying import collect, try_case

REGISTRY = Registry(plugins=False)
PRICES = "{max_output: 50, prices: {input: $1, output: $100}}"
FILE = f"""
version: 1
inputs: {{q: {{type: string}}, n: {{type: integer, minimum: 3}}, d: {{type: string, default: x}}}}
providers:
  a: {{type: mock, model: ma, models: {{ma: {PRICES}}}}}
  b: {{type: mock, model: mb, models: {{mb: {PRICES}}}}}
  c: {{type: vllm, model: mc}}
chains: {{default: {{targets: [a, b, c]}}}}
steps: {{answer: {{prompt: {{user: "{{{{ q }}}}"}}}}}}
"""


class Case:
    """One pipeline file, and runs of it under scripts, recorded."""

    def __init__(self, folder: Path, *sets: str, chain: str | None = None, file: str = FILE) -> None:
        self.folder = folder
        self.path = folder / "case.yaml"
        self.path.write_text(file)
        self.compiled = compile_file(self.path, REGISTRY, Sources(env={}, sets=sets, chain=chain))
        assert self.compiled.program is not None, self.compiled.diagnostics

    def play(
        self, scripts: dict[str, list[Any]], *, stream: bool = False, deadline: str | None = None,
        cancel: float | None = None, runs: int = 1, pause: float = 0.0, seed: int = 5,
        inputs: dict[str, Any] | None = None,
    ) -> Stored:  # fmt: skip
        asked = {"q": "my question", "n": 4} if inputs is None else inputs

        async def main() -> None:
            made: dict[str, Script] = {}

            def provide(plan: Any, context: Any) -> Any:
                script = made.setdefault(plan.name, Script(plan.name, scripts.get(plan.name, [])))
                return Scripted(script, context.clock)

            keep = wizard.History(self.folder / "history.db")
            async with running(self.compiled, REGISTRY, seed=seed, provide=provide, history=keep) as pipeline:
                for _ in range(runs):
                    begun = pipeline.stream if stream else pipeline.start
                    async with begun(**asked, deadline=deadline) as answer:
                        if cancel is not None:
                            await asyncio.sleep(cancel)
                            await answer.cancel()
                        with contextlib.suppress(wizard.WizardError):
                            await answer.finish()
                    await asyncio.sleep(pause)

        virtual.run(main())
        found = HistoryFile(self.folder / "history.db").find("last")
        assert isinstance(found, Stored)
        return found

    def repro(self, stored: Stored, **how: Any) -> Reproduction:
        how.setdefault("target", self.folder / "again.test.yaml")
        return reproduce(stored, self.compiled, REGISTRY, pipeline=self.path, **how)

    def results(self, text: str) -> list[Result]:
        """What the runs of the file come to, and that it passes."""
        assert formatted(load_text(text, ""), ("version", "pipeline", "defaults", "tests")) == text
        path = self.folder / "again.test.yaml"
        path.write_text(text, encoding="utf-8")
        suite = collect(path, Programs(REGISTRY))
        assert suite.found.ok, suite.found.diagnostics
        (case,) = suite.cases
        outcome = try_case(suite, case, lambda case, played: [ran.result for ran in played.runs])
        assert outcome.passed, outcome
        found: list[Result] = outcome.seen[0]
        return found


def alike(rows: list[AttemptRow]) -> list[tuple[Any, ...]]:
    return [(row.target, row.kind, round(row.started, 3), round(row.elapsed, 3), round(row.waited, 3)) for row in rows]
