"""What a node of the JSON Schema wants, in words, and what to write instead of a wrong value.

Annotations of ours that are understood: `x-unit` (a name of core.units) with `x-words` (words allowed besides),
`x-secret` (takes only a reference), `x-env` (the variable such a secret usually comes from), `x-code` (the code of
a finding about this value or these names), `x-form` (the words for a pattern), `x-unknown-code` (of an unknown key
here), `x-says` (the message itself), `x-above-zero` (the quantity is not 0).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from wizard_dsl.core.units import UNITS, Unit
from wizard_dsl.spec.diagnostics import did_you_mean, show_value

Node = dict[str, Any]

_UNITS: Final = {unit.name: unit for unit in UNITS}
_OFF: Final = (False, None, "false", "none", "no", "disabled", "disable", "Off", "OFF", "never")
JSON_TYPES: Final[dict[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: (
        not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
    ),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
}


def resolved(node: Any, root: Node) -> Node:
    """The node itself, behind references within the document and a single allOf."""
    for _ in range(16):
        if not isinstance(node, dict):
            break
        target = node.get("$ref")
        if isinstance(target, str) and target.startswith("#"):
            node = {**_pointed(root, target), **{key: each for key, each in node.items() if key != "$ref"}}
        elif len(node.get("allOf", ())) == 1 and "type" not in node:
            node = {**resolved(node["allOf"][0], root), **{key: each for key, each in node.items() if key != "allOf"}}
        else:
            break
    return node if isinstance(node, dict) else {}


def _pointed(root: Node, pointer: str) -> Node:
    node: Any = root
    for part in pointer.removeprefix("#").split("/")[1:]:
        node = node.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(node, dict) else {}
    return node if isinstance(node, dict) else {}


def choices(node: Node, root: Node) -> Iterator[Node]:
    """The node, or what it chooses among; the alternative of a `${…}` reference goes without saying."""
    branches = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    if not branches:
        yield node
    for branch in branches:
        inner = resolved(branch, root)
        if not is_reference(inner):
            yield from choices(inner, root)


def is_reference(node: Node) -> bool:
    """Whether the node admits texts with `${…}` and nothing else."""
    return r"\$\{" in node.get("pattern", "") and not {"x-unit", "x-secret", "x-words"} & node.keys()


def types(node: Node) -> tuple[str, ...]:
    """The JSON types a node without choices admits; empty for any."""
    if "const" in node or "enum" in node:
        values = node["enum"] if "enum" in node else [node["const"]]
        return tuple({name for value in values for name, admits in JSON_TYPES.items() if admits(value)})
    declared = node.get("type")
    if declared is None:
        return ("object",) if "properties" in node else ()
    names = (declared,) if isinstance(declared, str) else tuple(declared)
    return tuple(name for name in names if name != "string") if len(names) > 1 and is_reference(node) else names


def admits_type(node: Node, value: Any) -> bool:
    names = types(node)
    return not names or any(JSON_TYPES[name](value) for name in names)


def wants(node: Node, root: Node) -> str:
    """`a whole number from 1 to 10 or 'off'`; empty where the schema has nothing to say."""
    phrases = [phrase for each in choices(resolved(node, root), root) for phrase in _phrases(each)]
    return " or ".join(dict.fromkeys(phrases))


def _phrases(node: Node) -> list[str]:
    if node.get("x-secret"):
        return [f"a reference, such as ${{env:{node.get('x-env', 'NAME')}}}"]
    if "x-unit" in node:
        unit = _UNITS[node["x-unit"]]
        size = ", above 0" if node.get("x-above-zero") else ""
        return [f"a {unit.name} with its unit{size}, such as {unit.example}", *map(str, node.get("x-words", ()))]
    if "enum" in node or "const" in node:
        values = node.get("enum", [node.get("const")])
        shown = [str(each) if isinstance(each, str) else show_value(each) for each in values[:24]]
        return [shown[0] if len(values) == 1 else f"one of {', '.join(shown)}{', …' if len(values) > 24 else ''}"]
    return [_of_type(name, node) for name in types(node)]


def _of_type(name: str, node: Node) -> str:
    if name in ("integer", "number"):
        return ("a whole number" if name == "integer" else "a number") + _range(node)
    if name == "string" and "x-form" in node:
        return str(node["x-form"])
    if name == "string":
        return "a text" + _size(node, "Length", "character") + _form(node)
    if name == "array":
        return "a list" + _size(node, "Items", "entr")
    if name == "object":
        return "a mapping" + _size(node, "Properties", "key")
    return "true or false" if name == "boolean" else "nothing"


def _range(node: Node) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    for key, words in (
        ("minimum", "of at least"),
        ("maximum", "of at most"),
        ("exclusiveMinimum", "above"),
        ("exclusiveMaximum", "below"),
    ):
        if key in node:
            return f" {words} {node[key]}"
    return ""


def _size(node: Node, suffix: str, noun: str) -> str:
    for key, words in (("min", "at least"), ("max", "at most")):
        if key + suffix in node:
            return f" with {words} {counted(node[key + suffix], noun)}"
    return ""


def counted(number: int, noun: str) -> str:
    """`1 entry`, `2 entries`, `1 key`, `2 keys`."""
    endings = ("y", "ies") if noun == "entr" else ("", "s")
    return f"{number} {noun}{endings[number != 1]}"


def _form(node: Node) -> str:
    return f" of the form {node['pattern']}" if "pattern" in node else ""


def words(node: Node, root: Node) -> list[str]:
    """Every single word the node admits."""
    found = []
    for each in choices(resolved(node, root), root):
        values = [*each.get("enum", ()), *each.get("x-words", ()), *([each["const"]] if "const" in each else ())]
        found += [value for value in values if isinstance(value, str)]
    return found


def unit_of(node: Node, root: Node) -> Unit | None:
    names = [each["x-unit"] for each in choices(resolved(node, root), root) if "x-unit" in each]
    return _UNITS[names[0]] if names else None


def is_zero(node: Node, root: Node, value: Any) -> bool:
    """Whether a text is 0 with its unit, where that is too little."""
    unit = unit_of(node, root)
    if unit is None or not any(each.get("x-above-zero") for each in choices(resolved(node, root), root)):
        return False
    return isinstance(value, str) and re.search(unit.pattern, value) is not None and unit.parse(value) == 0


def says_off_wrongly(node: Node, root: Node, value: Any) -> bool:
    return "off" in words(node, root) and any(value is each or (value == each and value != 0) for each in _OFF)


def instead(node: Node, root: Node, value: Any) -> str | None:
    """What to write instead of a scalar, where that can be guessed."""
    if says_off_wrongly(node, root, value):
        return "write off to switch it off"
    if is_zero(node, root, value):
        return "write off to have none" if "off" in words(node, root) else "write a longer one, or remove the key"
    if value is None:
        return "give it a value, or remove the key"
    unit = unit_of(node, root)
    spelling = _with_unit(unit, value) if unit else None
    if spelling:
        return f"did you mean {spelling}?"
    near = did_you_mean(value, words(node, root)) if isinstance(value, str) else None
    if near:
        return f"did you mean '{near}'?"
    parts = list(choices(resolved(node, root), root))
    if any(admits_type(each, value) for each in parts):
        return None
    return _other_type({name for each in parts if "enum" not in each for name in types(each)}, value)


def _with_unit(unit: Unit, value: Any) -> str | None:
    number = str(value).replace(" ", "") if isinstance(value, (int, float, str)) and not isinstance(value, bool) else ""
    if unit.name == "ratio" and isinstance(value, float) and 0 <= value <= 1:
        return f"{value * 100:g}%"
    guesses = {"duration": f"{number}s", "money": f"${number}", "rate": f"{number}/s", "ratio": f"{number}%"}
    for guess in (number, guesses.get(unit.name, "")):
        if re.search(unit.pattern, guess):
            return guess
    return None


def _other_type(admitted: set[str], value: Any) -> str | None:
    if "boolean" in admitted and value in ("yes", "no", "on", "off", "True", "False"):
        return f"did you mean {'true' if value in ('yes', 'on', 'True') else 'false'}?"
    if admitted & {"integer", "number"} and isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
        return "remove the quotes"
    if "string" in admitted and isinstance(value, (int, float)):
        return "put it in quotes"
    if "array" in admitted and isinstance(value, str):
        return "put it in brackets, as a list with one entry"
    return None
