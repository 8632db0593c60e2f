"""Values as `wizard diff` compares them: two are equal where they mean the same, however they are written.

Units are compared as numbers, expressions and templates as syntax trees, mappings without the order of their keys, and
lists in which the order means nothing as sets. Which is which is read from the types of a config's fields, so a field
that is added to one is compared without a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final

import msgspec
from msgspec import inspect

from wizard_dsl.core.units import DURATION, RATE, UNITS, Rate
from wizard_dsl.prompts.environment import Fault, parse, parse_expression
from wizard_dsl.spec.fit import mark_of, options_of
from wizard_dsl.spec.interpolate import has_reference

#: What a value that nobody states is shown as.
UNSET: Final = "not set"
_PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {unit.name: unit.parse for unit in UNITS}
_SHOWN: Final = 80
#: Keywords of a JSON Schema that change nothing about what is valid.
_NOTES: Final = frozenset({"title", "description", "examples", "$comment", "deprecated"})
_SCHEMAS_BY_NAME: Final = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
_DATA: Final = frozenset({"enum", "const", "default", "required"})


class Leaf(msgspec.Struct, frozen=True):
    """One value: `key` leads to it below what is looked at, `value` is compared, `shown` is for people."""

    key: tuple[str, ...]
    value: Any
    shown: str


def plain(value: Any) -> Any:
    """Plain data that is equal for equal data: without the order of keys, true and 1 apart, 0 and 0.0 alike."""
    if isinstance(value, bool) or value is None:
        return ("is", value)
    if isinstance(value, Mapping):
        return ("map", frozenset((str(key), plain(each)) for key, each in value.items()))
    if isinstance(value, (list, tuple)):
        return ("list", tuple(plain(each) for each in value))
    return value


def template(text: str) -> Any:
    """The syntax tree of a template, as text; what is no template is itself."""
    tree = parse(text)
    return text if isinstance(tree, Fault) else repr(tree)


def expression(text: str) -> Any:
    """The syntax tree of a bare expression, as text."""
    tree = parse_expression(text)
    return text if isinstance(tree, Fault) else repr(tree)


def schema_without_notes(schema: Any) -> Any:
    """A JSON Schema without titles, descriptions and examples, which accept and refuse nothing."""
    if isinstance(schema, list):
        return [schema_without_notes(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {}
    for key, value in schema.items():
        if key in _SCHEMAS_BY_NAME and isinstance(value, dict):
            made[key] = {name: schema_without_notes(each) for name, each in value.items()}
        elif key in _DATA:
            made[key] = value
        elif key not in _NOTES:
            made[key] = schema_without_notes(value)
    return made


def show(value: Any) -> str:
    """A value in one short line."""
    if value is msgspec.UNSET or value is None:
        return UNSET
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    text = " ".join(text.split()) or '""'
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def leaves_of(config: msgspec.Struct) -> Iterator[Leaf]:
    """Every value of a config, those of its inner structs and mappings by their own keys."""
    yield from _fields(config, ())


def _fields(config: msgspec.Struct, key: tuple[str, ...]) -> Iterator[Leaf]:
    for name, label, info in _field_types(type(config)):
        yield from _value(getattr(config, name), info, (*key, label))


@cache
def _field_types(kind: type[msgspec.Struct]) -> tuple[tuple[str, str, inspect.Type], ...]:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return tuple((field.name, field.encode_name, field.type) for field in info.fields)


def _value(value: Any, info: inspect.Type, key: tuple[str, ...]) -> Iterator[Leaf]:
    if isinstance(value, msgspec.Struct):
        yield from _fields(value, key)
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _value(each, _below(info), (*key, str(name)))
    else:
        yield Leaf(key, _canonical(value, info), show(value))


def _below(info: inspect.Type) -> inspect.Type:
    """The type of a mapping's values."""
    for each in options_of(info):
        if isinstance(each, inspect.DictType):
            return each.value_type
    return inspect.AnyType()


def _canonical(value: Any, info: inspect.Type) -> Any:
    if value is msgspec.UNSET:
        return None
    if isinstance(value, (list, tuple)):
        return _list(value, info)
    if isinstance(value, str):
        if mark_of(info, "x-expression") is not None:
            return expression(value)
        return _amount(value, info)
    return None if value is None else plain(value)


def _list(value: Any, info: inspect.Type) -> Any:
    """Numbers and words of a declared list mean the same in any order; structs and free data do not."""
    item = next((each.item_type for each in options_of(info) if isinstance(each, inspect.ListType)), inspect.AnyType())
    if any(isinstance(each, msgspec.Struct) for each in value):
        return ("list", tuple(frozenset((leaf.key, leaf.value) for leaf in leaves_of(each)) for each in value))
    if isinstance(item, inspect.AnyType):
        return plain(value)
    return ("set", frozenset(_item(each, item) for each in value))


def _item(value: Any, info: inspect.Type) -> Any:
    """As `_canonical`; a window of a minute is not sixty windows of a second."""
    if isinstance(value, str) and mark_of(info, "x-unit") == RATE.name and not has_reference(value):
        return (RATE.name, msgspec.structs.astuple(RATE.parse(value)))
    return _canonical(value, info)


def _amount(text: str, info: inspect.Type) -> Any:
    """A quantity as its number; any other text as it is. A pattern of its own may be a narrower duration."""
    narrow = any(isinstance(each, inspect.StrType) and each.pattern for each in options_of(info))
    unit = mark_of(info, "x-unit") or (DURATION.name if narrow else None)
    if unit is None or text in (mark_of(info, "x-words") or ()) or has_reference(text):
        return text
    try:
        value = _PARSERS[unit](text)
    except ValueError:
        return text
    return (unit, (value.per_second, value.tokens) if isinstance(value, Rate) else value)
