"""What each filter can make of a value, in bytes at most; None where only the values can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wizard_dsl.core.bound import Figure
from wizard_dsl.core.size import WIDEST, Size, list_of, number_of, of_value, text_of

#: Bytes that one byte becomes at most. Upper case: `ŉ` becomes `ʼN`, `ΐ` three characters of two bytes.
_TEXT: Mapping[str, float] = {
    "capitalize": 3, "e": 6, "escape": 6, "lower": 3, "string": 1, "title": 3, "trim": 1, "upper": 3, "urlencode": 3,
}  # fmt: skip
_NUMBERS = {"abs", "count", "float", "int", "length", "round", "wordcount"}
_SAME = {"list", "reject", "rejectattr", "reverse", "select", "selectattr", "sort", "unique"}
_ONE = {"first", "last", "max", "min"}


def filtered(
    name: str,
    value: Size,
    arguments: Sequence[Size],
    named: Mapping[str, Size],
    constants: Sequence[Any],
    options: Mapping[str, Any],
) -> Size | None:
    """What the filter makes of `value`; `constants` and `options` are the arguments that are written as such."""
    if name in _TEXT:
        pairs = name == "urlencode" and (value.item is not None or value.is_open)
        if pairs or value.item is not None or value.is_open or value.number:
            return text_of((value.json if pairs else value.text).times(_TEXT[name]))
        return text_of(value.text.times(_TEXT[name]), value.count.times(_TEXT[name]).smallest(value.text.times(6)))
    if name in _NUMBERS:
        return number_of(max(1240.0, value.text.value) if name == "abs" and value.text.bounded else 4301)
    if name in _SAME:
        return _same(value)
    if name in _ONE:
        return value.element
    match name:
        case "tojson":
            return _as_json(value, constants, options)
        case "join":
            return _join(value, arguments, named)
        case "truncate":
            return _truncate(value, arguments, named, constants, options)
        case "default" | "d":
            other = arguments[0] if arguments else named.get("default_value", of_value(""))
            return value.or_else(other)
        case "filesizeformat":
            return text_of(Figure(4400))
    return _padded(name, value, arguments, named, constants, options)


def _same(value: Size) -> Size:
    """Some of the elements, in any order; of a text a list of its characters, or the text."""
    if value.is_open:
        return value
    whole = list_of(value.element, value.count)
    return Size(value.text.largest(whole.text), value.json.largest(whole.json), value.count, value.element)


def _as_json(value: Size, constants: Sequence[Any], options: Mapping[str, Any]) -> Size | None:
    """Indented, every value may stand on a line of its own, behind as many spaces as it is deep."""
    indent = constants[0] if constants else options.get("indent")
    if not constants and "indent" not in options:
        return text_of(value.json)
    if not isinstance(indent, int) or value.is_open:
        return None
    return text_of(value.json.times(2 + indent * (1 + _depth(value))))


def _depth(value: Size) -> int:
    inner = [*value.fields.values(), *([] if value.item is None else [value.item])]
    return 1 + max(map(_depth, inner)) if inner else 0


def _join(value: Size, arguments: Sequence[Size], named: Mapping[str, Size]) -> Size | None:
    between = arguments[0] if arguments else named.get("d", of_value(""))
    if len(arguments) > 1 or "attribute" in named:
        return text_of(value.json + between.text.product(value.count))
    if value.item is None:
        return text_of(value.text + between.text.product(value.count))
    return text_of((value.element.text + between.text).product(value.count))


def _truncate(
    value: Size,
    arguments: Sequence[Size],
    named: Mapping[str, Size],
    constants: Sequence[Any],
    options: Mapping[str, Any],
) -> Size:
    """`length` characters and a leeway of five, or the text as it is."""
    length = constants[0] if constants else options.get("length", 255)
    end = arguments[2] if len(arguments) > 2 else named.get("end", of_value("..."))
    given = len(constants) > 3 or "leeway" in options
    if not isinstance(length, int) or given:
        return text_of(value.text + end.text)
    most = Figure(max(0, length) + 5)
    return text_of(value.text.smallest(most.times(WIDEST)) + end.text, most + end.text)


def _padded(
    name: str,
    value: Size,
    arguments: Sequence[Size],
    named: Mapping[str, Size],
    constants: Sequence[Any],
    options: Mapping[str, Any],
) -> Size | None:
    """What adds to each line, to each place or to both ends."""
    first = constants[0] if constants else None
    match name:
        case "center":
            width = first if constants else options.get("width", 80)
            return text_of(value.text + Figure(width)) if isinstance(width, int) else None
        case "indent":
            width = first if constants else options.get("width", 4)
            each = width if isinstance(width, int) else len(width.encode()) if isinstance(width, str) else None
            return None if each is None else text_of(value.text.times(1 + max(0, each)) + Figure(max(0, each)))
        case "wordwrap":
            return text_of(value.text.times(2))
        case "replace":
            return _replaced(value, arguments, named)
        case "map":
            return _mapped(value, constants, options)
        case "items" | "dictsort":
            return list_of(Size(value.json, value.json, Figure(2), value.item), value.count) if value.item else None
    return None


def _replaced(value: Size, arguments: Sequence[Size], named: Mapping[str, Size]) -> Size | None:
    """Every character may be the one that is replaced, and an empty text stands between all of them."""
    new = arguments[1] if len(arguments) > 1 else named.get("new")
    if new is None:
        return None
    return text_of(value.text + new.text.product(value.text + Figure(1)))


def _mapped(value: Size, constants: Sequence[Any], options: Mapping[str, Any]) -> Size | None:
    """`map(attribute='name')`, `map('upper')`."""
    if value.item is None:
        return None
    key = options.get("attribute")
    if isinstance(key, str) and "default" not in options and key in value.item.fields:
        return list_of(value.item.fields[key], value.count)
    if len(constants) == 1 and isinstance(constants[0], str) and not options:
        made = filtered(constants[0], value.element, (), {}, (), {})
        return None if made is None else list_of(made, value.count)
    return None
