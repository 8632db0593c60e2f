"""The diagnostics of files, one by one, as `wizard validate` looks at them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from wizard_dsl.cli._files import Kind
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.core.clock import machine_time
from wizard_dsl.lint.rules import lint
from wizard_dsl.spec.diagnostics import Diagnostic
from wizard_dsl.spec.document import BoundsSpec
from wizard_dsl.spec.load import load

if TYPE_CHECKING:
    from wizard_dsl.compiler.compile import Compiled
    from wizard_dsl.registry import Registry
    from wizard_dsl.testing.cases import Programs


#: Files from which on another process is worth its start.
MANY: Final = 50


class Looker:
    """Looks at files one by one. What reads tests, scenarios and cassettes is imported with the first of them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @cached_property
    def _programs(self) -> Programs:
        from wizard_dsl.testing.cases import Programs

        return Programs(self._registry, wall=machine_time())

    def findings(self, path: Path, kind: Kind, *, text: str | None = None) -> list[Diagnostic]:
        """The diagnostics of one file, its references unresolved; those of a pipeline with its warnings. A test file or
        scenario is held against its pipeline, under the variables that it gives. `text` stands for the content of a
        pipeline, a project file or an overlay."""
        if kind == "pipeline":
            compiled = compile_file(path, self._registry, Sources(text=text))
            return [*compiled.diagnostics, *lint(compiled, self._registry), *_broken_bounds(compiled)]
        if kind == "test":
            from wizard_dsl.testing.trying import collect

            return collect(path, self._programs).found.diagnostics
        if kind == "simulation":
            from wizard_dsl.analysis.reading import open_scenario

            return list(open_scenario(path, self._registry).diagnostics)
        if kind == "cassette":
            from wizard_dsl.testing import _cassette_file

            recorded = _cassette_file.read(path)
            return [*recorded.wrong, *recorded.edited]
        which: Literal["project", "overlay"] = "project" if kind == "project" else "overlay"
        return list(load(path, registry=self._registry, kind=which, text=text).diagnostics)


def _broken_bounds(compiled: Compiled) -> list[Diagnostic]:
    """What a file promises of its worst case and does not hold. Only a file that has `bounds` is planned."""
    if compiled.program is None or compiled.program.bounds == BoundsSpec():
        return []
    from wizard_dsl.analysis.bounds import broken_bounds

    return broken_bounds(compiled)
