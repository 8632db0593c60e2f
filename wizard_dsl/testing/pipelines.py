"""Whole pipeline files under scripted targets: what a file does when its providers do what a script says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wizard_dsl.runtime.runtime import open as open_file
from wizard_dsl.testing.scripted import Script, Scripted

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import TargetPlan
    from wizard_dsl.core.node import BuildContext, Node
    from wizard_dsl.runtime.pipeline import Pipeline


class NoScript(AssertionError):
    """A target was linked that no pattern matches."""


@asynccontextmanager
async def open_scripted(
    path: str | Path,
    scripts: Mapping[str, Iterable[Any] | Script],
    *,
    env: Mapping[str, str] | None = None,
    seed: int = 0,
) -> AsyncIterator[tuple[Pipeline, dict[str, Script]]]:
    """The pipeline of a file with every target scripted, and the scripts by target name.

    `scripts` holds items by target name or pattern (`openai/*`), the first that matches; every target gets a script of
    its own, made of the items. A Script in their place is played by all targets that its pattern matches. `env` are the
    variables that the file sees, none by default; keys of providers are not missed. No cache, state or account of
    budgets outlives it. Run it in virtual time (`virtual.run`). Raises SpecError for a file with errors, NoScript for a
    target that nothing matches.
    """
    items = {pattern: each if isinstance(each, Script) else list(each) for pattern, each in scripts.items()}
    made: dict[str, Script] = {}

    def provide(plan: TargetPlan, context: BuildContext) -> Node:
        if plan.name not in made:
            pattern = next((each for each in items if fnmatchcase(plan.name, each)), None)
            if pattern is None:
                raise NoScript(f"no script for target {plan.name}; there are scripts for {', '.join(items) or 'none'}")
            own = items[pattern]
            made[plan.name] = own if isinstance(own, Script) else Script(plan.name, own)
        return Scripted(made[plan.name], context.clock)

    async with open_file(path, env=env or {}, seed=seed, mock=True, provide=provide) as pipeline:
        yield pipeline, made
