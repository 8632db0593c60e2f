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
from wizard_dsl.analysis._diff_renames import renamed
from wizard_dsl.analysis._diff_view import view_of
from wizard_dsl.analysis.diff_changes import Change, in_order
from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.lint.allow import not_allowed
from wizard_dsl.lint.rules import lint
from wizard_dsl.spec.diagnostics import Diagnostic, sentence, show_path
from wizard_dsl.spec.source import load_file

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import Program
    from wizard_dsl.registry import Registry

#: Stands in the name of a pair of files that are called differently.
_ARROW: Final = " → "
#: What became of one pipeline. `broken`: one side, or both, cannot be compiled.
State = Literal["same", "changed", "added", "removed", "broken"]


class Side(msgspec.Struct, frozen=True):
    """One of the two states. `files` are its pipelines by the name that pairs them; `base` is the folder that places
    are told relative to, None where they stand as they are. `sources` lies over each of the files. `overlays` and
    `tests` are what else it has of these kinds, by name."""

    label: str
    files: Mapping[str, Path]
    base: Path | None = None
    sources: Sources = Sources()
    overlays: Mapping[str, Path] = {}
    tests: Mapping[str, Path] = {}

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
    """One pipeline, `was` its name on the old side if that is another one. `broken` names the sides that cannot be
    compiled; the changes then are the diagnostics alone, and `outlines` show the sides that can, and what is added or
    removed. Two sides that are broken alike are the same. `versions` are the format versions, if they differ. `worst`
    is the worst case of what changes, of either side that has it."""

    name: str
    state: State
    was: str | None = None
    changes: tuple[Change, ...] = ()
    broken: tuple[str, ...] = ()
    outlines: Mapping[str, Outline] = {}
    versions: tuple[str, str] | None = None
    worst: tuple[Worst, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data; keys never disappear."""
        return {
            "name": self.name,
            "was": self.was,
            "state": self.state,
            "changes": [each.to_json() for each in self.changes],
            "broken": list(self.broken),
            "outlines": msgspec.to_builtins(self.outlines),
            "versions": None if self.versions is None else list(self.versions),
            "worst": msgspec.to_builtins(self.worst),
        }


class Diff(msgspec.Struct, frozen=True):
    """All pipelines of both sides, in the order of their names. `overlays` are those that differ and lie over none of
    them, so that nothing is known of what they do."""

    old: str
    new: str
    pipelines: tuple[PipelineDiff, ...]
    overlays: tuple[str, ...] = ()

    @property
    def findings(self) -> bool:
        """Whether anything differs in behaviour, or cannot be compared."""
        return any(each.state != "same" for each in self.pipelines)

    @property
    def broken(self) -> bool:
        return any(each.state == "broken" for each in self.pipelines)

    def to_json(self) -> dict[str, Any]:
        """Plain data; keys never disappear."""
        pipelines = [each.to_json() for each in self.pipelines]
        return {"old": self.old, "new": self.new, "pipelines": pipelines, "overlays": list(self.overlays)}


def compare(old: Side, new: Side, registry: Registry) -> Diff:
    """Compile and compare every pipeline that one of the sides has, and those that they run as steps. Never raises for
    what a file holds."""
    sides = (old, new)
    files = [dict(side.files) for side in sides]
    was = renamed(old.files, new.files)
    found: dict[str, PipelineDiff] = {}
    while left := sorted({*(files[0].keys() - was.values()), *files[1]} - found.keys()):
        name = left[0]
        names = (was.get(name, name), name)
        paths = [known.get(own) for known, own in zip(files, names, strict=True)]
        halves = [
            None if path is None else _half(side, own, path, registry)
            for side, own, path in zip(sides, names, paths, strict=True)
        ]
        found[name] = _compared(name, was.get(name), *halves)
        inner = [dict(half.inner(own)) if half is not None else {} for half, own in zip(halves, names, strict=True)]
        for known, path, own in zip(files, paths, inner, strict=True):
            both = own if name in was else {**inner[0], **inner[1]}  # a side that is broken does not say what it runs
            known.update(_lying_there(path, both) | known)
    return Diff(old.label, new.label, tuple(found[name] for name in sorted(found)), _apart(old, new))


def _half(side: Side, name: str, path: Path, registry: Registry) -> _Half:
    """What lies over the files of a side does not lie over those that they run as steps."""
    return _Half(side, compile_file(path, registry, side.sources if name in side.files else Sources()))


def _lying_there(path: Path | None, inner: Mapping[str, str]) -> dict[str, Path]:
    """Files beside a pipeline, by name, as far as they exist."""
    found = {} if path is None else {name: path.parent / file for name, file in inner.items()}
    return {name: each for name, each in found.items() if os.path.lexists(each)}


def _apart(old: Side, new: Side) -> tuple[str, ...]:
    """Overlays that differ, which lie over nothing here."""
    over = {os.path.realpath(each) for side in (old, new) for each in side.sources.overlays}
    found = []
    for name in sorted({*old.overlays, *new.overlays}):
        paths = [side.overlays[name] for side in (old, new) if name in side.overlays]
        data = [load_file(path, str(path)).data for path in paths]
        if over.isdisjoint(map(os.path.realpath, paths)) and (len(paths) == 1 or data[0] != data[1]):
            found.append(name)
    return tuple(found)


class _Half:
    """One pipeline on one side."""

    def __init__(self, side: Side, compiled: Compiled) -> None:
        self.side = side
        self.compiled = compiled
        self.found = [self._told(each) for each in not_allowed([*compiled.diagnostics, *lint(compiled)])]

    @property
    def program(self) -> Program | None:
        return self.compiled.program

    def inner(self, name: str) -> Iterator[tuple[str, str]]:
        """The files that this one runs as steps: by the names that pair them with those of the other side, and relative
        to its folder."""
        for step in () if self.program is None else self.program.steps:
            file = getattr(step.config, "file", None)
            if step.subprogram is not None and file is not None:
                folder = "" if _ARROW in name else posixpath.dirname(name)
                yield posixpath.normpath(posixpath.join(folder, file)), file

    @property
    def version(self) -> str:
        return str(self.compiled.loaded.data.get("version", 1))

    def _told(self, each: Diagnostic) -> Diagnostic:
        return msgspec.structs.replace(each, file=self.side.file(each.file), message=self.side.told(each.message))


def _compared(name: str, was: str | None, old: _Half | None, new: _Half | None) -> PipelineDiff:
    if old is None or new is None:
        return _alone(name, old, new)
    diagnostics = list(_diagnostics(old, new))
    versions = (old.version, new.version) if old.version != new.version else None
    broken = [half for half in (old, new) if half.program is None]
    labels = tuple(half.side.label for half in broken)
    if not broken:
        found = changes_between(view_of(old.compiled), view_of(new.compiled))
        told = [msgspec.structs.replace(each, file=new.side.file(each.file)) for each in found]
        changes = tuple(in_order([*told, *diagnostics, *_called(was, name)]))
        worst = worst_cases(old.program, new.program) if changes else ()
        state: State = "changed" if changes else "same"
        return PipelineDiff(name=name, was=was, state=state, changes=changes, versions=versions, worst=worst)
    if len(broken) == 2 and not diagnostics and was is None and _written(old) == _written(new):
        return PipelineDiff(name=name, state="same", broken=labels)
    return PipelineDiff(
        name=name,
        was=was,
        state="broken",
        changes=tuple([*_errors(broken), *(each for each in diagnostics if old.program or new.program)]),
        broken=labels,
        outlines=_outlines([half for half in (old, new) if half.program is not None]),
        versions=versions,
    )


def _called(was: str | None, name: str) -> Iterator[Change]:
    if was is not None:
        yield Change(section="state", what=f"the file {was} is called {name} now", file=name)


def _written(half: _Half) -> Any:
    """Everything that is written, wherever the files lie."""
    loaded = half.compiled.loaded
    return loaded.data, {path: text for path, (_, text) in loaded.files.items()}


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
                what = f"{half.side.label} is broken: {each.severity}[{each.code}] {sentence(each)}"
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
