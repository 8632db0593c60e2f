"""How large a template can become: a walk over its syntax tree with the sizes of its values.

Every node gives at least as many bytes as any rendering can. What cannot be bounded here – a method, a number of times
that only the values know – is unbounded, with its line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

from jinja2 import nodes

from wizard_dsl.core.bound import Figure, Path, unbounded
from wizard_dsl.core.messages import Image, Message, Part, Request, Text
from wizard_dsl.core.size import WIDEST, Size, boundless, list_of, mapping_of, number_of, of_value, text_of
from wizard_dsl.core.step_bound import Asked
from wizard_dsl.prompts._filter_sizes import filtered
from wizard_dsl.prompts.environment import Fault, parse, parse_expression
from wizard_dsl.prompts.expression import Expression
from wizard_dsl.prompts.messages import Prompt, TurnPart
from wizard_dsl.prompts.parsed import sole_expression
from wizard_dsl.prompts.template import Template

#: Digits of the largest number that arithmetic may make (`NUMBER_BITS` of budget.py).
_ARITHMETIC = 1240
#: Calls of macros that are followed in one template; one that calls itself is not.
_CALLS = 200
_EMPTY = of_value("")
_TRUTH = of_value(False)

#: Methods that do what a filter does.
_METHODS = {
    "capitalize": "capitalize", "items": "items", "lower": "lower", "lstrip": "trim", "replace": "replace",
    "rstrip": "trim", "strip": "trim", "title": "title", "upper": "upper",
}  # fmt: skip

Names = Mapping[str, Size]


def template_size(template: Template, names: Names, at: Path = ()) -> Size:
    """The value of a template: of a single `{{ expression }}` what it gives, else its text. `at` is its place in the
    document, `names` are the sizes of what it may use."""
    tree = parse(template.source)
    assert not isinstance(tree, Fault)
    walk = _Walk(template.where, at, names)
    only = sole_expression(tree)
    if only is not None:
        return walk.value(only, dict(names))
    return text_of(walk.body(tree.body, dict(names)))


def expression_size(expression: Expression, names: Names, at: Path = ()) -> Size:
    """The value of a bare expression."""
    tree = parse_expression(expression.source)
    assert not isinstance(tree, Fault)
    assign = tree.body[0]
    assert isinstance(assign, nodes.Assign)
    return _Walk(expression.where, at, names).value(assign.node, dict(names))


def prompt_size(prompt: Prompt, names: Names, at: Path = ()) -> Asked:
    """What a prompt asks, its texts left out, and their bytes; an image has tokens of its own, whatever its URL."""
    messages, total = [], Figure(0)
    for turn in prompt.turns:
        parts: list[Part] = []
        for part in turn.parts:
            parts.append(Text("") if part.kind == "text" else Image(""))
            if part.kind == "text":
                total = total + template_size(part.template, names, at).text
        messages.append(Message(turn.role, tuple(parts)))
    instructs = any(turn.role == "system" and any(map(_says, turn.parts)) for turn in prompt.turns)
    return Asked(Request(messages=tuple(messages)), total, instructs)


def _says(part: TurnPart) -> bool:
    """Whether a part is there whatever the values: an image, or a template with a text outside its tags."""
    if part.kind == "image":
        return True
    tree = parse(part.template.source)
    assert not isinstance(tree, Fault)
    written = [each for node in tree.body if isinstance(node, nodes.Output) for each in node.nodes]
    return any(isinstance(each, nodes.TemplateData) and each.data.strip() for each in written)


class _Walk:
    """Statements give bytes, expressions give sizes. `names` is changed by what a template sets."""

    def __init__(self, where: str, at: Path, names: Names) -> None:
        self._where = where
        self._at = at
        self._ever = dict(names)  # whatever a name has meant so far: a macro reads those of where it was written
        self._macros: dict[str, list[nodes.Macro]] = {}
        self._calls = 0
        self._inside: list[str] = []

    def _open(self, node: nodes.Node, what: str) -> Size:
        return boundless(f"{self._where}, line {node.lineno} of it: {what}", self._at)

    # -- statements ---------------------------------------------------------------------------------

    def body(self, statements: Sequence[nodes.Node], names: dict[str, Size]) -> Figure:
        """Bytes of what the statements write."""
        total = Figure(0)
        for each in statements:
            follow: Callable[[Any, dict[str, Size]], Figure] | None = getattr(
                self, f"_{type(each).__name__.lower()}", None
            )
            total = total + (follow(each, names) if follow else self._open(each, "a tag that is not followed").text)
        return total

    def _output(self, node: nodes.Output, names: dict[str, Size]) -> Figure:
        total = Figure(0)
        for each in node.nodes:
            if isinstance(each, nodes.TemplateData):
                total = total + Figure(len(each.data.encode("utf-8", "surrogatepass")))
            else:
                total = total + self.value(each, names).text
        return total

    def _if(self, node: nodes.If, names: dict[str, Size]) -> Figure:
        most, ways = Figure(0), []
        for branch in (node.body, *(each.body for each in node.elif_), node.else_):
            inside = dict(names)
            most = most.largest(self.body(branch, inside))
            ways.append(inside)
        for way in ways:
            for name, size in way.items():
                names[name] = names[name].or_else(size) if name in names else size
        return most

    def _for(self, node: nodes.For, names: dict[str, Size]) -> Figure:
        values = self.value(node.iter, names)
        if node.recursive:
            return self._open(node, "a recursive loop").text
        item = values.element
        inside = {**names, "loop": _loop(item)}
        self._bind(node.target, item, inside)
        count = values.count
        if not count.bounded:
            count = unbounded(
                f"{self._where}, line {node.lineno} of it: a loop, and {count.reason}", count.at or self._at
            )
        return self.body(node.body, inside).product(count).largest(self.body(node.else_, dict(names)))

    def _bind(self, target: nodes.Node, value: Size, names: dict[str, Size]) -> None:
        if isinstance(target, nodes.Name):
            names[target.name] = value
            self._ever[target.name] = value.or_else(self._ever.get(target.name, value))
        elif isinstance(target, nodes.Tuple):
            for each in target.items:
                self._bind(each, value.item or self._open(target, "a part of a value"), names)

    def _assign(self, node: nodes.Assign, names: dict[str, Size]) -> Figure:
        value = self.value(node.node, names)
        if isinstance(node.target, nodes.NSRef):
            names[node.target.name] = self._open(node, "a namespace, which may grow with every turn of a loop")
        elif isinstance(node.target, nodes.Tuple) and isinstance(node.node, nodes.Tuple):
            for target, own in zip(node.target.items, node.node.items, strict=False):
                self._bind(target, self.value(own, names), names)
        else:
            self._bind(node.target, value, names)
        return Figure(0)

    def _assignblock(self, node: nodes.AssignBlock, names: dict[str, Size]) -> Figure:
        made = text_of(self.body(node.body, dict(names)))
        if node.filter is not None:
            made = self._filtered(node.filter, made, names)
        self._bind(node.target, made, names)
        return Figure(0)

    def _filterblock(self, node: nodes.FilterBlock, names: dict[str, Size]) -> Figure:
        return self._filtered(node.filter, text_of(self.body(node.body, dict(names))), names).text

    def _with(self, node: nodes.With, names: dict[str, Size]) -> Figure:
        inside = dict(names)
        for target, value in zip(node.targets, node.values, strict=True):
            self._bind(target, self.value(value, names), inside)
        return self.body(node.body, inside)

    def _macro(self, node: nodes.Macro, names: dict[str, Size]) -> Figure:
        self._macros.setdefault(node.name, []).append(node)
        names[node.name] = _EMPTY
        return Figure(0)

    def _exprstmt(self, node: nodes.ExprStmt, names: dict[str, Size]) -> Figure:
        return Figure(0)

    # -- expressions --------------------------------------------------------------------------------

    def value(self, node: nodes.Node, names: dict[str, Size]) -> Size:
        """The size of what an expression gives."""
        match node:
            case nodes.Const():
                return of_value(node.value)
            case nodes.Name():
                return names.get(node.name, self._open(node, f"'{node.name}'"))
            case nodes.Getattr() | nodes.Getitem():
                return self._part(node, names)
            case nodes.Filter():
                inner = _EMPTY if node.node is None else self.value(node.node, names)
                return self._filtered(node, inner, names)
            case nodes.Compare() | nodes.Test() | nodes.Not():
                return _TRUTH
            case nodes.Call():
                return self._call(node, names)
        return self._made(node, names)

    def _made(self, node: nodes.Node, names: dict[str, Size]) -> Size:
        """What is made of several values."""
        match node:
            case nodes.And() | nodes.Or():
                return self.value(node.left, names).or_else(self.value(node.right, names))
            case nodes.CondExpr():
                other = _EMPTY if node.expr2 is None else self.value(node.expr2, names)
                return self.value(node.expr1, names).or_else(other)
            case nodes.List() | nodes.Tuple():
                return _listed([self.value(each, names) for each in node.items])
            case nodes.Dict():
                return self._dict(node, names)
            case nodes.Concat():
                return text_of(_joined([self.value(each, names) for each in node.nodes]).text)
            case nodes.BinExpr() | nodes.UnaryExpr():
                return self._arithmetic(node, names)
        return self._open(node, "an expression that is not followed")

    def _dict(self, node: nodes.Dict, names: dict[str, Size]) -> Size:
        if not all(isinstance(each.key, nodes.Const) for each in node.items):
            return self._open(node, "a mapping whose keys are computed")
        return mapping_of({str(each.key.value): self.value(each.value, names) for each in node.items})  # type: ignore[attr-defined]

    def _part(self, node: nodes.Getattr | nodes.Getitem, names: dict[str, Size]) -> Size:
        whole = self.value(node.node, names)
        key = node.attr if isinstance(node, nodes.Getattr) else _constant(node.arg)
        if isinstance(key, str) and key in whole.fields:
            return whole.fields[key].limited(whole.json)
        if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
            return _sliced(whole, node.arg)
        if whole.is_open:
            return whole.part
        return text_of(Figure(WIDEST)) if whole.item is None else whole.item.limited(whole.json)

    def _arithmetic(self, node: nodes.BinExpr | nodes.UnaryExpr, names: dict[str, Size]) -> Size:
        if isinstance(node, nodes.UnaryExpr):
            return number_of(_ARITHMETIC)
        left, right = self.value(node.left, names), self.value(node.right, names)
        if left.number and right.number:
            return number_of(_ARITHMETIC)
        if isinstance(node, nodes.Add):
            both = _joined([left, right])
            if left.item is not None or right.item is not None:
                return Size(both.text, both.text, both.count, left.or_else(right).item)
            return Size(both.text.largest(Figure(_ARITHMETIC)), both.json.largest(Figure(_ARITHMETIC)), both.count)
        if isinstance(node, nodes.Mul):
            return self._repeated(node, left, right)
        if isinstance(node, nodes.Sub | nodes.Div | nodes.FloorDiv | nodes.Pow):
            return number_of(_ARITHMETIC)
        return self._open(node, "the operator %")

    def _repeated(self, node: nodes.Mul, left: Size, right: Size) -> Size:
        for times, value in ((node.right, left), (node.left, right)):
            if isinstance(times, nodes.Const) and isinstance(times.value, int):
                often = max(0, times.value)
                most = value.text.times(often).largest(Figure(_ARITHMETIC))
                return Size(most, value.json.times(often).largest(most), value.count.times(often), value.item)
        return self._open(node, "how often a text is repeated")

    def _call(self, node: nodes.Call, names: dict[str, Size]) -> Size:
        if isinstance(node.node, nodes.Getattr):
            return self._method(node.node, node, names)
        if not isinstance(node.node, nodes.Name):
            return self._open(node, "a call of what is computed")
        name = node.node.name
        if name in self._macros and name not in self._inside and self._calls < _CALLS:
            made = [self._expanded(each, node, names) for each in self._macros[name]]
            return reduce(Size.or_else, made)
        if name == "range" and node.args and all(isinstance(_constant(each), int) for each in node.args):
            numbers: Any = [_constant(each) for each in node.args]
            return list_of(number_of(), Figure(len(range(*numbers))))
        if name in ("dict", "namespace") and not node.args:
            return mapping_of({each.key: self.value(each.value, names) for each in node.kwargs})
        return self._open(node, f"a call of '{name}'")

    def _method(self, method: nodes.Getattr, call: nodes.Call, names: dict[str, Size]) -> Size:
        """Those that do what a filter does."""
        value, name = self.value(method.node, names), _METHODS.get(method.attr)
        if method.attr == "split" and len(call.args) < 2 and not call.kwargs:
            return _split(value, _constant(call.args[0]) if call.args else None)
        if name is None or call.kwargs:
            return self._open(call, f"the method '{method.attr}'")
        arguments = [self.value(each, names) for each in call.args]
        made = filtered(name, value, arguments, {}, [_constant(each) for each in call.args], {})
        return self._open(call, f"the method '{method.attr}'") if made is None else made

    def _expanded(self, macro: nodes.Macro, call: nodes.Call, names: dict[str, Size]) -> Size:
        given = {each.name: self.value(value, names) for each, value in zip(macro.args, call.args, strict=False)}
        given |= {each.key: self.value(each.value, names) for each in call.kwargs}
        inside = {**self._ever, "varargs": self._open(call, "varargs"), "kwargs": self._open(call, "kwargs")}
        required = len(macro.args) - len(macro.defaults)
        for position, argument in enumerate(macro.args):
            value = _EMPTY
            if argument.name in given:
                value = given[argument.name]
            elif position >= required:
                value = self.value(macro.defaults[position - required], inside)
            self._bind(argument, value, inside)
        self._calls += 1
        self._inside.append(macro.name)
        try:
            return text_of(self.body(macro.body, inside))
        finally:
            self._inside.pop()

    def _filtered(self, node: nodes.Filter, value: Size, names: dict[str, Size]) -> Size:
        arguments = [self.value(each, names) for each in node.args]
        named = {str(each.key): self.value(each.value, names) for each in node.kwargs}
        constants = [_constant(each) for each in node.args]
        options = {str(each.key): _constant(each.value) for each in node.kwargs}
        made = filtered(node.name, value, arguments, named, constants, options)
        return self._open(node, f"the filter '{node.name}'") if made is None else made


def _constant(node: nodes.Node) -> Any:
    """A constant; None for what is computed."""
    if isinstance(node, nodes.Neg) and isinstance(node.node, nodes.Const):
        return -node.node.value
    return node.value if isinstance(node, nodes.Const) else None


def _sliced(whole: Size, slice: nodes.Slice) -> Size:
    """A part of a list or text: at most as many elements as there are up to its end."""
    stop = None if slice.stop is None else _constant(slice.stop)
    if not isinstance(stop, int) or stop < 0 or slice.step is not None:
        return whole
    count = whole.count.smallest(Figure(stop))
    if whole.item is None:
        return text_of(whole.text.smallest(Figure(stop * WIDEST)), count) if not whole.is_open else whole
    length = list_of(whole.item, count)
    return length.within(Size(whole.text, whole.json, count))


def _split(text: Size, separator: object) -> Size:
    """Its pieces: one more than there are separators."""
    width = len(separator) if isinstance(separator, str) and separator else 1
    count = Figure(math.floor(text.count.value / width)) if text.count.bounded else text.count
    length = text.json + (count + Figure(1)).times(4) + Figure(2)
    return Size(length, length, count + Figure(1), text_of(text.text))


def _loop(item: Size) -> Size:
    """The variable `loop`."""
    counts = ("index", "index0", "revindex", "revindex0", "length", "depth", "depth0", "first", "last")
    return mapping_of({**dict.fromkeys(counts, number_of()), "previtem": item, "nextitem": item})


def _listed(items: list[Size]) -> Size:
    total, item = Figure(2), None
    for each in items:
        total = total + each.json + Figure(2)
        item = each if item is None else item.or_else(each)
    return Size(total, total, Figure(len(items)), item)


def _joined(parts: list[Size]) -> Size:
    total, as_json, count = Figure(0), Figure(0), Figure(0)
    for each in parts:
        total, as_json, count = total + each.text, as_json + each.json, count + each.count
    return Size(total, as_json, count.largest(total) if not any(each.item for each in parts) else count)
