"""The keys of a struct in words, for the reference pages and `wizard explain` alike: what each takes, its default,
what it is for; and where a policy may stand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any, Final

import msgspec

from wizard_dsl.core.component import PolicyType, Scope
from wizard_dsl.spec.schema_words import Node, resolved, wants

REQUIRED: Final = "required"
#: Defaults that say that there is none.
NOTHING: Final = ("none", "{}", "[]", '""')
_PLACES: Final = MappingProxyType(
    {
        Scope.CALL: "above the strategy; in a set or a chain",
        Scope.CHAIN: "state of the chain; in a set or a chain",
        Scope.TARGET: "around each target; in a set, a chain or a target",
    }
)


class Key(msgspec.Struct, frozen=True):
    """One key. `default` is YAML, or `required`."""

    name: str
    takes: str
    default: str
    description: str


def place_of(type: PolicyType) -> str:
    """Where a policy acts, and where it may be written."""
    return _PLACES[type.scope] + (", or a provider" if type.provider else "")


def keys_of(config: type[msgspec.Struct]) -> list[Key]:
    """The keys in the order of the declaration; those of a mapping with keys of its own as `output.repairs`."""
    root = msgspec.json.schema(config)
    return list(_keys(resolved(root, root), root, ""))


def _keys(node: Node, root: Node, prefix: str) -> Iterator[Key]:
    for name, each in node.get("properties", {}).items():
        inner = resolved(each, root)
        if inner.get("properties"):
            yield from _keys(inner, root, f"{prefix}{name}.")
            continue
        default = REQUIRED if name in node.get("required", ()) else shown(each.get("default"))
        yield Key(f"{prefix}{name}", _takes(each, root), default, _described(each, root))


def _takes(node: Node, root: Node) -> str:
    """In words; that a key may be left out goes without saying."""
    parts = [part for part in wants(node, root).split(" or ") if part != "nothing"]
    return " or ".join(dict.fromkeys(part.partition(", such as ${")[0] for part in parts)) or "anything"


def _described(node: Node, root: Node) -> str:
    text = node.get("description") or next((each["description"] for each in _inner(node) if "description" in each), "")
    return str(text or resolved(node, root).get("description", ""))


def _inner(node: Node) -> list[Node]:
    branches = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    return [each for branch in branches for each in (branch, *_inner(branch))]


def shown(default: Any) -> str:
    """A default as it would be written in flow style."""
    if default is None:
        return "none"
    if isinstance(default, str):
        return default or '""'
    if isinstance(default, dict):
        return "{" + ", ".join(f"{key}: {shown(value)}" for key, value in default.items()) + "}"
    if isinstance(default, float) and default.is_integer():
        return str(int(default))
    return json.dumps(default)
