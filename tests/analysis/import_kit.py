"""What tests of importers share: a source imported, its pipeline compiled and run against mocks, its leaves counted by
another parser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from wizard_dsl.analysis.importing.findings import Finding, Imported
from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.core.result import Result
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.runtime import running
from wizard_dsl.spec.diagnostics import show_path
from wizard_dsl.testing import virtual

IMPORTS = Path(__file__).parent / "imports"
REGISTRY = Registry(plugins=False)


class Text(SingleFileSnapshotExtension):
    """One import, one file: the pipeline, then what became of each setting."""

    file_extension = "txt"
    _write_mode = WriteMode.TEXT


def artefact(made: Imported) -> str:
    told = [each.sentence() for each in made.findings]
    files = "".join(f"--- {each.ending}\n{each.text}" for each in made.files)
    return files + "--- findings\n" + "\n".join([*told, *(f"note: {each}" for each in made.notes)]) + "\n"


def settings(text: str) -> list[str]:
    """The paths of all leaves, as another parser finds them."""
    return [show_path(path) for path in _leaves(yaml.safe_load(text), ())]


def _leaves(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    below = [
        each for key, inner in pairs for each in _leaves(inner, (*path, key if isinstance(key, int) else str(key)))
    ]
    yield from below or [path]


def compiled(made: Imported, folder: Path, *, mock: bool = False) -> Compiled:
    path = folder / "imported.yaml"
    path.write_text(made.pipeline, encoding="utf-8")
    return compile_file(path, REGISTRY, Sources(mock=mock))


def asked(made: Imported, folder: Path, **inputs: Any) -> Result:
    """A run against mocks, as `wizard run --mock`."""

    async def run() -> Result:
        async with running(compiled(made, folder, mock=True), REGISTRY, seed=1, mock=True) as pipeline:
            return await pipeline.run(inputs=inputs)

    return virtual.run(run())


def finding(made: Imported, setting: str) -> Finding:
    (found,) = [each for each in made.findings if each.setting == setting]
    return found


def written(made: Imported) -> Any:
    """The pipeline file as data."""
    return yaml.safe_load(made.pipeline)
