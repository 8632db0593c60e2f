"""wizard simulate: a scenario in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from wizard_dsl.analysis import html, text
from wizard_dsl.analysis._arrivals import stretches
from wizard_dsl.analysis.reading import Opened, compiled_for, open_scenario
from wizard_dsl.analysis.report import Report, report
from wizard_dsl.analysis.workers import Job, cores, play
from wizard_dsl.cli._output import as_json, format_option, layer_options, refuse_unwritable
from wizard_dsl.cli._program import refused
from wizard_dsl.cli._progress import Progress
from wizard_dsl.cli._registry import has_plugins, registry_of
from wizard_dsl.cli.main import INTERRUPTED
from wizard_dsl.spec.diagnostics import has_errors, ordered, render_text

if TYPE_CHECKING:
    from wizard_dsl.analysis.scenario import Scenario
    from wizard_dsl.registry import Registry


@click.command("simulate", short_help="Play a scenario of load and outages in virtual time.")
@click.argument("file", type=click.Path(path_type=Path))
@format_option("text", "json")
@click.option("--html", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write a report with plots here.")
@click.option(
    "--compare", type=click.Path(path_type=Path), help="Another pipeline, under the same arrivals and faults."
)
@click.option("--seeds", type=click.IntRange(1, 1000), help="How often it is played (default: the file's).")
@click.option("--seed", "first", type=click.IntRange(0), default=0, show_default=True, help="The first seed.")
@click.option("--jobs", type=click.IntRange(1), help="Processes at once (default: one a core).")
@layer_options
def command(file: Path, form: str, page: Path | None, compare: Path | None, **options: Any) -> int:
    """Play the scenario FILE: thousands of runs of the real executor against targets that behave as it says.

    --overlay and --set lie over the scenario's pipeline, not over the one it is compared with. Exits with 1 where
    something is not as the scenario expects. Ctrl-C ends it at once, and tells of the seeds that were played.
    """
    registry = registry_of()
    opened = _opened(file, registry, options)
    scenario = opened.scenario
    assert scenario is not None
    if compare is not None:
        _require(scenario, compare, registry)
    refuse_unwritable(page, "--html")
    if options["seeds"] is not None:
        scenario = msgspec.structs.replace(scenario, seeds=options["seeds"])
    made = _played(opened, scenario, compare, options)
    if page is not None:
        page.write_text(html.page(made), encoding="utf-8")
    click.echo(text.render(made) if form == "text" else as_json(made.to_json()), nl=False)
    for each in made.verdicts:
        if not each.met:
            click.echo(f"not as expected: {each.sentence(len(made.new.seeds))}", err=True)
    return INTERRUPTED if made.left_out else int(not made.met)


def _opened(file: Path, registry: Registry, options: dict[str, Any]) -> Opened:
    """The scenario; its warnings go to stderr. Raises SpecError."""
    opened = open_scenario(file, registry, overlays=options["overlays"], sets=options["sets"])
    if not opened.ok:
        raise refused(opened.diagnostics)
    assert opened.compiled is not None
    warnings = [*opened.diagnostics, *(each for each in opened.compiled.diagnostics if each.severity == "warning")]
    click.echo(render_text(ordered(warnings)), nl=False, err=True)
    return opened


def _require(scenario: Scenario, pipeline: Path, registry: Registry) -> None:
    """Raises SpecError where the other pipeline cannot be run."""
    compiled = compiled_for(scenario, pipeline, registry)
    if has_errors(compiled.diagnostics):
        raise refused(compiled.diagnostics)


def _played(opened: Opened, scenario: Scenario, compare: Path | None, options: dict[str, Any]) -> Report:
    """The report on the seeds that were played on every side. Raises Exit where an interrupt came before the first."""
    sides: list[tuple[Path, tuple[str, ...], tuple[str, ...]]] = [
        (opened.pipeline, tuple(options["overlays"]), tuple(options["sets"]))
    ]
    sides += [] if compare is None else [(compare, (), ())]
    seeds = range(options["first"], options["first"] + scenario.seeds)
    jobs = [Job(scenario, *side, seed, has_plugins()) for seed in seeds for side in sides]
    expected = round(sum(each.arrivals for each in stretches(scenario.load))) * len(jobs)
    progress = Progress(max(1, expected), "runs, more or less")
    try:
        found = play(jobs, options["jobs"] or cores(), progress.at)
    finally:
        progress.clear()
    rounds = [found[at : at + len(sides)] for at in range(0, len(found), len(sides))]
    whole = [[each for each in group if each is not None] for group in rounds if None not in group]
    if not whole:
        click.echo("interrupted before a seed had ended: there is nothing to tell", err=True)
        raise click.exceptions.Exit(INTERRUPTED)
    names = (scenario.pipeline, str(compare))
    new, *old = ((name, [group[at] for group in whole]) for at, name in enumerate(names[: len(sides)]))
    return report(opened.file.name, scenario, new, old[0] if old else None, len(seeds) - len(whole))
