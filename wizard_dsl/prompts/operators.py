"""The operators and methods of values, each paying for its work before it does it.

Methods are allowed by name. `str.format` and its kin, the classic ways out of a sandbox, are not among them.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from jinja2.runtime import LoopContext, Undefined
from jinja2.utils import Joiner

from wizard_dsl.core.regex import regex
from wizard_dsl.prompts.budget import ELEMENT, NUMBER_BITS, TURN, Meter, OverBudget

_STRING = frozenset(
    {
        "capitalize", "casefold", "center", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdecimal",
        "isdigit", "islower", "isnumeric", "isspace", "istitle", "isupper", "join", "ljust", "lower", "lstrip",
        "partition", "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rjust", "rpartition", "rsplit",
        "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title", "upper", "zfill",
    }
)  # fmt: skip
_LOOP = frozenset(
    {
        "changed", "cycle", "depth", "depth0", "first", "index", "index0", "last", "length", "nextitem", "previtem",
        "revindex", "revindex0",
    }
)  # fmt: skip
_LIST = frozenset({"count", "index"})
#: The attributes of each type that a template may reach; a type that is not here shows its public data only.
METHODS: Mapping[type, frozenset[str]] = {
    str: _STRING,
    dict: frozenset({"get", "items", "keys", "values"}),
    list: _LIST,
    tuple: _LIST,
    range: _LIST,
    LoopContext: _LOOP,
    Joiner: frozenset(),
    int: frozenset(),
    float: frozenset({"is_integer"}),
    bool: frozenset(),
    type(None): frozenset(),
}


def binary(meter: Meter, sign: str, left: Any, right: Any) -> Any:
    """`left sign right` of Python, within the allowance. Raises OverBudget before anything large is made."""
    meter.charge(TURN)
    if sign == "+":
        meter.charge(_length(left) + _length(right))
        return small(operator.add(left, right))
    if sign == "*":
        return _multiply(meter, left, right)
    if sign == "**":
        return _power(left, right)
    if sign == "%":
        return percent(meter, left, right) if isinstance(left, str) else operator.mod(left, right)
    return small(_PLAIN[sign](left, right))


_PLAIN: Mapping[str, Callable[[Any, Any], Any]] = {
    "-": operator.sub,
    "/": operator.truediv,
    "//": operator.floordiv,
}


def _length(value: Any) -> int:
    """What copying a string or list costs; nothing for a number."""
    if isinstance(value, str):
        return len(value)
    return ELEMENT * len(value) if isinstance(value, list | tuple) else 0


def small(value: Any) -> Any:
    """`value`, unless it is a number that takes long to calculate with."""
    if isinstance(value, int) and value.bit_length() > NUMBER_BITS:
        raise OverBudget(f"a number of more than {NUMBER_BITS:,} bits")
    return value


def _multiply(meter: Meter, left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > NUMBER_BITS + 1:
            raise OverBudget(f"a number of more than {NUMBER_BITS:,} bits")
    elif isinstance(right, int):
        meter.charge(_length(left) * right)
    elif isinstance(left, int):
        meter.charge(_length(right) * left)
    return operator.mul(left, right)


def _power(left: Any, right: Any) -> Any:
    if (
        isinstance(left, int)
        and isinstance(right, int)
        and right > 0
        and left.bit_length() * right > NUMBER_BITS + right
    ):
        raise OverBudget(f"a number of more than {NUMBER_BITS:,} bits")
    return operator.pow(left, right)


_CONVERSION = regex(r"%(?:\(([^()]*)\))?[-#0 +]*(\*|\d*)(?:\.(\*|\d*))?[hlL]?(.?)", re.DOTALL)
_WIDEST = 1000


def percent(meter: Meter, text: str, values: Any) -> str:
    """`text % values` with structures printed as JSON, widths of at most 1,000 and no `%r`."""
    named = isinstance(values, Mapping)
    given = values.values() if named else values if isinstance(values, tuple) else (values,)
    for each in given:
        meter.weigh(each)
    meter.charge(TURN + len(text))
    for match in _CONVERSION.finditer(text):
        _check_conversion(match)
    if named:
        values = {key: _argument(meter, each) for key, each in values.items()}
        longest = max(map(_printed_length, values.values()), default=0)
    else:
        values = tuple(_argument(meter, each) for each in given)
        longest = max(map(_printed_length, values), default=0)
    meter.charge(text.count("%") * longest)
    made: str = text % values
    return made


def _check_conversion(match: re.Match[str]) -> None:
    _, width, precision, letter = match.groups()
    if "*" in (width, precision) or letter in ("r", "a"):
        raise ValueError(f"'{match.group()}' is not available in a template: give the width in figures, and use %s")
    if any(each and (len(each) > 4 or int(each) > _WIDEST) for each in (width, precision)):
        raise OverBudget(f"'{match.group()[:40]}' is wider than {_WIDEST:,} characters")


def _argument(meter: Meter, value: Any) -> Any:
    return value if type(value) in (str, int, float) or isinstance(value, Undefined) else meter.printed(value)


def _printed_length(value: Any) -> int:
    return len(value) if isinstance(value, str) else NUMBER_BITS if isinstance(value, int) else _WIDEST


#: Methods that Python does in steps of owner times argument at worst.
_SCANS = frozenset({"lstrip", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "strip"})


def scan(meter: Meter, text: str, pattern: Any) -> None:
    """Pay for comparing every place of `text` with all of `pattern`, 16 characters in one step."""
    if isinstance(pattern, str):
        meter.charge(len(text) * len(pattern) // 16)


def pay_method(meter: Meter, name: str, owner: Any, args: tuple[Any, ...]) -> None:
    """Pay for a method of a built-in value before it is called: its arguments, and what it is going to make."""
    for each in args:
        meter.weigh(each)
    if isinstance(owner, str):
        meter.charge(len(owner))
        if name in ("center", "ljust", "rjust", "zfill") and args:
            meter.charge(operator.index(args[0]))
        elif name in _SCANS and args:
            scan(meter, owner, args[0])
        elif name == "join" and args:
            meter.charge(len(owner) * len(args[0]) if hasattr(args[0], "__len__") else 0)
        elif name == "replace" and len(args) > 1:
            meter.charge(owner.count(args[0]) * len(args[1]))
    elif name not in ("get", "items", "keys", "values"):
        meter.weigh(owner)
