"""wizard cost: what the budgets of a project have spent."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from wizard_dsl.cli._caches import compiled_here, server_of
from wizard_dsl.cli._output import as_json, columns, format_option
from wizard_dsl.core.budget import BookUnavailable, Entry, usd
from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.errors import SpecError
from wizard_dsl.core.units import show_money
from wizard_dsl.spec.project import find_project
from wizard_dsl.stores._open_book import BOOK, open_book


@click.command("cost", short_help="What the budgets of a project have spent.")
@click.argument("place", type=click.Path(path_type=Path, exists=True), default=Path())
@click.option("--all", "everything", is_flag=True, help="All days, months and sessions, not only today's.")
@format_option("text", "json")
def command(place: Path, everything: bool, form: str) -> int:
    """Print what was spent today and this month (UTC), by budget, in the project that PLACE belongs to. Where PLACE is
    a pipeline file whose state is on a server, print what is booked there.

    Only what runs under `budgets` is booked. Reserved is what attempts in flight may cost, and what a process that
    was killed left behind. Exits with 3 where the book cannot be used.
    """
    path = find_project(place / "x" if place.is_dir() else place).root / BOOK
    server = _server(place)
    rows = asyncio.run(_rows(server, path, everything)) if server or path.is_file() else []
    if form == "json":
        click.echo(as_json(rows), nl=False)
    elif rows:
        click.echo(columns([_text(row) for row in rows], indent=""), nl=False)
    else:
        click.echo(f"nothing is booked {'on the server' if server else f'in {path}'}", err=True)
    return 0


def _server(place: Path) -> str:
    if place.is_dir() or place.suffix not in (".yaml", ".yml"):
        return ""
    program = compiled_here(place, (), (), mock=True).program
    return "" if program is None else server_of(program)


async def _rows(server: str, path: Path, everything: bool) -> list[dict[str, Any]]:
    """The accounts, in order of their names. Raises SpecError."""
    clock = LoopClock()
    book = open_book(server, path, clock)
    try:
        entries = await book.entries()
    except BookUnavailable as error:
        raise SpecError(str(error)) from None
    finally:
        await book.aclose()
    today = datetime.fromtimestamp(clock.wall(), UTC).date().isoformat()
    now = {("day", today), ("month", today[:7])}
    rows = [_row(name, entry) for name, entry in sorted(entries.items())]
    return [row for row in rows if everything or (row["budget"], row["period"]) in now]


def _row(name: str, entry: Entry) -> dict[str, Any]:
    budget, period, owner = name.split("/", 2)
    return {
        "budget": budget,
        "period": period,
        "pipeline": owner or None,
        "spent": usd(entry.spent),
        "reserved": usd(entry.reserved),
    }


def _text(row: dict[str, Any]) -> tuple[str, ...]:
    reserved = f"and {show_money(row['reserved'])} reserved" if row["reserved"] else ""
    whose = row["pipeline"] or "(the project)"
    return row["budget"], row["period"], whose, show_money(row["spent"]), reserved
