"""Conditions of steps that decide nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from typing import Any, Final

from wizard_dsl.compiler.program import StepPlan
from wizard_dsl.core.errors import StepFailed
from wizard_dsl.lint.subject import Subject
from wizard_dsl.prompts.names import GLOBALS
from wizard_dsl.prompts.template import bind
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath

#: Combinations of values that are tried for one condition.
_MOST: Final = 256
_Path = tuple[str, ...]


def w184_constant_condition(subject: Subject) -> Iterator[Diagnostic]:
    """W184: `when` says the same for all values that the schemas of inputs and steps admit, and what needs the step to
    have run never does."""
    never: dict[str, str] = {}
    known: dict[str, set[bool]] = {}
    for step in subject.program.steps:
        at: DocPath = ("steps", step.name, "when")
        blocked = next((need for need, how in step.needs.items() if how == "ran" and need in never), None)
        text = "" if step.when is None else step.when.source
        if text not in known:
            known[text] = _says(subject, step)
        said = known[text]
        if blocked is not None:
            never[step.name] = f"it needs '{blocked}', which never runs"
            at = ("steps", step.name)
        elif said == {False}:
            never[step.name] = "its condition is false for every value that the schemas admit"
        elif said == {True}:
            why = "is true for every value that the schemas admit"
            yield subject.warn("W184", f"the condition of '{step.name}' {why}", at, suggestion="remove it")
        if step.name in never:
            hint = "mend the condition, or the enum" if at[-1] == "when" else None
            message = f"step '{step.name}' never runs: {never[step.name]}"
            yield subject.warn("W184", message, at, suggestion=hint)


def _says(subject: Subject, step: StepPlan) -> set[bool]:
    """What the condition comes to; nothing where that cannot be told."""
    if step.when is None:
        return set()
    paths = {(use.name, *use.path): None for use in step.when.uses if use.name not in GLOBALS}
    domains: dict[_Path, list[Any]] = {}
    for path in paths:
        values = _domain(subject, path)
        if values is None:
            return set()
        domains[path] = values
    if prod(map(len, domains.values())) > _MOST:
        return set()
    try:
        tried = product(*domains.values())
        return {bool(step.when.evaluate(bind(_scope(dict(zip(domains, values, strict=True)))))) for values in tried}
    except StepFailed:
        return set()


def _domain(subject: Subject, path: tuple[Any, ...]) -> list[Any] | None:
    """Every value that may stand at a path; None where they are too many, or not known."""
    if not all(isinstance(part, str) for part in path):
        return None
    if path[0] != "steps":
        spec = subject.program.inputs.get(path[0])
        return None if spec is None else _values(_below(spec.schema, path[1:]))
    if len(path) < 3 or path[1] not in subject.document.steps:
        return None
    if path[2] == "skipped" and len(path) == 3:
        return [False, True]
    step = subject.program.step(path[1])
    schema = getattr(getattr(step.config, "output", None), "schema", None)
    if path[2] != "json" or schema is None or step.for_each is not None or isinstance(step.on_error, Mapping):
        return None
    return _values(_below(schema, path[3:]))


def _below(schema: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        properties = schema.get("properties") if isinstance(schema, Mapping) else None
        schema = properties.get(key) if isinstance(properties, Mapping) else None
    return schema


def _values(schema: Any) -> list[Any] | None:
    if not isinstance(schema, Mapping):
        return None
    if "const" in schema:
        return [schema["const"]]
    if isinstance(schema.get("enum"), list):
        return list(schema["enum"])
    return [False, True] if schema.get("type") == "boolean" else None


def _scope(values: Mapping[_Path, Any]) -> dict[str, Any]:
    """Values by their paths, as a condition sees them."""
    made: dict[str, Any] = {}
    for path, value in values.items():
        inner = made
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
        inner[path[-1]] = value
    return made
