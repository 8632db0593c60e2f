"""Orders of policies, written by hand, that defeat one of them."""

from __future__ import annotations

from collections.abc import Iterator

from wizard_dsl.compiler.ladder import odd_pairs
from wizard_dsl.compiler.program import ChainPlan
from wizard_dsl.lint.subject import Subject
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath
from wizard_dsl.spec.document import ChainEntry


def w112_odd_order(subject: Subject) -> Iterator[Diagnostic]:
    """W112: a `stack` puts one policy around another that should be around it. Looks at the stack as written, and
    at the ladders it leads to, for kinds that it does not name keep their place."""
    for name, plan in subject.program.chains.items():
        entry = subject.document.chains[name]
        if entry.stack is None:
            continue
        for outer, inner, consequence in _pairs(plan, entry.stack):
            message = f"`stack` puts {outer} around {inner}: {consequence}"
            hint = f"name {inner} before {outer}, or leave `stack` out"
            yield subject.warn("W112", message, _place(subject, entry), suggestion=hint)


def _pairs(plan: ChainPlan, stack: tuple[str, ...]) -> list[tuple[str, str, str]]:
    outer = [each.type.name for each in plan.outer]
    found = odd_pairs(stack)
    for target in plan.targets:
        found += odd_pairs([*outer, *dict.fromkeys(each.type.name for each in target.ladder)])
    return list(dict.fromkeys(found))


def _place(subject: Subject, entry: ChainEntry) -> DocPath:
    own: DocPath = ("chains", entry.name, "policies", "stack")
    return own if subject.written(own) else ("policies", entry.use or "default", "stack")
