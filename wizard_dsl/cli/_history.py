"""What the verbs share that look at recorded runs: where a project's history lies, and which run is meant."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from wizard_dsl.core.errors import SpecError
from wizard_dsl.observe.history_file import HISTORY, SHORTEST, HistoryFile, HistoryUnavailable
from wizard_dsl.observe.history_record import Stored
from wizard_dsl.spec.codes import CODES
from wizard_dsl.spec.project import find_project

#: `--in`: whose history is looked at.
place_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--in",
    "place",
    type=click.Path(path_type=Path, exists=True),
    default=Path(),
    metavar="PATH",
    help="The project, by a file or folder of it (default: the one here).",
)
_HEX: Final = frozenset("0123456789abcdef")
#: The last second that a date can say.
_LAST: Final = 253_402_300_799.0


def history_of(place: Path) -> HistoryFile:
    """The history of the project that a file or folder belongs to."""
    return HistoryFile(find_project(place / "x" if place.is_dir() else place).root / HISTORY)


def could_be_run(word: str) -> bool:
    """Whether `word` looks like a run's id, or the beginning of one: in small letters, as codes are not."""
    return word == "last" or (len(word) >= SHORTEST and _HEX.issuperset(word))


def recorded(ref: str, place: Path) -> Stored:
    """The run that `ref` names. Raises SpecError where the history cannot be read, UsageError where no run, or more
    than one, is meant."""
    file = history_of(place)
    try:
        found = file.find(ref)
    except HistoryUnavailable as error:
        raise SpecError(str(error)) from None
    if isinstance(found, Stored):
        return found
    if found:
        raise click.UsageError(f"'{ref}' may mean {', '.join(sorted(found))}; write more of the id")
    if ref == "last":
        raise click.UsageError(f"nothing is recorded in {file.path} yet; `wizard run` does that")
    hint = "`wizard history list` shows those that are"
    raise click.UsageError(f"no run '{ref[:60]}' is recorded in {file.path}; {hint}")


def earlier(stored: Stored, place: Path) -> list[Stored]:
    """The runs of the same pipeline before it, newest first. Raises SpecError."""
    try:
        return history_of(place).earlier(stored)
    except HistoryUnavailable as error:
        raise SpecError(str(error)) from None


def way_to(id: str, root: Path) -> str:
    """What to type to have the run explained. Empty where the history cannot be asked."""
    try:
        short = HistoryFile(root / HISTORY).short(id)
    except HistoryUnavailable:
        return ""
    if short.upper() in CODES:
        short = id[: len(short) + 1]
    here = find_project(Path.cwd() / "x").root
    where = "" if os.path.samefile(here, root) else f" --in {os.path.relpath(root)}"
    return f"wizard explain {short}{where}"


def when(began: float) -> str:
    """A moment, UTC, to the second."""
    return f"{datetime.fromtimestamp(min(max(began, 0.0), _LAST), UTC):%Y-%m-%d %H:%M:%S}Z"
