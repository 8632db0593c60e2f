"""wizard review: a pull request as one comment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import click

from wizard_dsl.analysis.diff import compare
from wizard_dsl.analysis.review import Review, review
from wizard_dsl.analysis.review_text import as_markdown, as_text
from wizard_dsl.cli._completing_revisions import revisions
from wizard_dsl.cli._output import as_json, format_option, layer_options
from wizard_dsl.cli._registry import registry_of
from wizard_dsl.cli._sides import changed_between, sides
from wizard_dsl.compiler.compile import Sources

FINDINGS: Final = 1
INVALID: Final = 3
_RENDERERS: Final[dict[str, Callable[[Review], str]]] = {
    "text": as_text,
    "json": lambda made: as_json(made.to_json()),
    "markdown": as_markdown,
}


@click.command("review", short_help="A pull request as one comment.")
@click.argument("base", shell_complete=revisions)
@click.argument("head", shell_complete=revisions)
@click.argument("paths", nargs=-1, type=click.Path())
@format_option(*_RENDERERS)
@layer_options
def command(
    base: str, head: str, paths: tuple[str, ...], form: str, overlays: tuple[str, ...], sets: tuple[str, ...]
) -> int:
    """Review HEAD against the commit where it left BASE: the worst case before and after, what changes in behaviour,
    which tests break, what no test has seen, which diagnostics are new. Only what changed is looked at.

    Both are git revisions; PATHS limit the review to these files and folders. Tests run offline, on the files of HEAD,
    under what they name themselves. --overlay and --set are for the comparison: they lie over each pipeline of both
    revisions, an overlay as each of them has it.

    Exits with 1 where a test breaks, with 3 where HEAD breaks a pipeline or has a test file that is not valid.
    """
    registry = registry_of()
    sources = Sources(overlays=overlays, sets=sets)
    with sides((f"{base}...{head}", *paths), sources, ("pipeline", "test")) as (old, new):
        made = review(compare(old, new, registry), new, changed_between(base, head, paths), registry)
    click.echo(_RENDERERS[form](made), nl=False)
    broken = made.invalid or any(made.diff.new in each.broken for each in made.diff.pipelines if each.state == "broken")
    return INVALID if broken else FINDINGS if made.broken else 0
