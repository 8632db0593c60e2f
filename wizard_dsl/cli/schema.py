"""wizard schema: the JSON Schema of the files people write, and of the result of a run."""

from __future__ import annotations

from types import MappingProxyType

import click

from wizard_dsl.cli._output import as_json
from wizard_dsl.cli._registry import registry_of
from wizard_dsl.docgen import schemas
from wizard_dsl.spec.schema import for_kind

KINDS = ("pipeline", "project", "overlay")
#: Schemas that are the same whatever is installed.
FIXED = MappingProxyType(
    {
        "result": schemas.of_result,
        "cassette": schemas.of_cassette,
        "test": schemas.of_test,
        "simulation": schemas.of_simulation,
    }
)


@click.command("schema", short_help="Print the JSON Schema of pipeline files.")
@click.argument("which", type=click.Choice([*KINDS, *FIXED]), default="pipeline")
def command(which: str) -> int:
    """Print a JSON Schema (2020-12): of pipeline files, of wizard.yaml (project), of overlays, of test files, of
    scenarios (simulation), of the result, or of a line of a cassette.

    The kinds of installed plug-ins are in it, with their keys, so an editor that is given it knows them.
    """
    schema = FIXED[which]() if which in FIXED else for_kind(which, registry_of(), plugins=True)
    click.echo(as_json(schema), nl=False)
    return 0
