"""Files to start from: templates of this package, filled in and written where nothing stands yet."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from string import Template

import msgspec


class Written(msgspec.Struct, frozen=True):
    """What became of one file: `new`, or `kept` because it was there."""

    path: str
    state: str


def filled(template: str, values: Mapping[str, str] | None = None) -> str:
    """The text of a template, such as `policy/module.py`."""
    text = (resources.files("wizard_dsl.cli") / "templates" / f"{template}.tmpl").read_text(encoding="utf-8")
    return Template(text).substitute(values or {})


def write(path: Path, text: str) -> Written:
    """Write a file and the folders above it; what is there stays as it is. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        return Written(str(path), "kept")
    return Written(str(path), "new")


def report(files: list[Written]) -> str:
    """One line for each file."""
    words = {"new": "wrote", "kept": "there already:", "added": "added to"}
    return "".join(f"{words[each.state]} {each.path}\n" for each in files)
