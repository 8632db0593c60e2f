"""A small instance of a JSON Schema, made from a seed: what a mock answers where a schema is asked for.

Best effort, and exact for the schemas people write for model output: type, enum, const, required properties, items
with bounds, lengths, multiples, simple patterns, formats, `$ref` inside the schema, allOf, and the first branch of
anyOf and oneOf. The same schema and seed give the same instance.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from wizard_dsl.core.rng import uniform

_WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbor", "indigo", "juniper")
_FORMATS = {
    "date": "2026-01-01",
    "time": "12:00:00Z",
    "date-time": "2026-01-01T12:00:00Z",
    "email": "user@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "duration": "PT1H",
}
_DEEPEST = 24


def instance(schema: Any, seed: str) -> Any:
    """An instance of `schema`; draws depend on `seed` and the place in the instance alone."""
    return _Maker(schema, seed).make(schema, "")


class _Maker:
    def __init__(self, root: Any, seed: str) -> None:
        self._root = root
        self._seed = seed

    def _draw(self, place: str, count: int) -> int:
        """A whole number below `count`."""
        return int(uniform(f"{self._seed}#{place}") * count)

    def make(self, schema: Any, place: str, depth: int = 0) -> Any:
        if not isinstance(schema, Mapping) or depth > _DEEPEST:
            return None
        schema = self._merged(schema, depth)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][self._draw(place, len(schema["enum"]))]
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                rest = {name: value for name, value in schema.items() if name != key}
                return self.make({**rest, **self._merged(schema[key][0], depth)}, place, depth + 1)
        return self._of_type(_type_of(schema), schema, place, depth)

    def _merged(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """`$ref` and `allOf` folded in; what stands beside them wins."""
        merged: dict[str, Any] = {}
        parts = [self._resolve(schema["$ref"])] if "$ref" in schema else []
        for part in (*parts, *schema.get("allOf", ())):
            if isinstance(part, Mapping) and depth < _DEEPEST:
                folded = self._merged(part, depth + 1)
                for key in ("properties", "required"):
                    if key in folded and key in merged:
                        both = merged[key], folded[key]
                        folded[key] = {**both[0], **both[1]} if key == "properties" else [*both[0], *both[1]]
                merged |= folded
        return merged | {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}

    def _resolve(self, reference: str) -> Any:
        """The subschema that a reference inside the schema names; nothing for one that leaves it."""
        found: Any = self._root
        for token in reference.removeprefix("#").split("/")[1:]:
            token = token.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or token not in found:
                return {}
            found = found[token]
        return found

    def _of_type(self, kind: str, schema: Mapping[str, Any], place: str, depth: int) -> Any:
        if kind == "object":
            return self._object(schema, place, depth)
        if kind == "array":
            return self._array(schema, place, depth)
        if kind in ("integer", "number"):
            return self._number(kind, schema, place)
        if kind == "boolean":
            return self._draw(place, 2) == 1
        return None if kind == "null" else self._text(schema, place)

    def _object(self, schema: Mapping[str, Any], place: str, depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = schema.get("required", ())
        names = [name for name in properties if name in required or depth < 3]
        names += [name for name in dict.fromkeys(required) if name not in properties]
        made = {
            name: self.make(properties.get(name, {"type": "string"}), f"{place}/{name}", depth + 1) for name in names
        }
        extra = schema.get("additionalProperties")
        for number in range(len(made), schema.get("minProperties", 0)):
            value = extra if isinstance(extra, Mapping) else {"type": "string"}
            made[f"key{number}"] = self.make(value, f"{place}/key{number}", depth + 1)
        return made

    def _array(self, schema: Mapping[str, Any], place: str, depth: int) -> list[Any]:
        prefix = schema.get("prefixItems", [])
        least = max(schema.get("minItems", 0), len(prefix))
        count = min(max(least, 1 if depth < 6 else 0), max(schema.get("maxItems", math.inf), least))
        items = schema.get("items", {"type": "string"})
        made: list[Any] = []
        for number in range(int(count)):
            item = prefix[number] if number < len(prefix) else items
            value = self.make(item, f"{place}/{number}", depth + 1)
            for again in range(64 if schema.get("uniqueItems") else 0):
                if value not in made:
                    break
                value = self.make(item, f"{place}/{number}.{again}", depth + 1)
            made.append(value)
        return made

    def _number(self, kind: str, schema: Mapping[str, Any], place: str) -> int | float:
        step = schema.get("multipleOf", 1 if kind == "integer" else 0.5)
        least = schema.get("minimum", schema.get("exclusiveMinimum"))
        most = schema.get("maximum", schema.get("exclusiveMaximum"))
        if least is None:
            least = 1 if most is None or most >= 1 else most - 10 * step
        if most is None:
            most = least + 10 * step
        first = math.ceil(least / step) + (first_is_out(schema, math.ceil(least / step) * step))
        last = math.floor(most / step) - (last_is_out(schema, math.floor(most / step) * step))
        if first > last:  # narrower than the step that was assumed
            return int(least) if kind == "integer" else float(least + most) / 2
        value = (first + self._draw(place, last - first + 1)) * step
        return int(value) if kind == "integer" else float(value)

    def _text(self, schema: Mapping[str, Any], place: str) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        if isinstance(schema.get("pattern"), str):
            return matching(schema["pattern"])
        text = _WORDS[self._draw(place, len(_WORDS))]
        while len(text) < schema.get("minLength", 0):
            text += " " + _WORDS[self._draw(f"{place}.{len(text)}", len(_WORDS))]
        return text[: schema.get("maxLength", len(text))]


def first_is_out(schema: Mapping[str, Any], value: float) -> bool:
    return "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]


def last_is_out(schema: Mapping[str, Any], value: float) -> bool:
    return "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"]


def _type_of(schema: Mapping[str, Any]) -> str:
    """The first type that is allowed, or the one that the other keywords speak of."""
    kind = schema.get("type")
    if isinstance(kind, list):
        return str(kind[0])
    if isinstance(kind, str):
        return kind
    for keyword, implied in (
        ("properties", "object"),
        ("required", "object"),
        ("items", "array"),
        ("minimum", "number"),
    ):
        if keyword in schema:
            return implied
    return "string"


def matching(pattern: str) -> str:
    """The shortest text that the pattern's grammar suggests; exact for literals, classes, groups and counts."""
    parser: Any = re._parser  # type: ignore[attr-defined]
    try:
        return "".join(_expand(node) for node in parser.parse(pattern))
    except (re.error, RecursionError, KeyError):
        return _WORDS[0]


