"""Files with a grammar of their own, beside pipelines: test files, scenarios. One loader for all of them.

A grammar is a struct. From it come the JSON Schema that is published and that editors use, the conversion, and the
diagnostics, each with file, line and column, a code and a suggestion, all of them at once:

    SCENARIO = Grammar(kind="sim", title="A Wizard scenario", struct=ScenarioFile, endings=(".sim.yaml", ".sim.yml"))

    found = read("outage.sim.yaml", SCENARIO)
    found.value            # the struct; None where nothing could be made of the file
    found.diagnostics      # what reading, schema and conversion say
    found.report.add(…)    # what only the caller knows, at a path in the document

A file that is right takes the fast path, conversion alone. One that fails is judged by the schema, and what can be
mended is: `value` then holds the rest, so that the caller can check on; the file must not be used. References
(`${env:…}`) are not resolved in these files.

What a struct should look like: `frozen=True, kw_only=True, forbid_unknown_fields=True`, each field described by
`Meta(description=…)`. `X | None = None` is a key that may be left out and has no null; where null means something,
write `X | None | UnsetType = UNSET`. Quantities are those of core.component (`Duration`, `Money`, …).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import inspect

from wizard_dsl.compiler.report import Report
from wizard_dsl.core.regex import regex
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath, finding, has_errors, ordered, show_path
from wizard_dsl.spec.schema import BASE, DRAFT
from wizard_dsl.spec.schema_nodes import Node
from wizard_dsl.spec.source import Source, load_file, load_text
from wizard_dsl.spec.structs import holds_null

S = TypeVar("S", bound=msgspec.Struct)

_NULL: Final[Node] = {"type": "null"}
#: Keys of a node that hold mappings of nodes, and those that hold lists of them.
_MAPS: Final = ("properties", "patternProperties")
_LISTS: Final = ("anyOf", "allOf", "prefixItems")
_PART: Final = regex(r"\.([^.\[\]]+)|\[(\d+)\]")


class Grammar(msgspec.Struct, Generic[S], frozen=True, kw_only=True):
    """A kind of file. `kind` names it in `wizard schema` and in the schema's id, `endings` are those of file names."""

    kind: str
    title: str
    struct: type[S]
    endings: tuple[str, ...]

    def owns(self, path: Path) -> bool:
        """Whether a file is of this kind, by its name."""
        return path.name.endswith(self.endings)

    def name_of(self, path: Path) -> str:
        """The name of a file without the ending of its kind."""
        ending = next((each for each in self.endings if path.name.endswith(each)), path.suffix)
        return path.name[: -len(ending)] if ending else path.name


class Read(msgspec.Struct, Generic[S], frozen=True):
    """A file that was read. `source` knows where everything is written; more findings go to `report`."""

    value: S | None
    source: Source
    report: Report

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """All findings so far, in order."""
        return ordered(self.report.found)

    @property
    def ok(self) -> bool:
        return self.value is not None and not has_errors(self.report.found)


def read(path: str | Path, grammar: Grammar[S], *, text: str | None = None) -> Read[S]:
    """Read a file by its grammar. `text` stands for the file's content. Never raises for what a file holds."""
    source = load_file(Path(path)) if text is None else load_text(text, str(path))
    report = Report(source)
    report.found.extend(source.diagnostics)
    if not source.data:
        return Read(None, source, report)
    try:
        value: S | None = msgspec.convert(source.data, grammar.struct)
    except msgspec.ValidationError as error:
        value, found = _mended(source, grammar, str(error))
        report.found.extend(found)
    else:
        if holds_null(source.data) and _has_null(source.data, _info(grammar.struct)):
            report.found.extend(_said(source, grammar))
    return Read(value, source, report)


def _mended(source: Source, grammar: Grammar[S], told: str) -> tuple[S | None, list[Diagnostic]]:
    """What can be made of a document that does not convert, and what is wrong with it: in the words of its schema, for
    which 3.0 is a whole number, or, where that finds nothing, in conversion's own."""
    found = _said(source, grammar)
    data: Any = _whole(source.data)
    for path in sorted({each.path for each in found}, key=lambda path: [*map(str, path)], reverse=True):
        data = _without(data, path)
    try:
        return msgspec.convert({"version": 1, **data} if found else data, grammar.struct), found
    except msgspec.ValidationError:
        message, at = _told(told)
        own = finding("E022", f"{show_path(at)}: {message}", source.value_at(at), path=at)
        return None, found or [own]


