"""wizard graph: the steps of a file, and the targets that each of them may ask."""

from __future__ import annotations

from pathlib import Path

import click

from wizard_dsl.cli._drawing import drawn
from wizard_dsl.cli._drawing_ascii import ascii_art
from wizard_dsl.cli._drawing_dot import dot
from wizard_dsl.cli._drawing_mermaid import mermaid
from wizard_dsl.cli._output import as_json, format_option, layer_options
from wizard_dsl.cli._program import compiled_offline

DRAWINGS = {"ascii": ascii_art, "mermaid": mermaid, "dot": dot}


@click.command("graph", short_help="Draw the executor graph.")
@click.argument("file", type=click.Path(path_type=Path))
@format_option(*DRAWINGS, "json")
@layer_options
def command(file: Path, form: str, overlays: tuple[str, ...], sets: tuple[str, ...]) -> int:
    """Draw FILE: its steps with their edges, and each chain with its targets in order and their policies.

    Needs no environment. `json` prints the compiled program.
    """
    _, program = compiled_offline(file, overlays, sets)
    click.echo(as_json(program.describe()) if form == "json" else DRAWINGS[form](drawn(program)), nl=False)
    return 0
