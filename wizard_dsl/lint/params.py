"""Parameters that a provider's protocol does not have."""

from __future__ import annotations

from collections.abc import Iterator

from wizard_dsl.compiler.program import StepPlan
from wizard_dsl.lint.subject import Subject
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath


def w114_ignored_parameter(subject: Subject) -> Iterator[Diagnostic]:
    """W114: a step sets a common parameter that a target of its chain has to leave out."""
    for step in subject.program.steps:
        chain = None if step.chain is None else subject.program.chains.get(step.chain)
        for target in chain.targets if chain is not None else ():
            for name in sorted(target.type.ignores & {*step.params, *target.params}):
                message = f"'{name}' does not exist at '{target.name}' ({target.type.name}) and is left out there"
                yield subject.warn("W114", message, place_of(subject, step, name))


def place_of(subject: Subject, step: StepPlan, name: str) -> DocPath:
    """Where the parameter is written, as near as it is known: the step's own, else its prompt's, else the step."""
    prompt = getattr(step.config, "prompt", None)
    candidates: list[DocPath] = [("steps", step.name, "params", name), ("steps", step.name, "prompt", "params", name)]
    if isinstance(prompt, str):
        candidates.append(("prompts", prompt, "params", name))
    return next((path for path in candidates if subject.written(path)), ("steps", step.name))
