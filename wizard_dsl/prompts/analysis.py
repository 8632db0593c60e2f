"""Which names a template takes from outside, with all that is wrong with them, before anything runs.

`uses` walks the tree as jinja2 scopes it – `set`, loop targets, macros and `with` bind names, a name used before
it is bound comes from outside – and yields every outside name with the path of keys behind it. Edges between steps,
undefined names and trust are all read from this one list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec
from jinja2 import nodes

from wizard_dsl.prompts.environment import ENVIRONMENT, GLOBALS
from wizard_dsl.prompts.filters import FILTERS, TESTS
from wizard_dsl.prompts.trees import children

Kind = Literal["syntax", "undefined", "step", "field", "filter", "test", "refused", "untrusted", "image", "shape"]

STEP_FIELDS = ("text", "json", "items", "usage", "served_by", "skipped")
ITEM_FIELDS = ("text", "json", "skipped", "error")
_LOOP_NAMES = frozenset({"item", "index"})
_REFUSED: tuple[tuple[type[nodes.Node], str], ...] = (
    (nodes.Extends, "extends"),
    (nodes.Include, "include"),
    (nodes.Import, "import"),
    (nodes.FromImport, "import"),
    (nodes.Block, "block"),
    (nodes.ScopedEvalContextModifier, "autoescape"),
)


_LOOKED_AT: tuple[type[nodes.Node], ...] = (nodes.Filter, nodes.Test, *(refused for refused, _ in _REFUSED))


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something wrong in a template. `line` and `column` count from 1 within its text (for a prompt file: within
    the file); `column` is None where only the line is known. `path` leads from the prompt to the template
    (`("messages", 1, "content")`), `name` is the word at fault, `suggestion` what was probably meant."""

    line: int
    message: str
    kind: Kind
    column: int | None = None
    name: str = ""
    suggestion: str | None = None
    path: tuple[str | int, ...] = ()


class Known(msgspec.Struct, frozen=True):
    """What a template may name: inputs, steps, and `item` and `index` inside `for_each` (`loop`).

    `extra` are further names of this place, such as `text` and `json` in `safety.command`; `fields` the fields of
    those of them of which they are known, such as `error` in `retry.when`; `step_fields` what a step has here.
    """

    inputs: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()
    loop: bool = False
    extra: frozenset[str] = frozenset()
    fields: Mapping[str, tuple[str, ...]] = {}
    step_fields: tuple[str, ...] = STEP_FIELDS

    @property
    def names(self) -> frozenset[str]:
        return self.inputs | self.extra | {"steps"} | (_LOOP_NAMES if self.loop else frozenset())


class Use(msgspec.Struct, frozen=True):
    """One use of an outside name; in `path` a key is a string, an index a number, a computed one None.

    `maybe` marks a name that the template binds itself in one branch of an `if` only: where that was not taken,
    the outside value is seen.
    """

    name: str
    line: int
    path: tuple[str | int | None, ...] = ()
    maybe: bool = False


#: The names bound in a scope, and whether they are so on every way that leads here.
_Bound = dict[str, bool]


def uses(tree: nodes.Node) -> tuple[Use, ...]:
    """Every use of a name that the template does not bind itself, globals such as `range` included."""
    return tuple(_Walk().statements([tree], {}))


