"""`wizard validate --fix` and `--diff`: what is certain is put right in the files, or shown."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from wizard_dsl.cli._files import Kind
from wizard_dsl.cli._looking import Looker
from wizard_dsl.cli._output import as_json
from wizard_dsl.cli._replacing import replace
from wizard_dsl.lint.allow import with_allowed
from wizard_dsl.lint.fixes import Fix, Mended, mended, words_of
from wizard_dsl.spec.diagnostics import Diagnostic
from wizard_dsl.spec.load import shown
from wizard_dsl.spec.schema import for_kind
from wizard_dsl.spec.source import MAX_BYTES, read_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from wizard_dsl.registry import Registry


class MendedFile(msgspec.Struct, frozen=True):
    """A file that has remedies: its text before and after."""

    path: Path
    before: str
    made: Mended


def remedies(files: Sequence[tuple[Path, Kind]], registry: Registry, told: frozenset[str]) -> list[MendedFile]:
    """What is certain, for each pipeline, wizard.yaml and overlay that has any. Nothing is written."""
    looker = Looker(registry)
    found = []
    for path, kind in files:
        before = _text(path)
        if kind not in ("pipeline", "project", "overlay") or before is None:
            continue
        look = partial(_look, looker, path, kind, told)
        made = mended(before, look, _vocabulary(kind, registry))
        if made.fixes:
            found.append(MendedFile(path, before, made))
    return found


def _look(looker: Looker, path: Path, kind: Kind, told: frozenset[str], text: str) -> list[Diagnostic]:
    found = looker.findings(path, kind, text=text)
    pipelines = [shown(path)] if kind == "pipeline" else []
    judged = with_allowed(found, pipelines, told, texts={shown(path): text})
    return [each for each in judged if each.file == shown(path)]


def _vocabulary(kind: Kind, registry: Registry) -> Callable[[], frozenset[str]]:
    return cache(lambda: words_of(for_kind(kind, registry)))


def _text(path: Path) -> str | None:
    """The text with the line ends it has; None where it is not to be read, which its findings say."""
    try:
        content = read_bytes(path, MAX_BYTES + 1)
        return None if len(content) > MAX_BYTES else content.decode("utf-8")
    except (OSError, ValueError):
        return None


def write(files: Sequence[MendedFile]) -> None:
    """Write the files, each at once or not at all. Raises UsageError where one cannot be written."""
    for each in files:
        try:
            replace(each.path, each.made.text)
        except OSError as error:
            raise click.UsageError(f"cannot write {each.path}: {error.strerror}") from None


def told(files: Sequence[MendedFile]) -> str:
    """One line for each remedy, at the place of its finding."""
    return "".join(f"{_line(each.path, fix)}\n" for each in files for fix in each.made.fixes)


def _line(path: Path, fix: Fix) -> str:
    return f"{shown(path)}:{fix.line}:{fix.column} mended[{fix.code}] {fix.says}"


def diff(files: Sequence[MendedFile]) -> str:
    """What would change, as `patch` reads it."""
    return "".join(_diff(each) for each in files)


def _diff(each: MendedFile) -> str:
    name = shown(each.path)
    texts = (each.before.splitlines(keepends=True), each.made.text.splitlines(keepends=True))
    lines = difflib.unified_diff(*texts, fromfile=name, tofile=name)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def diff_json(files: Sequence[MendedFile]) -> str:
    """The same for machines."""
    rows = []
    for each in files:
        rows.append({"file": shown(each.path), "fixes": [_row(fix) for fix in each.made.fixes], "diff": _diff(each)})
    return as_json(rows)


def _row(fix: Fix) -> dict[str, object]:
    return {"code": fix.code, "line": fix.line, "column": fix.column, "message": fix.says}
