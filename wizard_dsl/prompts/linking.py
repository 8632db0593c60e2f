"""When a checked tree becomes code: at once where that may fail, else with the first rendering.

Making code is most of what a template costs, and `validate` renders none. Of a tree of plain nodes everything is known
once it is parsed and checked, so it can wait; loops, macros, calls and assignments have faults of their own that only
code generation notices, and those are for `validate` to tell.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from jinja2 import nodes
from jinja2.environment import Template as Linked

from wizard_dsl.prompts.environment import RESULT, Fault, link

#: Nodes of which code can always be made, as long as they are not too deep, which the parser tells.
_PLAIN: Final[frozenset[type[nodes.Node]]] = frozenset(
    {
        nodes.Add, nodes.And, nodes.Compare, nodes.Concat, nodes.CondExpr, nodes.Filter, nodes.Getattr, nodes.Getitem,
        nodes.If, nodes.List, nodes.Name, nodes.Not, nodes.Operand, nodes.Or, nodes.Output, nodes.Sub, nodes.Template,
        nodes.Test,
    }
)  # fmt: skip


def linking(tree: nodes.Template) -> Callable[[], Linked] | Fault:
    """What gives the code of a tree, which it consumes; a Fault for what only code generation notices."""
    if _is_plain(tree):
        return partial(_linked, tree)
    code = link(tree)
    return code if isinstance(code, Fault) else lambda: code


def _linked(tree: nodes.Template) -> Linked:
    code = link(tree)
    assert not isinstance(code, Fault), f"a plain template cannot be compiled: {code.message}"
    return code


def _is_plain(tree: nodes.Template) -> bool:
    pending: list[nodes.Node] = [tree]
    while pending:
        node = pending.pop()
        kind = type(node)
        if kind is nodes.TemplateData or kind is nodes.Const:
            if not _is_writable(getattr(node, "data", getattr(node, "value", None))):
                return False
        elif isinstance(node, nodes.Assign):
            target = node.target
            if not isinstance(target, nodes.Name) or target.name != RESULT:
                return False
            pending.append(node.node)
        elif kind in _PLAIN:
            pending += node.iter_child_nodes()
        else:
            return False
    return True


def _is_writable(value: object) -> bool:
    """Whether a constant can stand in source code: a lone half of a surrogate pair cannot."""
    if not isinstance(value, str) or value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