class _Walk:
    """The walk of `uses`, one method for each node that binds or uses names; `set` adds to `bound`."""

    def statements(self, body: Iterable[nodes.Node], bound: _Bound) -> Iterator[Use]:
        for node in body:
            yield from self.visit(node, bound)

    def visit(self, node: nodes.Node, bound: _Bound) -> Iterator[Use]:
        special = getattr(self, f"_{type(node).__name__.lower()}", None)
        if special is not None:
            yield from special(node, bound)
        else:
            yield from self.statements(children(node), bound)

    def _name(self, node: nodes.Name, bound: _Bound) -> Iterator[Use]:
        if node.ctx == "load":
            yield from self._use(node.name, node.lineno, (), bound)
        else:
            bound[node.name] = True

    def _use(self, name: str, line: int, path: tuple[str | int | None, ...], bound: _Bound) -> Iterator[Use]:
        if not bound.get(name, False):
            yield Use(name, line, path, maybe=name in bound)

    def _nsref(self, node: nodes.NSRef, bound: _Bound) -> Iterator[Use]:
        yield from self._use(node.name, node.lineno, (node.attr,), bound)

    def _getattr(self, node: nodes.Getattr | nodes.Getitem, bound: _Bound) -> Iterator[Use]:
        path: list[str | int | None] = []
        inner: nodes.Node = node
        while isinstance(inner, nodes.Getattr | nodes.Getitem):
            if isinstance(inner, nodes.Getattr):
                path.append(inner.attr)
            else:
                path.append(_constant(inner.arg))
                yield from self.visit(inner.arg, bound)
            inner = inner.node
        if isinstance(inner, nodes.Name):
            yield from self._use(inner.name, inner.lineno, tuple(reversed(path)), bound)
        else:
            yield from self.visit(inner, bound)

    _getitem = _getattr

    def _assign(self, node: nodes.Assign, bound: _Bound) -> Iterator[Use]:
        yield from self.visit(node.node, bound)
        yield from self.visit(node.target, bound)

    def _assignblock(self, node: nodes.AssignBlock, bound: _Bound) -> Iterator[Use]:
        yield from self.statements(node.body, dict(bound))
        if node.filter is not None:
            yield from self.visit(node.filter, bound)
        yield from self.visit(node.target, bound)

    def _for(self, node: nodes.For, bound: _Bound) -> Iterator[Use]:
        yield from self.visit(node.iter, bound)
        inside = dict(bound)
        yield from self.visit(node.target, inside)
        if node.test is not None:
            yield from self.visit(node.test, inside)
        inside["loop"] = True
        yield from self.statements(node.body, inside)
        yield from self.statements(node.else_, dict(bound))

    def _if(self, node: nodes.If, bound: _Bound) -> Iterator[Use]:
        yield from self.visit(node.test, bound)
        for other in node.elif_:
            yield from self.visit(other.test, bound)
        ways = []
        for branch in (node.body, *(other.body for other in node.elif_), node.else_):
            inside = dict(bound)
            yield from self.statements(branch, inside)
            ways.append(inside)
        for name in set().union(*ways):
            bound[name] = all(way.get(name, False) for way in ways)

    def _macro(self, node: nodes.Macro, bound: _Bound) -> Iterator[Use]:
        bound[node.name] = True
        yield from self._body(node, bound)

    def _callblock(self, node: nodes.CallBlock, bound: _Bound) -> Iterator[Use]:
        yield from self.visit(node.call, bound)
        yield from self._body(node, bound)

    def _body(self, node: nodes.Macro | nodes.CallBlock, bound: _Bound) -> Iterator[Use]:
        """A default sees the arguments before its own, the body all of them."""
        inside = dict(bound)
        required = len(node.args) - len(node.defaults)
        for position, argument in enumerate(node.args):
            if position >= required:
                yield from self.visit(node.defaults[position - required], inside)
            inside[argument.name] = True
        inside |= {"caller": True, "varargs": True, "kwargs": True}
        yield from self.statements(node.body, inside)

    def _with(self, node: nodes.With, bound: _Bound) -> Iterator[Use]:
        yield from self.statements(node.values, bound)
        inside = dict(bound)
        yield from self.statements(node.targets, inside)
        yield from self.statements(node.body, inside)

    def _filterblock(self, node: nodes.FilterBlock, bound: _Bound) -> Iterator[Use]:
        yield from self.visit(node.filter, bound)
        yield from self.statements(node.body, dict(bound))


def _constant(node: nodes.Node) -> str | int | None:
    if isinstance(node, nodes.Const) and isinstance(node.value, str | int) and not isinstance(node.value, bool):
        return node.value
    return None


class Placer:
    """Puts columns to problems; the source is cut into words only when there is a problem to place."""

    def __init__(self, source: str, *, state: str | None = None) -> None:
        self.source = source
        self._source = re.sub(r"\r\n|\r", "\n", source)
        self._state = state
        self._words: dict[tuple[int, str], int] | None = None

    def column(self, line: int, name: str) -> int | None:
        """The first place of the word `name` on that line; None where it does not stand there as a word."""
        if self._words is None:
            self._words = self._cut()
        return self._words.get((line, name))

    def _cut(self) -> dict[tuple[int, str], int]:
        """The first column of every word in a tag, by line and word; text outside tags has no words."""
        starts = [0, *(match.end() for match in re.finditer("\n", self._source))]
        found: dict[tuple[int, str], int] = {}
        position = 0
        for line, token, value in ENVIRONMENT.lexer.tokeniter(self._source, None, state=self._state):
            at = max(position, self._source.find(value, position))
            position = at + len(value)
            if token == "name":
                found.setdefault((line, value), at - starts[line - 1] + 1)
            elif token == "string":
                found.setdefault((line, value[1:-1]), at - starts[line - 1] + 2)
        return found


