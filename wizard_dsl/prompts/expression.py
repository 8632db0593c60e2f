"""Bare expressions: `when`, `for_each`, `retry.when` and others, jinja2 syntax without braces.

They are checked as templates are, and evaluate to JSON values. A missing key is an error here too: a `when` that
silently is false hides a typo. What counts as true is the caller's affair.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from wizard_dsl.core.errors import StepFailed
from wizard_dsl.prompts.names import Known, Placer, Problem, Use, name_problems
from wizard_dsl.prompts.template import (
    Scope,
    in_order,
    outside_names,
    reason,
    step_fields,
    step_refs,
)

if TYPE_CHECKING:
    from jinja2.environment import Template as Linked


class Expression:
    """A checked expression; `uses` are the outside names with the keys behind them."""

    def __init__(self, place: Placer, found: tuple[Use, ...], code: Callable[[], Linked], where: str) -> None:
        self.uses = found
        self.where = where
        self._place = place
        self._make = code

    @cached_property
    def _code(self) -> Linked:
        return self._make()

    @cached_property
    def _root(self) -> Any:
        return self._code.root_render_func

    @property
    def source(self) -> str:
        """Its text."""
        return self._place.source

    @property
    def names(self) -> frozenset[str]:
        """The outside names, without `range` and the other globals."""
        return outside_names(self.uses)

    @property
    def step_refs(self) -> frozenset[str]:
        return step_refs(self.uses)

    @property
    def step_fields(self) -> frozenset[tuple[str, str]]:
        return step_fields(self.uses)

    def problems(self, known: Known) -> list[Problem]:
        """Names that are not in scope and steps that do not exist."""
        return in_order(name_problems(self.uses, known, self._place))

    def evaluate(self, scope: Scope) -> Any:
        """The value, of JSON types only. Raises StepFailed where the values do not fit or the limits are reached."""
        from wizard_dsl.prompts.budget import WORK
        from wizard_dsl.prompts.parsed import failing_line, result

        meter = scope.meter
        meter.work = WORK
        try:
            return meter.plain(result(self._root, meter))
        except Exception as error:
            line = failing_line(error, self._code) or 1
            raise StepFailed(f"line {line} of the expression: {reason(error)}", where=self.where) from error


def compile_expression(source: str, known: Known | None = None, *, where: str = "") -> Expression | list[Problem]:
    """The expression, or all its problems. Never raises. `known` and `where` as for `compile_template`."""
    from wizard_dsl.prompts.analysis import construct_problems, uses
    from wizard_dsl.prompts.environment import Fault, parse_expression
    from wizard_dsl.prompts.linking import linking
    from wizard_dsl.prompts.trees import every

    tree = parse_expression(source)
    if isinstance(tree, Fault):
        hint = "write the expression without braces" if source.lstrip().startswith("{{") else None
        return [Problem(line=tree.line, message=tree.message, kind="syntax", suggestion=hint)]
    place = Placer(source, state="variable")
    found = uses(tree)
    inside = every(tree)
    problems = construct_problems(inside, place)
    if known is not None:
        problems += name_problems(found, known, place)
    if problems:
        return in_order(problems)
    code = linking(tree, inside)
    if isinstance(code, Fault):
        return [Problem(line=code.line, message=code.message, kind="syntax")]
    return Expression(place, found, code, where)
