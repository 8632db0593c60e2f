"""Walks over syntax trees, as jinja2's own, with lists for its generators, in which most of a walk's time goes, and the
tree of a text of names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from jinja2 import nodes

from wizard_dsl.prompts.simple import Named, Parts

#: Nodes that hold no others.
_LEAVES: Final = frozenset({nodes.Const, nodes.Name, nodes.NSRef, nodes.TemplateData})


def children(node: nodes.Node) -> Sequence[nodes.Node]:
    """The nodes directly inside a node, in the order of the text."""
    if type(node) in _LEAVES:
        return ()
    found: list[nodes.Node] = []
    for name in node.fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            found += [each for each in value if isinstance(each, nodes.Node)]
        elif isinstance(value, nodes.Node):
            found.append(value)
    return found


def every(tree: nodes.Node) -> list[nodes.Node]:
    """The nodes inside a tree, each before those inside it."""
    found: list[nodes.Node] = []
    pending = [tree]
    while pending:
        node = pending.pop()
        found.append(node)
        pending += children(node)[::-1]
    return found[1:]


def tree_of(parts: Parts) -> nodes.Template:
    """The tree that jinja2's parser makes of a text of names."""
    made: list[nodes.Expr] = []
    line = 1
    for part in parts:
        if isinstance(part, Named):
            made.append(_path(part, line))
        else:
            made.append(nodes.TemplateData(part, lineno=line))
            line += part.count("\n")
    body: list[nodes.Node] = [nodes.Output(made, lineno=1)] if made else []
    return nodes.Template(body, lineno=1)


def _path(part: Named, line: int) -> nodes.Expr:
    made: nodes.Expr = nodes.Name(part.name, "load", lineno=line)
    for key in part.keys:
        made = nodes.Getattr(made, key, "load", lineno=line)
    return made
