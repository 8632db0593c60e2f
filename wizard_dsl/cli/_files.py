"""Which files of the paths on a command line are whose: pipelines, project files, overlays, tests, scenarios, and all
others."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import click
import msgspec

from wizard_dsl.core.regex import regex
from wizard_dsl.spec.project import PROJECT_FILE, SCENARIO_ENDINGS, TEST_ENDINGS
from wizard_dsl.spec.source import read_bytes

Kind = Literal["pipeline", "project", "overlay", "test", "simulation", "cassette"]

_ENDINGS: Final = (".yaml", ".yml")
_OVERLAYS: Final = (".overlay.yaml", ".overlay.yml")
#: Recorded exchanges; in a folder they are looked at by the tests that name them.
CASSETTE: Final = ".cassette.jsonl"
_SKIPPED_FOLDERS: Final = ("node_modules", "__pycache__")
_HEAD_BYTES: Final = 256 * 1024
_VERSION: Final = regex(rb"^(?:\{\s*)?[\"']?version[\"']?\s*:", re.MULTILINE)
_SECTION: Final = regex(rb"^(?:\{.*)?[\"']?(steps|chains|providers|prompts)[\"']?\s*:", re.MULTILINE)

_OURS: Final = frozenset((b"steps", b"chains"))


class Found(msgspec.Struct, frozen=True):
    """The files to look at, in order, each once; `others` are YAML files that are none of ours."""

    files: tuple[tuple[Path, Kind], ...]
    others: tuple[Path, ...]
    missing: tuple[Path, ...]


def find(paths: Sequence[Path]) -> Found:
    """The files that paths name, and those in their folders that are ours by name or by content.

    A file that is named itself is always taken, as a pipeline unless its name says otherwise.
    """
    files: dict[Path, Kind] = {}
    others: list[Path] = []
    missing: list[Path] = []
    for path in paths:
        if path.is_dir():
            for each in below(path):
                kind = kind_of(each) if each.name == PROJECT_FILE or _named(each) else _by_content(each)
                if kind is None:
                    others.append(each)
                else:
                    files.setdefault(each, kind)
        elif not os.path.lexists(path):
            missing.append(path)
        else:
            files.setdefault(path, kind_of(path))
    return Found(tuple(files.items()), tuple(others), tuple(missing))


def kind_of(path: Path) -> Kind:
    """The kind of a file by its name alone."""
    if path.name == PROJECT_FILE:
        return "project"
    if path.name.endswith(_OVERLAYS):
        return "overlay"
    if path.name.endswith(TEST_ENDINGS):
        return "test"
    if path.name.endswith(CASSETTE):
        return "cassette"
    return "simulation" if path.name.endswith(SCENARIO_ENDINGS) else "pipeline"


def _named(path: Path) -> bool:
    return path.name.endswith((*_OVERLAYS, *TEST_ENDINGS, *SCENARIO_ENDINGS))


def below(folder: Path) -> Iterator[Path]:
    """The YAML files of a folder and its folders, by name; hidden ones and those of other tools are left out."""
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith(".") and each not in _SKIPPED_FOLDERS)
        yield from (Path(base) / name for name in sorted(names) if name.endswith(_ENDINGS) and name[0] != ".")


def _by_content(path: Path) -> Kind | None:
    """A pipeline has a version and one of our sections, or two of these: a misspelt version hides no file. Other tools
    have prompts and providers, too, but no steps and no chains."""
    try:
        head = read_bytes(path, _HEAD_BYTES).removeprefix(codecs.BOM_UTF8)
    except OSError:
        return "pipeline"  # unreadable: the loader says why
    sections = set(_SECTION.findall(head))
    if _VERSION.search(head):
        return "pipeline" if sections else None
    return "pipeline" if len(sections) >= 2 and sections & _OURS else None


def find_tests(paths: Sequence[Path]) -> list[Path]:
    """The test files, each once, in order. Raises UsageError where a path is none, or where there are none."""
    found = list(dict.fromkeys(each for path in paths for each in _tests_in(path)))
    if not found:
        shown = ", ".join(map(str, paths))
        raise click.UsageError(f"there is no test file (*.test.yaml) in {shown}")
    return found


def _tests_in(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (each for each in below(path) if each.name.endswith(TEST_ENDINGS))
    elif not path.exists():
        raise click.UsageError(f"there is no file or folder '{path}'")
    elif not path.name.endswith(TEST_ENDINGS):
        raise click.UsageError(f"'{path}' is no test file: their names end in {' or '.join(TEST_ENDINGS)}")
    else:
        yield path
