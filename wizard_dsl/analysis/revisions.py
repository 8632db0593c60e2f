"""Files as a git revision has them, written into a folder of our own: no checkout, no index, nothing left behind.

Only what pipelines and their tests are made of is written: YAML files, the files that these name, snapshots, and links
among them. The folder is
marked as the root of a repository, so that a project has the root that it has where it was committed.
"""

from __future__ import annotations

import os
import posixpath
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from wizard_dsl.core.regex import regex
from wizard_dsl.spec.diagnostics import did_you_mean
from wizard_dsl.spec.interpolate import find_references
from wizard_dsl.spec.source import MAX_BYTES, load_bytes

_ENDINGS: Final = (".yaml", ".yml")
_SNAPSHOTS: Final = "__snapshots__"
_LONGEST: Final = 500
_LINK: Final = "120000"
#: A name, and no expression such as `HEAD~2`.
_WORD: Final = regex(r"[^~^@{}:]+")
_FILES: Final = ("100644", "100755", _LINK)
#: A file that is larger is written this long: long enough for the loader to say that it is too long.
_MOST: Final = MAX_BYTES + 1


class RevisionError(Exception):
    """A revision that is not there, or no repository; the text says what to do."""


class _Entry(msgspec.Struct, frozen=True):
    """A file of a commit, and the repository that has it: this one, or that of a submodule."""

    mode: str
    id: str
    owner: Repository


