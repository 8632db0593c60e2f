"""Keys of one policy that contradict each other: each kind's own `check`, at the place that sets them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wizard_dsl.compiler.program import PolicyPlan
from wizard_dsl.core.units import parse_ratio
from wizard_dsl.lint.subject import Subject
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath
from wizard_dsl.spec.document import ChainEntry


def w113_contradicting_settings(subject: Subject) -> Iterator[Diagnostic]:
    """W113: what a policy kind says about its own keys, and the like of budgets. Built-in settings are not the file's
    fault."""
    for entry, index, plan in _plans(subject):
        for sentence in plan.type.check(plan.config) if plan.origin else ():
            others = _elsewhere(subject, entry, index, plan, sentence)
            yield subject.warn("W113", f"{plan.type.name}: {sentence}", plan.origin, related=others)
    yield from _of_budgets(subject)


def _plans(subject: Subject) -> Iterator[tuple[ChainEntry, int | None, PolicyPlan]]:
    for name, chain in subject.program.chains.items():
        entry = subject.document.chains[name]
        for plan in (*chain.outer, *chain.shared):
            yield entry, None, plan
        for target in chain.targets:
            for plan in target.ladder:
                yield entry, target.index, plan


def _elsewhere(
    subject: Subject, entry: ChainEntry, index: int | None, plan: PolicyPlan, sentence: str
) -> list[tuple[DocPath, str]]:
    """The keys that a sentence names, where they are set on another line than the policy: by a set, for example."""
    words = sentence.replace(":", " ").split()
    places = subject.compiled.loaded.places
    here = places.value_at(plan.origin)
    found = []
    for key in (each for each in plan.config.__struct_fields__ if each in words):
        own: DocPath = (*plan.origin, key)
        at = own if plan.origin[:1] == ("providers",) else subject.setting(entry, index, plan.type.name, key)
        if at is not None and places.value_at(at)[:2] != here[:2]:
            found.append((at, key))
    return found


def _of_budgets(subject: Subject) -> Iterator[Diagnostic]:
    """A warning above a limit that stops. One that degrades lets the cheapest target pass, and so may be passed."""
    budgets: Any = subject.document.file.budgets
    for name in budgets.__struct_fields__:
        limit = getattr(budgets, name)
        if limit is None or isinstance(limit, str) or limit.then != "stop" or parse_ratio(limit.warn_at) <= 1:
            continue
        message = f"budgets: warn_at ({limit.warn_at}) is above 100% of a limit that stops: it is never reached"
        others: list[tuple[DocPath, str]] = [(("budgets", name, "limit"), "the limit")]
        yield subject.warn("W113", message, ("budgets", name, "warn_at"), suggestion="lower it", related=others)
