"""wizard doctor: this installation, thing by thing."""

from __future__ import annotations

import os
from pathlib import Path

import click
import msgspec

from wizard_dsl.cli._installation import Finding, examine
from wizard_dsl.cli._output import as_json, columns, format_option
from wizard_dsl.cli._registry import registry_of


@click.command("doctor", short_help="Look at this installation.")
@format_option("text", "json")
def command(form: str) -> int:
    """Look at Python, packages, plug-ins, settings and folders. Exits with 1 where something is broken.

    Changes nothing and needs no network.
    """
    findings = examine(Path(), dict(os.environ), registry_of())
    click.echo(
        as_json([msgspec.structs.asdict(each) for each in findings]) if form == "json" else _text(findings), nl=False
    )
    return int(any(each.state == "broken" for each in findings))


def _text(findings: list[Finding]) -> str:
    rows = []
    for each in findings:
        hint = f"; {each.suggestion}" if each.suggestion else ""
        rows.append((each.state, each.what, f"{each.detail}{hint}"))
    return columns(rows, indent="")
