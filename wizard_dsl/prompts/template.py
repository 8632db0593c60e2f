"""Templates: text with `{{ }}` and `{% %}`, checked when it is read and rendered against one shared scope.

`compile_template` returns a Template, or the list of all its problems. A run binds its values once (`bind`) and
renders every template against that scope: making a context for each costs more than rendering.

A template's one trailing newline is not part of it, so that `text: |` in YAML ends where its last word does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec
from jinja2 import nodes
from jinja2.environment import Template as Linked
from msgspec.structs import replace

from wizard_dsl.core.errors import StepFailed
from wizard_dsl.prompts.analysis import Known, Placer, Problem, Use, construct_problems, name_problems, uses
from wizard_dsl.prompts.budget import WORK, Meter
from wizard_dsl.prompts.environment import ENVIRONMENT, FILENAME, GLOBALS, RESULT, Fault, as_value, parse
from wizard_dsl.prompts.linking import linking
from wizard_dsl.prompts.trees import every

#: Characters of an error's reason: Python quotes whole values in some.
_LONGEST_REASON = 300

#: Characters of one rendered text, unless the caller says otherwise.
MAX_OUTPUT = 1 << 20


class Scope:
    """The values of one run, or of one item of it, ready for any number of templates.

    `values` is copied once, shallowly: a `steps` mapping that the run keeps filling is seen as it grows.
    """

    __slots__ = ("meter",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.meter = Meter(ENVIRONMENT, {**GLOBALS, **values}, None, {})

    def with_values(self, **values: Any) -> Scope:
        """A scope that has these values too, such as `item` and `index`."""
        return Scope({**self.meter.parent, **values})


def bind(values: Mapping[str, Any]) -> Scope:
    """The scope of `values`: inputs by name, `steps`, and in a loop `item` and `index`."""
    return Scope(values)


class Shape(msgspec.Struct, frozen=True):
    """What is known of a template before it runs.

    `uses` are the outside names with what is behind them. `constant` is the text of a template without tags, else
    None. `passthrough` is true for exactly one `{{ expression }}` and nothing else, whose value keeps its JSON
    type; `passthrough_step` is NAME where that expression is `steps.NAME.text`, `name` the expression where it is a
    name alone. `binds` is true where the template sets names of its own. `line` is where it begins to compute.
    """

    uses: tuple[Use, ...]
    constant: str | None
    passthrough: bool
    passthrough_step: str | None
    name: str | None
    binds: bool
    line: int


class Template:
    """A checked template; `shape` holds what is known of it before it runs."""

    def __init__(
        self, place: Placer, shape: Shape, code: Callable[[], Linked], *, where: str, limit: int, first_line: int
    ) -> None:
        self.shape = shape
        self.where = where
        self._place = place
        self._limit = limit
        self._first_line = first_line
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
    def uses(self) -> tuple[Use, ...]:
        return self.shape.uses

    @property
    def constant(self) -> str | None:
        return self.shape.constant

    @property
    def passthrough(self) -> bool:
        return self.shape.passthrough

    @property
    def passthrough_step(self) -> str | None:
        return self.shape.passthrough_step

    @property
    def names(self) -> frozenset[str]:
        """The outside names, without `range` and the other globals."""
        return outside_names(self.uses)

    @property
    def step_refs(self) -> frozenset[str]:
        """The steps that are named behind `steps`."""
        return step_refs(self.uses)

    @property
    def step_fields(self) -> frozenset[tuple[str, str]]:
        """Pairs of step and field, such as ("topic", "json")."""
        return step_fields(self.uses)

    def problems(self, known: Known) -> list[Problem]:
        """Names that are not in scope and steps that do not exist, in the order of the text."""
        return self.placed(name_problems(self.uses, known, self._place))

    def placed(self, problems: list[Problem]) -> list[Problem]:
        """The problems in order, with the lines of the whole file."""
        return in_order(problems, self._first_line)

    def column(self, line: int, name: str) -> int | None:
        """Where the word `name` stands on a line of this template, its own first line being 1."""
        return self._place.column(line, name)

    def render(self, scope: Scope) -> str:
        """The text. Raises StepFailed, with the line, where the values do not fit or the limits are reached."""
        shape = self.shape
        if shape.constant is not None:
            return shape.constant
        meter = self._meter(scope)
        try:
            text = meter.printed(self._result(meter)) if shape.passthrough else "".join(self._root(meter))
        except Exception as error:
            raise self._failed(error) from error
        if len(text) > self._limit:
            raise StepFailed(
                f"the template makes {len(text):,} characters; at most {self._limit:,} are allowed",
                where=self.where,
                suggestion="shorten its values, for example with the filter truncate",
            )
        return text

    def value(self, scope: Scope) -> Any:
        """The JSON value of a single `{{ expression }}`; of any other template its text. Raises as `render`."""
        if not self.shape.passthrough:
            return self.render(scope)
        meter = self._meter(scope)
        try:
            return meter.plain(self._result(meter))
        except Exception as error:
            raise self._failed(error) from error

    def _result(self, meter: Meter) -> Any:
        """The value of the single expression; of a name that there is, without making code."""
        name = self.shape.name
        return meter.parent[name] if name is not None and name in meter.parent else result(self._root, meter)

    def _meter(self, scope: Scope) -> Meter:
        """The shared context, or one of its own for a template that binds names, which others must not see."""
        meter = Meter(ENVIRONMENT, scope.meter.parent, None, {}) if self.shape.binds else scope.meter
        meter.work = WORK
        return meter

    def _failed(self, error: Exception) -> StepFailed:
        line = (failing_line(error, self._code) or self.shape.line) + self._first_line - 1
        return StepFailed(f"line {line} of the template: {reason(error)}", where=self.where)


def compile_template(
    source: str, known: Known | None = None, *, where: str = "", limit: int = MAX_OUTPUT, first_line: int = 1
) -> Template | list[Problem]:
    """The template, or all its problems in the order of the text. Never raises.

    Without `known` names are left unchecked; `Template.problems` does it later. `where` is the path that errors
    at run time carry (`prompts.reply.user`), `limit` the characters one rendering may make, `first_line` the line
    of a file at which the template begins.
    """
    tree = parse(source)
    if isinstance(tree, Fault):
        return in_order([_syntax(tree)], first_line)
    place = Placer(source)
    inside = every(tree)
    shape = _shape_of(tree, inside)
    problems = construct_problems(inside, place)
    if known is not None:
        problems += name_problems(shape.uses, known, place)
    if problems:
        return in_order(problems, first_line)
    expression = sole_expression(tree)
    code = linking(as_value(expression) if expression is not None else tree, inside)
    if isinstance(code, Fault):
        return in_order([_syntax(code)], first_line)
    return Template(place, shape, code, where=where, limit=limit, first_line=first_line)


def _syntax(fault: Fault) -> Problem:
    return Problem(line=fault.line, message=fault.message, kind="syntax")


def in_order(problems: list[Problem], first_line: int = 1) -> list[Problem]:
    """Each problem once, by line and column, in the lines of a file whose line `first_line` is the first here."""
    moved = dict.fromkeys(replace(each, line=each.line + first_line - 1) for each in problems)
    return sorted(moved, key=lambda each: (each.line, each.column or 0))


def outside_names(found: tuple[Use, ...]) -> frozenset[str]:
    return frozenset(use.name for use in found) - GLOBALS.keys()


def step_refs(found: tuple[Use, ...]) -> frozenset[str]:
    named = (use.path[0] for use in found if use.name == "steps" and use.path)
    return frozenset(step for step in named if isinstance(step, str))


def step_fields(found: tuple[Use, ...]) -> frozenset[tuple[str, str]]:
    pairs = (use.path[:2] for use in found if use.name == "steps" and len(use.path) > 1)
    return frozenset((step, field) for step, field in pairs if isinstance(step, str) and isinstance(field, str))


def result(root: Any, meter: Meter) -> Any:
    """The value that a tree of `as_value` sets."""
    next(root(meter), None)  # such a tree prints nothing, so the first step is the whole of it
    return meter.vars.pop(RESULT)


def reason(error: Exception) -> str:
    """What went wrong in a rendering, in words."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply, or a macro calls itself without end"
    text = str(error) or type(error).__name__
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "…"


