"""Puts payments into a syntax tree where jinja2 offers no hook: loop turns, macro bodies, comparisons, slices, `~`."""

from __future__ import annotations

from jinja2 import nodes

from wizard_dsl.prompts.budget import TURN


def put_meter_in(tree: nodes.Template) -> None:
    """Change `tree` so that running it pays for its work; analysis comes before this."""
    found = list(tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock, nodes.Compare, nodes.Pair)))
    subscripts, joins = list(tree.find_all(nodes.Getitem)), list(tree.find_all(nodes.Concat))
    for node in found:
        _pay(node)
    for subscript in subscripts:
        if isinstance(subscript.arg, nodes.Slice):
            subscript.node = _weighed(subscript.node)
        else:
            subscript.arg = _weighed(subscript.arg)
    for join in joins:
        join.nodes = [_filter("!concat", nodes.List(join.nodes, lineno=join.lineno), join)]


def _pay(node: nodes.Node) -> None:
    if isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock):
        node.body.insert(0, _payment(node))
    if isinstance(node, nodes.For) and node.test is not None:
        node.test = nodes.And(_filter("!charge", nodes.Const(TURN), node), node.test, lineno=node.lineno)
    if isinstance(node, nodes.Pair):
        node.key = _weighed(node.key)
    if isinstance(node, nodes.Compare):
        node.expr = _weighed(node.expr)
        for operand in node.ops:
            operand.expr = _weighed(operand.expr)


def _payment(node: nodes.Node) -> nodes.ExprStmt:
    """One turn, and all the syntax and constant text inside, as if every branch were taken."""
    inside = list(node.find_all(nodes.Node))
    text = sum(len(each.data) for each in inside if isinstance(each, nodes.TemplateData))
    return nodes.ExprStmt(_filter("!charge", nodes.Const(TURN + len(inside) + text), node), lineno=node.lineno)


def _weighed(node: nodes.Expr) -> nodes.Expr:
    return node if isinstance(node, nodes.Const) else _filter("!weighed", node, node)


def _filter(name: str, value: nodes.Expr, at: nodes.Node) -> nodes.Filter:
    return nodes.Filter(value, name, [], [], None, None, lineno=at.lineno)
