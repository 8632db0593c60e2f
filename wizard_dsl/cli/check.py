"""wizard check: a file, and the environment it refers to."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import click
import msgspec

from wizard_dsl.cli._environment import needs
from wizard_dsl.cli._live import Asked, ask_all
from wizard_dsl.cli._need import Need
from wizard_dsl.cli._output import as_json, columns, format_option, layer_options
from wizard_dsl.cli._registry import registry_of
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.lint.allow import CHECKED_CODES, with_allowed
from wizard_dsl.lint.models import w111_unknown_model, w131_unknown_price, w187_deprecated_model
from wizard_dsl.lint.plugins import broken_rules
from wizard_dsl.lint.rules import lint
from wizard_dsl.providers._prices import is_deprecated, library
from wizard_dsl.spec.diagnostics import Diagnostic, render_json, render_text
from wizard_dsl.spec.load import shown


class Report(msgspec.Struct, frozen=True):
    """Everything that was looked at; `live` is None where nobody was asked."""

    diagnostics: list[Diagnostic]
    needs: list[Need]
    live: list[Asked] | None

    @property
    def sound(self) -> bool:
        """Whether nothing stands in the way of a run; warnings do not."""
        return not (
            any(each.severity == "error" for each in self.diagnostics)
            or any(each.state != "ok" for each in self.needs)
            or any(each.kind != "ok" for each in self.live or ())
        )


@click.command("check", short_help="Validate, and look at the environment the file refers to.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--live", is_flag=True, help="Ask each target something short, too; costs a few tokens.")
@format_option("text", "json")
@layer_options
def command(file: Path, live: bool, form: str, overlays: tuple[str, ...], sets: tuple[str, ...]) -> int:
    """Validate FILE with the variables, files, keys, stores and models of this environment.

    Exits with 1 where something would keep it from running.
    """
    report = examine(file, live, overlays, sets)
    click.echo(_json(report) if form == "json" else _text(report), nl=False)
    return 0 if report.sound else 1


def examine(file: Path, live: bool, overlays: tuple[str, ...], sets: tuple[str, ...]) -> Report:
    """The report on a file. Nobody is asked where the file is wrong."""
    sources = Sources(overlays=overlays, sets=sets, env=dict(os.environ))
    registry = registry_of()
    compiled = compile_file(file, registry, sources)
    models = [
        *w111_unknown_model(compiled, library),
        *w131_unknown_price(compiled, library),
        *w187_deprecated_model(compiled, is_deprecated),
    ]
    found = [*compiled.diagnostics, *lint(compiled, registry), *models, *broken_rules(registry.problems)]
    rules = [each.name for each in registry.rules()]
    found = with_allowed(found, [shown(file)], {*CHECKED_CODES, *rules})
    if compiled.program is None:
        return Report(found, [], None)
    asked = asyncio.run(ask_all(compiled.program)) if live else None
    return Report(found, needs(compiled, compiled.program), asked)


def _text(report: Report) -> str:
    lines: list[tuple[str, str, str]] = []
    for need in report.needs:
        lines.append((need.state, need.what, _with(need.detail, need.suggestion)))
    for each in report.live or ():
        answer = each.message or f"answered in {each.elapsed:.2f} s"
        lines.append((each.kind, each.target, _with(answer, each.suggestion)))
    return render_text(report.diagnostics) + columns(lines, indent="") + ("ok\n" if report.sound else "")


def _with(text: str, suggestion: str | None) -> str:
    return f"{text}; {suggestion}" if suggestion else text


def _json(report: Report) -> str:
    return as_json(
        {
            "ok": report.sound,
            "diagnostics": json.loads(render_json(report.diagnostics)),
            "needs": [msgspec.structs.asdict(each) for each in report.needs],
            "live": None if report.live is None else [msgspec.structs.asdict(each) for each in report.live],
        }
    )
