"""What rules of lint keep to: their page is right, they look at the file alone, and none of ours stops them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.core.component import RuleType
from wizard_dsl.core.regex import regex
from wizard_dsl.lint.plugins import warning
from wizard_dsl.lint.subject import Subject
from wizard_dsl.registry import Registry
from wizard_dsl.spec.diagnostics import Diagnostic, render_text
from wizard_dsl.testing._conformance_case import Case, expect, same

_NAME: Final = regex(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_TITLE: Final = 100
_HEAD: Final = "version: 1\nproviders: {local: {type: mock}}\nchains: {default: {targets: [local]}}\n"
#: Files of unusual shapes, that every rule gets through.
_SHAPES: Final = {
    "smallest": f"{_HEAD}steps: {{answer: {{prompt: {{user: Hello}}}}}}\n",
    "no call": "version: 1\nsteps: {text: {type: render, template: Hello}}\n",
    "a loop": f"{_HEAD}inputs: {{all: {{type: array}}}}\n"
    'steps: {each: {for_each: all, prompt: {user: "{{ item }}"}}}\n',
    "no policies": "version: 1\nproviders: {local: {type: mock}}\n"
    "chains: {default: {targets: [local, local/b], strategy: weighted, policies: {use: none}}}\n"
    "steps: {a: {prompt: {user: Hello}}, b: {prompt: {user: '{{ steps.a.text }}'}, when: steps.a.text != ''}}\n"
    "output: {text: '{{ steps.b.text }}'}\n",
}


def rule_cases(rule: RuleType) -> Iterator[Case]:
    yield Case(rule.name, "page", "", lambda: _described(rule))
    yield Case(rule.name, "finds", "", lambda: _finds(rule))
    yield Case(rule.name, "silent", "", lambda: same("its right example", _texts(rule, rule.good), ""))
    for title, text in {"bad": rule.bad, "good": rule.good, **_SHAPES}.items():
        yield Case(rule.name, "alone", title, partial(_alone, rule, text))


def linted(rule: RuleType, text: str) -> list[Diagnostic]:
    """What a rule finds in the text of a pipeline. Raises AssertionError where the text has errors."""
    compiled = compile_file("example.yaml", Registry(plugins=False), Sources(text=text))
    if compiled.program is None or compiled.loaded.document is None:
        raise AssertionError(f"the file has errors:\n{render_text(compiled.diagnostics)}")
    subject = Subject(compiled, compiled.program, compiled.loaded.document)
    return [warning(rule, each, subject) for each in rule.check(subject)]


def _texts(rule: RuleType, text: str) -> str:
    return render_text(linted(rule, text))


def _described(rule: RuleType) -> None:
    expect(_NAME.fullmatch(rule.name) is not None, f"its name is {rule.name!r}, and not such as acme.described")
    fits = 0 < len(rule.title) <= _TITLE and "\n" not in rule.title and not rule.title.endswith(".")
    expect(fits, f"its title is {rule.title!r}, not one line of at most {_TITLE} characters without a full stop")
    expect(rule.explanation.strip().endswith("."), f"its explanation is {rule.explanation!r}, and no sentence")


def _finds(rule: RuleType) -> None:
    found = linted(rule, rule.bad)
    expect(bool(found), "nothing is found in its wrong example")
    for each in found:
        expect(bool(each.message) and "\n" not in each.message, f"a message is {each.message!r}, not one line")
        expect(each.line > 0, f"a finding has no place: {each.path!r}")


def _alone(rule: RuleType, text: str) -> None:
    same("what it finds the second time", _texts(rule, text), _texts(rule, text))