def _expand(node: Any) -> str:
    name, value = str(node[0]), node[1]
    if name == "LITERAL":
        return chr(value)
    if name == "ANY":
        return "a"
    if name == "NOT_LITERAL":
        return "a" if value != ord("a") else "b"
    if name == "IN":
        return _member(value)
    if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        return "".join(map(_expand, value[2])) * int(max(value[0], min(1, value[1])))
    if name == "SUBPATTERN":
        return "".join(map(_expand, value[3]))
    if name == "BRANCH":
        return "".join(map(_expand, value[1][0]))
    return ""


#: In the order in which a character is looked for.
_CHARACTERS = "".join(map(chr, (*range(97, 123), *range(48, 58), *range(32, 48), *range(58, 97), *range(123, 127))))


def _member(members: list[Any]) -> str:
    """One character of a class."""
    found = re.search(_class_source(members), _CHARACTERS)
    return found[0] if found else "a"


def _class_source(members: list[Any]) -> str:
    source = ""
    for name, value in members:
        kind = str(name)
        if kind == "NEGATE":
            source += "^"
        elif kind == "LITERAL":
            source += re.escape(chr(value))
        elif kind == "RANGE":
            source += f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}"
        else:
            source += {"CATEGORY_DIGIT": r"\d", "CATEGORY_WORD": r"\w", "CATEGORY_SPACE": r"\s"}.get(str(value), r"\S")
    return f"[{source}]"
