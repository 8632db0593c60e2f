"""The cassette of a case: it has to be there, be one, and be of the prompts that the pipeline has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wizard_dsl.spec.diagnostics import DocPath, meant
from wizard_dsl.spec.project import leaves
from wizard_dsl.testing import _cassette_file as files
from wizard_dsl.testing.cases import Programs, root_of
from wizard_dsl.testing.cassettes import changed_prompts, too_old

if TYPE_CHECKING:
    from wizard_dsl.compiler.compile import Compiled
    from wizard_dsl.compiler.report import Report


def _tapes(folder: Path) -> list[str]:
    """Files in a folder that may be cassettes, by name."""
    return sorted(each.name for each in folder.glob("*.jsonl") if each.is_file())


class Cassettes:
    """Those of one test file, each told about once."""

    def __init__(self, file: Path, report: Report, programs: Programs) -> None:
        self._file = file
        self._report = report
        self._programs = programs
        self._read: dict[Path, files.Read | None] = {}
        self._stale: set[Path] = set()

    def check(self, path: Path, at: DocPath, compiled: Compiled) -> None:
        """Report what is wrong with the cassette that `at` names."""
        if path not in self._read:
            self._read[path] = self._found(path, at)
        found = self._read[path]
        if found is None or found.recording is None or path in self._stale:
            return
        header, wall = found.recording.header, self._programs.wall
        stale = [changed_prompts(path, header, compiled), None if wall is None else too_old(path, header, wall)]
        if any(stale):
            self._stale.add(path)
        self._report.found.extend(each for each in stale if each is not None)

    def _found(self, path: Path, at: DocPath) -> files.Read | None:
        """What is in it, read once; None where it is not looked at."""
        if not path.resolve().is_relative_to(root_of(self._file)):
            message, hint = leaves(str(path), self._file)
            self._report.add("E033", message, at, suggestion=hint)
            return None
        if path.is_dir():
            inside = [f"{path.name}/{each}" for each in _tapes(path)]
            hint = f"name a file in it, such as {inside[0]}" if inside else "name a file"
            self._report.add("E002", f"'{path}' is a directory, not a cassette", at, suggestion=hint)
            return None
        if self._programs.record:
            return None
        if not path.is_file():
            others = _tapes(path.parent) if path.parent.is_dir() else []
            hint = meant(path.name, others) or "record it: wizard test --record missing"
            self._report.add("E035", f"there is no file '{path}'", at, suggestion=hint)
            return None
        found = files.read(path)
        self._report.found.extend((*found.wrong, *found.edited))
        return found
