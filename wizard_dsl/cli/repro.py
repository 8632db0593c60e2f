"""wizard repro: a recorded run as a test file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from wizard_dsl.cli._history import history_of, place_option, recorded
from wizard_dsl.cli._inputs import given
from wizard_dsl.cli._registry import registry_of
from wizard_dsl.cli._variables import referenced
from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.observe.history_record import Stored
from wizard_dsl.runtime.runtime import require
from wizard_dsl.testing.repro import reproduce
from wizard_dsl.testing.testfile import TEST_FILE

FINDINGS = 1


@click.command("repro", short_help="Write a recorded run as a test file.")
@click.argument("run")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write it here, not to stdout.")
@click.option("-i", "--input", "pairs", multiple=True, metavar="NAME=VALUE", help="An input; NAME=@FILE reads a file.")
@click.option("--input-file", type=click.Path(path_type=Path), help="Inputs as a YAML or JSON mapping.")
@place_option
def command(run: str, output: Path | None, pairs: tuple[str, ...], input_file: Path | None, place: Path) -> int:
    """Write RUN, an id or the beginning of one, or `last`, as a test file: its attempts as scripts of the targets, its
    outcome as what is expected.

    What was not recorded is given with -i, or stands there as a placeholder. Paths in the file are relative to it, on
    stdout to the working directory. Exits with 1 where the test does not pass as it is written.
    """
    target = _writable(output)
    stored = recorded(run, place)
    pipeline = history_of(place).path.parent.parent / stored.file
    compiled = _compiled(stored, pipeline)
    program = require(compiled)
    made = reproduce(
        stored,
        compiled,
        registry_of(),
        target=target,
        pipeline=pipeline,
        inputs=given(program.inputs, pairs, input_file),
        env=referenced(compiled, os.environ),
    )
    if output is None:
        click.echo(made.text, nl=False)
    else:
        output.write_text(made.text, encoding="utf-8")
    for note in made.notes:
        click.echo(note, err=True)
    if not made.passes:
        click.echo("the test does not pass as it is written", err=True)
    return 0 if made.passes else FINDINGS


def _writable(output: Path | None) -> Path:
    """Where the file is, or would be. Raises UsageError before anything is done."""
    if output is None:
        return Path.cwd() / "run.test.yaml"
    if not TEST_FILE.owns(output):
        raise click.UsageError(f"'{output}' is no name of a test file: they end in {' or '.join(TEST_FILE.endings)}")
    if output.exists():
        raise click.UsageError(f"{output} is there already, and is not changed")
    if not output.absolute().parent.is_dir():
        raise click.UsageError(f"there is no folder {output.parent}")
    return output.absolute()


def _compiled(stored: Stored, pipeline: Path) -> Compiled:
    options: dict[str, Any] = {"sets": stored.options.sets, "chain": stored.options.chain}
    root = Path(str(pipeline).removesuffix(stored.file))
    overlays = tuple(str(root / each) for each in stored.options.overlays)
    return compile_file(pipeline, registry_of(), Sources(overlays=overlays, env=dict(os.environ), mock=True, **options))
