"""Files that are called otherwise on the new side: one that is gone, with the new one that reads most like it."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import SequenceMatcher
from pathlib import Path
from posixpath import basename
from typing import Final

from wizard_dsl.spec.source import read_bytes

#: The share of lines that two files have in common at least, as git takes a file for a renamed one.
_ALIKE: Final = 0.5
#: So much of a file is looked at.
_BYTES: Final = 64 * 1024


def renamed(old: Mapping[str, Path], new: Mapping[str, Path]) -> dict[str, str]:
    """The new name → the old one, of files that only one side has under their names. Each stands for one at most; the
    most similar ones find each other first, of these the ones that only moved to another folder."""
    gone = {name: _lines(path) for name, path in old.items() if name not in new}
    fresh = {name: _lines(path) for name, path in new.items() if name not in old}
    found: dict[str, str] = {}
    pairs = [
        (-_likeness(gone[was], lines), basename(name) != basename(was), name, was)
        for name, lines in fresh.items()
        for was in gone
    ]
    for unlike, _, name, was in sorted(pairs):
        if -unlike >= _ALIKE and name not in found and was not in found.values():
            found[name] = was
    return found


def _lines(path: Path) -> list[bytes]:
    try:
        return read_bytes(path, _BYTES).splitlines()
    except OSError:
        return []


def _likeness(one: list[bytes], other: list[bytes]) -> float:
    """Between 0 and 1; 0 for a file without a line, which is like no other one."""
    if not one or not other:
        return 0.0
    if one == other:
        return 1.0
    matcher = SequenceMatcher(None, one, other)
    return matcher.ratio() if matcher.quick_ratio() >= _ALIKE else 0.0
