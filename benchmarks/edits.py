"""Edits of pipelines, made from the declarations: every change of one field that alters behaviour, and rewritings that
alter nothing.

A slot is a mapping of the file with the struct that it converts to. Each field of a struct gives edits by its type: a
number goes up, a duration doubles, a choice takes every other value, a map over the error table says the opposite of
the table for each kind. So a field that is added to a struct is edited without a line here; what a type cannot tell
(the name of a chain, a template) stands in `SPECIAL`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, NamedTuple, get_args

import msgspec
from msgspec import inspect

from wizard_dsl.core.component import Scope, StepType
from wizard_dsl.core.errors import TABLE
from wizard_dsl.core.units import UNITS
from wizard_dsl.policies._backoff import MODES, Mode
from wizard_dsl.registry import Registry
from wizard_dsl.spec import document as shapes
from wizard_dsl.spec.docpath import value_in

Path = tuple[str | int, ...]
Data = dict[str, Any]

_PARSERS = {unit.name: unit for unit in UNITS}
#: One of these is another value for any text with a pattern.
_SAMPLES = ("x", "b2", "https://example.org/v2", "2024-10-22", "20s", "700ms", "off", "memory", "503")
#: Values of fields whose type does not say what they mean, by struct and field, or by field alone.
SPECIAL: dict[str, list[Any]] = {
    "chain": ["cheap", "writer", "vectors"],
    "prompt": ["second", {"user": "Say it: {{ ticket }}"}],
    "PipelineConfig.file": ["other.yaml"],
    "PromptSpec.file": [],
    "PromptSpec.messages": [[{"role": "user", "content": [{"text": "Answer: {{ ticket }}"}, {"text": "Now."}]}]],
    "PromptSpec.tools": [[{"name": "look_up", "parameters": {"type": "object"}}]],
    "ConcurrencyConfig.adaptive": [{"min": 3, "max": 20}],
    "PipelineConfig.inputs": [{"q": "{{ language }}"}],
    "texts": ["{{ language }}"],
    "template": ["{{ language }}: {{ ticket }}"],
    "StepCommon.when": ["ticket == 'x'"],
    "for_each": ["items[:2]"],
    "needs": [["first"]],
    "on_error": ["skip", {"default": "none"}],
    "params": [{"top_p": 0.5}, {"temperature": 1}],
    "schema": [{"type": "object", "required": ["a"]}],
    "block_when": ["text == 'x'"],
    "sticky": ["language"],
    "PipelineFile.output": ["{{ steps.first.text }}", {"text": "{{ steps.first.text }}"}],
    "state": ["runs.sqlite"],
    "headers": [{"x-team": "b"}],
    "api_key": ["${env:ANOTHER_KEY}"],
    "model": ["another"],
    "models": [],
    "reply": ["Another answer."],
    "error_rate": ["1%", {"503": "1%"}],
    "latency": ["3s", {"median": "1s", "p99": "2s"}],
    "allow_loss": [["images"], ["tools", "system"]],
    "ProviderCommon.type": ["ollama", "cohere"],
    "type": [],
    "policies": [],
    "pool": [],
    "targets": [],
    "strategy": [],
    "version": [],
    "on_rate_limit": [],
    "provider": ["spare"],
    "PipelineFile.inputs": [],  # see `_inputs`
    "PipelineFile.invariants": [{"few": "attempts < 9"}],
    "PipelineFile.name": ["otherwise"],
    "PipelineFile.description": [],
    "PipelineFile.safety": [],
    "prompts": [],
    "chains": [],
    "steps": [],
    "providers": [],
    "GenerateConfig.output": [{"allow_empty": True}],
    "GenerateConfig.safety": [{"block_when": "text == 'y'"}],
}
#: What the error table says of kinds that a target's attempt can end with, by the field that says otherwise.
_ATTEMPT: Final = ("connect", "timeout", "server", "rate_limited", "quota_exhausted", "auth", "not_found",
    "context_length", "content_filter", "invalid_request", "malformed_response", "mid_stream")  # fmt: skip
_BY_RULE: Final = {"rate_limited": True, "mid_stream": True, "unsupported": True}
_TABLES: Final[dict[str, dict[str, bool]]] = {
    "fallback_on": {kind: row.fallback != "no" or kind in _BY_RULE for kind, row in TABLE.items()} | {"503": True},
    "retry_on": {kind: TABLE[kind].retry == "yes" or kind in _BY_RULE for kind in _ATTEMPT} | {"503": True},
    "trip_on": {kind: TABLE[kind].verdict == "failure" for kind in _ATTEMPT} | {"503": True},
}


class Slot(NamedTuple):
    """A mapping at `path`; `under` are the mappings that its fields are inherited from, the nearest first."""

    path: Path
    shape: type[msgspec.Struct]
    under: tuple[Path, ...] = ()


class Edit(NamedTuple):
    """One value of a document that is another one (`value` GONE: none). `field` names what was changed."""

    name: str
    field: str
    path: Path
    value: Any

    def of(self, data: Data) -> Data:
        """The document as edited."""
        return _without(data, self.path) if self.value is GONE else _with(data, self.path, self.value)


GONE: Final = object()


def edits(data: Data, registry: Registry) -> Iterator[Edit]:
    """Every edit of one field of a document, and every policy taken away or added."""
    for slot in slots(data, registry):
        yield from _slot_edits(data, slot)
    yield from _policies_gone(data, registry)
    yield from _orders(data)
    yield from _inputs(data)
    yield from _strategies(data, registry)


# -- slots --------------------------------------------------------------------------------------------


def slots(data: Data, registry: Registry) -> Iterator[Slot]:
    """Every mapping of a document, those of policies that could stand there among them."""
    yield from _nested(Slot((), shapes.PipelineFile))
    for name in data.get("policies", {}):
        for policy in registry.all_policies():
            yield from _nested(Slot(("policies", name, policy.name), policy.config))
    for name, chain in data.get("chains", {}).items():
        yield from _chain(name, chain, registry)
    for name, provider in data.get("providers", {}).items():
        yield from _provider(name, provider, registry)
    for name, step in data.get("steps", {}).items():
        yield Slot(("steps", name), shapes.StepCommon)
        found = registry.step(step.get("type", "generate"))
        assert isinstance(found, StepType)
        yield from _nested(Slot(("steps", name), found.config))
    for name, prompt in data.get("prompts", {}).items():
        if "file" not in prompt:
            yield Slot(("prompts", name), shapes.PromptSpec)


def _chain(name: str, chain: Data, registry: Registry) -> Iterator[Slot]:
    at: Path = ("chains", name)
    yield Slot(at, shapes.ChainSpec)
    yield Slot((*at, "on_rate_limit"), shapes.RateLimitSpec)
    strategy = registry.strategy(chain["strategy"]["type"])
    assert strategy is not None
    yield from _nested(Slot((*at, "strategy"), strategy.config))
    use = chain.get("policies", {}).get("use", "default")
    for policy in registry.all_policies():
        own, low = (*at, "policies", policy.name), ("policies", use, policy.name)
        yield from _nested(Slot(own, policy.config, (low,)))
        for index in range(len(chain["targets"])):
            if policy.scope is Scope.TARGET:
                yield from _nested(Slot((*at, "targets", index, "policies", policy.name), policy.config, (own, low)))
    for index in range(len(chain["targets"])):
        yield Slot((*at, "targets", index), shapes.TargetSpec)


def _provider(name: str, provider: Data, registry: Registry) -> Iterator[Slot]:
    at: Path = ("providers", name)
    found = registry.provider(provider["type"])
    assert found is not None
    yield from _nested(Slot(at, found.config))
    yield Slot(at, shapes.ProviderCommon)
    yield Slot((*at, "pool"), shapes.PoolSpec)
    for model in provider.get("models", {}):
        yield from _nested(Slot((*at, "models", model), shapes.ModelFacts))
    for policy in registry.all_policies():
        if policy.provider:
            yield from _nested(Slot((*at, "policies", policy.name), policy.config))


def _nested(slot: Slot) -> Iterator[Slot]:
    """The slot, and those of the structs in its fields."""
    yield slot
    for field in _fields(slot.shape):
        for option in _options(field.type):
            if isinstance(option, inspect.StructType):
                below = tuple((*each, field.encode_name) for each in slot.under)
                yield from _nested(Slot((*slot.path, field.encode_name), option.cls, below))


@cache
def _fields(shape: type[msgspec.Struct]) -> tuple[inspect.Field, ...]:
    info = inspect.type_info(shape)
    assert isinstance(info, inspect.StructType)
    return info.fields


# -- fields -------------------------------------------------------------------------------------------


def _slot_edits(data: Data, slot: Slot) -> Iterator[Edit]:
    label = ".".join(map(str, slot.path))
    for field in _fields(slot.shape):
        name = field.encode_name
        current = _current(data, slot, field)
        for value in _values(slot, field, current):
            where = f"{slot.shape.__name__}.{name}"
            yield Edit(f"{label}.{name} = {value!r}", where, (*slot.path, name), value)
        held = value_in(data, slot.path)
        is_own = isinstance(held, dict) and name in held and held[name] != _default_of(field)
        if is_own and _special(slot, name) is None:
            yield Edit(f"{label}.{name} taken back", f"{slot.shape.__name__}.{name}", (*slot.path, name), GONE)


def _current(data: Data, slot: Slot, field: inspect.Field) -> Any:
    """What the file, or what it is inherited from, says; else the default."""
    for path in (slot.path, *slot.under):
        held = value_in(data, path)
        if isinstance(held, dict) and field.encode_name in held:
            return held[field.encode_name]
    return _default_of(field)


def _default_of(field: inspect.Field) -> Any:
    made = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
    return None if made in (msgspec.NODEFAULT, msgspec.UNSET) else msgspec.to_builtins(made)


def _special(slot: Slot, name: str) -> list[Any] | None:
    return SPECIAL.get(f"{slot.shape.__name__}.{name}", SPECIAL.get(name))


def _values(slot: Slot, field: inspect.Field, current: Any) -> list[Any]:
    name = field.encode_name
    special = _special(slot, name)
    if special is not None:
        return [each for each in special if each != current]
    if name in _TABLES:
        own = current or {}
        return [{**own, key: not own.get(key, said)} for key, said in _TABLES[name].items()]
    if name == "backoff":
        modes = {kind: MODES.get(kind, "exponential") for kind in _ATTEMPT}
        return [{kind: other} for kind, mode in modes.items() for other in get_args(Mode) if other != mode]
    found: list[Any] = []
    for option in _options_with_meta(field.type):
        found += [each for each in _others(option, current) if each != current and each not in found]
    return found


def _others(info: inspect.Type, current: Any) -> list[Any]:
    """Other values of one type."""
    inner = info.type if isinstance(info, inspect.Metadata) else info
    extra = (info.extra_json_schema or {}) if isinstance(info, inspect.Metadata) else {}
    if "x-expression" in extra:
        (name, fields), *_ = extra["x-expression"].items()
        return [f"{name}.{fields[0]} == 'x'" if fields else f"{name} == 7"]
    if isinstance(inner, inspect.BoolType):
        return [not current]
    if isinstance(inner, (inspect.IntType, inspect.FloatType)):
        return _numbers(inner, current)
    if isinstance(inner, inspect.LiteralType):
        return list(inner.values)
    if isinstance(inner, inspect.StrType):
        return _texts(inner, extra, current)
    if isinstance(inner, inspect.ListType):
        items = _others(inner.item_type, None)
        return [[*(current or []), items[0]], *([[]] if current else [])] if items else []
    return []


def _numbers(info: inspect.IntType | inspect.FloatType, current: Any) -> list[Any]:
    base = current if isinstance(current, (int, float)) and not isinstance(current, bool) else (info.ge or 1)
    step = 1 if isinstance(info, inspect.IntType) or base >= 1 else 0.125
    up, down = base + step, base - step
    low, high = info.ge, info.le
    return [each for each in (up, down) if (low is None or each >= low) and (high is None or each <= high)][:1] or [
        base
    ]


def _texts(info: inspect.StrType, extra: Mapping[str, Any], current: Any) -> list[Any]:
    words = list(extra.get("x-words", ()))
    unit = _PARSERS.get(extra.get("x-unit", ""))
    if unit is not None:
        return [*words, *_amounts(unit, current)]
    if info.pattern is None:
        return ["other"]
    fitting = [each for each in _SAMPLES if re.search(info.pattern, each) and each != current]
    return fitting[:2]


def _amounts(unit: Any, current: Any) -> list[str]:
    if not isinstance(current, str) or not re.search(unit.pattern, current):
        return [unit.example]
    if unit.name == "rate":
        return [current.replace(current.split("/")[0].split()[0], "7", 1)]
    value = unit.parse(current)
    return [unit.show(value / 2 if unit.name == "ratio" and value > 0.5 else value * 2 or 0.25)]


def _options(info: inspect.Type) -> Iterator[inspect.Type]:
    for each in _options_with_meta(info):
        yield each.type if isinstance(each, inspect.Metadata) else each


def _options_with_meta(info: inspect.Type, outer: inspect.Metadata | None = None) -> Iterator[inspect.Type]:
    """The types that a value may have, each with its own annotations."""
    if isinstance(info, inspect.Metadata) and isinstance(info.type, (inspect.UnionType, inspect.Metadata)):
        inner = info.type
        if isinstance(inner, inspect.Metadata) and not (inner.extra_json_schema or info.extra_json_schema):
            yield from _options_with_meta(inner)
        elif isinstance(inner, inspect.Metadata):
            merged = {**(info.extra_json_schema or {}), **(inner.extra_json_schema or {})}
            yield from _options_with_meta(inspect.Metadata(inner.type, merged))
        else:
            for each in inner.types:
                yield from _options_with_meta(_carrying(each, info))
    elif isinstance(info, inspect.UnionType):
        for each in info.types:
            yield from _options_with_meta(each)
    else:
        yield info


def _carrying(info: inspect.Type, outer: inspect.Metadata) -> inspect.Type:
    """One type of a union, with what the union as a whole is marked with, if the mark is about texts."""
    plain = isinstance(info, inspect.StrType) and outer.extra_json_schema
    return inspect.Metadata(info, outer.extra_json_schema) if plain else info


# -- what is no field ---------------------------------------------------------------------------------


def _policies_gone(data: Data, registry: Registry) -> Iterator[Edit]:
    """Each policy taken out of its set, and out of each chain and target that inherits it."""
    places: list[Path] = [
        ("policies", name, kind) for name, own in data.get("policies", {}).items() for kind in own if kind != "stack"
    ]
    for name, chain in data["chains"].items():
        for kind in data.get("policies", {}).get(chain.get("policies", {}).get("use", "default"), {}):
            policy = registry.policy(kind)
            at_target = range(len(chain["targets"])) if policy is not None and policy.scope is Scope.TARGET else ()
            places.append(("chains", name, "policies", kind))
            places += [("chains", name, "targets", index, "policies", kind) for index in at_target]
    for path in places:
        yield Edit(f"{'.'.join(map(str, path))} = off", f"{path[-1]}: off", path, "off")


def _orders(data: Data) -> Iterator[Edit]:
    """Targets in another order, one less, one more; ladders in another order; sets changed for another one."""
    for name, chain in data["chains"].items():
        path: Path = ("chains", name, "targets")
        targets = chain["targets"]
        if len(targets) > 1:
            yield Edit(f"{name}: turned round", "targets", path, targets[::-1])
            yield Edit(f"{name}: one less", "targets", path, targets[1:])
        yield Edit(f"{name}: one more", "targets", path, [*targets, {"provider": "spare"}])
        yield Edit(f"{name}: use none", "use", ("chains", name, "policies", "use"), "none")
        stack = ["timeout", "circuit_breaker", "retry"]
        yield Edit(f"{name}: stack", "stack", ("chains", name, "policies", "stack"), stack)


def _strategies(data: Data, registry: Registry) -> Iterator[Edit]:
    for name, chain in data["chains"].items():
        for strategy in registry.all_strategies():
            if strategy.name != chain["strategy"]["type"]:
                path = ("chains", name, "strategy")
                yield Edit(f"{name}: {strategy.name}", "strategy", path, {"type": strategy.name})


def _inputs(data: Data) -> Iterator[Edit]:
    yield Edit("inputs: one more", "PipelineFile.inputs", ("inputs", "urgency"), {"type": "integer"})
    for name, spec in data.get("inputs", {}).items():
        path = ("inputs", name)
        yield Edit(f"inputs.{name}: trusted", "trusted", (*path, "trusted"), not spec.get("trusted"))
        yield Edit(f"inputs.{name}: default", "default", (*path, "default"), _default(spec))
        if "default" in spec:
            yield Edit(f"inputs.{name}: required", "default", (*path, "default"), GONE)
        yield Edit(f"inputs.{name}: schema", "schema", (*path, _keyword(spec)), 7)


def _default(spec: Data) -> Any:
    return {"array": ["x"], "integer": 3}.get(spec["type"], "de" if spec.get("default") == "en" else "en")


def _keyword(spec: Data) -> str:
    return {"array": "maxItems", "integer": "maximum"}.get(spec["type"], "maxLength")


# -- documents ----------------------------------------------------------------------------------------


def _with(data: Data, path: Path, value: Any) -> Data:
    """The document with one value written; mappings on the way are made."""
    made = copy.deepcopy(data)
    held: Any = made
    for part in path[:-1]:
        if isinstance(held, dict) and not isinstance(held.get(part), (dict, list)):
            held[part] = {}
        held = held[part]
    held[path[-1]] = value
    return made


def _without(data: Data, path: Path) -> Data:
    made = copy.deepcopy(data)
    held = value_in(made, path[:-1])
    if isinstance(held, dict):
        held.pop(path[-1], None)
    return made
