"""Branches and tags while a command line is being typed. Where git cannot be asked: none."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from wizard_dsl.analysis.revisions import Repository, RevisionError


def revisions(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """Completes branches and tags, the second of A...B too; files where none begins so, or nothing is typed yet."""
    first, dots, last = typed.rpartition("..")
    begun = last.removeprefix(".")
    try:
        names = Repository(Path()).names() if typed else []
    except RevisionError:
        names = []
    before = f"{first}{dots}{'.' if begun != last else ''}"
    found = [CompletionItem(f"{before}{name}") for name in names if name.startswith(begun)]
    return found or [CompletionItem(typed, type="file")]
