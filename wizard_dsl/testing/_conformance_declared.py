"""What a declaration says of itself holds: for every kind of component."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from wizard_dsl.core.component import Example, PolicyType, ProviderType, StepType, StrategyType
from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.events import Event
from wizard_dsl.core.outcomes import OutcomeType, Site
from wizard_dsl.core.regex import regex
from wizard_dsl.core.target import RateLimitRule
from wizard_dsl.registry import BUILT_INS, Component, Group, Registry
from wizard_dsl.spec.diagnostics import render_text
from wizard_dsl.spec.load import load
from wizard_dsl.spec.source import parse_value
from wizard_dsl.testing._conformance_case import Case, expect, same

#: Components whose declaration has a config and examples.
Declared = PolicyType | StrategyType | ProviderType | StepType

_NAME: Final = regex(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_GROUPS: Final[Mapping[type[Any], Group]] = {
    PolicyType: "policies",
    StrategyType: "strategies",
    ProviderType: "providers",
    StepType: "steps",
}
_BASE: Final[Mapping[str, Any]] = {
    "version": 1,
    "inputs": {"question": {"type": "string"}, "ticket": {"type": "string"}, "customer": {"type": "string"}},
    "providers": {"local": {"type": "mock"}},
    "chains": {"default": {"targets": ["local"]}},
    "steps": {"answer": {"prompt": {"user": "{{ question }}"}}},
}
_SUMMARY: Final = 120  # characters: it is a cell of a table
_CLAUSE: Final = 100


def declared_cases(component: Declared) -> Iterator[Case]:
    """The declaration, each example, and each config there and back."""
    yield Case(component.name, "declaration", "", lambda: _described(component))
    for example in component.examples:
        yield Case(component.name, "declaration", example.title, partial(_loads, component, example))
    for title, raw in settings_of(component):
        yield Case(component.name, "round-trip", title, partial(_round_trips, component, raw))


def settings_of(component: Declared) -> list[tuple[str, dict[str, Any]]]:
    """The keys of each config that can be tried: the defaults, where there are some, and the examples."""
    found: list[tuple[str, dict[str, Any]]] = []
    try:
        msgspec.convert({}, component.config)
    except msgspec.ValidationError:
        pass
    else:
        found.append(("defaults", {}))
    for example in component.examples:
        raw = _keys(component, example)
        if raw is not None and raw not in [each for _, each in found]:
            found.append((example.title, raw))
    return found


def _keys(component: Declared, example: Example) -> dict[str, Any] | None:
    """The component's own keys in an example; None where it has none that can be read."""
    document, _ = parse_value(example.yaml, example.title)
    if not isinstance(document, dict):
        return None
    if isinstance(component, PolicyType):
        raw = document.get(component.name)
        raw = raw if isinstance(raw, dict) else {component.scalar: raw}
    elif isinstance(component, StrategyType):
        raw = document.get("strategy")
        raw = {key: value for key, value in raw.items() if key != "type"} if isinstance(raw, dict) else {}
    elif isinstance(component, ProviderType):
        known = {field.encode_name for field in msgspec.structs.fields(component.config)}
        raw = {key: value for key, value in document.items() if key in known}
    else:
        return None
    return {key: _text_keys(value) for key, value in raw.items()}


def _text_keys(value: Any) -> Any:
    """Keys such as `429:` are texts where a file is read."""
    return {str(key): _text_keys(each) for key, each in value.items()} if isinstance(value, dict) else value


def _described(component: Declared) -> None:
    expect(_NAME.fullmatch(component.name) is not None, f"the name {component.name!r} cannot stand in a file")
    summary = component.summary
    expect(0 < len(summary) <= _SUMMARY and "\n" not in summary, f"the summary is no line of a table: {summary!r}")
    fields = {field.encode_name for field in msgspec.structs.fields(component.config)}
    scalar = getattr(component, "scalar", "")
    expect(not scalar or scalar in fields, f"the scalar {scalar!r} is no field; there are {sorted(fields)}")
    per = getattr(component, "expression", "")
    expect(not per or per in fields, f"the expression {per!r} is no field; there are {sorted(fields)}")
    schema = msgspec.json.schema(component.config)["$defs"][component.config.__name__]
    bare = [name for name, node in schema.get("properties", {}).items() if not _has_words(node)]
    expect(not bare, f"keys without a description, which Meta(description=…) gives: {bare}")
    for name, base in (("emits", Event), ("raises", WizardError)):
        odd = [each for each in getattr(component, name, ()) if not (isinstance(each, type) and issubclass(each, base))]
        expect(not odd, f"{name} holds {odd}, each must be a {base.__name__}")
    _has_outcomes(component)
    check = getattr(component, "check", lambda config: ())
    for title, raw in settings_of(component):
        said = list(check(msgspec.convert(raw, component.config)))
        expect(all(isinstance(each, str) and each for each in said), f"check of {title!r} says {said}, no sentences")
        expect(not said or title == "defaults", f"check finds fault with the example {title!r}: {said}")


