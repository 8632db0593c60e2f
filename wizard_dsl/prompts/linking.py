"""When a checked tree becomes code: at once where that may fail, else with the first rendering.

Making code is most of what a template costs, and `validate` renders none. Of a tree of plain nodes everything is known
once it is parsed and checked, so it can wait; macros, keywords of calls and assignments have faults of their own that
only code generation notices, and those are for `validate` to tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from jinja2 import nodes
from jinja2.environment import Template as Linked

from wizard_dsl.prompts.environment import RESULT, Fault, link

#: Nodes of which code can always be made, as long as they are not too deep, which the parser tells.
_PLAIN: Final[frozenset[type[nodes.Node]]] = frozenset(
    {
        nodes.Add, nodes.And, nodes.Call, nodes.Compare, nodes.Concat, nodes.CondExpr, nodes.Filter, nodes.Getattr,
        nodes.Getitem, nodes.If, nodes.List, nodes.Name, nodes.Not, nodes.Operand, nodes.Or, nodes.Output, nodes.Sub,
        nodes.Template, nodes.Test, nodes.Tuple,
    }
)  # fmt: skip


def linking(tree: nodes.Template, inside: Iterable[nodes.Node]) -> Callable[[], Linked] | Fault:
    """What gives the code of a tree, which it consumes; a Fault for what only code generation notices. `inside` are the
    nodes of what was parsed."""
    if all(map(_is_plain, inside)):
        return partial(_linked, tree)
    code = link(tree)
    return code if isinstance(code, Fault) else lambda: code


def _linked(tree: nodes.Template) -> Linked:
    code = link(tree)
    assert not isinstance(code, Fault), f"a plain template cannot be compiled: {code.message}"
    return code


def _is_plain(node: nodes.Node) -> bool:
    if isinstance(node, nodes.TemplateData):
        return _is_writable(node.data)
    if isinstance(node, nodes.Const):
        return _is_writable(node.value)
    if isinstance(node, nodes.Assign):
        return isinstance(node.target, nodes.Name) and node.target.name == RESULT
    if isinstance(node, nodes.For):
        return not node.recursive and _is_plain_target(node.target)
    return type(node) in _PLAIN


def _is_plain_target(target: nodes.Node) -> bool:
    """Whether a loop may have this target: names but `loop`."""
    names = target.items if isinstance(target, nodes.Tuple) else [target]
    return all(isinstance(each, nodes.Name) and each.name != "loop" for each in names)


def _is_writable(value: object) -> bool:
    """Whether a constant can stand in source code: a lone half of a surrogate pair cannot."""
    if not isinstance(value, str) or value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
