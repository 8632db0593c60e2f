"""Which names a template takes from outside, with all that is wrong with them, before anything runs.

`uses` walks the tree as jinja2 scopes it – `set`, loop targets, macros and `with` bind names, a name used before
it is bound comes from outside – and yields every outside name with the path of keys behind it. Edges between steps,
undefined names and trust are all read from this one list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from jinja2 import nodes

from wizard_dsl.prompts.filters import FILTERS, TESTS
from wizard_dsl.prompts.names import Placer, Problem, Use, close
from wizard_dsl.prompts.trees import children

_REFUSED: tuple[tuple[type[nodes.Node], str], ...] = (
    (nodes.Extends, "extends"),
    (nodes.Include, "include"),
    (nodes.Import, "import"),
    (nodes.FromImport, "import"),
    (nodes.Block, "block"),
    (nodes.ScopedEvalContextModifier, "autoescape"),
)


_LOOKED_AT: tuple[type[nodes.Node], ...] = (nodes.Filter, nodes.Test, *(refused for refused, _ in _REFUSED))


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
