"""The filters and tests a template may use, each paying for its work before it does it.

Allowed is what is listed: filters for HTML (`safe`, `urlize`, `xmlattr` …), `attr`, `random` and `pprint` are left out.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from jinja2 import filters, tests
from jinja2.utils import _PassArg, pass_context

from wizard_dsl.prompts.budget import ELEMENT, TURN, Meter
from wizard_dsl.prompts.operators import binary, percent, scan, small

_Functions = Mapping[str, Callable[..., Any]]
_THEIR_FILTERS = cast(_Functions, filters.FILTERS)
_THEIR_TESTS = cast(_Functions, tests.TESTS)
#: jinja2's own filters that are kept, metered; those that make text of their value first print it as JSON.
_TEXT_FILTERS = frozenset(
    {"capitalize", "lower", "title", "truncate", "upper", "wordcount"}
)  # fmt: skip
_VALUE_FILTERS = frozenset(
    {
        "abs", "count", "d", "default", "dictsort", "filesizeformat", "first", "float", "groupby", "int", "items",
        "last", "length", "list", "map", "max", "min", "reject", "rejectattr", "reverse", "select", "selectattr",
        "sort", "unique", "urlencode",
    }
)  # fmt: skip
#: Those that do not walk their value.
_CHEAP = frozenset({"count", "d", "default", "first", "last", "length"})
_TESTS = frozenset(_THEIR_TESTS) - {"callable", "escaped", "filter", "test"}
_WALKING_TESTS = frozenset(
    {
        "!=",
        "<",
        "<=",
        "==",
        ">",
        ">=",
        "eq",
        "equalto",
        "ge",
        "gt",
        "greaterthan",
        "in",
        "le",
        "lessthan",
        "lower",
        "lt",
        "ne",
        "upper",
    }
)


def metered(function: Callable[..., Any], *, walks: bool, as_text: bool) -> Callable[..., Any]:
    """`function`, a filter or test, paying for a call, for its value where it walks it, and for what it makes."""
    passes = _PassArg.from_obj(function)

    @pass_context
    def call(meter: Meter, *args: Any, **kwargs: Any) -> Any:
        meter.charge(TURN)
        if as_text:
            args = (meter.printed(args[0]), *args[1:])
        elif walks:
            for each in args:
                meter.weigh(each)
        if passes is _PassArg.context:
            args = (meter, *args)
        elif passes is _PassArg.eval_context:
            args = (meter.eval_ctx, *args)
        elif passes is _PassArg.environment:
            args = (meter.environment, *args)
        return settled(meter, function(*args, **kwargs))

    return call


def settled(meter: Meter, value: Any) -> Any:
    """`value` paid for; a generator becomes a list, so that its work is done here and it prints as one."""
    if isinstance(value, Iterator):
        items = []
        for each in value:
            meter.charge(ELEMENT)
            items.append(each)
        return items
    if isinstance(value, str):
        meter.charge(len(value))
    elif isinstance(value, list):
        meter.charge(ELEMENT * len(value))
    return small(value)


def _width(meter: Meter, value: Any) -> int:
    """A number of characters, paid for as if all of them were made."""
    width = operator.index(value)
    meter.charge(width)
    return width


@pass_context
def charge(meter: Meter, amount: int) -> bool:
    """Put by the compiler into loops and macros; true, so that it can stand before a loop's test."""
    meter.charge(amount)
    return True


@pass_context
def weighed(meter: Meter, value: Any) -> Any:
    """Put by the compiler around what is compared, sliced or used as a key."""
    meter.weigh(value)
    return value


@pass_context
def concat(meter: Meter, values: Iterable[Any]) -> str:
    """The operator `~`."""
    return "".join([meter.printed(each) for each in values])


@pass_context
def _batch(meter: Meter, value: Iterable[Any], linecount: int, fill_with: Any = None) -> list[list[Any]]:
    size = max(1, _width(meter, linecount))
    items = _listed(meter, value)
    rows = [items[at : at + size] for at in range(0, len(items), size)]
    if rows and fill_with is not None:
        rows[-1] += [fill_with] * (size - len(rows[-1]))
    return rows


@pass_context
def _slice(meter: Meter, value: Iterable[Any], slices: int, fill_with: Any = None) -> list[list[Any]]:
    meter.charge(ELEMENT * _width(meter, slices))
    rows = _THEIR_FILTERS["slice"](meter.eval_ctx, _listed(meter, value), slices, fill_with)
    return [list(row) for row in rows]


def _listed(meter: Meter, value: Iterable[Any]) -> list[Any]:
    meter.weigh(value)
    return list(value)


@pass_context
def _center(meter: Meter, value: Any, width: int = 80) -> str:
    return meter.printed(value).center(_width(meter, width))


