"""A schema of partial documents, made from that of whole ones: nothing is required, and null deletes a key.

A list replaces the one below, so what stands in it is whole, and nothing in it can be deleted.
"""

from __future__ import annotations

from typing import Any

from wizard_dsl.spec.schema_nodes import Node

_PREFIX = "#/$defs/"
_NULL: Node = {"type": "null"}


def partial(schema: Node) -> Node:
    """The schema of an overlay."""
    work = _Partial(schema["$defs"])
    made: Node = work.node({key: value for key, value in schema.items() if key != "$defs"})
    return {**made, "$defs": dict(sorted(work.defs.items()))}


class _Partial:
    def __init__(self, whole: dict[str, Node]) -> None:
        self._whole = whole
        self.defs: dict[str, Node] = {}

    def node(self, raw: Any) -> Any:
        """The node for a partial value."""
        if not isinstance(raw, dict):
            return raw
        made = {key: value for key, value in raw.items() if key != "required"}
        for key, value in made.items():
            if key in ("properties", "patternProperties"):
                made[key] = {name: self._deletable(each) for name, each in value.items()}
            elif key == "additionalProperties":
                made[key] = self._deletable(value)
            elif key in ("then", "else"):
                made[key] = self.node(value)
            elif key in ("anyOf", "allOf"):
                made[key] = [self.node(each) for each in value]
            elif key in ("items", "if"):
                self._keep(value)
        if "$ref" in made:
            made["$ref"] = self._partial_ref(str(made["$ref"]))
        if isinstance(made.get("if"), dict) and "properties" in made["if"]:
            made["if"] = {**made["if"], "required": ["type"]}
        return made

    def _deletable(self, raw: Any) -> Any:
        if not isinstance(raw, dict) or not raw:
            return raw
        texts = {key: raw[key] for key in ("description", "default") if key in raw}
        return {**texts, "if": _NULL, "else": self.node(raw)}

    def _partial_ref(self, ref: str) -> str:
        """A reference to the partial form of a definition, made on the way."""
        name, slash, below = ref.removeprefix(_PREFIX).partition("/")
        if name == "reference":
            self._keep({"$ref": ref})
            return ref
        if f"partial.{name}" not in self.defs:
            self.defs[f"partial.{name}"] = {}
            self.defs[f"partial.{name}"] = self.node(self._whole[name])
        return f"{_PREFIX}partial.{name}{slash}{below}"

    def _keep(self, value: Any) -> None:
        """Keep the whole definitions that a node refers to."""
        if isinstance(value, list):
            for each in value:
                self._keep(each)
        elif isinstance(value, dict):
            for each in value.values():
                self._keep(each)
            name = str(value.get("$ref", "")).removeprefix(_PREFIX).partition("/")[0]
            if name and name not in self.defs:
                self.defs[name] = self._whole[name]
                self._keep(self._whole[name])