def failing_line(error: Exception, code: Linked) -> int | None:
    """The line of the template that was running, 1 for its first; None where the error came from outside it."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILENAME:
            line = code.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return line


def _shape_of(tree: nodes.Template, inside: Sequence[nodes.Node]) -> Shape:
    """The facts of a tree; taken before `link`, which changes it."""
    expression = sole_expression(tree)
    return Shape(
        uses=uses(tree),
        constant=_constant_text(tree),
        passthrough=expression is not None,
        passthrough_step=_streamed_step(expression),
        name=expression.name if isinstance(expression, nodes.Name) else None,
        binds=any(isinstance(each, nodes.Assign | nodes.AssignBlock | nodes.Macro) for each in inside),
        line=expression.lineno if expression is not None else 1,
    )


def sole_expression(tree: nodes.Template) -> nodes.Expr | None:
    """The expression of a template that is one `{{ expression }}` and nothing else."""
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output) or len(tree.body[0].nodes) != 1:
        return None
    only = tree.body[0].nodes[0]
    return None if isinstance(only, nodes.TemplateData) else only


def _constant_text(tree: nodes.Template) -> str | None:
    texts = []
    for node in tree.body:
        if not isinstance(node, nodes.Output):
            return None
        for each in node.nodes:
            if not isinstance(each, nodes.TemplateData):
                return None
            texts.append(each.data)
    return "".join(texts)


def _streamed_step(expression: nodes.Expr | None) -> str | None:
    """NAME of `steps.NAME.text`."""
    if not isinstance(expression, nodes.Getattr | nodes.Getitem):
        return None
    found = uses(expression)
    if len(found) == 1 and found[0].name == "steps" and len(found[0].path) == 2 and found[0].path[1] == "text":
        step = found[0].path[0]
        return step if isinstance(step, str) else None
    return None
