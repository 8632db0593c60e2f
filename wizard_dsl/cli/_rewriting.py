"""What the verbs that rewrite files share: which files, what becomes of each, and how it is told.

A file that cannot be read is told with its diagnostics and stays as it is; one that cannot be written is told when the
others are.
"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from wizard_dsl.cli._files import Kind, find
from wizard_dsl.cli._output import as_json, format_option
from wizard_dsl.cli._replacing import replace
from wizard_dsl.spec.diagnostics import Diagnostic, has_errors, render_json, render_text
from wizard_dsl.spec.load import shown
from wizard_dsl.spec.source import MAX_BYTES, Source, load_bytes, load_file, read_bytes

STDIN = "-"
INVALID = 3
#: What a file is made into, or what is wrong with it.
Change = Callable[[Source, Kind | None], str | Diagnostic]


class Outcome(NamedTuple):
    """What became of one file. `before` is its text with its line breaks and byte order mark."""

    name: str
    path: Path | None
    before: str
    after: str
    found: tuple[Diagnostic, ...] = ()

    @property
    def changed(self) -> bool:
        return not self.found and self.before != self.after

    def diff(self) -> str:
        before, after = (each.replace("\r", "").splitlines(keepends=True) for each in (self.before, self.after))
        text = "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in difflib.unified_diff(before, after, self.name, self.name)
        )
        return text or f"{self.name}: only line breaks or a byte order mark\n"


def rewriting_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """PATHS, `--check`, `--diff` and `--format`."""
    for decorate in (
        format_option("text", "json"),
        click.option("--diff", "diff", is_flag=True, help="Print what would change, and write nothing."),
        click.option("--check", is_flag=True, help="Write nothing; exit with 1 where something would change."),
        click.argument("paths", nargs=-1, type=click.Path(path_type=Path, allow_dash=True)),
    ):
        command = decorate(command)
    return command


def rewrite(paths: Sequence[Path], change: Change, *, check: bool, diff: bool, form: str) -> int:
    """Do it, tell it, and say how it went: 3 where a file is wrong, 1 where `check` found something to change."""
    if paths and str(paths[0]) == STDIN:
        if len(paths) > 1:
            raise click.UsageError("- is the text on stdin, and stands alone")
        outcomes = [_changed(STDIN, None, sys.stdin.buffer.read(MAX_BYTES + 1), None, change)]
    else:
        outcomes = [_of_file(path, kind, change) for path, kind in _files(paths or (Path(),))]
    refused = [] if check or diff else _write(outcomes)
    _tell(outcomes, form, check=check, diff=diff)
    if refused:
        raise click.UsageError("; ".join(refused))
    if any(has_errors(each.found) for each in outcomes):
        return INVALID
    return int(check and any(each.changed for each in outcomes))


def _files(paths: Sequence[Path]) -> list[tuple[Path, Kind]]:
    found = find(paths)
    if found.missing:
        raise click.UsageError(f"there is no file or folder '{found.missing[0]}'")
    files: list[tuple[Path, Kind]] = [each for each in found.files if each[1] != "cassette"]
    if not files:
        raise click.UsageError(f"there is no file of ours in {', '.join(map(str, paths))}")
    return files


def _of_file(path: Path, kind: Kind, change: Change) -> Outcome:
    try:
        content = read_bytes(path, MAX_BYTES + 1)
    except (OSError, ValueError):
        return Outcome(shown(path), path, "", "", load_file(path, shown(path)).diagnostics)
    return _changed(shown(path), path, content, kind, change)


def _changed(name: str, path: Path | None, content: bytes, kind: Kind | None, change: Change) -> Outcome:
    source = load_bytes(content, "stdin" if name == STDIN else name)
    if has_errors(source.diagnostics):
        return Outcome(name, path, "", "", source.diagnostics)
    made = change(source, kind)
    before = content.decode("utf-8")
    return Outcome(name, path, before, made) if isinstance(made, str) else Outcome(name, path, before, "", (made,))


def _write(outcomes: list[Outcome]) -> list[str]:
    """Write the files that changed. What is said of those that cannot be written, which then count as unchanged."""
    refused = []
    for at, each in enumerate(outcomes):
        if each.path is None or not each.changed:
            continue
        try:
            replace(each.path, each.after)
        except OSError as error:
            refused.append(f"{each.name} cannot be written: {error.strerror}")
            outcomes[at] = each._replace(after=each.before)
    return refused


def _tell(outcomes: Sequence[Outcome], form: str, *, check: bool, diff: bool) -> None:
    found = [each for outcome in outcomes for each in outcome.found]
    changed = [each for each in outcomes if each.changed]
    if form == "json":
        rows = [
            {"file": each.name, "changed": each.changed, "diff": each.diff() if each.changed and diff else None}
            for each in outcomes
        ]
        click.echo(as_json({"files": rows, "diagnostics": json.loads(render_json(found))}), nl=False)
        return
    for each in changed if diff else ():
        click.echo(each.diff(), nl=False)
    if not diff:
        if outcomes[0].path is None and not check:
            click.echo(outcomes[0].after, nl=False)
        else:
            click.echo("".join(f"{each.name}\n" for each in changed), nl=False)
    click.echo(render_text(found), nl=False, err=True)
    click.echo(_summary(len(changed), len(outcomes), written=not (check or diff)), err=True)


def _summary(changed: int, files: int, *, written: bool) -> str:
    verb = "changed" if written else "would change"
    return f"{changed} of {files} {'file' if files == 1 else 'files'} {verb}"
