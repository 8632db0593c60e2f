"""What keeps a program's state and budgets: whether the server answers, and whether the files can be used."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wizard_dsl.cli._need import Need
from wizard_dsl.spec.keeper import state_home
from wizard_dsl.stores._open_book import BOOK

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import Program

#: Seconds that a server has to answer.
_PATIENCE: Final = 3.0


def kept(program: Program, root: Path) -> Iterator[Need]:
    """The needs of `state` and of `budgets`. On a server, the budgets are kept with the state."""
    home = state_home(program.state).below(root)
    if home.kind == "redis":
        yield asyncio.run(_server(home.place))
        return
    if home.kind == "sqlite":
        yield _file("state", Path(home.place))
    if program.budgets:
        yield _file("budgets", root / BOOK)


async def _server(url: str) -> Need:
    from wizard_dsl.stores._redis import client, shown

    server = client(url)
    try:
        await asyncio.wait_for(server.ping(), _PATIENCE)
    except Exception as error:
        return Need("state", "missing", f"{shown(url)} does not answer: {type(error).__name__}", "start the server")
    finally:
        await server.aclose()
    return Need("state", "ok", shown(url))


def _file(what: str, path: Path) -> Need:
    """A file that is not there yet needs a place where it can be made."""
    if not path.exists():
        return writable(what, path.parent, path)
    try:
        with closing(sqlite3.connect(path)) as database:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        return Need(what, "missing", f"{path} cannot be used: {error}", "mend it, or move it away")
    return Need(what, "ok", str(path))


def writable(what: str, folder: Path, shown: Path, *, other: str = "") -> Need:
    """Whether `folder` can be written, or made; `other` is another way out."""
    place = next(each for each in (folder, *folder.parents) if each.exists())
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        return Need(what, "ok", str(shown))
    return Need(what, "missing", f"{place} cannot be written", f"give this user the right to write {place}{other}")
