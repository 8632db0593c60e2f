"""Templates: text with `{{ }}` and `{% %}`, checked when it is read and rendered against one shared scope.

`compile_template` returns a Template, or the list of all its problems. A run binds its values once (`bind`) and
renders every template against that scope: making a context for each costs more than rendering.

A template's one trailing newline is not part of it, so that `text: |` in YAML ends where its last word does.

Most templates are texts with names in them, and most values texts and numbers: these are put in here, and jinja2 is
imported for what is more than that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from wizard_dsl.core.errors import StepFailed
from wizard_dsl.prompts.names import GLOBALS, Known, Placer, Problem, Use, name_problems
from wizard_dsl.prompts.simple import Named, Parts, parts_of

if TYPE_CHECKING:
    from jinja2.environment import Template as Linked

    from wizard_dsl.prompts.budget import Meter

#: Characters of an error's reason: Python quotes whole values in some.
_LONGEST_REASON = 300

#: Characters of one rendered text, unless the caller says otherwise.
MAX_OUTPUT = 1 << 20
#: Characters of a text that are put in without being counted as work.
_SHORT: Final = 1 << 20
#: Whole numbers that have few digits.
_FEW_DIGITS: Final = 1 << 64
#: What is passed on as it is.
_PLAIN: Final = frozenset({str, bool, int, float})


class Scope(msgspec.Struct, eq=False):
    """The values of one run, or of one item of it, ready for any number of templates."""

    values: dict[str, Any]
    _meter: Meter | None = None

    @property
    def meter(self) -> Meter:
        """The context of the code that jinja2 makes, the same one for all templates."""
        if self._meter is None:
            from wizard_dsl.prompts.parsed import meter_of

            self._meter = meter_of(self.values)
        return self._meter

    def with_values(self, **values: Any) -> Scope:
        """A scope that has these values too, such as `item` and `index`."""
        return Scope({**self.values, **values})


def bind(values: Mapping[str, Any]) -> Scope:
    """The scope of `values`: inputs by name, `steps`, in a loop `item` and `index`. They are copied once, shallowly:
    a `steps` mapping that the run keeps filling is seen as it grows."""
    return Scope({**values})


class Shape(msgspec.Struct, frozen=True):
    """What is known of a template before it runs.

    `uses` are the outside names with what is behind them. `constant` is the text of a template without tags, else
    None. `passthrough` is true for exactly one `{{ expression }}` and nothing else, whose value keeps its JSON
    type; `passthrough_step` is NAME where that expression is `steps.NAME.text`, `name` the expression where it is a
    name alone. `binds` is true where the template sets names of its own. `line` is where it begins to compute. `parts`
    are those of a text of names without keys; None of any other.
    """

    uses: tuple[Use, ...]
    constant: str | None
    passthrough: bool
    passthrough_step: str | None
    name: str | None
    binds: bool
    line: int
    parts: Parts | None = None


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
    def root(self) -> Any:
        """The function that jinja2 makes of it."""
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
        text = None if shape.parts is None else _put_in(shape.parts, scope.values)
        if text is None:
            text = self._rendered(scope)
        if len(text) > self._limit:
            raise StepFailed(
                f"the template makes {len(text):,} characters; at most {self._limit:,} are allowed",
                where=self.where,
                suggestion="shorten its values, for example with the filter truncate",
            )
        return text

    def _rendered(self, scope: Scope) -> str:
        from wizard_dsl.prompts.parsed import rendered

        try:
            return rendered(self, scope)
        except Exception as error:
            raise self._failed(error) from error

    def value(self, scope: Scope) -> Any:
        """The JSON value of a single `{{ expression }}`; of any other template its text. Raises as `render`."""
        if not self.shape.passthrough:
            return self.render(scope)
        value = None if self.shape.name is None else scope.values.get(self.shape.name)
        return value if type(value) in _PLAIN else self._evaluated(scope)

    def _evaluated(self, scope: Scope) -> Any:
        from wizard_dsl.prompts.parsed import evaluated

        try:
            return evaluated(self, scope)
        except Exception as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> StepFailed:
        from wizard_dsl.prompts.parsed import failing_line

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
    parts = parts_of(source) if len(source) <= _SHORT and _is_writable(source) else None
    if parts is None or any(isinstance(each, Named) and each.keys for each in parts):
        from wizard_dsl.prompts.parsed import compile_parsed

        return compile_parsed(source, known, where=where, limit=limit, first_line=first_line)
    place, shape = Placer(source), _shape_of(parts)
    problems = [] if known is None else name_problems(shape.uses, known, place)
    if problems:
        return in_order(problems, first_line)
    return Template(place, shape, partial(_code_of, parts), where=where, limit=limit, first_line=first_line)


def _is_writable(source: str) -> bool:
    """Whether it can be encoded: jinja2 has words for what cannot."""
    return source.isascii() or not any("\ud800" <= each <= "\udfff" for each in source)


def _code_of(parts: Parts) -> Linked:
    from wizard_dsl.prompts.parsed import code_of

    return code_of(parts)


def _shape_of(parts: Parts) -> Shape:
    """The facts of a text of names."""
    found: list[Use] = []
    line = 1
    for part in parts:
        if isinstance(part, Named):
            found.append(Use(part.name, line))
        else:
            line += part.count("\n")
    alone = found[0].name if len(parts) == len(found) == 1 else None
    return Shape(
        uses=tuple(found),
        constant=None if found else "".join(map(str, parts)),
        passthrough=alone is not None,
        passthrough_step=None,
        name=alone,
        binds=False,
        line=1,
        parts=parts,
    )


def _put_in(parts: Parts, values: Mapping[str, Any]) -> str | None:
    """The text with its values in it; None where one is missing, is a list or mapping, or is too long."""
    made = []
    for part in parts:
        if isinstance(part, str):
            made.append(part)
            continue
        value: Any = values.get(part.name)
        kind = type(value)
        if kind is str:
            made.append(value)
        elif kind is float or (kind is int and -_FEW_DIGITS < value < _FEW_DIGITS):
            made.append(str(value))
        elif kind is bool:
            made.append("true" if value else "false")
        else:
            return None
    return "".join(made) if sum(map(len, made)) <= _SHORT else None


def in_order(problems: list[Problem], first_line: int = 1) -> list[Problem]:
    """Each problem once, by line and column, in the lines of a file whose line `first_line` is the first here."""
    moved = dict.fromkeys(replace(each, line=each.line + first_line - 1) for each in problems)
    return sorted(moved, key=lambda each: (each.line, each.column or 0))


def outside_names(found: tuple[Use, ...]) -> frozenset[str]:
    return frozenset(use.name for use in found) - GLOBALS


def step_refs(found: tuple[Use, ...]) -> frozenset[str]:
    named = (use.path[0] for use in found if use.name == "steps" and use.path)
    return frozenset(step for step in named if isinstance(step, str))


def step_fields(found: tuple[Use, ...]) -> frozenset[tuple[str, str]]:
    pairs = (use.path[:2] for use in found if use.name == "steps" and len(use.path) > 1)
    return frozenset((step, field) for step, field in pairs if isinstance(step, str) and isinstance(field, str))


def reason(error: Exception) -> str:
    """What went wrong in a rendering, in words."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply, or a macro calls itself without end"
    text = str(error) or type(error).__name__
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "…"
