"""What `--cassette` and `--record` ask for, and what becomes of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from wizard_dsl.core.clock import machine_time
from wizard_dsl.core.errors import SpecError
from wizard_dsl.spec.diagnostics import render_text

if TYPE_CHECKING:
    from wizard_dsl.compiler.compile import Compiled
    from wizard_dsl.testing.cassettes import Cassette


def refuse_contradictions(options: dict[str, Any]) -> None:
    """Raises UsageError where `--record` has nothing to write to, or nothing would be asked."""
    if options["record"] is not None and options["cassette"] is None:
        raise click.UsageError("--record says what is written to a cassette; name it: --cassette FILE")
    if options["cassette"] is not None and (options["mock"] or options["dry_run"]):
        other = "--mock" if options["mock"] else "--dry-run"
        raise click.UsageError(f"{other} asks no provider, so there is nothing for --cassette; leave one of them out")


def replays(options: dict[str, Any]) -> bool:
    """Whether everything is answered from a cassette: no keys, no network, virtual time."""
    return options["cassette"] is not None and options["record"] in (None, "none")


def open_tape(compiled: Compiled, options: dict[str, Any]) -> Cassette | None:
    """The cassette, after what is stale in it was told. Raises SpecError for one that cannot be used or written."""
    if options["cassette"] is None:
        return None
    from wizard_dsl.testing.cassettes import Cassette

    made = Cassette(options["cassette"], compiled, record=options["record"] or "none")
    if made.record != "none":
        _refuse_unwritable(made)
    if made.record != "all":
        warnings = made.stale(machine_time())
        click.echo(render_text(warnings), err=True, nl=False)
    return made


def _refuse_unwritable(made: Cassette) -> None:
    """Before anything is asked and paid for."""
    path = made.path
    folder = path.resolve().parent
    if not folder.is_dir():
        raise SpecError(f"{path} cannot be written: there is no folder {folder}")
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise SpecError(f"{path} cannot be written: permission denied")


def with_tape(made: Cassette | None, run: Callable[[], int]) -> int:
    """The exit code of `run`, after what was recorded was written, however it ended."""
    if made is None:
        return run()
    try:
        code = run()
    except BaseException:
        _close(made, told=False)
        raise
    _close(made, told=code == SpecError("").exit_code)
    return SpecError("").exit_code if made.misses else code


def _close(made: Cassette, *, told: bool) -> None:
    """Write what was recorded, and say what that is, and which requests found no answer, whatever the policies made of
    it; of the first, where it was told as the run's error, only what differs. Raises SpecError."""
    try:
        written = made.save()
    except OSError as error:
        raise SpecError(f"{made.path} cannot be written: {error.strerror or error}") from error
    if written:
        click.echo(f"{made.path}: {made.recorded} recorded, {made.tape.replayed} replayed", err=True)
    elif made.record != "none":
        click.echo(f"{made.path}: nothing to record, {made.tape.replayed} replayed", err=True)
    for number, miss in enumerate(made.misses):
        lines = miss.explain().splitlines()
        click.echo("".join(f"{line}\n" for line in lines[told and number == 0 :]), err=True, nl=False)
