"""wizard review: a pull request as one comment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from wizard_dsl.analysis.diff import compare
from wizard_dsl.analysis.review import Review, review
from wizard_dsl.analysis.review_text import as_markdown, as_text
from wizard_dsl.analysis.revisions import Repository
from wizard_dsl.cli._files import find
from wizard_dsl.cli._output import as_json, format_option
from wizard_dsl.cli._registry import registry_of
from wizard_dsl.cli._sides import commits, sides

FINDINGS: Final = 1
INVALID: Final = 3
_RENDERERS: Final[dict[str, Callable[[Review], str]]] = {
    "text": as_text,
    "json": lambda made: as_json(made.to_json()),
    "markdown": as_markdown,
}


@click.command("review", short_help="A pull request as one comment.")
@click.argument("base")
@click.argument("head")
@click.argument("paths", nargs=-1)
@format_option(*_RENDERERS)
def command(base: str, head: str, paths: tuple[str, ...], form: str) -> int:
    """Review HEAD against the commit where it left BASE: the worst case before and after, what changes in behaviour,
    which tests break, what no test has seen, which diagnostics are new. Only what changed is looked at.

    Both are git revisions; PATHS limit the review to these files and folders. Tests run offline, on the files of HEAD.
    Exits with 1 where a test breaks, with 3 where HEAD has a pipeline or a test file that is not valid.
    """
    registry = registry_of()
    with sides((f"{base}...{head}", *paths)) as (old, new):
        assert new.base is not None
        tests = [path for path, kind in find((new.base,)).files if kind == "test"]
        changed = Repository(Path()).changed(*commits(base, head))
        made = review(compare(old, new, registry), new, tests, changed, registry)
    click.echo(_RENDERERS[form](made), nl=False)
    broken = made.invalid or any(made.diff.new in each.broken for each in made.diff.pipelines)
    return INVALID if broken else FINDINGS if made.broken else 0
