"""JSON Schema nodes: what msgspec makes of the structs, turned into what a file may hold.

Every scalar whose text is not free also admits a `${…}` reference; nulls are refused, since a key without a value is
a mistake; maps keyed by a fixed set of words list them, so that editors offer them. There is no `oneOf`, and an `anyOf`
only chooses between JSON types, because validators report a failed choice at its parent.

Annotations of ours: `x-unit` and `x-words` (a quantity, and words besides), `x-secret` and `x-env` (only references,
and the variable a secret usually is in), `x-code` and `x-unknown-code` (the diagnostic's code), `x-form` (a pattern in
words), `x-expression` (the names in the scope of a bare expression, and the fields they have).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from wizard_dsl.spec import grammar

Node = dict[str, Any]

REFERENCE: Final[Node] = {"$ref": "#/$defs/reference"}
DOTTED: Final[Node] = {"type": "string", "pattern": grammar.DOTTED_PATTERN, "x-form": "a plug-in's dotted name"}
NAMES: Final[Node] = {"pattern": grammar.NAME_PATTERN}
_TEXTS: Final = ("description", "default")


def components(types: Sequence[type]) -> tuple[list[str], dict[str, Node]]:
    """The name of each struct's definition, and all definitions, ready for `$defs`."""
    refs, made = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    return [str(each["$ref"]).rpartition("/")[2] for each in refs], {key: node(made[key]) for key in made}


def reference() -> Node:
    """The definition of a text with a reference in it."""
    return {
        "description": "${env:NAME}, ${env:NAME:-default} or ${file:path}",
        "type": "string",
        "pattern": grammar.REFERENCE_PATTERN,
    }


def or_reference(plain: Node) -> Node:
    """A node that is not looked at where a reference stands."""
    texts: Node = {key: plain[key] for key in _TEXTS if key in plain}
    return {**texts, "if": REFERENCE, "else": {key: plain[key] for key in plain if key not in texts}}


def node(raw: Any) -> Any:
    """What msgspec makes of a type, as a file may hold it."""
    if not isinstance(raw, dict) or "$ref" in raw:
        return raw
    raw = _without_null({key: value for key, value in raw.items() if key != "title"})
    if "anyOf" in raw:
        return _choice(raw)
    if "enum" in raw:
        return or_reference(raw)
    kind = raw.get("type")
    if kind in ("integer", "number", "boolean"):
        return {**raw, "type": [kind, "string"], "pattern": grammar.REFERENCE_PATTERN}
    if kind == "string":
        return _text(raw)
    if kind == "array":
        return {**raw, "items": node(raw["items"])} if "items" in raw else raw
    return _mapping(raw) if kind == "object" else raw


def _without_null(raw: Node) -> Node:
    """The node without its branch for null, which Python has for a key that is not written."""
    branches = [each for each in raw.get("anyOf", ()) if each != {"type": "null"}]
    if len(branches) == len(raw.get("anyOf", ())):
        return raw
    rest = {key: value for key, value in raw.items() if key != "anyOf" and (key, value) != ("default", None)}
    return {**branches[0], **rest} if len(branches) == 1 else {**rest, "anyOf": branches}


def _text(raw: Node) -> Node:
    if raw.get("x-secret"):
        return {**raw, "pattern": grammar.SECRET_PATTERN}
    if "pattern" not in raw:
        return raw
    if "x-unit" in raw:
        return {**raw, "pattern": f"{raw['pattern']}|{grammar.REFERENCE_PATTERN}"}
    return or_reference(raw)


def _choice(raw: Node) -> Node:
    """Branches of different JSON types, and one for references unless any text will do."""
    branches = list(_flat(raw["anyOf"]))
    made = [_branch(each) for each in branches]
    if not any(each.get("type") == "string" and "pattern" not in each for each in branches) and _has_scalar(branches):
        made.append(REFERENCE)
    return {**{key: value for key, value in raw.items() if key != "anyOf"}, "anyOf": made}


def _flat(branches: Sequence[Node]) -> list[Node]:
    return [inner for each in branches for inner in (_flat(each["anyOf"]) if "anyOf" in each else [each])]


def _branch(raw: Node) -> Node:
    """A scalar as it is, for the choice has a branch for references."""
    return node(raw) if raw.get("type") in ("object", "array") else raw


def _has_scalar(branches: Sequence[Node]) -> bool:
    return any("enum" in each or each.get("type") in ("string", "integer", "number", "boolean") for each in branches)


def _mapping(raw: Node) -> Node:
    made = dict(raw)
    if "description" in made:
        made["description"] = " ".join(made["description"].split())
    if "properties" in made:
        made["properties"] = {key: node(each) for key, each in made["properties"].items()}
        if not made.get("required"):
            made.pop("required", None)
    values = node(made.get("additionalProperties", True))
    if values is not True or "properties" in made:
        made["additionalProperties"] = values
    names = made.pop("propertyNames", None)
    return made if names is None else _keyed(made, names, values)


def _keyed(made: Node, names: Node, values: Any) -> Node:
    """A mapping whose keys have a form; where it has a fixed set of words, they are listed."""
    if "x-words" not in names:
        return {**made, "propertyNames": {"pattern": names["pattern"], **_key_code(names["pattern"])}}
    return {
        **made,
        "properties": dict.fromkeys(names["x-words"], values),
        "patternProperties": {names["pattern"]: values},
        "additionalProperties": False,
    }


def _key_code(pattern: str) -> Node:
    return {} if pattern == grammar.NAME_PATTERN else {"x-code": "E027", "x-says": f"the form is {pattern}"}


def or_off(scalar: Node | None, config: Node) -> Node:
    """A policy: its mapping, the one scalar it takes, or off."""
    branches = list(_flat([scalar])) if scalar is not None else []
    made: list[Node] = []
    for each in branches:
        plain = {key: value for key, value in each.items() if key not in _TEXTS}
        if "x-unit" in plain:
            words = [*plain["x-words"], *(["off"] if "off" not in plain["x-words"] else [])]
            plain = {**plain, "x-words": words, "pattern": f"{plain['pattern']}|^off$"}
        made.append(plain)
    if not any("off" in (*each.get("enum", ()), *each.get("x-words", ())) for each in made):
        made.append({"enum": ["off"]})
    return {"anyOf": [*made, REFERENCE, config]}
