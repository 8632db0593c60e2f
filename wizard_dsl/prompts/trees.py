"""Walks over syntax trees, as jinja2's own, with lists for its generators, in which most of a walk's time goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from jinja2 import nodes

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