def _said(source: Source, grammar: Grammar[Any]) -> list[Diagnostic]:
    """What its schema says of a document."""
    from wizard_dsl.spec.schema_errors import schema_findings

    return schema_findings(schema_of(grammar), source.data, source)


def _whole(value: Any) -> Any:
    """Plain data with 3.0 as 3."""
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _told(message: str) -> tuple[str, DocPath]:
    """Conversion's message, and the path in it as far as it is told: keys of the document's choice are not."""
    text, _, place = message.partition(" - at ")
    known = place.partition("[...]")[0].strip("`$")
    parts = _PART.findall(known)
    return text, tuple(name or int(index) for name, index in parts)


def _without(value: Any, path: DocPath) -> Any:
    """A copy of plain data without what stands at a path."""
    if not path:
        return value
    part, rest = path[0], path[1:]
    if isinstance(value, dict) and part in value:
        if not rest:
            return {key: each for key, each in value.items() if key != part}
        return {**value, part: _without(value[part], rest)}
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        inner = [_without(value[part], rest)] if rest else []
        return [*value[:part], *inner, *value[part + 1 :]]
    return value


def _has_null(value: Any, info: inspect.Type) -> bool:
    """Whether there is a null that means nothing: conversion takes it for a key that was left out, the schema does
    not."""
    if isinstance(info, inspect.Metadata):
        return _has_null(value, info.type)
    if isinstance(info, inspect.UnionType):
        return any(_has_null(value, each) for each in info.types)
    if isinstance(info, inspect.StructType) and isinstance(value, dict):
        own = [(value[each.encode_name], each) for each in info.fields if each.encode_name in value]
        return any(each.default is None if inner is None else _has_null(inner, each.type) for inner, each in own)
    if isinstance(info, inspect.DictType) and isinstance(value, dict):
        return any(_has_null(each, info.value_type) for each in value.values())
    if isinstance(info, inspect.ListType) and isinstance(value, list):
        return any(_has_null(each, info.item_type) for each in value)
    return False


@cache
def _info(struct: type) -> inspect.Type:
    return inspect.type_info(struct)


def schema_of(grammar: Grammar[Any]) -> Node:
    """The JSON Schema (2020-12) of a grammar, as it is published."""
    made = msgspec.json.schema(grammar.struct, ref_template="#/$defs/{name}")
    defs = {name: _node(each) for name, each in sorted(made["$defs"].items())}
    top = defs.pop(str(made["$ref"]).rpartition("/")[2])
    head = {"$schema": DRAFT, "$id": f"{BASE}/{grammar.kind}.schema.json", "title": grammar.title}
    rest = {"$defs": defs} if defs else {}
    return {**head, **{key: each for key, each in top.items() if key not in head}, **rest}


def _node(raw: Any) -> Any:
    """What msgspec makes of a type, as a file may hold it: nothing is null that does not say so."""
    if not isinstance(raw, dict):
        return raw
    made: Node = {}
    for key, each in _without_null(raw).items():
        if key == "title":
            continue
        if key in _MAPS:
            made[key] = {name: _node(inner) for name, inner in each.items()}
        elif key in _LISTS:
            made[key] = [_node(inner) for inner in each]
        elif key == "description":
            made[key] = " ".join(each.split())
        else:
            made[key] = _node(each) if isinstance(each, dict) and key not in ("default", "const") else each
    return _keyed(made)


def _without_null(raw: Node) -> Node:
    """Null is what Python has for a key that is not written, where it is the default."""
    if "anyOf" not in raw or raw.get("default", ...) is not None:
        return raw
    branches = [each for each in raw["anyOf"] if each != _NULL]
    rest = {key: each for key, each in raw.items() if key not in ("anyOf", "default")}
    return {**branches[0], **rest} if len(branches) == 1 else {**rest, "anyOf": branches}


def _keyed(made: Node) -> Node:
    """A mapping with keys of its own choice: an empty list of required keys goes, as do rules for keys without any."""
    return {key: each for key, each in made.items() if (key, each) not in (("required", []), ("propertyNames", {}))}
