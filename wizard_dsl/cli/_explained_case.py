"""`wizard explain FILE::TEST`: a case of a test file is played, and its story told, whether it passes or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from wizard_dsl.cli._output import as_json
from wizard_dsl.cli._registry import registry_of
from wizard_dsl.core.errors import SpecError
from wizard_dsl.observe.story import Story, tell
from wizard_dsl.spec.diagnostics import did_you_mean, render_text
from wizard_dsl.testing.cases import Case, Programs, Suite
from wizard_dsl.testing.playing import Played
from wizard_dsl.testing.trying import Outcome, collect, try_case

#: Between a file and a name, as in what `wizard test` and pytest call a test.
MARK = "::"


def explained_case(word: str, form: str) -> str:
    """What is printed. Raises UsageError where there is no such test, SpecError where its file is not valid."""
    file, _, name = word.partition(MARK)
    path = Path(file)
    if not path.is_file():
        raise click.UsageError(f"there is no test file '{file}'")
    suite = collect(path, Programs(registry_of()))
    if not suite.found.ok:
        found = suite.found.diagnostics
        raise SpecError(render_text(found), diagnostics=found)
    outcome = try_case(suite, _case(suite, name), _stories, snapshots="make")
    stories: list[Story] = outcome.seen[0]
    return as_json(_plain(outcome, stories)) if form == "json" else _text(outcome, stories)


def _case(suite: Suite, name: str) -> Case:
    found = next((each for each in suite.cases if each.name == name), None)
    if found is not None:
        return found
    near = did_you_mean(name, [each.name for each in suite.cases])
    hint = f"did you mean '{near}'?" if near else f"there are {', '.join(repr(each.name) for each in suite.cases[:5])}"
    raise click.UsageError(f"{suite.file} has no test '{name[:60]}'; {hint}")


def _stories(case: Case, played: Played) -> list[Story]:
    return [tell(ran.result, ran.transcript) for ran in played.runs]


def _text(outcome: Outcome, stories: list[Story]) -> str:
    """The stories of the first sample, then what is not as the test says."""
    parts = [each.render() for each in stories]
    if len(parts) > 1:
        parts = [f"run {number} of {len(parts)}\n{part}" for number, part in enumerate(parts, start=1)]
    verdict = "The test passes." if outcome.passed else "The test fails:"
    return "\n\n".join([*parts, "\n".join([verdict, *(f"  {each.sentence}" for each in outcome.failures)])]) + "\n"


def _plain(outcome: Outcome, stories: list[Story]) -> dict[str, Any]:
    return {
        "file": outcome.file,
        "name": outcome.name,
        "passed": outcome.passed,
        "failures": [each.sentence for each in outcome.failures],
        "stories": msgspec.to_builtins(stories),
    }
