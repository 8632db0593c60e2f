"""wizard echo: the resolved file, and where each value comes from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

from wizard_dsl.cli._output import as_json, format_option, layer_options
from wizard_dsl.cli._program import refused
from wizard_dsl.cli._registry import registry_of
from wizard_dsl.cli._resolved import as_data, as_yaml, resolved
from wizard_dsl.spec.diagnostics import render_text
from wizard_dsl.spec.load import load

#: A reference that stands for nothing here is shown as any other is.
_TOLERATED: Final = ("E031", "E032")


@click.command("echo", short_help="Print the resolved file with the origin of every value.")
@click.argument("file", type=click.Path(path_type=Path))
@format_option("yaml", "json")
@layer_options
def command(file: Path, form: str, overlays: tuple[str, ...], sets: tuple[str, ...]) -> int:
    """Print FILE with all layers merged, each value followed by its origin.

    Layers: built-in, user config, wizard.yaml, FILE, --overlay, WIZARD_* variables, --set. References are printed
    as they are written, never what they stand for.
    """
    registry = registry_of()
    loaded = load(file, registry=registry, env=dict(os.environ), overlays=overlays, sets=sets, mock=True)
    found = loaded.diagnostics
    if loaded.document is None or any(each.severity == "error" and each.code not in _TOLERATED for each in found):
        raise refused(found)
    click.echo(render_text(found), nl=False, err=True)
    document = resolved(loaded.places, registry)
    click.echo(as_yaml(document) if form == "yaml" else as_json(as_data(document)), nl=False)
    return 0
