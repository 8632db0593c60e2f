"""The page of the command line: each command with its usage and options, as its `--help` tells them.

The commands are found as a shell finds them, by the entry point `wizard`: nothing here knows how they are made.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module, metadata
from typing import Any

from wizard_dsl.docgen.reference import page, rows_of
from wizard_dsl.registry import Registry

_INTRO = (
    "Results go to stdout, everything else to stderr. `wizard COMMAND --help` tells the same as this page, and "
    "`--debug`, anywhere in a command, shows the traceback of an error.\n\n"
)


def page_of_commands(registry: Registry) -> str:
    """Every command, and those below it."""
    (script,) = metadata.entry_points(group="console_scripts", name="wizard")
    module = import_module(script.module)
    group = module.make_group()
    codes = inspect.cleandoc(module.__doc__ or "").partition("\n\n")[2]
    context = group.make_context(script.name, [], resilient_parsing=True)
    return page("The command line", _INTRO + codes, _below(group, context))


def _below(group: Any, context: Any) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inner = command.make_context(name, [], parent=context, resilient_parsing=True)
        if hasattr(command, "list_commands"):
            yield from _below(command, inner)
        else:
            yield _section(command, inner)


def _section(command: Any, context: Any) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    records = (each.get_help_record(context) for each in command.params)
    rows = [(f"`{names}`", text) for names, text in filter(None, records) if text]
    text = inspect.cleandoc(command.help or "")
    table = rows_of(("option", "what it does"), rows) if rows else ""
    return f"## {context.command_path}\n\n```text\n{usage}\n```\n\n{text}\n\n{table}"
