"""How large a value may be, before there is one: bytes of UTF-8, never below the truth.

A JSON Schema bounds a value by `maxLength`, `enum`, `const`, `maximum`, `maxItems` and the like; what it leaves open is
unbounded, with the reason and the place where a bound could be written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from wizard_dsl.core.bound import Figure, Path, unbounded

#: Bytes of one character at most.
WIDEST = 4
#: Bytes of JSON that one byte of text becomes at most: a control character is written \u001f.
ESCAPED = 6
#: Bytes of a number at most: of a float, and of a whole number, whose digits Python limits.
_FLOAT, _INTEGER = 26, 4301
#: Values within values of which more is known than how large they are.
_DEPTH = 8
_NOTHING = Figure(0)


class Size(msgspec.Struct, frozen=True):
    """At most so many bytes as `text` (strings as they are, all else as JSON) and as `json`; at most `count` elements,
    keys or characters. `item` is any element; `fields` are the keys of which something is known: where it is not
    `is_open`, there are no others."""

    text: Figure
    json: Figure
    count: Figure = _NOTHING
    item: Size | None = None
    fields: Mapping[str, Size] = {}
    number: bool = False
    is_open: bool = False

    def or_else(self, other: Size, *, depth: int = 0) -> Size:
        """One of the two."""
        text, json_, count = (
            self.text.largest(other.text),
            self.json.largest(other.json),
            self.count.largest(other.count),
        )
        if depth > _DEPTH:
            return Size(text, json_, count, is_open=True)
        if self.item is not None and other.item is not None:
            item: Size | None = self.item.or_else(other.item, depth=depth + 1)
        else:
            item = self.item or other.item
        fields = _either(self, other, depth + 1)
        return Size(text, json_, count, item, fields, self.number and other.number, self.is_open or other.is_open)

    def within(self, other: Size) -> Size:
        """Both are true of it."""
        return Size(
            self.text.smallest(other.text),
            self.json.smallest(other.json),
            self.count.smallest(other.count),
            self.item or other.item,
            other.fields if self.is_open and not other.is_open else self.fields,
            self.number or other.number,
            self.is_open and other.is_open,
        )

    def limited(self, most: Figure) -> Size:
        """The same, of which it is known that all of it has at most so many bytes."""
        return msgspec.structs.replace(
            self,
            text=self.text.smallest(most),
            json=self.json.smallest(most),
            count=self.count.smallest(most),
        )

    @property
    def part(self) -> Size:
        """Whatever is in it: no larger than the whole, as JSON."""
        return Size(self.json, self.json, self.json, is_open=True)

    @property
    def element(self) -> Size:
        """What a loop over it gives: an element, of a mapping a key, of a text a character."""
        if self.is_open:
            return self.part
        if self.fields:
            keys = text_of(Figure(max(len(name.encode("utf-8", "surrogatepass")) for name in self.fields)))
            return keys if self.item is None else self.item.or_else(keys)
        return self.item if self.item is not None else text_of(Figure(WIDEST).smallest(self.text))

    def grown(self, factor: float, *, depth: int = 0) -> Size:
        """Every text in it `factor` times as long."""
        if self.number:
            return self
        text, json_ = _floor(self.text, factor), _floor(self.json, factor)
        count = _floor(self.count, factor) if self.item is None else self.count
        if depth > _DEPTH:
            return Size(text, json_, count, is_open=True)
        item = None if self.item is None else self.item.grown(factor, depth=depth + 1)
        fields = {name: each.grown(factor, depth=depth + 1) for name, each in self.fields.items()}
        return Size(text, json_, count, item, fields, self.number, self.is_open)


def _either(one: Size, other: Size, depth: int) -> Mapping[str, Size]:
    """The keys of one of two values; of one that is open, what is not known of it may be anything."""
    found = {}
    for name in {**one.fields, **other.fields}:
        mine, theirs = one.fields.get(name), other.fields.get(name)
        if mine is not None and theirs is not None:
            found[name] = mine.or_else(theirs, depth=depth)
        elif not (one.is_open if mine is None else other.is_open):
            known = mine or theirs
            assert known is not None
            found[name] = known
    return found


def _floor(figure: Figure, factor: float) -> Figure:
    return Figure(math.floor(figure.value * factor)) if figure.bounded else figure


def text_of(size: Figure, count: Figure | None = None) -> Size:
    """A text of at most `size` bytes."""
    return Size(size, size.times(ESCAPED) + Figure(2), size if count is None else count)


def number_of(most: float = _FLOAT) -> Size:
    """A number of at most that many digits."""
    return Size(Figure(most), Figure(most), number=True)


def of_value(value: Any) -> Size:
    """A value that is known."""
    as_json = Figure(len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")))
    match value:
        case str():
            return Size(Figure(len(value.encode("utf-8", "surrogatepass"))), as_json, Figure(len(value)))
        case bool() | None:
            return Size(as_json, as_json)
        case int() | float():
            return number_of(max(len(str(value)), as_json.value))
        case Mapping():
            fields = {str(name): of_value(each) for name, each in value.items()}
            return Size(as_json, as_json, Figure(len(value)), _any_of(fields.values()), fields)
        case _:
            items = [of_value(each) for each in value]
            return Size(as_json, as_json, Figure(len(items)), _any_of(items))


def _any_of(sizes: Any) -> Size | None:
    found: Size | None = None
    for each in sizes:
        found = each if found is None else found.or_else(each)
    return found


def boundless(reason: str, at: Path = ()) -> Size:
    """A value of which nothing is known."""
    open_ = unbounded(reason, at)
    return Size(open_, open_, open_, is_open=True)


def list_of(item: Size, count: Figure) -> Size:
    """A list of at most `count` elements."""
    length = (item.json + Figure(2)).product(count) + Figure(2)
    return Size(length, length, count, item)


def mapping_of(fields: Mapping[str, Size]) -> Size:
    """A mapping of these keys and no others, each of which may be missing."""
    total = Figure(2)
    for name, each in fields.items():
        total = total + each.json + Figure(len(json.dumps(name, ensure_ascii=False).encode()) + 4)
    return Size(total, total, Figure(len(fields)), _any_of(fields.values()), fields)


def of_schema(schema: Any, name: str, at: Path, _depth: int = 0) -> Size:
    """Any value that satisfies a JSON Schema. `name` is how a reason calls it."""
    if not isinstance(schema, Mapping) or _depth > _DEPTH:
        return boundless(f"{name} may be anything", at)
    if "const" in schema:
        return of_value(schema["const"])
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        found = _any_of(map(of_value, schema["enum"]))
        assert found is not None
        return found
    size = _of_types(schema, name, at, _depth)
    for each in schema.get("allOf", ()):
        size = size.within(of_schema(each, name, at, _depth + 1))
    for word in ("anyOf", "oneOf"):
        if isinstance(schema.get(word), list) and schema[word]:
            one = _any_of(of_schema(each, name, at, _depth + 1) for each in schema[word])
            assert one is not None
            size = size.within(one)
    return size


def _of_types(schema: Mapping[str, Any], name: str, at: Path, depth: int) -> Size:
    types = schema.get("type")
    if types is None:
        return boundless(f"{name} has no type", at)
    sizes = [_TYPES[each](schema, name, at, depth) for each in ([types] if isinstance(types, str) else types)]
    found = _any_of(sizes)
    return found if found is not None else boundless(f"{name} has no type", at)


def _string(schema: Mapping[str, Any], name: str, at: Path, depth: int) -> Size:
    most = schema.get("maxLength")
    if not isinstance(most, int):
        return text_of(unbounded(f"{name} has no maxLength", at))
    return text_of(Figure(most * WIDEST), Figure(most))


def _number(schema: Mapping[str, Any], name: str, at: Path, depth: int) -> Size:
    """A number may be a whole one of any length, unless both of its ends are known."""
    ends = []
    for least, most in (("minimum", "maximum"), ("exclusiveMinimum", "exclusiveMaximum")):
        ends += [(word, schema[word]) for word in (least, most) if isinstance(schema.get(word), int | float)]
    words = {word.lower().removeprefix("exclusive")[:3] for word, _ in ends}
    if words != {"min", "max"}:
        return number_of(_INTEGER)
    return number_of(max(_FLOAT, *(len(str(int(end))) + 1 for _, end in ends)))


def _plain(schema: Mapping[str, Any], name: str, at: Path, depth: int) -> Size:
    return Size(Figure(5), Figure(5))


def _array(schema: Mapping[str, Any], name: str, at: Path, depth: int) -> Size:
    prefix = schema.get("prefixItems", ())
    most = schema.get("maxItems", len(prefix) if schema.get("items") is False else None)
    count = Figure(most) if isinstance(most, int) else unbounded(f"{name} has no maxItems", at)
    items = [of_schema(each, f"an item of {name}", at, depth + 1) for each in prefix]
    if schema.get("items") is not False:
        items.append(of_schema(schema.get("items"), f"an item of {name}", at, depth + 1))
    item = _any_of(items)
    return list_of(item if item is not None else boundless(f"an item of {name} may be anything", at), count)


def _object(schema: Mapping[str, Any], name: str, at: Path, depth: int) -> Size:
    own = schema.get("properties", {})
    fields = {key: of_schema(each, f"{name}.{key}", at, depth + 1) for key, each in own.items()}
    if schema.get("additionalProperties") is False and not schema.get("patternProperties"):
        return mapping_of(fields)
    open_ = unbounded(f"{name} may have other keys; additionalProperties: false would bound it", at)
    return Size(open_, open_, open_, None, fields, is_open=True)


_TYPES: Mapping[str, Callable[[Mapping[str, Any], str, Path, int], Size]] = {
    "string": _string,
    "number": _number,
    "integer": _number,
    "boolean": _plain,
    "null": _plain,
    "array": _array,
    "object": _object,
}
