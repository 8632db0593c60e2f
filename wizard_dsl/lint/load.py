"""What may load a provider more than it can bear."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from wizard_dsl.lint.subject import Subject
from wizard_dsl.spec.diagnostics import Diagnostic

#: Kinds that an attempt needs a token or a place of.
_LIMITS: Final = frozenset({"rate_limit", "concurrency"})


def w133_hedge_without_limit(subject: Subject) -> Iterator[Diagnostic]:
    """W133: a chain hedges, and a target that may be a hedge has no limit of its own. The first is never one."""
    for name, plan in subject.program.chains.items():
        if plan.strategy.name != "hedged":
            continue
        free = [
            target.name for target in plan.targets[1:] if _LIMITS.isdisjoint(each.type.name for each in target.ladder)
        ]
        if free:
            yield subject.warn(
                "W133",
                f"chain '{name}' hedges with '{free[0]}', which has no rate_limit and no concurrency",
                ("chains", name, "strategy"),
                suggestion="add a limit, such as `concurrency: 8`, to the policies of the chain or the target",
            )