class Repository:
    """The git repository that a folder lies in. Raises RevisionError where it lies in none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        found = self._git(("rev-parse", "--show-toplevel"), b"")
        if found.returncode != 0:
            said = found.stderr.decode(errors="replace").strip()
            none = f"{folder.resolve()} is in no git repository, so it has no revisions"
            raise RevisionError(none if "not a git repository" in said else f"git cannot be asked: {said[:300]}")
        self.root = Path(os.fsdecode(found.stdout).rstrip("\n"))

    def commit(self, revision: str) -> str:
        """The commit that a revision names. Raises RevisionError."""
        found = self._line("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        if found is None:
            raise RevisionError(f"git knows no revision '{revision}'{self._hint(revision)}")
        return found

    def names(self) -> list[str]:
        """The branches and tags, as they are written."""
        return (self._line("for-each-ref", "--format=%(refname:short)") or "").splitlines()

    def files(self) -> frozenset[str]:
        """The files of the working tree that git does not ignore, relative to the root."""
        listed = self._run("ls-files", "--cached", "--others", "--exclude-standard", "-z", "--full-name", ":/")
        return frozenset(os.fsdecode(each) for each in listed.split(b"\0") if each)

    def merge_base(self, one: str, other: str) -> str:
        """The commit that two revisions have last in common. Raises RevisionError."""
        found = self._line("merge-base", self.commit(one), self.commit(other))
        if found is None:
            hint = self._shallow() or f"; {one}..{other} compares them as they are"
            raise RevisionError(f"{one} and {other} have no commit in common{hint}")
        return found

    def has(self, commit: str, path: str) -> bool:
        """Whether a commit has a file or folder at a path from the root."""
        return self._line("rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}:{path}") is not None

    def write(self, commit: str, folder: Path) -> frozenset[str]:
        """Write the pipelines of a commit into an empty folder, and what they are made of, files of submodules that are
        checked out here among it. Returns the names of all files that the commit itself has."""
        entries = dict(self._entries(commit))
        wanted = [name for name in entries if name.endswith(_ENDINGS) or _SNAPSHOTS in name.split("/")[:-1]]
        (folder / ".git").touch()
        written: set[str] = set()
        while wanted:
            named: set[str] = set()
            for name, content in _contents({name: entries[name] for name in wanted}):
                written.add(name)
                _put(folder, name, entries[name], content)
                named.update(_names(name, entries[name], content))
            wanted = sorted(each for each in named if each in entries and each not in written)
        return frozenset(name for name, entry in entries.items() if entry.owner is self)

    def changed(self, one: str, other: str) -> frozenset[str]:
        """The files that two commits do not have alike."""
        listed = self._run("diff-tree", "-r", "--name-only", "--no-renames", "-z", one, other)
        return frozenset(os.fsdecode(each) for each in listed.split(b"\0") if each)

    # -- git ----------------------------------------------------------------------------------------

    def _entries(self, commit: str, folder: str = "") -> Iterator[tuple[str, _Entry]]:
        for line in self._run("ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0"):
            if not line:
                continue
            facts, _, name = line.partition(b"\t")
            mode, kind, identity = facts.decode().split()
            path = os.fsdecode(name)
            if kind == "blob" and mode in _FILES:
                yield f"{folder}{path}", _Entry(mode, identity, self)
            elif kind == "commit" and (self.root / path / ".git").exists():
                yield from self._submodule(path, identity, f"{folder}{path}/")

    def _submodule(self, path: str, commit: str, folder: str) -> Iterator[tuple[str, _Entry]]:
        """The files of a submodule, none where its commit was not fetched: then a pipeline that needs one is broken."""
        inner = Repository(self.root / path)
        if inner._line("cat-file", "-e", commit) is not None:
            yield from inner._entries(commit, folder)

    def contents(self, ids: Sequence[str]) -> Iterator[bytes]:
        """The files of these ids, in their order; a long one is cut."""
        answer = self._run("cat-file", "--batch", stdin="".join(f"{each}\n" for each in ids).encode())
        start = 0
        for each in ids:
            head = answer[start : answer.index(b"\n", start)]
            words = head.split()
            if len(words) != 3:
                raise RevisionError(f"git lacks a file of this revision ({each}); fetch what is missing")
            size = int(words[2])
            start += len(head) + 1
            yield answer[start : start + min(size, _MOST)]
            start += size + 1

    def _line(self, *arguments: str) -> str | None:
        """What git prints, without the end of the line; None where it fails."""
        done = self._git(arguments, b"")
        return done.stdout.decode(errors="surrogateescape").rstrip("\n") if done.returncode == 0 else None

    def _run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        done = self._git(arguments, stdin)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            raise RevisionError(f"git {arguments[0]} failed: {said[:300]}")
        return done.stdout

    def _git(self, arguments: Iterable[str], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
        env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
        command = ["git", "-C", str(self._folder), *arguments]
        try:
            return subprocess.run(command, input=stdin, env=env, capture_output=True, check=False)
        except FileNotFoundError:
            raise RevisionError("revisions need git, and there is no program 'git' on the PATH") from None

    def _hint(self, revision: str) -> str:
        near = did_you_mean(revision, [*self.names(), "HEAD"]) if _WORD.fullmatch(revision) else None
        return self._shallow() + (f"; did you mean '{near}'?" if near else "")

    def _shallow(self) -> str:
        """What is missing may be so because only a part of the history was fetched."""
        if self._line("rev-parse", "--is-shallow-repository") != "true":
            return ""
        return "; this clone is shallow: fetch the whole history (in GitHub Actions: fetch-depth: 0)"


def _contents(entries: Mapping[str, _Entry]) -> Iterator[tuple[str, bytes]]:
    """What the files are, repository by repository."""
    owners = {id(entry.owner): entry.owner for entry in entries.values()}
    for key, owner in owners.items():
        own = {name: entry.id for name, entry in entries.items() if id(entry.owner) == key}
        yield from zip(own, owner.contents(list(own.values())), strict=True)


def _put(folder: Path, name: str, entry: _Entry, content: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry.mode == _LINK:
        target = os.fsdecode(content)
        if _inside(posixpath.dirname(name), target) is not None:
            path.symlink_to(target)
    else:
        path.write_bytes(content)


def _names(name: str, entry: _Entry, content: bytes) -> Iterator[str]:
    """What one may lead to: by a link, or by a text in it, such as the `file` of a prompt or a test's cassette."""
    folder = posixpath.dirname(name)
    if entry.mode == _LINK:
        texts: Iterable[str] = [os.fsdecode(content)]
    else:
        texts = _texts_in(load_bytes(content, name).data) if name.endswith(_ENDINGS) else ()
    for text in texts:
        references = [each.name for each in find_references(text) if each.scheme == "file"]
        for path in references or [text]:
            inside = _inside(folder, path)
            if inside is not None:
                yield inside


def _inside(folder: str, text: str) -> str | None:
    """A path relative to a folder, as one relative to the root; None where it leads out of it."""
    path = posixpath.normpath(posixpath.join(folder, text))
    outside = path.startswith(("../", "/")) or path in {"..", "."}
    return None if outside else path


def _texts_in(data: Any) -> Iterator[str]:
    """Every text of a document that could be a path."""
    if isinstance(data, str) and len(data) < _LONGEST and "\n" not in data:
        yield data
    elif isinstance(data, Mapping):
        for each in data.values():
            yield from _texts_in(each)
    elif isinstance(data, list):
        for each in data:
            yield from _texts_in(each)
