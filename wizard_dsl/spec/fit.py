"""What type a path inside a struct has, for the few values whose type is not in the text: references and nulls.

A reference is resolved to text; a field that wants no text gets it as a YAML scalar. One that is not resolved yet
(`validate` needs no environment) is stood in for by a value of the field's type, so that all else can be checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final
from zlib import crc32

import msgspec
from msgspec import inspect

from wizard_dsl.core.units import UNITS
from wizard_dsl.spec.diagnostics import DocPath
from wizard_dsl.spec.interpolate import typed

#: One of these matches any pattern of the grammar.
_SAMPLES: Final = (
    *(unit.example for unit in UNITS),
    "x",
    "2023-06-01",
    "off",
    "503",
    "1",
)


@cache
def _info(kind: type) -> inspect.Type:
    return inspect.type_info(kind)


def leaves(kind: type, path: DocPath) -> list[inspect.Type]:
    """The types a value at `path` below a struct may have; empty where the struct has no such place."""
    found = list(options_of(_info(kind)))
    for part in path:
        found = [option for each in found for below in _below(each, part) for option in options_of(below)]
    return found


@cache
def required_fields(kind: type[msgspec.Struct]) -> frozenset[str]:
    """The keys a mapping for this struct must have."""
    return frozenset(field.encode_name for field in msgspec.structs.fields(kind) if field.required)


def secret_fields(kind: type) -> frozenset[str]:
    """The fields of a struct that take only references."""
    info = _info(kind)
    fields = info.fields if isinstance(info, inspect.StructType) else ()
    return frozenset(field.encode_name for field in fields if mark_of(field.type, "x-secret") is not None)


@cache
def expression_fields(kind: type) -> dict[str, dict[str, list[str]]]:
    """The fields of a struct that are expressions, each with the names in its scope and their fields."""
    info = _info(kind)
    marks = {each.encode_name: mark_of(each.type, "x-expression") for each in getattr(info, "fields", ())}
    return {name: mark for name, mark in marks.items() if mark is not None}


def mark_of(info: inspect.Type, mark: str) -> Any:
    """What a type is annotated with; None without the mark."""
    if isinstance(info, inspect.Metadata):
        own = (info.extra_json_schema or {}).get(mark)
        return mark_of(info.type, mark) if own is None else own
    inside = [mark_of(each, mark) for each in info.types] if isinstance(info, inspect.UnionType) else []
    return next((each for each in inside if each is not None), None)


def options_of(info: inspect.Type) -> Iterator[inspect.Type]:
    """The types that a type may be, without what they are annotated with."""
    if isinstance(info, inspect.Metadata):
        yield from options_of(info.type)
    elif isinstance(info, inspect.UnionType):
        for each in info.types:
            yield from options_of(each)
    else:
        yield info


def _below(info: inspect.Type, part: str | int) -> Iterator[inspect.Type]:
    if isinstance(info, inspect.AnyType):
        yield info
    elif isinstance(info, inspect.StructType):
        yield from (field.type for field in info.fields if field.encode_name == part)
    elif isinstance(info, inspect.DictType) and isinstance(part, str):
        yield info.value_type
    elif isinstance(info, inspect.ListType) and isinstance(part, int):
        yield info.item_type


def fitted(text: str, options: Sequence[inspect.Type]) -> Any:
    """A resolved text as one of the types, where one of them is no text; else verbatim."""
    plain = any(isinstance(each, inspect.StrType) and each.pattern is None for each in options)
    if plain or not options:
        return text
    value = typed(text)
    wanted = tuple(python for each in options for python in _python(each))
    return value if type(value) in wanted else text


def _python(info: inspect.Type) -> tuple[type, ...]:
    if isinstance(info, inspect.AnyType):
        return (int, float, bool)
    if isinstance(info, inspect.IntType):
        return (int,)
    if isinstance(info, inspect.FloatType):
        return (int, float)
    if isinstance(info, inspect.LiteralType):
        return tuple({type(each) for each in info.values})
    return (bool,) if isinstance(info, inspect.BoolType) else ()


def admits_anything(info: inspect.Type) -> bool:
    return isinstance(info, inspect.AnyType)


def stand_in(text: str, options: Sequence[inspect.Type]) -> Any:
    """For an unresolved reference: the text itself where any text is right, else a value of the field's type."""
    samples = [each for option in options for each in _samples(option, text)]
    return samples[0] if samples and text not in samples else text


def sample(options: Sequence[inspect.Type]) -> Any:
    """A value of one of the types, where a right one is missing."""
    found = [each for option in options for each in _samples(option, "-")]
    if found:
        return found[0]
    lists = [each for each in options if isinstance(each, inspect.ListType)]
    return [sample(list(options_of(lists[0].item_type)))] * (lists[0].min_length or 0) if lists else {}


def _samples(info: inspect.Type, text: str) -> Iterator[Any]:
    if isinstance(info, inspect.LiteralType):
        yield info.values[0]
    elif isinstance(info, (inspect.IntType, inspect.FloatType)):
        yield next((each for each in (info.ge, info.le) if each is not None), 1)
    elif isinstance(info, inspect.BoolType):
        yield True
    elif isinstance(info, inspect.StrType) and info.pattern is not None:
        yield from [each for each in (*_SAMPLES, _address(text)) if re.search(info.pattern, each)][:1]
    elif isinstance(info, (inspect.AnyType, inspect.StrType)):
        yield text


def _address(text: str) -> str:
    """An address of its own for each text: two variables are not one endpoint before it is known what they hold."""
    return f"https://{crc32(text.encode()):08x}.invalid/v1"
