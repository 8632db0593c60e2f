"""What changes in behaviour between two states of pipelines: two files, folders or revisions.

Both are compiled, as `run` would compile them, and the programs are compared; text that compiles to the same program
is the same, however it is written. See `diff_changes.SECTIONS` for what is told in which order.
"""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from wizard_dsl.analysis._diff_bounds import Worst, worst_cases
from wizard_dsl.analysis._diff_compare import changes_between
from wizard_dsl.analysis._diff_view import view_of
from wizard_dsl.analysis.diff_changes import Change, in_order
from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.lint.allow import not_allowed
from wizard_dsl.lint.rules import lint
from wizard_dsl.spec.diagnostics import Diagnostic, position, sentence, show_path

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import Program
    from wizard_dsl.registry import Registry

#: Stands in the name of a pair of files that are called differently.
_ARROW: Final = " → "
#: What became of one pipeline. `broken`: one side, or both, cannot be compiled.
State = Literal["same", "changed", "added", "removed", "broken"]


class Side(msgspec.Struct, frozen=True):
    """One of the two states. `files` are its pipelines by the name that pairs them; `base` is the folder that places
    are told relative to, None where they stand as they are."""

    label: str
    files: Mapping[str, Path]
    base: Path | None = None

    def told(self, text: str) -> str:
        """A text without the folder that this side lies in."""
        return text if self.base is None else text.replace(f"{self.base}/", "")

    def file(self, name: str) -> str:
        """A file as it is told, which the loader called `name`."""
        if self.base is None or not name:
            return name
        path = os.path.relpath(name, self.base)
        return name if path.startswith("..") else path


class Outline(msgspec.Struct, frozen=True):
    """A program in a few lines: its steps with their chains, and each chain with its ladder and targets."""

    steps: tuple[str, ...]
    chains: tuple[str, ...]


