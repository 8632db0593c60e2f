"""wizard migrate: files in the latest version of their format."""

from __future__ import annotations

from pathlib import Path

import click

from wizard_dsl.cli._files import Kind
from wizard_dsl.cli._rewriting import rewrite, rewriting_options
from wizard_dsl.spec.diagnostics import Diagnostic
from wizard_dsl.spec.migration import migrated, refusal
from wizard_dsl.spec.source import Source

#: Kinds of files that need not say their version.
_FREE = ("project", "overlay")


@click.command("migrate", short_help="Bring files to the latest version of the format.")
@rewriting_options
def command(paths: tuple[Path, ...], check: bool, diff: bool, form: str) -> int:
    """Bring PATHS (default: the working directory) to the latest version of the format, and print the names of those
    that changed. Comments and layout stay.

    There is one version, 1: a file without a version gets it, and `version: "1"` becomes the number that it has to be.
    wizard.yaml and overlays need no version. A file of a later version is told with exit code 3, and so is one that is
    no YAML. `-` reads stdin and writes to stdout.
    """
    return rewrite(paths, _latest, check=check, diff=diff, form=form)


def _latest(source: Source, kind: Kind | None) -> str | Diagnostic:
    wrong = refusal(source)
    if wrong is not None:
        return wrong
    if kind in _FREE and "version" not in source.data:
        return source.text
    return migrated(source)