def construct_problems(inside: Iterable[nodes.Node], place: Placer) -> list[Problem]:
    """Tags, filters and tests that templates do not have, among the nodes of a tree."""
    found = []
    for node in inside:
        if not isinstance(node, _LOOKED_AT):
            continue
        if isinstance(node, nodes.Filter):
            if node.name not in FILTERS:
                found.append(_unknown(node, "filter", node.name, FILTERS, place))
        elif isinstance(node, nodes.Test):
            if node.name not in TESTS:
                found.append(_unknown(node, "test", node.name, TESTS, place))
        else:
            found.append(_refused(node, place))
    return found


def _refused(node: nodes.Node, place: Placer) -> Problem:
    tag = next(tag for refused, tag in _REFUSED if isinstance(node, refused))
    text = f"'{tag}' is not available: a template is one text"
    if tag == "autoescape":
        text = "'autoescape' is not available: prompts are not HTML; use the filter 'escape' where one is"
    column = place.column(node.lineno, "from" if isinstance(node, nodes.FromImport) else tag)
    return Problem(line=node.lineno, column=column, message=text, kind="refused", name=tag)


def _unknown(
    node: nodes.Node, kind: Literal["filter", "test"], name: str, known: Iterable[str], place: Placer
) -> Problem:
    return Problem(
        line=node.lineno,
        column=place.column(node.lineno, name),
        message=f"there is no {kind} {name!r}",
        kind=kind,
        name=name,
        suggestion=close(name, known),
    )


def name_problems(found: Sequence[Use], known: Known, place: Placer) -> list[Problem]:
    """Names that are not in scope, and steps and fields that do not exist."""
    problems: list[Problem] = []
    names = known.names
    for use in found:
        if use.name == "steps":
            problems += _step_problems(use, known, place)
        elif not use.maybe and use.name not in names and use.name not in GLOBALS:
            problems.append(_undefined(use, names, place))
        elif use.path and use.name in known.fields:
            problems += _field_problems(use, use.name, use.path[0], known.fields[use.name], place)
    return problems


def _undefined(use: Use, names: frozenset[str], place: Placer) -> Problem:
    if use.name in _LOOP_NAMES:
        text, guess = f"{use.name!r} exists only inside a step with for_each", None
    else:
        text, guess = f"{use.name!r} is not defined", close(use.name, names | set(GLOBALS))
    column = place.column(use.line, use.name)
    return Problem(line=use.line, column=column, message=text, kind="undefined", name=use.name, suggestion=guess)


def _step_problems(use: Use, known: Known, place: Placer) -> Iterator[Problem]:
    step = use.path[0] if use.path else None
    if not isinstance(step, str):
        text = "'steps' needs the name of a step behind it, as in steps.NAME.text, so that the order of steps is known"
        yield Problem(line=use.line, column=place.column(use.line, "steps"), message=text, kind="step", name="steps")
    elif step not in known.steps:
        column = place.column(use.line, step) or place.column(use.line, "steps")
        text = f"there is no step {step!r}"
        guess = close(step, known.steps)
        yield Problem(line=use.line, column=column, message=text, kind="step", name=step, suggestion=guess)
    elif len(use.path) > 1:
        yield from _field_problems(use, f"steps.{step}", use.path[1], known.step_fields, place)
        if len(use.path) > 3 and use.path[1] == "items" and not isinstance(use.path[2], str):
            yield from _field_problems(use, f"an item of steps.{step}", use.path[3], ITEM_FIELDS, place)


def _field_problems(
    use: Use, owner: str, field: str | int | None, fields: tuple[str, ...], place: Placer
) -> Iterator[Problem]:
    if field in fields:
        return
    text = f"{owner} has {', '.join(fields)}"
    text += f", not {field!r}" if field is not None else "; name the field instead of computing it"
    name = "" if field is None else str(field)
    column = place.column(use.line, name) or place.column(use.line, use.name)
    yield Problem(line=use.line, column=column, message=text, kind="field", name=name, suggestion=close(name, fields))


def close(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` was probably meant to be."""
    from difflib import get_close_matches

    found = get_close_matches(name, sorted(candidates), n=1, cutoff=0.6)
    return found[0] if found else None
