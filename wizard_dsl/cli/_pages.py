"""The pages of `wizard explain`: codes, error kinds, and the components of this installation, each from its own
declaration. A page is data first, so that `--format json` tells the same."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from wizard_dsl.cli._output import columns
from wizard_dsl.core import errors
from wizard_dsl.core.component import PolicyType, ProviderType, StepType, StrategyType
from wizard_dsl.core.errors import TABLE, WizardError
from wizard_dsl.docgen.keys import keys_of, place_of
from wizard_dsl.registry import Registry
from wizard_dsl.spec.code import Code
from wizard_dsl.spec.codes import CODES

Page = dict[str, Any]
Component = PolicyType | StrategyType | ProviderType | StepType

_MOVES = {
    "retry": {
        "yes": "repeated on the same target",
        "no": "not repeated",
        "rule": "repeated where the policy that owns it says so",
    },
    "fallback": {
        "yes": "the next target is asked",
        "no": "no other target is asked",
        "rule": "the next target is asked where the policy that owns it says so",
    },
    "verdict": {
        "failure": "counts as a failure of the target",
        "neutral": "says nothing about the target",
        "success": "counts as a success of the target",
        "none": "the circuit breaker does not see it",
    },
}


def pages(word: str, registry: Registry) -> list[Page]:
    """Every page a word has: `timeout` is an error kind and a policy."""
    found: list[Page] = []
    if word.upper() in CODES:
        found.append(_code(word.upper()))
    if word in TABLE:
        found.append(_kind(word))
    rule = registry.rule(word) if "." in word else None
    if rule is not None:
        found.append(_entry(Code(rule.name, rule.title, rule.explanation, rule.bad, rule.good)))
    for what, component in _components(word, registry):
        found.append(_component(what, component))
    return found


def words(registry: Registry) -> dict[str, list[tuple[str, str]]]:
    """Everything that has a page: group → (word, one line)."""
    return {
        "codes": [(code, entry.title) for code, entry in sorted(CODES.items())],
        "rules of plug-ins": [(each.name, each.title) for each in registry.rules()],
        "error kinds": [(kind, row.summary) for kind, row in TABLE.items()],
        "policies": [(each.name, each.summary) for each in registry.all_policies(plugins=True)],
        "strategies": [(each.name, each.summary) for each in registry.all_strategies(plugins=True)],
        "providers": [(each.name, each.summary) for each in registry.all_providers(plugins=True)],
        "steps": [(each.name, each.summary) for each in registry.all_steps(plugins=True)],
    }


def _components(word: str, registry: Registry) -> Iterator[tuple[str, Component]]:
    finders = {
        "policy": registry.policy,
        "strategy": registry.strategy,
        "provider": registry.provider,
        "step": registry.step,
    }
    for what, find in finders.items():
        component = find(word)
        if component is not None:
            yield what, component


def _code(code: str) -> Page:
    return _entry(CODES[code])


def _entry(entry: Code) -> Page:
    return {
        "what": "code",
        "name": entry.code,
        "summary": entry.title,
        "text": entry.markdown(),
        "page": entry.page(),
    }


def _kind(kind: str) -> Page:
    row = TABLE[kind]
    classes = [
        each
        for _, each in inspect.getmembers(errors, inspect.isclass)
        if issubclass(each, WizardError) and "kind" in vars(each) and each.kind == kind
    ]
    return {
        "what": "error kind",
        "name": kind,
        "summary": row.summary,
        "classes": sorted(each.__name__ for each in classes),
        "retry": _MOVES["retry"][row.retry],
        "fallback": _MOVES["fallback"][row.fallback],
        "breaker": _MOVES["verdict"][row.verdict],
        "exit_code": row.exit_code,
        "suggestions": sorted({each.suggestion for each in classes if each.suggestion}),
    }


def _component(what: str, each: Component) -> Page:
    return {
        "what": what,
        "name": each.name,
        "summary": each.summary,
        "text": _teaching(each),
        "place": place_of(each) if isinstance(each, PolicyType) else None,
        "scalar": getattr(each, "scalar", "") or None,
        "key_variable": getattr(each, "key_variable", None),
        "default_model": getattr(each, "default_model", None),
        "keys": [
            {"name": key.name, "takes": key.takes, "default": key.default, "description": key.description}
            for key in keys_of(each.config)
        ],
        "errors": [_error(error) for error in getattr(each, "raises", ())],
        "events": sorted({event.name for event in getattr(each, "emits", ())}),
        "examples": [{"title": example.title, "yaml": example.yaml} for example in each.examples],
    }


def _teaching(each: Component) -> str:
    """The docstring of the module that the component is declared in; a preset has only its summary."""
    homes = (inspect.getmodule(each.build), sys.modules.get(each.config.__module__))
    home = next((module for module in homes if module and any(one is each for one in vars(module).values())), None)
    return inspect.cleandoc(home.__doc__) if home is not None and home.__doc__ else ""


def _error(error: type[WizardError]) -> dict[str, str]:
    kind = error.kind if "kind" in vars(error) else "the kind of the last error"
    return {"class": error.__name__, "kind": kind}


def text_of(page: Page) -> str:
    """A page for a terminal."""
    if page["what"] == "code":
        return str(page["page"])
    lines = [f"{page['name']} ({page['what']}): {page['summary']}", ""]
    lines += _kind_lines(page) if page["what"] == "error kind" else _component_lines(page)
    return "".join(f"{line}\n" for line in lines).rstrip("\n") + "\n"


def _kind_lines(page: Page) -> Iterator[str]:
    rows = [
        ("retry", page["retry"]),
        ("fallback", page["fallback"]),
        ("breaker", page["breaker"]),
        ("exit code", str(page["exit_code"])),
        ("classes", ", ".join(page["classes"]) or "none of its own"),
        *(("what to do", each) for each in page["suggestions"]),
    ]
    yield from columns(rows).splitlines()
    if page["breaker"] != _MOVES["verdict"]["none"]:
        yield from ("", "  A file may say otherwise, by kind or status, with `retry_on`, `fallback_on` and `trip_on`.")


def _component_lines(page: Page) -> Iterator[str]:
    if page["text"]:
        yield from (*_filled(page["text"]), "")
    facts = [
        ("place", page["place"]),
        ("a scalar sets", page["scalar"]),
        ("key", page["key_variable"]),
        ("model", page["default_model"]),
    ]
    known = [(name, text) for name, text in facts if text]
    if known:
        yield from (*columns(known).splitlines(), "")
    yield "Keys" if page["keys"] else "No keys."
    for key in page["keys"]:
        yield f"  {key['name']}: {key['takes']} = {key['default']}"
        if key["description"]:
            yield f"      {key['description']}"
    yield from ("", *_lists(page))


def _lists(page: Page) -> Iterator[str]:
    if page["errors"]:
        yield from ("Errors", *columns([(each["class"], each["kind"]) for each in page["errors"]]).splitlines(), "")
    if page["events"]:
        yield from ("Events", f"  {', '.join(page['events'])}", "")
    if page["examples"]:
        yield "Examples"
        for example in page["examples"]:
            yield from (f"  # {example['title']}", *textwrap.indent(example["yaml"], "  ").splitlines(), "")


def _filled(text: str) -> list[str]:
    """Paragraphs at terminal width; what is indented stays as it is."""
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        kept = any(line.startswith("  ") for line in paragraph.splitlines())
        lines += ["", *(paragraph.splitlines() if kept else textwrap.wrap(" ".join(paragraph.split()), 100))]
    return lines[1:]
