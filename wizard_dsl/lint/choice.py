"""What a chain says of choosing among targets, where there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from wizard_dsl.compiler.program import ChainPlan, TargetPlan
from wizard_dsl.lint.subject import Subject
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath

_CHOOSE: Final = frozenset({"hedged", "parallel", "fastest", "adaptive", "weighted", "cheapest"})
#: With one target these still say whether it is waited for, a stream resumed, or an open breaker probed.
_NOT_OF_ORDER: Final = frozenset({"rate_limited", "server", "quota_exhausted", "mid_stream", "circuit_open"})


def w136_nothing_to_choose_from(subject: Subject) -> Iterator[Diagnostic]:
    """W136: a strategy, a rule of fallback, of broken streams, or of budgets that needs another target than there is.
    Only where the file says it."""
    for plan in subject.program.chains.values():
        yield from _of_the_strategy(subject, plan)
        yield from _of_parallel(subject, plan)
        yield from _of_the_draw(subject, plan)
        if len(plan.targets) == 1:
            yield from _of_fallback(subject, plan)
        yield from _of_resuming(subject, plan)
    yield from _of_degrading(subject)


def _of_the_strategy(subject: Subject, plan: ChainPlan) -> Iterator[Diagnostic]:
    at: DocPath = ("chains", plan.name, "strategy")
    if len(plan.targets) == 1 and plan.strategy.name in _CHOOSE and subject.written(at):
        message = (
            f"strategy {plan.strategy.name} has nothing to choose from: chain '{plan.name}' has one enabled target"
        )
        yield subject.warn("W136", message, at, suggestion="add a target, or remove it", related=[_targets(plan)])


def _of_parallel(subject: Subject, plan: ChainPlan) -> Iterator[Diagnostic]:
    at: DocPath = ("chains", plan.name, "strategy", "n")
    there = len(plan.targets)
    n = getattr(plan.strategy_config, "n", None)
    if plan.strategy.name != "parallel" or n is None or there == 1 or not subject.written(at):
        return
    if n == 1:
        message = "n: 1 asks one target at a time, as sequential does: nothing is parallel"
        hint = "raise n, or write strategy: sequential"
        kind: DocPath = ("chains", plan.name, "strategy", "type")
        yield subject.warn("W136", message, at, suggestion=hint, related=[(kind, "the strategy")])
    elif n > there:
        message = f"n: {n} is more than the {there} enabled targets of chain '{plan.name}'"
        yield subject.warn("W136", message, at, suggestion=f"lower it to {there}", related=[_targets(plan)])


def _of_the_draw(subject: Subject, plan: ChainPlan) -> Iterator[Diagnostic]:
    """Spares come in the order they are written, whoever asks."""
    at: DocPath = ("chains", plan.name, "strategy", "sticky")
    spares = [each for each in plan.targets if not each.weight]
    if plan.strategy.name == "weighted" and 0 < len(plan.targets) - 1 <= len(spares) and subject.written(at):
        message = f"sticky has nothing to choose from: of the targets of chain '{plan.name}' at most one has a weight"
        weights: list[DocPath] = [("chains", plan.name, "targets", each.index, "weight") for each in spares]
        related = [(each, "a spare") for each in weights]
        yield subject.warn("W136", message, at, suggestion="remove it, or give another one a weight", related=related)


def _of_fallback(subject: Subject, plan: ChainPlan) -> Iterator[Diagnostic]:
    for key in plan.fallback_on:
        if key in _NOT_OF_ORDER or key == "429" or key.startswith("5"):
            continue
        message = f"fallback_on.{key} decides nothing: chain '{plan.name}' has one enabled target"
        at: DocPath = ("chains", plan.name, "fallback_on", key)
        hint = "add a target, or remove it; to ask the same again, write it in retry_on"
        yield subject.warn("W136", message, at, suggestion=hint, related=[_targets(plan)])


def _of_resuming(subject: Subject, plan: ChainPlan) -> Iterator[Diagnostic]:
    """A broken stream goes on with a repeat on its target, or with another target."""
    at: DocPath = ("chains", plan.name, "on_mid_stream_error")
    if plan.mid_stream not in {"restart", "continue"} or not subject.written(at):
        return
    single = len(plan.targets) == 1
    reasons = [_no_repeat(each) for each in plan.targets]
    if not all(reasons) or not (single or plan.fallback_on.get("mid_stream") is False):
        return
    others = "one enabled target" if single else "a fallback_on that leaves mid_stream out"
    message = f"on_mid_stream_error: {plan.mid_stream} has nobody to go on with: {others}, and {reasons[0]}"
    rule: DocPath = ("chains", plan.name, "fallback_on", "mid_stream")
    related = [_targets(plan) if single else (rule, "the rule of fallback"), *_retry(subject, plan)]
    hint = f"{'add a target' if single else 'allow the fallback'}, or raise retry.max_attempts"
    yield subject.warn("W136", message, at, suggestion=hint, related=related)


def _no_repeat(target: TargetPlan) -> str:
    """Why a stream that breaks is not repeated on its target; empty where it is."""
    retry: Any = next((each.config for each in target.ladder if each.type.name == "retry"), None)
    if retry is None:
        return "no retry"
    if retry.max_attempts == 1:
        return "a retry of one attempt"
    return "" if retry.retry_on.get("mid_stream", True) else "a retry that leaves mid_stream out"


def _retry(subject: Subject, plan: ChainPlan) -> Iterator[tuple[DocPath, str]]:
    for path, policies in subject.places_of(subject.document.chains[plan.name], plan.targets[0].index):
        if "retry" in policies:
            yield (*path, "retry"), "the retry"
            return


def _of_degrading(subject: Subject) -> Iterator[Diagnostic]:
    """A budget that degrades, where no chain that is asked, here or in a file that a step runs, has a cheaper one."""
    program = subject.program
    used = [program.chains[name] for name in subject.compiled.used.chains if name in program.chains]
    if not used or any(len(plan.targets) > 1 for plan in used) or any(step.subprogram for step in program.steps):
        return
    limits: Mapping[str, Any] = subject.compiled.loaded.data.get("budgets") or {}
    for name, limit in limits.items():
        at: DocPath = ("budgets", name, "then")
        if isinstance(limit, dict) and limit.get("then") == "degrade":
            message = (
                "then: degrade stops nothing here: every chain has one enabled target, and the cheapest is always asked"
            )
            related = [_targets(plan) for plan in used]
            yield subject.warn("W136", message, at, suggestion="add a cheaper target, or write stop", related=related)


def _targets(plan: ChainPlan) -> tuple[DocPath, str]:
    return ("chains", plan.name, "targets"), f"the targets of '{plan.name}'"
