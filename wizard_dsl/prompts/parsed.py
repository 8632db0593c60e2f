"""Templates with more in them than names: parsed by jinja2, checked on their tree, and rendered by its code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import nodes
from jinja2.environment import Template as Linked

from wizard_dsl.prompts.analysis import construct_problems, uses
from wizard_dsl.prompts.budget import WORK, Meter
from wizard_dsl.prompts.environment import ENVIRONMENT, FILENAME, RESULT, Fault, as_value, parse
from wizard_dsl.prompts.linking import linking
from wizard_dsl.prompts.names import Known, Placer, Problem, name_problems
from wizard_dsl.prompts.simple import Parts
from wizard_dsl.prompts.template import Scope, Shape, Template, in_order
from wizard_dsl.prompts.trees import every, tree_of


def compile_parsed(
    source: str, known: Known | None, *, where: str, limit: int, first_line: int
) -> Template | list[Problem]:
    """As `compile_template`, of any text."""
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


def code_of(parts: Parts) -> Linked:
    """The code of a text of names, for the values that want more than to be put in."""
    tree = tree_of(parts)
    inside = every(tree)
    expression = sole_expression(tree)
    code = linking(as_value(expression) if expression is not None else tree, inside)
    assert not isinstance(code, Fault), f"a text of names cannot be compiled: {code.message}"
    return code()


def meter_of(values: Mapping[str, Any]) -> Meter:
    """What templates are rendered with, where a run has these values."""
    return Meter(ENVIRONMENT, {**ENVIRONMENT.globals, **values}, None, {})


def rendered(template: Template, scope: Scope) -> str:
    """The text. Raises whatever its code raises."""
    meter = _meter(template, scope)
    if template.shape.passthrough:
        return meter.printed(_value(template, meter))
    return "".join(template.root(meter))


def evaluated(template: Template, scope: Scope) -> Any:
    """The JSON value of a single `{{ expression }}`. Raises as `rendered`."""
    meter = _meter(template, scope)
    return meter.plain(_value(template, meter))


def _meter(template: Template, scope: Scope) -> Meter:
    """The shared context, or one of its own for a template that binds names, which others must not see."""
    meter = meter_of(scope.values) if template.shape.binds else scope.meter
    meter.work = WORK
    return meter


def _value(template: Template, meter: Meter) -> Any:
    """The value of the single expression; of a name that there is, without making code."""
    name = template.shape.name
    return meter.parent[name] if name is not None and name in meter.parent else result(template.root, meter)


def _syntax(fault: Fault) -> Problem:
    return Problem(line=fault.line, message=fault.message, kind="syntax")


def result(root: Any, meter: Meter) -> Any:
    """The value that a tree of `as_value` sets."""
    next(root(meter), None)  # such a tree prints nothing, so the first step is the whole of it
    return meter.vars.pop(RESULT)


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
