"""wizard graph: the steps of a file, and the targets that each of them may ask."""

from __future__ import annotations

from pathlib import Path

import click

from wizard_dsl.cli._caches import compiled_here
from wizard_dsl.cli._drawing import drawn
from wizard_dsl.cli._drawing_ascii import ascii_art
from wizard_dsl.cli._drawing_dot import dot
from wizard_dsl.cli._drawing_live import with_state
from wizard_dsl.cli._drawing_mermaid import mermaid
from wizard_dsl.cli._drawing_plan import with_plan
from wizard_dsl.cli._drawing_svg import svg
from wizard_dsl.cli._output import as_json, format_option, layer_options
from wizard_dsl.cli._program import compiled_offline
from wizard_dsl.runtime.runtime import require

DRAWINGS = {"ascii": ascii_art, "mermaid": mermaid, "dot": dot, "svg": svg}


@click.command("graph", short_help="Draw the executor graph.")
@click.argument("file", type=click.Path(path_type=Path))
@format_option(*DRAWINGS, "json")
@click.option("--plan", "planned", is_flag=True, help="Say what a run and each step can need at most.")
@click.option("--live", is_flag=True, help="Say how breakers and limits stand now, in the state that is shared.")
@layer_options
def command(file: Path, form: str, planned: bool, live: bool, overlays: tuple[str, ...], sets: tuple[str, ...]) -> int:
    """Draw FILE: its steps with their edges, and each chain with its targets in order and their policies.

    Needs no environment, and svg no other program. `json` prints the compiled program. --live needs what a run needs:
    the variables that say where the state is, and the keys, for who shares a limit is told by them; it reads only.
    """
    compiled = compiled_here(file, overlays, sets, mock=False) if live else compiled_offline(file, overlays, sets)[0]
    program = require(compiled)
    description = program.describe() if form == "json" else drawn(program)
    if planned:
        description = with_plan(description, program)
    if live:
        description = with_state(description, compiled, program)
    click.echo(as_json(description) if form == "json" else DRAWINGS[form](description), nl=False)
    return 0
