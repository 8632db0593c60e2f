"""wizard cassette: look at a cassette, and take an edit by hand over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wizard_dsl.cli._output import as_json, columns, format_option
from wizard_dsl.core.errors import SpecError
from wizard_dsl.core.units import show_duration
from wizard_dsl.spec.diagnostics import render_text
from wizard_dsl.testing import _cassette_file as files
from wizard_dsl.testing._cassette_take import cleaned

if TYPE_CHECKING:
    from wizard_dsl.testing._cassette_file import Read, Recording
    from wizard_dsl.testing._cassette_lines import Exchange

_FILE = click.argument("file", type=click.Path(path_type=Path))
_SHOWN = 60  # characters of what was asked


@click.group("cassette", short_help="Look at a cassette, and take an edit over.")
def command() -> None:
    """Recorded exchanges with providers, as `wizard run --cassette` makes and replays them."""


@command.command("show", short_help="What is recorded.")
@_FILE
@format_option("text", "json")
def show(file: Path, form: str) -> int:
    """List the exchanges of FILE: line, target, how it ended and when, and the end of what was asked.

    Exits with 1 where a line was edited by hand, with 3 where the file is no cassette.
    """
    found = files.read(file)
    recording = _require(found)
    rows = [_row(line, each) for line, each in recording.exchanges]
    if form == "json":
        header = recording.header
        told = {"wizard": header.wizard, "recorded_at": header.recorded_at, "prompts": header.prompts}
        click.echo(as_json({**told, "exchanges": rows}), nl=False)
    else:
        click.echo(f"recorded at {recording.header.recorded_at} by wizard {recording.header.wizard}")
        click.echo(columns([_text(row) for row in rows]), nl=False)
    click.echo(render_text(found.edited), err=True, nl=False)
    return 1 if found.edited else 0


@command.command("accept", short_help="Take edits by hand over: write the checksums anew.")
@_FILE
def accept(file: Path) -> int:
    """Say which lines of FILE were edited, take keys and personal data out of them, and write its checksums anew.

    What a provider sent is then what the editor says it sent: have the change reviewed as you would have code.
    """
    found = files.read(file)
    recording = _require(found)
    if not found.edited:
        click.echo(f"{file}: nothing was edited", err=True)
        return 0
    edited = {each.line for each in found.edited}
    lines = [
        files.line_of(cleaned(each)) if number in edited else raw
        for raw, (number, each) in zip(recording.lines, recording.exchanges, strict=True)
    ]
    try:
        files.write(file, recording.header, lines)
    except OSError as error:
        raise SpecError(f"{file} cannot be written: {error.strerror or error}") from error
    for each in found.edited:
        what = "the header, or the order of the lines" if each.line == 1 else "edited"
        click.echo(f"{file}:{each.line}: accepted ({what})", err=True)
    return 0


def _require(found: Read) -> Recording:
    """Raises SpecError with every mistake."""
    if found.recording is None:
        raise SpecError(render_text(found.wrong), diagnostics=found.wrong)
    return found.recording


def _row(line: int, each: Exchange) -> dict[str, Any]:
    failed = each.failed
    last = each.end if each.end is not None else failed.at if failed is not None else each.cancelled
    how = "complete" if each.end is not None else "cancelled" if failed is None else failed.kind
    return {
        "line": line,
        "target": each.target,
        "stream": each.stream,
        "status": each.status,
        "ending": how,
        "seconds": (last or 0) / 1000,
        "pieces": len(each.chunks) or len(each.deltas),
        "asked": _asked(each.request.body),
    }


def _asked(body: Any) -> str:
    """The last text of the last turn, whatever the protocol calls it."""
    if isinstance(body, dict):
        turns = next((body[key] for key in ("messages", "contents", "input", "texts") if body.get(key)), body)
        body = turns[-1] if isinstance(turns, list) else turns
    while isinstance(body, dict | list) and body:
        inner = body.get("content", body.get("parts", body.get("text", ""))) if isinstance(body, dict) else body[-1]
        body = inner
    return " ".join(body.split()) if isinstance(body, str) else json.dumps(body)


def _text(row: dict[str, Any]) -> tuple[str, ...]:
    form = f"stream of {row['pieces']}" if row["stream"] else "whole"
    status = "" if row["status"] is None else str(row["status"])
    asked = row["asked"] if len(row["asked"]) <= _SHOWN else f"…{row['asked'][-_SHOWN:]}"
    seconds = show_duration(row["seconds"])
    return f"line {row['line']}", row["target"], status, row["ending"], seconds, form, asked
