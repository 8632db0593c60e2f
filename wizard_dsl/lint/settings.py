"""Keys of one policy that contradict each other: each kind's own `check`, at the place that sets them."""

from __future__ import annotations

from collections.abc import Iterator

from wizard_dsl.compiler.program import PolicyPlan
from wizard_dsl.lint.subject import Subject
from wizard_dsl.spec.diagnostics import Diagnostic


def w113_contradicting_settings(subject: Subject) -> Iterator[Diagnostic]:
    """W113: what a policy kind says about its own keys. Built-in settings are not the file's fault."""
    for plan in _plans(subject):
        if plan.origin:
            for sentence in plan.type.check(plan.config):
                yield subject.warn("W113", f"{plan.type.name}: {sentence}", plan.origin)


def _plans(subject: Subject) -> Iterator[PolicyPlan]:
    for chain in subject.program.chains.values():
        yield from chain.outer
        yield from chain.shared
        for target in chain.targets:
            yield from target.ladder