def _has_outcomes(component: Declared) -> None:
    """Each outcome has a name of its own, a clause, and a sign in events; its own events are among those it emits."""
    outcomes: tuple[OutcomeType, ...] = getattr(component, "outcomes", ())
    names = [each.name for each in outcomes]
    expect(len(names) == len(set(names)), f"two outcomes have one name: {names}")
    for each in outcomes:
        expect(bool(_NAME.fullmatch(each.name)), f"{each.name!r} is no name of an outcome")
        fits = each.summary == each.summary.strip() and 0 < len(each.summary) <= _CLAUSE and each.summary[-1] != "."
        expect(fits, f"the summary of outcome {each.name} is no clause of at most {_CLAUSE} characters")
        expect(bool(each.signs), f"nothing tells of outcome {each.name}: give it a sign")
        own = [sign.event for sign in each.signs if sign.about == "node"]
        odd = [event.__name__ for event in own if event not in getattr(component, "emits", ())]
        expect(not odd, f"outcome {each.name} is told by {', '.join(odd)}, which `emits` does not name")
        for title, raw in settings_of(component):
            site = Site(path="", config=msgspec.convert(raw, component.config), rate_limit=RateLimitRule())
            said = each.possible(site)
            expect(isinstance(said, bool), f"whether outcome {each.name} is possible with {title!r}: {said!r}")


def _has_words(node: Mapping[str, Any]) -> bool:
    """Whether a key is described: itself, one of the forms it takes, or the section that it is."""
    return (
        "description" in node
        or "$ref" in node
        or any(map(_has_words, (*node.get("anyOf", ()), *node.get("allOf", ()))))
    )


def _loads(component: Declared, example: Example) -> None:
    """The example in a file that has all else it needs."""
    document, wrong = parse_value(example.yaml, example.title)
    expect(not wrong and isinstance(document, dict), f"it is no mapping in YAML: {example.yaml!r}")
    registry = _registry_with(component)
    group = _GROUPS[type(component)]
    if component.name not in (*registry.names(group), *registry.plugin_names(group)):
        return  # the compiler adds it by itself: no file can name it
    if isinstance(component, PolicyType):
        sections = {"policies": {"default": document}}
    elif isinstance(component, StrategyType):
        sections = {"chains": {"default": {"targets": ["local"], **document}}}
    elif isinstance(component, ProviderType):
        sections = {"providers": {"local": document}}
    else:
        sections = {"steps": document}
    loaded = load("example.yaml", registry=registry, text=json.dumps({**_BASE, **sections}))
    expect(not loaded.diagnostics, f"{example.yaml!r} does not load:\n{render_text(loaded.diagnostics)}")


class _Announced:
    """An entry point of the component."""

    dist = None

    def __init__(self, component: Component) -> None:
        self.name = component.name
        self._component = component

    def load(self) -> Component:
        return self._component


def _registry_with(component: Declared) -> Registry:
    group = _GROUPS[type(component)]
    if "." in component.name:
        return Registry(scan=lambda asked: [_Announced(component)] if asked == group else [])
    if component.name in BUILT_INS[group] or Registry(plugins=False).policy(component.name) is not None:
        return Registry(plugins=False)
    return Registry(plugins=False, built_in={**BUILT_INS, group: {**BUILT_INS[group], component.name: component}})


def _round_trips(component: Declared, raw: Mapping[str, Any]) -> None:
    config = msgspec.convert(dict(raw), component.config)
    again = msgspec.convert(msgspec.to_builtins(config), component.config)
    same("the config, read again", again, config)
    expect(component.config.__struct_config__.frozen, "a config is inert; this one is not frozen")
