"""The two sides of a comparison, as a command line names them: files, folders, revisions, `A...B`, `REV:path`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import click
import msgspec

from wizard_dsl.analysis.diff import Side
from wizard_dsl.analysis.revisions import Repository, RevisionError
from wizard_dsl.cli._files import Kind, find
from wizard_dsl.compiler.compile import Sources

WORKING: Final = "the working tree"


class _Named(msgspec.Struct, frozen=True):
    """One side as it was named: a commit (None: what lies here), and a path in it (None: all of it)."""

    label: str
    commit: str | None
    path: str | None = None

    @property
    def is_whole(self) -> bool:
        return self.commit is not None and self.path is None


@contextmanager
def sides(words: Sequence[str], sources: Sources, kinds: Sequence[Kind] = ("pipeline",)) -> Iterator[tuple[Side, Side]]:
    """The sides that one word or two name, with what lies over their files; further words limit revisions to these
    files and folders, in which there has to be a file of one of `kinds`. What is written to compare revisions is
    removed at the end. Raises UsageError."""
    with ExitStack() as stack:
        try:
            old, new, within = _read(words)
            found = _Sides(stack, within, kinds, sources).paired(old, new)
        except RevisionError as error:
            raise click.UsageError(str(error)) from None
        yield found


def changed_between(base: str, head: str, within: Sequence[str]) -> frozenset[str]:
    """The files in these files and folders that a revision changed since it left another one. Raises UsageError."""
    try:
        old, new = _range(f"{base}...{head}")
        names = Repository(Path()).changed(str(old.commit), str(new.commit))
        limits = tuple(map(_inside, within))
    except RevisionError as error:
        raise click.UsageError(str(error)) from None
    return frozenset(name for name in names if _is_meant(name, limits))


# -- words --------------------------------------------------------------------------------------------


def _read(words: Sequence[str]) -> tuple[_Named, _Named, tuple[str, ...]]:
    first, *rest = words
    if ".." in first and not os.path.lexists(first) and not first.startswith(("./", "../")):
        return *_range(first), tuple(rest)
    old = _named(first)
    if not rest:
        if old.commit is None:
            hint = "wizard diff OLD NEW, wizard diff main...HEAD, or wizard diff HEAD for what is not committed yet"
            raise click.UsageError(f"there is nothing to compare {first} with: {hint}")
        return old, _Named(WORKING, None, _here(old.path)), ()
    new = _named(rest[0], old.commit)
    if old.is_whole and new.commit is None:  # as git has it: a revision, and files that lie here
        return old, _Named(WORKING, None), tuple(rest)
    if new.is_whole and old.commit is None:
        return old, _Named(f"{new.label}:{old.path}", new.commit, _inside(str(old.path))), tuple(rest[1:])
    return old, new, tuple(rest[1:])


def _range(text: str) -> tuple[_Named, _Named]:
    """`A...B` is from where both parted to B, `A..B` from A; an end that is left out is HEAD."""
    dots = "..." if "..." in text else ".."
    one, _, other = (part or "HEAD" for part in text.partition(dots))
    repository = _repository(text)
    new = _Named(other, repository.commit(other))
    begin = repository.commit(one)
    base = repository.merge_base(one, other) if dots == "..." else begin
    return _Named(one if base == begin else f"{one} at {base[:7]}", base), new


def _named(word: str, known: str | None = None) -> _Named:
    """`known` is a commit that may have a path which does not exist here any more."""
    if os.path.lexists(word):
        return _Named(word, None, word)
    repository = _repository(word)
    if known is not None and repository.has(known, _inside(word)):
        return _Named(word, None, word)
    head, colon, path = word.partition(":")
    if colon:
        inside = _inside(path) if path.startswith(("./", "../")) else os.path.normpath(path)
        return _Named(word, repository.commit(head or "HEAD"), inside)
    return _Named(word, repository.commit(word))


def _repository(word: str) -> Repository:
    try:
        return Repository(Path())
    except RevisionError as error:
        raise click.UsageError(f"there is no file or folder '{word}', and {error}") from None


def _inside(path: str) -> str:
    """A path from here as one from the root of the repository. Raises UsageError for one that lies outside."""
    root = Repository(Path()).root.resolve()
    inside = os.path.relpath(Path(path).parent.resolve() / Path(path).name, root)
    if inside.startswith(".."):
        raise click.UsageError(f"{path} lies outside of the repository {root}")
    return inside


def _here(path: str | None) -> str | None:
    """A path from the root of the repository as one from here."""
    return None if path is None else os.path.relpath(Repository(Path()).root / path)


# -- files --------------------------------------------------------------------------------------------


class _Sides:
    """Finds the pipelines of both sides."""

    def __init__(self, stack: ExitStack, within: Sequence[str], kinds: Sequence[Kind], sources: Sources) -> None:
        self._stack = stack
        self._within = within
        self._limits = tuple(map(_inside, within))
        self._kinds = kinds
        self._sources = sources

    def paired(self, old: _Named, new: _Named) -> tuple[Side, Side]:
        if old.path is None and new.path is None:
            made = self._whole(old), self._whole(new)
            self._met(*made)
        else:
            made = self._places(old, new)
        return self._under(*made)

    def _places(self, old: _Named, new: _Named) -> tuple[Side, Side]:
        """Two files, or two folders."""
        if self._within:
            raise click.UsageError(f"'{self._within[0]}' is one too many: there are two sides already")
        one, other = self._place(old), self._place(new)
        there = [path for path, _ in (one, other) if path is not None]
        if not there:
            raise click.UsageError(f"neither {old.label} nor {new.label} is there")
        if len({path.is_dir() for path in there}) > 1:
            raise click.UsageError(f"{old.label} and {new.label} are a file and a folder; compare two of a kind")
        names = dict.fromkeys(os.path.normpath(str(each.path)) for each in (old, new))
        name = " → ".join(names)
        return _side(old, *one, name), _side(new, *other, name)

    def _whole(self, named: _Named) -> Side:
        """All pipelines of a revision, or of the working tree as far as git does not ignore them."""
        repository = Repository(Path())
        root, known = self._tree(named.commit) if named.commit is not None else (repository.root, repository.files())
        files = {
            kind: {name: path for name, path in each.items() if name in known} for kind, each in _by_kind(root).items()
        }
        meant = {name: path for name, path in files["pipeline"].items() if _is_meant(name, self._limits)}
        return Side(named.label, meant, root, overlays=files["overlay"], tests=files["test"])

    def _met(self, old: Side, new: Side) -> None:
        """Raises UsageError for a path that limits a comparison to nothing."""
        names = {*old.files, *new.files}
        if "test" in self._kinds:
            names |= {*old.tests, *new.tests}
        for word, limit in zip(self._within, self._limits, strict=True):
            if not any(_lies_in(name, limit) for name in names):
                nouns = " or ".join(self._kinds)
                raise click.UsageError(f"there is no {nouns} at '{word}', in {old.label} or in {new.label}")

    def _under(self, old: Side, new: Side) -> tuple[Side, Side]:
        """The sides with the overlays, each as its own revision has it; a side that lacks one says so. Raises
        UsageError for one that neither has."""
        paths = [{each: str(_at(each, side.base)) for each in self._sources.overlays} for side in (old, new)]
        there = [{each: path for each, path in own.items() if os.path.lexists(path)} for own in paths]
        for each in self._sources.overlays:
            if each not in there[0] and each not in there[1]:
                raise click.UsageError(f"there is no overlay '{each}', in {old.label} or in {new.label}")
        return self._over(old, there[0]), self._over(new, there[1])

    def _over(self, side: Side, there: Mapping[str, str]) -> Side:
        lacks = [each for each in self._sources.overlays if each not in there]
        if lacks:
            click.echo(f"{side.label} has no {', '.join(lacks)}: it is compared without", err=True)
        label = f"{side.label} without {', '.join(lacks)}" if lacks else side.label
        sources = msgspec.structs.replace(self._sources, overlays=tuple(there.values()))
        return msgspec.structs.replace(side, label=label, sources=sources)

    def _tree(self, commit: str) -> tuple[Path, frozenset[str]]:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="wizard-"))).resolve()
        return folder, Repository(Path()).write(commit, folder)

    def _place(self, named: _Named) -> tuple[Path | None, Path | None]:
        """Where a side lies, None where it is not there; and the folder that its places are told relative to."""
        path = Path(str(named.path))
        if named.commit is None:
            return (path if os.path.lexists(path) else None), None
        root, _ = self._tree(named.commit)
        return (root / path if os.path.lexists(root / path) else None), root


def _at(path: str, base: Path | None) -> Path:
    """A path from here, in the state that lies at a folder; what is in no repository has one state only."""
    if base is None or not Path(path).resolve().is_relative_to(Repository(Path()).root.resolve()):
        return Path(path)
    return base / _inside(path)


def _is_meant(name: str, limits: Sequence[str]) -> bool:
    return not limits or any(_lies_in(name, limit) for limit in limits)


def _lies_in(name: str, limit: str) -> bool:
    return limit in (".", name) or name.startswith(f"{limit}/")


def _side(named: _Named, path: Path | None, base: Path | None, name: str) -> Side:
    if path is None:
        return Side(named.label, {}, base)
    if not path.is_dir():
        return Side(named.label, {name: path}, base)
    files = _by_kind(path)
    return Side(named.label, files["pipeline"], base, overlays=files["overlay"])


def _by_kind(folder: Path) -> dict[Kind, dict[str, Path]]:
    """The pipelines, overlays and tests of a folder by their paths in it."""
    found: dict[Kind, dict[str, Path]] = {"pipeline": {}, "overlay": {}, "test": {}}
    for path, kind in find((folder,)).files:
        if kind in found:
            found[kind][path.relative_to(folder).as_posix()] = path
    return found
