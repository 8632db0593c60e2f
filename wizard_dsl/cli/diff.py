"""wizard diff: what changes in behaviour between two files, folders or git revisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import click

from wizard_dsl.analysis.diff import Diff, compare
from wizard_dsl.analysis.diff_text import as_markdown, as_text
from wizard_dsl.cli._completing_revisions import revisions
from wizard_dsl.cli._output import as_json, format_option, layer_options
from wizard_dsl.cli._registry import registry_of
from wizard_dsl.cli._sides import sides
from wizard_dsl.compiler.compile import Sources

_BROKEN: Final = 3
_RENDERERS: Final[dict[str, Callable[[Diff], str]]] = {
    "text": as_text,
    "json": lambda diff: as_json(diff.to_json()),
    "markdown": as_markdown,
}


@click.command("diff", short_help="What changes in behaviour between two files or revisions.")
@click.argument("sides_", metavar="OLD [NEW] [PATHS]...", nargs=-1, required=True, shell_complete=revisions)
@format_option(*_RENDERERS)
@click.option("--exit-code", is_flag=True, help="Exit with 1 where behaviour changes.")
@layer_options
def command(
    sides_: tuple[str, ...], form: str, exit_code: bool, overlays: tuple[str, ...], sets: tuple[str, ...]
) -> int:
    """Compare what OLD and NEW do, not how they are written.

    A side is a file, a folder, a git revision, or a file or folder in one (REV:path). OLD alone may be A...B (from
    where both parted to B), A..B, or a revision, which is compared with the working tree. With revisions, PATHS limit
    the comparison to these files and folders. No environment, no network and no checkout is needed.

    --overlay and --set lie over each pipeline of both sides, an overlay as each revision has it.

    Exits with 3 where a side cannot be compiled; what can be is shown.
    """
    with sides(sides_, Sources(overlays=overlays, sets=sets)) as (old, new):
        diff = compare(old, new, registry_of())
    click.echo(_RENDERERS[form](diff), nl=False)
    return _BROKEN if diff.broken else int(exit_code and diff.findings)