@pass_context
def _escape(meter: Meter, value: Any) -> str:
    """`&`, `<`, `>` and quotes as entities; a plain string, so that nothing after it is escaped unasked."""
    from html import escape

    text = meter.printed(value)
    meter.charge(TURN + len(text))
    return str(settled(meter, escape(text)))


@pass_context
def _format(meter: Meter, value: Any, *args: Any, **kwargs: Any) -> str:
    """`'%s of %d' | format(a, b)`: the operator `%`."""
    if args and kwargs:
        raise TypeError("format takes positional values or named ones, not both")
    return percent(meter, meter.printed(value), kwargs or args)


@pass_context
def _indent(meter: Meter, value: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    pad = width if isinstance(width, str) else " " * _width(meter, width)
    lines = meter.printed(value).splitlines()
    meter.charge(len(pad) * len(lines))
    padded = [pad + line if line or blank else line for line in lines]
    if lines and not first:
        padded[0] = lines[0]
    return "\n".join(padded)


@pass_context
def _join(meter: Meter, value: Iterable[Any], d: Any = "", attribute: str | int | None = None) -> str:
    meter.charge(TURN)
    items: Iterable[Any] = value
    if attribute is not None:
        items = _THEIR_FILTERS["map"](meter, value, attribute=attribute)
    texts = [meter.printed(each) for each in settled(meter, iter(items))]
    between = meter.printed(d)
    meter.charge(len(between) * len(texts))
    return between.join(texts)


@pass_context
def _replace(meter: Meter, value: Any, old: Any, new: Any, count: int | None = None) -> str:
    text, old_text, new_text = meter.printed(value), meter.printed(old), meter.printed(new)
    limit = -1 if count is None else count
    return paid_replace(meter, text, old_text, new_text, limit)


def paid_replace(meter: Meter, text: str, old: str, new: str, count: int = -1) -> str:
    meter.charge(TURN + len(text) + text.count(old) * len(new))
    return text.replace(old, new, count)


@pass_context
def _round(meter: Meter, value: float, precision: int = 0, method: str = "common") -> float:
    meter.charge(TURN)
    if abs(precision) > 30:
        raise ValueError("round takes a precision between -30 and 30")
    return float(_THEIR_FILTERS["round"](value, precision, method))


@pass_context
def _string(meter: Meter, value: Any) -> str:
    return meter.printed(value)


@pass_context
def _sum(meter: Meter, value: Iterable[Any], attribute: str | int | None = None, start: Any = 0) -> Any:
    items: Iterable[Any] = value
    if attribute is not None:
        items = _THEIR_FILTERS["map"](meter, value, attribute=attribute)
    total = start
    for each in items:
        total = binary(meter, "+", total, each)
    return total


@pass_context
def _tojson(meter: Meter, value: Any, indent: int | None = None) -> str:
    """Plain JSON, without the escapes for HTML that jinja2's own adds."""
    if indent is not None and not 0 <= indent <= 8:
        raise ValueError("tojson takes an indent between 0 and 8")
    return meter.json(value, indent)


@pass_context
def _trim(meter: Meter, value: Any, chars: str | None = None) -> str:
    text = meter.printed(value)
    scan(meter, text, chars)
    return text.strip(chars)


@pass_context
def _wordwrap(meter: Meter, value: Any, width: int = 79, break_long_words: bool = True) -> str:
    text = meter.printed(value)
    longest = max(map(len, text.split()), default=0)
    meter.charge(TURN * len(text) + longest * len(text) // max(1, width))  # breaking a long word is quadratic
    wrap = _THEIR_FILTERS["wordwrap"]
    return str(wrap(meter.environment, text, width, break_long_words, "\n"))


_OWN_FILTERS: _Functions = {
    "batch": _batch, "center": _center, "e": _escape, "escape": _escape, "format": _format, "indent": _indent,
    "join": _join, "replace": _replace, "round": _round, "slice": _slice, "string": _string, "sum": _sum,
    "tojson": _tojson, "trim": _trim, "wordwrap": _wordwrap,
}  # fmt: skip

#: What templates may name.
FILTERS: _Functions = {
    **{name: metered(_THEIR_FILTERS[name], walks=True, as_text=True) for name in sorted(_TEXT_FILTERS)},
    **{name: metered(_THEIR_FILTERS[name], walks=name not in _CHEAP, as_text=False) for name in sorted(_VALUE_FILTERS)},
    **_OWN_FILTERS,
}
TESTS: _Functions = {
    name: metered(_THEIR_TESTS[name], walks=name in _WALKING_TESTS, as_text=False) for name in sorted(_TESTS)
}
#: What the compiler puts in, under names no template can write.
INTERNAL: _Functions = {"!charge": charge, "!weighed": weighed, "!concat": concat}
