"""wizard completion: what a shell needs to complete commands, options and names."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from wizard_dsl.cli._output import as_json, format_option

SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
#: What click's scripts do less well: a space behind `name=`, and what follows a comma in a value.
_BETTER: Final = {
    "bash": [("COMPREPLY+=($value)", 'COMPREPLY+=("$value"); [[ $value == *= ]] && compopt -o nospace')],
    "fish": [('string split "," $completion', 'string split --max 1 "," $completion')],
}


@click.command("completion", short_help="Print what makes a shell complete commands and names.")
@click.argument("shell", type=click.Choice(list(SHELLS)))
@format_option("text", "json")
@click.pass_context
def command(context: click.Context, shell: str, form: str) -> int:
    """Print the completion script of SHELL. It completes commands, options, files, and the names of inputs and chains
    of the file that stands before them.

    For bash, `eval "$(wizard completion bash)"` in ~/.bashrc; for zsh the same with zsh in ~/.zshrc, after compinit;
    for fish, `wizard completion fish > ~/.config/fish/completions/wizard.fish`.
    """
    script = ShellComplete.source(SHELLS[shell](context.find_root().command, {}, "wizard", "_WIZARD_COMPLETE"))
    for before, after in _BETTER.get(shell, ()):
        script = script.replace(before, after)
    click.echo(as_json({"shell": shell, "script": script}) if form == "json" else script, nl=False)
    return 0
