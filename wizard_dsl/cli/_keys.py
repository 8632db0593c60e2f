"""The keys of a component's config, in words: what each takes, its default, what it is for."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from wizard_dsl.spec.schema_words import resolved, wants

_REQUIRED: Final = "required"


class Key(msgspec.Struct, frozen=True):
    """One key. `default` is YAML, or `required`."""

    name: str
    takes: str
    default: str
    description: str


def keys_of(config: type[msgspec.Struct]) -> list[Key]:
    """The keys in the order of the declaration."""
    root = msgspec.json.schema(config)
    node = resolved(root, root)
    required = node.get("required", ())
    return [
        Key(
            name=name,
            takes=_takes(each, root),
            default=_REQUIRED if name in required else shown(each.get("default", {})),
            description=_described(each, root),
        )
        for name, each in node.get("properties", {}).items()
    ]


def _takes(node: dict[str, Any], root: dict[str, Any]) -> str:
    """In words; that a key may be left out goes without saying."""
    parts = [part for part in wants(node, root).split(" or ") if part != "nothing"]
    return " or ".join(parts) or "anything"


def _described(node: dict[str, Any], root: dict[str, Any]) -> str:
    text = node.get("description") or next((each["description"] for each in _inner(node) if "description" in each), "")
    return str(text or resolved(node, root).get("description", ""))


def _inner(node: dict[str, Any]) -> list[dict[str, Any]]:
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
