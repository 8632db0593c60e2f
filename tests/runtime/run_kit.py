"""Whole pipeline files under scripted targets, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.compiler.program import TargetPlan
from wizard_dsl.core.node import BuildContext, Node
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.runtime.runtime import running
from wizard_dsl.testing import virtual
from wizard_dsl.testing.scripted import Script, Scripted

T = TypeVar("T")

HEAD = """
version: 1
inputs: {q: {type: string, default: hello}}
providers: {a: {type: mock, model: m}, b: {type: mock, model: n}}
"""
CHAIN = "chains: {default: {targets: [a]}}\n"


def compiled(text: str, folder: Path, name: str = "case.yaml") -> Compiled:
    """The file `text` would be at `folder`."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return compile_file(path, Registry(plugins=False), Sources(env={}))


@asynccontextmanager
async def scripted(
    text: str, folder: Path, scripts: Mapping[str, list[Any]]
) -> AsyncIterator[tuple[Pipeline, dict[str, Script]]]:
    """The pipeline with every target scripted, by name; must run in virtual time."""
    made = {name: Script(name, items) for name, items in scripts.items()}

    def provide(plan: TargetPlan, context: BuildContext) -> Node:
        return Scripted(made[plan.name], context.clock)

    found = compiled(text, folder)
    assert found.program is not None, found.diagnostics
    async with running(found, Registry(plugins=False), seed=1, provide=provide) as pipeline:
        yield pipeline, made


def play(
    text: str,
    folder: Path,
    scripts: Mapping[str, list[Any]],
    work: Callable[[Pipeline], Awaitable[T]],
) -> tuple[T, dict[str, Script]]:
    """`work` on the scripted pipeline in virtual time."""

    async def main() -> tuple[T, dict[str, Script]]:
        async with scripted(text, folder, scripts) as (pipeline, made):
            return await work(pipeline), made

    return virtual.run(main())
