"""Rewritings of a pipeline that alter nothing: each is the text of the file, and of a wizard.yaml beside it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from benchmarks.bases import Base
from benchmarks.edits import Data, Path, Slot, slots
from wizard_dsl.core import units
from wizard_dsl.core.errors import TABLE
from wizard_dsl.registry import Registry
from wizard_dsl.spec.docpath import value_in
from wizard_dsl.spec.document import PipelineFile


class Rewriting(NamedTuple):
    name: str
    text: str
    project: str = ""


def rewritings(base: Base, registry: Registry) -> Iterator[Rewriting]:
    """Every rewriting of one pipeline."""
    data = base.data
    yield from _layouts(data)
    yield from _reversed(base)
    yield from _units(base)
    yield from _defaults(base, registry)
    yield from _tables(data)
    yield from _moved(data)
    yield from _scalars(data, registry)
    yield from _layers(data)


def _layouts(data: Data) -> Iterator[Rewriting]:
    yield Rewriting("indented", json.dumps(data, indent=4))
    yield Rewriting("a comment on each line", "".join(f"{line} # said\n" for line in _block(data)))
    yield Rewriting("block style, with empty lines", "\n\n".join(_block(data)))
    yield Rewriting("a description", json.dumps({**data, "description": "What it is for."}))
    yield Rewriting("CRLF", "\r\n".join(_block(data)))
    anchored = json.dumps(data["inputs"]["ticket"])
    whole = json.dumps(data).replace(anchored, f"&t {anchored}", 1)
    yield Rewriting("an anchor", whole)


def _block(value: Any, indent: str = "") -> list[str]:
    """A value as YAML in block style."""
    if isinstance(value, dict) and value:
        lines = []
        for key, each in value.items():
            nested = isinstance(each, (dict, list)) and each
            lines += (
                [f"{indent}{json.dumps(key)}:", *_block(each, f"{indent}  ")]
                if nested
                else [f"{indent}{json.dumps(key)}: {json.dumps(each)}"]
            )
        return lines
    if isinstance(value, list) and value:
        lines = []
        for each in value:
            first, *others = _block(each, f"{indent}  ")
            lines += [f"{indent}- {first.lstrip()}", *others]
        return lines
    return [f"{indent}{json.dumps(value)}"]


def _reversed(base: Base) -> Iterator[Rewriting]:
    """Each mapping with its keys in the other order; that of the steps decides whose text is the run's, and where it
    does not, it is turned round, too."""
    data = base.data
    for path in _mappings(data, ()):
        if not base.has(path) or (path == ("steps",) and "output" not in data):
            continue
        made = copy.deepcopy(data)
        held = value_in(made, path)
        items = list(held.items())[::-1]
        held.clear()
        held.update(items)
        yield Rewriting(f"{'.'.join(map(str, path)) or 'the file'}: keys turned round", json.dumps(made))


def _mappings(value: Any, path: Path) -> Iterator[Path]:
    if isinstance(value, dict):
        if len(value) > 1:
            yield path
        for key, each in value.items():
            yield from _mappings(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _mappings(each, (*path, index))


def _units(base: Base) -> Iterator[Rewriting]:
    """Each quantity in other words."""
    data = base.data
    for path, text in _strings(data, ()):
        for other in _other_words(text) if base.has(path) else ():
            made = copy.deepcopy(data)
            value_in(made, path[:-1])[path[-1]] = other
            yield Rewriting(f"{'.'.join(map(str, path))}: {text} as {other}", json.dumps(made))


def _strings(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in pairs:
        yield from _strings(each, (*path, key))


def _other_words(text: str) -> Iterator[str]:
    ways: tuple[tuple[units.Unit, Callable[[Any], str]], ...] = (
        (units.DURATION, lambda value: f"{value * 1000:.0f}ms"),
        (units.MONEY, lambda value: f"${value:.3f}"),
        (units.RATIO, lambda value: f"{value * 100:.1f}%"),
        (units.RATE, lambda rate: units.show_rate(rate).replace("/s", "/second").replace("/minute", "/m")),
    )
    for unit, other in ways:
        try:
            yield other(unit.parse(text))
        except ValueError:
            continue


def _defaults(base: Base, registry: Registry) -> Iterator[Rewriting]:
    """Each field that says nothing, with its default written out; of policies, where they stand already."""
    data = base.data
    for slot in slots(data, registry):
        if value_in(data, slot.path) is None or slot.shape is PipelineFile or not base.has(slot.path):
            continue
        for field in msgspec.structs.fields(slot.shape):
            value = _default_of(field)
            if value is None or _is_said(data, slot, field.encode_name) or field.encode_name in {"policies", "model"}:
                continue
            made = copy.deepcopy(data)
            value_in(made, slot.path)[field.encode_name] = value
            yield Rewriting(f"{'.'.join(map(str, slot.path))}.{field.encode_name} = {value!r}", json.dumps(made))


def _default_of(field: msgspec.structs.FieldInfo) -> Any:
    made = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
    if made in (msgspec.NODEFAULT, msgspec.UNSET) or isinstance(made, msgspec.Struct):
        return None
    return msgspec.to_builtins(made)


def _is_said(data: Data, slot: Slot, key: str) -> bool:
    return any(key in (value_in(data, path) or {}) for path in (slot.path, *slot.under))


def _tables(data: Data) -> Iterator[Rewriting]:
    """What the error table says, written out."""
    for name in data["chains"]:
        for kind, row in TABLE.items():
            ruled = row.fallback == "rule" or kind == "unsupported"  # whose rule stands in its own class
            if not ruled and kind not in data["chains"][name].get("fallback_on", {}):
                made = copy.deepcopy(data)
                made["chains"][name].setdefault("fallback_on", {})[kind] = row.fallback == "yes"
                yield Rewriting(f"chains.{name}.fallback_on.{kind}", json.dumps(made))
    for name, own in data.get("policies", {}).items():
        for kind in ("auth", "not_found", "content_filter", "invalid_request"):
            for policy, table in (("retry", "retry_on"), ("circuit_breaker", "trip_on")):
                made = copy.deepcopy(data)
                if policy in own:
                    made["policies"][name][policy].setdefault(table, {})[kind] = False
                    yield Rewriting(f"policies.{name}.{policy}.{table}.{kind}", json.dumps(made))


def _moved(data: Data) -> Iterator[Rewriting]:
    """Definitions that stand elsewhere: prompts in their steps and under other names, sets in their chains."""
    for name, step in data["steps"].items():
        asked = step.get("prompt")
        if isinstance(asked, str):
            made = copy.deepcopy(data)
            made["steps"][name]["prompt"] = made["prompts"][asked]
            yield Rewriting(f"steps.{name}: its prompt in place", json.dumps(made))
    prompts = {**data["prompts"], "first": {"file": "first.md"}}
    yield Rewriting("a prompt in a file", json.dumps({**data, "prompts": prompts}))
    made = json.loads(json.dumps(data).replace('"prompt": "first"', '"prompt": "renamed"'))
    made["prompts"]["renamed"] = made["prompts"].pop("first")
    yield Rewriting("a prompt under another name", json.dumps(made))
    if "windows" in data.get("policies", {}):
        yield Rewriting(
            "a set under another name",
            json.dumps(data).replace('"windows": {"retry"', '"w": {"retry"').replace('"use": "windows"', '"use": "w"'),
        )
    for kind in data.get("policies", {}).get("windows", {}):
        made = copy.deepcopy(data)
        own = made["policies"]["windows"].pop(kind)
        made["chains"]["cheap"]["policies"][kind] = own
        yield Rewriting(f"{kind} moved from its set to its chain", json.dumps(made))
    for name, chain in data["chains"].items():
        for index, target in enumerate(chain["targets"]):
            if set(target) == {"provider"}:
                made = copy.deepcopy(data)
                made["chains"][name]["targets"][index] = target["provider"]
                yield Rewriting(f"chains.{name}.targets[{index}] as a text", json.dumps(made))


def _scalars(data: Data, registry: Registry) -> Iterator[Rewriting]:
    """Mappings of one key as the scalar that stands for them."""
    for path in _below_policies(data):
        policy = registry.policy(str(path[-1]))
        held = value_in(data, path)
        if policy is not None and policy.scalar and isinstance(held, dict) and set(held) == {policy.scalar}:
            made = copy.deepcopy(data)
            value_in(made, path[:-1])[path[-1]] = held[policy.scalar]
            yield Rewriting(f"{'.'.join(map(str, path))} as a scalar", json.dumps(made))


def _below_policies(data: Data) -> Iterator[Path]:
    for name, own in data.get("policies", {}).items():
        yield from (("policies", name, kind) for kind in own)
    for section in ("chains", "providers"):
        for name, each in data[section].items():
            yield from ((section, name, "policies", kind) for kind in each.get("policies", {}))


def _layers(data: Data) -> Iterator[Rewriting]:
    """A section that stands in wizard.yaml; budgets would be those of the whole project there, and what other files of
    the project cannot do with stays here."""
    runs_others = any(step.get("type") == "pipeline" for step in data["steps"].values())
    here = {"version", "name", "budgets"} | ({"chains", "steps", "inputs", "output"} if runs_others else set())
    for section in data:
        if section not in here:
            rest = {key: value for key, value in data.items() if key != section}
            yield Rewriting(f"{section} in wizard.yaml", json.dumps(rest), json.dumps({section: data[section]}))
