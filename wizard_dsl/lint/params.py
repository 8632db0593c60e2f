"""Parameters that a provider's protocol does not have, or that nobody has as they are spelt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from wizard_dsl.compiler.program import StepPlan, TargetPlan
from wizard_dsl.lint.fixes import is_near
from wizard_dsl.lint.subject import Subject
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath

#: Common names that are long enough for one letter less to be a mistake and no other name.
_COMMON: Final = ("temperature", "max_tokens", "presence_penalty", "frequency_penalty", "reasoning_effort")


def w114_ignored_parameter(subject: Subject) -> Iterator[Diagnostic]:
    """W114: a step sets a common parameter that a target of its chain has to leave out, or a misspelt one."""
    told: set[DocPath] = set()
    for step, target in _asked(subject):
        for name in sorted(target.type.ignores & {*step.params, *target.params}):
            message = f"'{name}' does not exist at '{target.name}' ({target.type.name}) and is left out there"
            yield subject.warn("W114", message, place_of(subject, step, name, target))
        for name, meant in sorted(_misspelt(step, target)):
            at = place_of(subject, step, name, target)
            if at not in told:
                told.add(at)
                message = f"'{name}' is sent as it is, and no provider has it"
                yield subject.warn("W114", message, at, suggestion=f"did you mean '{meant}'?")


def _asked(subject: Subject) -> Iterator[tuple[StepPlan, TargetPlan]]:
    for step in subject.program.steps:
        chain = None if step.chain is None else subject.program.chains.get(step.chain)
        yield from ((step, target) for target in chain.targets) if chain is not None else ()


def _misspelt(step: StepPlan, target: TargetPlan) -> Iterator[tuple[str, str]]:
    for name in {*step.params, *target.params} - {*_COMMON}:
        yield from ((name, meant) for meant in _COMMON if is_near(name, meant))


def place_of(subject: Subject, step: StepPlan, name: str, target: TargetPlan | None = None) -> DocPath:
    """Where the parameter is written, as near as it is known: the target's own, else the step's, else its prompt's,
    else the step."""
    if target is not None and name in target.params:
        base: DocPath = ("chains", step.chain or "", "targets")
        own: DocPath = (*base, target.index, "params", name)
        return own if subject.own(base) else (*base, target.index)
    prompt = getattr(step.config, "prompt", None)
    candidates: list[DocPath] = [("steps", step.name, "params", name), ("steps", step.name, "prompt", "params", name)]
    if isinstance(prompt, str):
        candidates.append(("prompts", prompt, "params", name))
    return next((path for path in candidates if subject.written(path)), ("steps", step.name))
