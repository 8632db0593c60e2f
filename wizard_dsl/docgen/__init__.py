"""Generated files: schemas and reference pages, made from the declarations and committed.

`python -m wizard_dsl.docgen` (`make gen`) writes them, `--check` says which are not up to date. The pages of policies
and strategies (`pages`) are generated around a middle that is written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from wizard_dsl.docgen import cassettes, commands, pages, reference, schemas, simulations
from wizard_dsl.registry import Registry

#: Path below the repository → what makes its text. A new generated file is one more line.
FILES: Final[Mapping[str, Callable[[Registry], str]]] = MappingProxyType(
    {
        "schemas/pipeline.schema.json": schemas.pipeline,
        "schemas/project.schema.json": schemas.project,
        "schemas/overlay.schema.json": schemas.overlay,
        "schemas/test.schema.json": schemas.test,
        "schemas/simulation.schema.json": schemas.simulation,
        "schemas/result.schema.json": schemas.result,
        "schemas/cassette.schema.json": schemas.cassette,
        "docs/reference/policies.md": reference.policies,
        "docs/reference/strategies.md": reference.strategies,
        "docs/reference/providers.md": reference.providers,
        "docs/reference/steps.md": reference.steps,
        "docs/reference/file.md": reference.sections,
        "docs/reference/tests.md": reference.tests,
        "docs/reference/simulations.md": simulations.simulations,
        "docs/reference/errors.md": reference.errors,
        "docs/reference/diagnostics.md": reference.diagnostics,
        "docs/reference/conformance.md": reference.conformance,
        "docs/reference/cassettes.md": cassettes.page_of_cassettes,
        "docs/reference/environment.md": reference.environment,
        "docs/reference/cli.md": commands.page_of_commands,
    }
)


def outdated(root: Path, registry: Registry) -> list[str]:
    """The generated files below `root` that are missing or differ."""
    return [name for name, text in _made(root, registry).items() if _text(root / name) != text]


def write(root: Path, registry: Registry) -> list[str]:
    """Bring all generated files up to date; returns those that were not."""
    made = {name: text for name, text in _made(root, registry).items() if _text(root / name) != text}
    for name, text in made.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return list(made)


def _made(root: Path, registry: Registry) -> dict[str, str]:
    return {name: make(registry) for name, make in FILES.items()} | pages.texts(root, registry)


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None
