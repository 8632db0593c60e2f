"""The book of budgets of one runtime: on the server that keeps its state, else in a file of its project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from wizard_dsl.core.budget import Book
    from wizard_dsl.core.clock import Clock

#: Where the book of a project lies, below its root.
BOOK: Final = ".wizard/budgets.db"


def open_book(server: str, file: Path, clock: Clock) -> Book:
    """The book at `server`, a URL of Redis, or in `file` where that is empty. Nothing is asked or opened yet."""
    if server:
        from wizard_dsl.stores._book_redis import RedisBook

        return RedisBook(server, clock)
    from wizard_dsl.stores._book_sqlite import SqliteBook
    from wizard_dsl.stores._worker import Thread

    return SqliteBook(file, clock, Thread)
