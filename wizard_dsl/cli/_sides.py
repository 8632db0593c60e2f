"""The two sides of a comparison, as a command line names them: files, folders, revisions, `A...B`, `REV:path`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import click
import msgspec

from wizard_dsl.analysis.diff import Side
from wizard_dsl.analysis.revisions import Repository, RevisionError
from wizard_dsl.cli._files import find

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
def sides(words: Sequence[str]) -> Iterator[tuple[Side, Side]]:
    """The sides that one word or two name; further words limit revisions to these files and folders. What is written
    to compare revisions is removed at the end. Raises UsageError."""
    with ExitStack() as stack:
        try:
            old, new, within = _read(words)
            found = _Sides(stack, within).paired(old, new)
        except RevisionError as error:
            raise click.UsageError(str(error)) from None
        yield found


def commits(base: str, head: str) -> tuple[str, str]:
    """The commit where a revision left another one, and its own. Raises UsageError."""
    try:
        old, new = _range(f"{base}...{head}")
    except RevisionError as error:
        raise click.UsageError(str(error)) from None
    return str(old.commit), str(new.commit)


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
    new = _named(rest[0])
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


def _named(word: str) -> _Named:
    if os.path.lexists(word):
        return _Named(word, None, word)
    repository = _repository(word)
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

    def __init__(self, stack: ExitStack, within: Sequence[str]) -> None:
        self._stack = stack
        self._within = within
        self._limits = tuple(map(_inside, within))

    def paired(self, old: _Named, new: _Named) -> tuple[Side, Side]:
        if old.path is None and new.path is None:
            made = self._whole(old), self._whole(new)
            self._met(*made)
            return made
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
        files = _pipelines(root)
        return Side(
            named.label, {name: path for name, path in files.items() if name in known and self._is_meant(name)}, root
        )

    def _is_meant(self, name: str) -> bool:
        return not self._limits or any(_lies_in(name, limit) for limit in self._limits)

    def _met(self, old: Side, new: Side) -> None:
        """Raises UsageError for a path that limits a comparison to nothing."""
        names = {*old.files, *new.files}
        for word, limit in zip(self._within, self._limits, strict=True):
            if not any(_lies_in(name, limit) for name in names):
                raise click.UsageError(f"there is no pipeline at '{word}', in {old.label} or in {new.label}")

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


def _lies_in(name: str, limit: str) -> bool:
    return limit in (".", name) or name.startswith(f"{limit}/")


def _side(named: _Named, path: Path | None, base: Path | None, name: str) -> Side:
    if path is None:
        return Side(named.label, {}, base)
    return Side(named.label, _pipelines(path) if path.is_dir() else {name: path}, base)


def _pipelines(folder: Path) -> dict[str, Path]:
    """The pipelines of a folder by their paths in it."""
    found = find((folder,)).files
    return {path.relative_to(folder).as_posix(): path for path, kind in found if kind == "pipeline"}
