"""wizard plan: what a run can need in the worst case, and what it needs usually."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from wizard_dsl.analysis import plan_report
from wizard_dsl.analysis.bounds import Verdict, broken_bounds, stand_ins, verdicts
from wizard_dsl.analysis.plan import Plan, matches, plan_of
from wizard_dsl.analysis.plan_report import places_in
from wizard_dsl.analysis.witness import Witness
from wizard_dsl.analysis.witness import witness as find_witness
from wizard_dsl.cli._output import as_json, columns, format_option, layer_options
from wizard_dsl.cli._program import compiled_offline
from wizard_dsl.cli._registry import registry_of
from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.compiler.program import Program
from wizard_dsl.core.units import parse_ratio
from wizard_dsl.spec.diagnostics import meant, render_text


@click.command("plan", short_help="What a run can need in the worst case: attempts, latency, cost.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--failure-rate",
    "rates",
    multiple=True,
    metavar="TARGET=SHARE",
    help="Attempts on targets of this name or pattern, or of this provider, fail so often, as in openai=2%.",
)
@click.option("--witness", is_flag=True, help="Look for faults under which a run makes as many attempts.")
@format_option("text", "json", "markdown")
@layer_options
def command(
    file: Path, rates: tuple[str, ...], witness: bool, form: str, overlays: tuple[str, ...], sets: tuple[str, ...]
) -> int:
    """Show what a run of FILE can need at most, whatever its targets do, and what it needs where nothing fails; with
    --failure-rate, also what it needs on average.

    Exits with 1 where the file's `bounds` do not hold. Needs no network and no environment.
    """
    compiled, program = compiled_offline(file, overlays, sets, files=True)
    plan = plan_of(program, failure_rates=_rates(rates, program) if rates else None)
    held = verdicts(compiled, plan)
    found = _witness(file, overlays, sets, plan) if witness else None
    click.echo(_rendered(form, compiled, plan, held, found), nl=False)
    unknown = stand_ins(compiled)
    if unknown:
        click.echo(f"the plan is that of the defaults where variables are not known: {', '.join(unknown)}", err=True)
    broken = broken_bounds(compiled, plan)
    click.echo(render_text(broken), nl=False, err=True)
    return 1 if broken else 0


def _witness(file: Path, overlays: tuple[str, ...], sets: tuple[str, ...], plan: Plan) -> Witness | None:
    """What a run of the file with the process's variables shows; nothing where they do not make a file of it."""
    registry = registry_of()
    compiled = compile_file(file, registry, Sources(overlays=overlays, sets=sets, env=dict(os.environ), mock=True))
    return None if compiled.program is None else find_witness(compiled, registry, plan)


def _rendered(form: str, compiled: Compiled, plan: Plan, held: Sequence[Verdict], found: Witness | None = None) -> str:
    where = places_in(compiled)
    assert compiled.program is not None
    if form == "json":
        data = {"file": compiled.program.file, **plan_report.as_data(plan, held, where)}
        return as_json({**data, "witness": None if found is None else found.to_json()})
    if form == "markdown":
        return plan_report.markdown(compiled.program.file, plan, held, where)
    parts = [columns(plan_report.figures(plan), indent="")]
    for title, rows in (
        ("most of it", plan_report.largest(plan)),
        ("steps", plan_report.steps(plan)),
        ("open", plan_report.left_open(plan, where)),
        ("bounds", plan_report.kept(held)),
        ("witness", [] if found is None else found.told()),
    ):
        if rows:
            parts.append(f"{title}\n{columns(rows)}")
    return "\n".join(parts)


def _rates(given: Sequence[str], program: Program) -> Mapping[str, float]:
    """The share of failures by pattern. Raises UsageError."""
    targets = [target for chain in program.chains.values() for target in chain.targets]
    found: dict[str, float] = {}
    for text in given:
        pattern, sign, share = text.rpartition("=")
        if not sign or not pattern:
            raise click.UsageError(f"--failure-rate wants TARGET=SHARE, as in openai=2%, not {text!r}")
        if not any(matches(target, pattern) for target in targets):
            near = meant(pattern, sorted({name for target in targets for name in (target.name, target.provider)}))
            raise click.UsageError(f"no target is called {pattern!r}" + (f"; {near}" if near else ""))
        found[pattern] = _share(share)
    return found


def _share(text: str) -> float:
    try:
        share = parse_ratio(text)
    except ValueError as error:
        raise click.UsageError(f"--failure-rate: {error}") from None
    if not 0 <= share <= 1:
        raise click.UsageError(f"--failure-rate: a share is at most 100%, not {text}")
    return share
