"""What all verbs share about their output: the `--format` option, JSON for machines, columns for people."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def format_option(*forms: str) -> Decorator:
    """`--format`; the first form is the default."""
    return click.option(
        "--format", "form", type=click.Choice(forms), default=forms[0], show_default=True, help="What stdout gets."
    )


def layer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--overlay` and `--set`, as `run` has them."""
    overlay = click.option("--overlay", "overlays", multiple=True, metavar="FILE", help="A document over the file.")
    value = click.option("--set", "sets", multiple=True, metavar="PATH=VALUE", help="One value over everything else.")
    return overlay(value(command))


def refuse_unwritable(path: Path | None, option: str) -> None:
    """Raises UsageError before any work is done, or paid for, whose outcome could not be written."""
    if path is None:
        return
    try:
        is_new = not path.exists()
        path.open("a").close()
        if is_new:
            path.unlink()
    except OSError as error:
        raise click.UsageError(f"{option} cannot write {path}: {error.strerror}") from None


def has_colour(stream: TextIO, env: Mapping[str, str] = os.environ) -> bool:
    """Whether colour may be written: on a terminal that can, unless NO_COLOR is set to anything."""
    return stream.isatty() and not env.get("NO_COLOR") and env.get("TERM") != "dumb"


def as_json(data: Any) -> str:
    """Indented, in the order given, with a newline at the end."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def columns(rows: Sequence[Sequence[str]], indent: str = "  ") -> str:
    """Rows of texts as aligned columns, two spaces apart; the last column is as long as it likes."""
    count = max((len(row) for row in rows), default=0)
    widths = [max((columns_of(row[at]) for row in rows if at < len(row) - 1), default=0) for at in range(count)]
    lines = []
    for row in rows:
        cells = [padded(text, widths[at]) if at < len(row) - 1 else text for at, text in enumerate(row)]
        lines.append(f"{indent}{'  '.join(cells)}".rstrip())
    return "".join(f"{line}\n" for line in lines)


def padded(text: str, width: int) -> str:
    """A text with spaces behind it, so that it fills that many columns of a terminal."""
    return text + " " * (width - columns_of(text))


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes: Chinese letters take two, accents of their own none."""
    return len(text) if text.isascii() else sum(map(_columns_of_one, text))


def _columns_of_one(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
