"""Rules of third parties. What goes wrong in foreign code is a finding that names who wrote it, never a crash: a file
that was not looked at by every rule must not pass for one that was."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from wizard_dsl.core.component import RuleFinding, RuleType
from wizard_dsl.lint.subject import Subject
from wizard_dsl.spec.diagnostics import Diagnostic, Place, Related, finding

if TYPE_CHECKING:
    from wizard_dsl.registry import Problem, Registry


def broken_rules(problems: Iterable[Problem]) -> list[Diagnostic]:
    """E099 for each rule that is announced and cannot be used."""
    return [
        finding(
            "E099",
            f"the rule {each.name} of {each.distribution} cannot be used: {each.reason}",
            Place(each.distribution, 0, 0),
            suggestion=f"pip uninstall {each.distribution}, or set WIZARD_PLUGINS= to do without plug-ins",
        )
        for each in problems
        if each.group == "lint_rules"
    ]


def found_by_plugins(subject: Subject, registry: Registry) -> list[Diagnostic]:
    """What the installed rules find in a file; E099 for one that fails at it."""
    return [each for rule in registry.rules() for each in _found(rule, subject, registry)]


def _found(rule: RuleType, subject: Subject, registry: Registry) -> list[Diagnostic]:
    try:
        return [warning(rule, each, subject) for each in rule.check(subject)]
    except Exception as error:
        distribution = registry.distribution("lint_rules", rule.name)
        return [
            finding(
                "E099",
                f"the rule {rule.name} of {distribution} failed: {type(error).__name__}: {error}",
                Place(subject.compiled.loaded.places.value_at(()).file, 0, 0),
                suggestion=f"tell the authors of {distribution}, or set WIZARD_PLUGINS= to do without plug-ins",
            )
        ]


def warning(rule: RuleType, each: RuleFinding, subject: Subject) -> Diagnostic:
    """A finding of a rule as a warning at its place. Raises TypeError where it is none."""
    if not isinstance(each, RuleFinding):
        raise TypeError(f"it gives a {type(each).__name__}, not a RuleFinding")
    places = subject.compiled.loaded.places
    path = tuple(each.path)
    place = places.key_at(path) if each.key else places.value_at(path)
    return Diagnostic(
        code=rule.name,
        severity="warning",
        message=each.message,
        file=place.file,
        line=place.line,
        column=place.column,
        path=path,
        suggestion=each.suggestion,
        related=tuple(Related(*places.value_at(tuple(other)), text) for other, text in each.related),
    )
