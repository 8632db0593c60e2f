"""What tests of importers share: a source imported, its pipeline compiled and run against mocks, its leaves counted by
another parser."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from wizard_dsl.analysis.importing.findings import Finding, Imported
from wizard_dsl.analysis.importing.reading import read_foreign_bytes
from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.core.clock import machine_time
from wizard_dsl.core.result import Result
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.runtime import running
from wizard_dsl.spec.diagnostics import has_errors, render_text, show_path
from wizard_dsl.spec.source import Source
from wizard_dsl.testing import virtual
from wizard_dsl.testing.cases import Programs
from wizard_dsl.testing.trying import collect, try_case

IMPORTS = Path(__file__).parent / "imports"
REGISTRY = Registry(plugins=False)


class Text(SingleFileSnapshotExtension):
    """One import, one file: the pipeline, then what became of each setting."""

    file_extension = "txt"
    _write_mode = WriteMode.TEXT


def read_foreign_text(text: str, name: str) -> Source:
    """A configuration as the command line reads it."""
    return read_foreign_bytes(text.encode(), name)


def reader(imported: Callable[[str, str], Imported]) -> Callable[[Path], Imported]:
    """What imports a file: `imported` imports a text of that name."""
    return lambda path: imported(path.read_text(encoding="utf-8"), path.name)


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


def called(made: Imported, folder: Path, scripts: dict[str, list[Any]], **inputs: Any) -> list[str]:
    """The targets that were called, in order; scripts are those of a test."""
    (folder / "imported.yaml").write_text(made.pipeline, encoding="utf-8")
    test = {"inputs": {"prompt": "Hello", **inputs}, "targets": scripts, "expect": {"error": None}}
    path = folder / "imported.test.yaml"
    path.write_text(json.dumps({"version": 1, "pipeline": "imported.yaml", "tests": {"t": test}}), encoding="utf-8")
    suite = collect(path, Programs(REGISTRY, wall=machine_time()))
    assert not has_errors(suite.found.diagnostics), render_text(suite.found.diagnostics)
    (result,) = try_case(suite, suite.cases[0], lambda _, played: played.runs[0].result).seen
    return [attempt.target for attempt in result.attempts]


def finding(made: Imported, setting: str) -> Finding:
    (found,) = [each for each in made.findings if each.setting == setting]
    return found


def written(made: Imported) -> Any:
    """The pipeline file as data."""
    return yaml.safe_load(made.pipeline)
