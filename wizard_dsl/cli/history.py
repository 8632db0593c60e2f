"""wizard history: the runs that a project recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from wizard_dsl.cli._history import history_of, place_option, recorded, when
from wizard_dsl.cli._output import as_json, columns, format_option
from wizard_dsl.core.errors import SpecError
from wizard_dsl.core.units import show_money
from wizard_dsl.observe.history_file import HistoryUnavailable, Row
from wizard_dsl.observe.history_record import Stored
from wizard_dsl.observe.summary import show_time
from wizard_dsl.observe.transcript import render


@click.group("history", short_help="The runs that a project recorded.")
def command() -> None:
    """What `wizard run` did in a project, kept in its .wizard/history.db. Inputs, messages and replies are kept only
    where the file's `history.content` says so.

    Exits with 3 where the database cannot be used.
    """


@command.command("list", short_help="The newest runs.")
@click.option("-n", "limit", type=click.IntRange(1), default=20, show_default=True, help="So many.")
@place_option
@format_option("text", "json")
def list_(limit: int, place: Path, form: str) -> int:
    """List the recorded runs, newest first."""
    file = history_of(place)
    try:
        rows = file.rows(limit)
    except HistoryUnavailable as error:
        raise SpecError(str(error)) from None
    if form == "json":
        click.echo(as_json([_plain(row) for row in rows]), nl=False)
    elif rows:
        click.echo(columns([_text(row) for row in rows], indent=""), nl=False)
    else:
        click.echo(f"nothing is recorded in {file.path}", err=True)
    return 0


@command.command("show", short_help="One run: what was asked, what the policies did.")
@click.argument("run")
@place_option
@format_option("text", "json")
def show(run: str, place: Path, form: str) -> int:
    """Show RUN, an id or the beginning of one, or `last`: how it was begun, its transcript, and what was kept of its
    content."""
    stored = recorded(run, place)
    if form == "json":
        click.echo(as_json(msgspec.to_builtins(stored)), nl=False)
    else:
        click.echo("\n".join(_shown(stored)))
    return 0


def _plain(row: Row) -> dict[str, Any]:
    return {**msgspec.structs.asdict(row), "began": when(row.began)}


def _text(row: Row) -> tuple[str, ...]:
    attempts = "1 attempt" if row.attempts == 1 else f"{row.attempts} attempts"
    cost = show_money(row.cost) if row.cost else ""
    return row.id, when(row.began), row.name, row.kind, show_time(row.elapsed), attempts, cost, row.served_by or ""


def _shown(stored: Stored) -> list[str]:
    result, options = stored.result, stored.options
    given = [
        ("run", stored.id),
        ("began", when(stored.began)),
        ("file", f"{stored.file} ({result.pipeline.name}, hash {result.pipeline.hash})"),
        ("options", " ".join(_flags(stored)) or "none"),
        ("seed", f"{options.seed}, run {options.number} of its process"),
        ("content", stored.content),
    ]
    lines = [columns(given, indent="").rstrip("\n"), "", render(stored.transcript(), result=result)]
    for name, value in (stored.inputs or {}).items():
        lines += ["", f"input {name}", str(value)]
    for number, each in enumerate(stored.attempts, 1):
        for message in each.messages or ():
            lines += ["", f"attempt {number}, {message['role']}", message["content"]]
        if each.reply is not None:
            lines += ["", f"attempt {number}, reply", each.reply]
    if result.text:
        lines += ["", "text", result.text]
    return lines


def _flags(stored: Stored) -> list[str]:
    options = stored.options
    flags = ["--mock"] if options.mock else []
    flags += ["--stream"] if options.streamed else []
    flags += [f"--chain {options.chain}"] if options.chain else []
    flags += [f"--deadline {options.deadline}"] if options.deadline is not None else []
    flags += [f"--overlay {each}" for each in options.overlays]
    return [*flags, *(f"--set {each}" for each in options.sets)]
