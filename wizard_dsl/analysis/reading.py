"""Scenario files, read and held against their pipeline: everything that is wrong is found at once, before anything
runs."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from wizard_dsl.analysis._spans import check_spans
from wizard_dsl.analysis.scenario import SCENARIO, Scenario
from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.compiler.names import targets_of
from wizard_dsl.core.errors import InputInvalid
from wizard_dsl.runtime.inputs import Inputs
from wizard_dsl.spec.diagnostics import Diagnostic, has_errors, meant, ordered, sentence, show_value
from wizard_dsl.spec.project import find_project, leaves
from wizard_dsl.testing.documents import Read, read

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import Program
    from wizard_dsl.compiler.report import Report
    from wizard_dsl.registry import Registry


class Opened(msgspec.Struct, frozen=True):
    """A scenario and its pipeline. `scenario` is None where the file cannot be read, `compiled` where there is no
    pipeline; with errors among the diagnostics neither may be used."""

    file: Path
    scenario: Scenario | None
    compiled: Compiled | None
    diagnostics: Sequence[Diagnostic]

    @property
    def ok(self) -> bool:
        return not has_errors(self.diagnostics)

    @property
    def pipeline(self) -> Path:
        """The pipeline's path, as seen from where the scenario's is."""
        assert self.scenario is not None
        return self.file.parent / self.scenario.pipeline


def open_scenario(
    path: str | Path,
    registry: Registry,
    *,
    overlays: Sequence[str] = (),
    sets: Sequence[str] = (),
    text: str | None = None,
) -> Opened:
    """Read a scenario and compile its pipeline, with `overlays` and `sets` over it. The pipeline sees the variables
    that the scenario gives, and no others; keys are not missed. Never raises for what is wrong in a file."""
    found = read(path, SCENARIO, text=text)
    if found.value is None:
        return Opened(Path(path), None, None, found.diagnostics)
    check_spans(found.value, found.report)
    compiled = _compiled(Path(path), found, registry, overlays, sets)
    if compiled is not None and compiled.program is not None:
        against = _Against(found.report, found.value, compiled.program)
        against.patterns()
        against.inputs()
    return Opened(Path(path), found.value, compiled, ordered(found.report.found))


def open_faults(path: str | Path, program: Program) -> Opened:
    """Read a scenario for its faults alone, which are laid over the targets of `program`. Of its own pipeline and load
    nothing counts but how long the load lasts."""
    found = read(path, SCENARIO)
    if found.value is None:
        return Opened(Path(path), None, None, found.diagnostics)
    check_spans(found.value, found.report)
    _Against(found.report, found.value, program).patterns()
    return Opened(Path(path), found.value, None, ordered(found.report.found))


def compiled_for(
    scenario: Scenario, pipeline: Path, registry: Registry, overlays: Sequence[str] = (), sets: Sequence[str] = ()
) -> Compiled:
    """A pipeline as a scenario plays it."""
    sources = Sources(overlays=tuple(overlays), sets=tuple(sets), env=dict(scenario.env), mock=True)
    return compile_file(pipeline, registry, sources)


def _compiled(
    path: Path, found: Read[Scenario], registry: Registry, overlays: Sequence[str], sets: Sequence[str]
) -> Compiled | None:
    """The pipeline; where it is not there, or has errors, that is reported."""
    assert found.value is not None
    name, report = found.value.pipeline, found.report
    target, root = (path.parent / name).resolve(), find_project(path).root.resolve()
    if not target.is_relative_to(root):
        message, hint = leaves(name, path)
        report.add("E033", message, ("pipeline",), suggestion=hint)
        return None
    if not target.is_file():
        others = [each.name for each in target.parent.glob("*.y*ml")] if target.parent.is_dir() else []
        near = meant(target.name, [each for each in others if not each.endswith(SCENARIO.endings)])
        report.add("E035", f"there is no file '{name}'", ("pipeline",), suggestion=near)
        return None
    compiled = compiled_for(found.value, path.parent / name, registry, overlays, sets)
    if compiled.program is None:
        errors = ordered(each for each in compiled.diagnostics if each.severity == "error")
        count = "an error" if len(errors) == 1 else f"{len(errors)} errors"
        report.add("E080", f"{target.name} has {count}: {sentence(errors[0])}", ("pipeline",))
        report.found.extend(errors)
    return compiled


class _Against:
    def __init__(self, report: Report, scenario: Scenario, program: Program) -> None:
        self._report = report
        self._scenario = scenario
        self._program = program

    def patterns(self) -> None:
        """Patterns that match no target."""
        names = sorted(targets_of(self._program))
        for pattern in self._scenario.targets:
            if not any(fnmatchcase(name, pattern) for name in names):
                message = f"no target is called {show_value(pattern)}"
                self._report.add("E082", message, ("targets", pattern), key=True, suggestion=meant(pattern, names))

    def inputs(self) -> None:
        """Names that the pipeline does not have, and values that do not fit. What is left out is made up."""
        declared = self._program.inputs
        for index, given in enumerate(self._scenario.load.inputs):
            at = ("load", "inputs", index)
            for name, value in given.items():
                if name not in declared:
                    hint = meant(name, declared) or "this pipeline takes no inputs"
                    message = f"the pipeline has no input {show_value(name)}"
                    self._report.add("E081", message, (*at, name), key=True, suggestion=hint)
                    continue
                try:
                    Inputs({name: declared[name]}).check({name: value})
                except InputInvalid as error:
                    self._report.add("E083", error.message, (*at, name), suggestion=error.suggestion)
