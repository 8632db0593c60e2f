"""Names out of a pipeline file while a command line is being typed. Whatever is wrong with the file: no names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from wizard_dsl.spec.source import load_file

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def names_of(section: str, ending: str = "") -> Completer:
    """Completes the names in a section of the FILE that was typed before; those that the file itself holds, since it is
    read and nothing more. Of a list with commas, the last is completed."""

    def complete(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
        # click stops reading at an option that has no value yet: what stood before it is in `args`
        file = context.params.get("file") or next(iter(context.args), None)
        named = load_file(Path(file)).data.get(section) if file is not None else None
        if not isinstance(named, dict):
            return []
        before, comma, begun = typed.rpartition(",")
        free = [name for name in named if name not in before.split(",")]
        return [CompletionItem(f"{before}{comma}{name}{ending}") for name in free if name.startswith(begun)]

    return complete
