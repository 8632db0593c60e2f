"""wizard fmt: files in our layout, whoever wrote them."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import click
import msgspec

from wizard_dsl.analysis.scenario import SCENARIO
from wizard_dsl.cli._files import Kind
from wizard_dsl.cli._rewriting import rewrite, rewriting_options
from wizard_dsl.spec.diagnostics import Diagnostic, finding
from wizard_dsl.spec.document import PipelineFile
from wizard_dsl.spec.layout import NotLaidOut, formatted
from wizard_dsl.spec.source import Source


def _keys(struct: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(each.encode_name for each in msgspec.structs.fields(struct))


#: The order of sections. What is not named here has that of a pipeline.
ORDERS = MappingProxyType(
    {"test": ("version", "pipeline", "defaults", "tests"), "simulation": _keys(SCENARIO.struct)},
)
PIPELINE = _keys(PipelineFile)


@click.command("fmt", short_help="Write files in the usual layout.")
@rewriting_options
def command(paths: tuple[Path, ...], check: bool, diff: bool, form: str) -> int:
    """Write PATHS (default: the working directory) in the usual layout, and print the names of those that changed.

    Indentation, spacing, width and the order of sections; what a file says, its comments, quotes and anchors, and the
    order inside of sections stay. In a folder: pipelines, wizard.yaml, overlays, test files and scenarios.
    `-` reads stdin and writes to stdout. A file that is no YAML stays as it is and is told with exit code 3.
    """
    return rewrite(paths, laid_out, check=check, diff=diff, form=form)


def laid_out(source: Source, kind: Kind | None) -> str | Diagnostic:
    """A document in the layout of its kind; where that is not known, of the kind that has its sections."""
    try:
        return formatted(source, ORDERS.get(kind or _kind_of(source), PIPELINE))
    except NotLaidOut as error:
        place = source.value_at(())
        return finding("E019", f"the layout cannot be changed: {error}", place, suggestion="format it by hand")


def _kind_of(source: Source) -> str:
    return next((kind for kind, order in ORDERS.items() if {"pipeline", *source.data} <= set(order)), "pipeline")