class PipelineDiff(msgspec.Struct, frozen=True, kw_only=True):
    """One pipeline. `broken` names the sides that cannot be compiled; the changes then are the diagnostics alone, and
    `outlines` show the sides that can, and what is added or removed. `versions` are the format versions, if they
    differ. `worst` is the worst case of what changes, of either side that has it."""

    name: str
    state: State
    changes: tuple[Change, ...] = ()
    broken: tuple[str, ...] = ()
    outlines: Mapping[str, Outline] = {}
    versions: tuple[str, str] | None = None
    worst: tuple[Worst, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data; keys never disappear."""
        return {
            "name": self.name,
            "state": self.state,
            "changes": [each.to_json() for each in self.changes],
            "broken": list(self.broken),
            "outlines": msgspec.to_builtins(self.outlines),
            "versions": None if self.versions is None else list(self.versions),
            "worst": msgspec.to_builtins(self.worst),
        }


class Diff(msgspec.Struct, frozen=True):
    """All pipelines of both sides, in the order of their names."""

    old: str
    new: str
    pipelines: tuple[PipelineDiff, ...]

    @property
    def findings(self) -> bool:
        """Whether anything differs in behaviour, or cannot be compared."""
        return any(each.state != "same" for each in self.pipelines)

    @property
    def broken(self) -> bool:
        return any(each.state == "broken" for each in self.pipelines)

    def to_json(self) -> dict[str, Any]:
        """Plain data; keys never disappear."""
        return {"old": self.old, "new": self.new, "pipelines": [each.to_json() for each in self.pipelines]}


def compare(old: Side, new: Side, registry: Registry) -> Diff:
    """Compile and compare every pipeline that one of the sides has, and those that they run as steps. Never raises for
    what a file holds."""
    files = [dict(side.files) for side in (old, new)]
    found: dict[str, PipelineDiff] = {}
    while left := sorted({*files[0], *files[1]} - found.keys()):
        name = left[0]
        halves: list[_Half | None] = [None, None]
        for index, side in enumerate((old, new)):
            if name in files[index]:
                half = _Half(side, compile_file(files[index][name], registry, Sources()))
                halves[index] = half
                files[index] = dict(half.inner(name, files[index][name])) | files[index]
        found[name] = _compared(name, *halves)
    return Diff(old.label, new.label, tuple(found[name] for name in sorted(found)))


class _Half:
    """One pipeline on one side."""

    def __init__(self, side: Side, compiled: Compiled) -> None:
        self.side = side
        self.compiled = compiled
        self.found = [self._told(each) for each in not_allowed([*compiled.diagnostics, *lint(compiled)])]

    @property
    def program(self) -> Program | None:
        return self.compiled.program

    def inner(self, name: str, path: Path) -> Iterator[tuple[str, Path]]:
        """The files that this one runs as steps, by the names that pair them with those of the other side."""
        for step in () if self.program is None else self.program.steps:
            file = getattr(step.config, "file", None)
            if step.subprogram is not None and file is not None:
                folder = "" if _ARROW in name else posixpath.dirname(name)
                yield posixpath.normpath(posixpath.join(folder, file)), path.parent / file

    @property
    def version(self) -> str:
        return str(self.compiled.loaded.data.get("version", 1))

    def _told(self, each: Diagnostic) -> Diagnostic:
        return msgspec.structs.replace(each, file=self.side.file(each.file), message=self.side.told(each.message))


def _compared(name: str, old: _Half | None, new: _Half | None) -> PipelineDiff:
    if old is None or new is None:
        return _alone(name, old, new)
    diagnostics = list(_diagnostics(old, new))
    versions = (old.version, new.version) if old.version != new.version else None
    broken = [half for half in (old, new) if half.program is None]
    if not broken:
        found = changes_between(view_of(old.compiled), view_of(new.compiled))
        told = [msgspec.structs.replace(each, file=new.side.file(each.file)) for each in found]
        changes = tuple(in_order([*told, *diagnostics]))
        worst = worst_cases(old.program, new.program) if changes else ()
        state: State = "changed" if changes else "same"
        return PipelineDiff(name=name, state=state, changes=changes, versions=versions, worst=worst)
    if len(broken) == 2 and not diagnostics and versions is None and _written(old) == _written(new):
        return PipelineDiff(name=name, state="same")
    return PipelineDiff(
        name=name,
        state="broken",
        changes=tuple([*_errors(broken), *(each for each in diagnostics if old.program or new.program)]),
        broken=tuple(half.side.label for half in broken),
        outlines=_outlines([half for half in (old, new) if half.program is not None]),
        versions=versions,
    )


def _written(half: _Half) -> Any:
    return half.compiled.loaded.data, half.compiled.loaded.files


def _alone(name: str, old: _Half | None, new: _Half | None) -> PipelineDiff:
    """A pipeline that only one side has."""
    half = new or old
    assert half is not None
    broken = half.program is None
    state: State = "added" if old is None else "removed"
    return PipelineDiff(
        name=name,
        state="broken" if broken else state,
        changes=tuple(_errors([half])) if broken else tuple(_all(half) if new is not None else ()),
        broken=(half.side.label,) if broken else (),
        outlines=_outlines([] if broken else [half]),
        worst=() if broken else worst_cases(old.program if old else None, new.program if new else None),
    )


# -- diagnostics --------------------------------------------------------------------------------------


def _diagnostics(old: _Half, new: _Half) -> Iterator[Change]:
    """New ones and resolved ones; one that only moved, or has other figures at the same place, is neither."""
    fresh, gone = _without(new.found, old.found, _said), _without(old.found, new.found, _said)
    fresh, gone = _without(fresh, gone, _about), _without(gone, fresh, _about)
    for each in fresh:
        if new.program is not None:
            yield _diagnostic(each, "new", new)
    for each in gone:
        yield _diagnostic(each, "resolved", None)


def _without(found: Iterable[Diagnostic], others: Iterable[Diagnostic], key: Callable[[Diagnostic], Any]) -> list[Any]:
    """Those that are not among the others, each of which stands for one."""
    left = Counter(map(key, others))
    kept = []
    for each in found:
        if left[key(each)] > 0:
            left[key(each)] -= 1
        else:
            kept.append(each)
    return kept


def _said(each: Diagnostic) -> Any:
    return each.code, each.message


def _about(each: Diagnostic) -> Any:
    return each.code, each.path


def _diagnostic(each: Diagnostic, what: str, at: _Half | None) -> Change:
    return Change(
        section="diagnostics",
        what=f"{what}: {each.severity}[{each.code}] {sentence(each)}",
        path=show_path(each.path) if each.path else "",
        file=each.file if at is not None else "",
        line=each.line if at is not None else 0,
    )


def _all(half: _Half) -> Iterator[Change]:
    for each in half.found:
        yield _diagnostic(each, "new", half)


def _errors(halves: Iterable[_Half]) -> Iterator[Change]:
    """Why a side cannot be compiled."""
    for half in halves:
        for each in half.found:
            if each.severity == "error":
                what = f"{half.side.label} is broken: {position(each)} {each.severity}[{each.code}] {sentence(each)}"
                yield Change(section="diagnostics", what=what, file=each.file, line=each.line)


# -- what a side is, without another one ---------------------------------------------------------------


def _outlines(halves: Iterable[_Half]) -> dict[str, Outline]:
    return {half.side.label: _outline(half.program) for half in halves if half.program is not None}


def _outline(program: Program) -> Outline:
    steps = [f"{step.name} ({step.type.name}{f', asks {step.chain}' if step.chain else ''})" for step in program.steps]
    chains = []
    for name, plan in program.chains.items():
        targets = ", ".join(target.name for target in plan.targets)
        chains.append(f"{name}: {targets} · {program.ladder(name)}")
    return Outline(tuple(steps), tuple(chains))
