"""wizard eval: the value of an expression about a recorded run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from wizard_dsl.cli._history import place_option, recorded
from wizard_dsl.cli._output import as_json, format_option
from wizard_dsl.core.errors import StepFailed
from wizard_dsl.observe.facts import ERROR_FACTS, NAMES, STEP_FACTS, facts
from wizard_dsl.prompts.expression import Expression, compile_expression
from wizard_dsl.prompts.names import Known
from wizard_dsl.prompts.template import bind

if TYPE_CHECKING:
    from wizard_dsl.observe.history_record import Stored

#: Names whose values are content, of a run and of its steps.
_CONTENT: Final = frozenset({"text", "json"})
_STEP_CONTENT: Final = frozenset({"text", "json", "items", "tool_calls"})


@click.command("eval", short_help="The value of an expression about a recorded run.")
@click.argument("expression")
@click.option(
    "--run", "ref", default="last", show_default=True, metavar="ID", help="The run: its id, or the beginning."
)
@place_option
@format_option("text", "json")
def command(expression: str, ref: str, place: Path, form: str) -> int:
    """Evaluate EXPRESSION, as `that` of a test takes it, on a recorded run.

    It sees attempts, served_by, elapsed, cost, error, steps, breakers, text and json; inputs by name where the history
    keeps content. Text is printed as it is, everything else as JSON.

        wizard eval "attempts | map(attribute='kind') | list" --run 7f3a
    """
    stored = recorded(ref, place)
    made = _checked(expression, stored)
    values = {**(stored.inputs or {}), **facts(stored.result, stored.breakers)}
    try:
        value = made.evaluate(bind(values))
    except StepFailed as error:
        raise click.UsageError(error.message) from None
    click.echo(value if form == "text" and isinstance(value, str) else as_json(value).rstrip("\n"))
    return 0


def _checked(text: str, stored: Stored) -> Expression:
    """Raises UsageError with everything that is wrong, each on a line of its own."""
    known = Known(
        inputs=frozenset(stored.inputs or ()),
        steps=frozenset(stored.result.steps),
        extra=frozenset(NAMES) - {"steps"},
        fields={"error": ERROR_FACTS},
        step_fields=STEP_FACTS,
    )
    made = compile_expression(text, where="the expression")
    problems = made.problems(known) if isinstance(made, Expression) else made
    if problems or not isinstance(made, Expression):
        raise click.UsageError("\n".join(_told(each) for each in problems))
    if stored.content == "none" and _reads_content(made):
        hint = "the file's `history: {content: full}` keeps them from the next run on"
        raise click.UsageError(f"the texts of run {stored.id} are not stored; {hint}")
    return made


def _told(problem: Any) -> str:
    hint = problem.suggestion
    if hint is not None and " " not in hint:
        hint = f"did you mean '{hint}'?"
    return f"{problem.message}{'' if hint is None else f'; {hint}'}"


def _reads_content(made: Expression) -> bool:
    return bool(made.names & _CONTENT) or any(field in _STEP_CONTENT for _, field in made.step_fields)
