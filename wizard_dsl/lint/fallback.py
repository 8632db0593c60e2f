"""Fallback targets that do not help: never reached, dead together with the others, or unable to do what is asked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Final

from wizard_dsl.compiler.facts import known_facts
from wizard_dsl.compiler.program import ChainPlan, StepPlan, TargetPlan
from wizard_dsl.core.errors import TABLE
from wizard_dsl.core.messages import Message, Request
from wizard_dsl.core.target import Facts
from wizard_dsl.lint.reservations import fixed, longest
from wizard_dsl.lint.subject import IN_PROCESS, Subject
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath
from wizard_dsl.strategies._losses import too_small

#: Strategies whose later targets are there for the failures of the earlier ones.
_IN_TURN: Final = frozenset({"sequential", "hedged"})
_ABILITIES: Final = ("tools", "images", "system")


def w180_fallback_never_reached(subject: Subject) -> Iterator[Diagnostic]:
    """W180: `fallback_on` and `on_rate_limit` leave no failure after which the second target of a chain is asked."""
    for name, plan in subject.program.chains.items():
        if plan.strategy.name != "sequential" or len(plan.targets) == 1:
            continue
        if any(_moves_on(kind, plan, subject) for kind in TABLE) or any(plan.fallback_on.values()):
            continue
        at: DocPath = ("chains", name, "fallback_on")
        message = f"no failure leads from '{plan.targets[0].name}' to '{plan.targets[1].name}': it is never asked"
        if "budget" not in plan.fallback_on:
            message += ", unless a file that runs this one has budgets"
        hint = "let a kind of failure move on, or remove the other targets"
        path: DocPath = ("chains", name, "targets")
        yield subject.warn("W180", message, at, suggestion=hint, related=[(path, "the targets")])


def _moves_on(kind: str, plan: ChainPlan, subject: Subject) -> bool:
    """What the strategy does after a failure of the kind, where that may happen in this chain at all."""
    said = plan.fallback_on.get(kind)
    if said is not None:
        return said
    if kind == "rate_limited":
        return plan.rate_limit.then == "fallback"
    if kind == "contract":
        return any(own.type.name == kind for step in _askers(subject, plan) for own in step.own())
    if kind == "mid_stream":
        return plan.mid_stream in {"restart", "continue"}
    if kind == "budget":
        return bool(subject.program.budgets)
    if kind == "unsupported":
        return any(getattr(_facts(plan.targets[0]), name) is False for name in _ABILITIES)
    return TABLE[kind].fallback != "no"


def w181_targets_share_their_fate(subject: Subject) -> Iterator[Diagnostic]:
    """W181: two providers are one endpoint with one key, or all targets of a chain are: what ends one ends all. Under a
    budget a second model of one provider may be there for its price."""
    seen: set[tuple[str, str]] = set()
    for name, plan in subject.program.chains.items():
        if plan.strategy.name not in _IN_TURN or len(plan.targets) == 1:
            continue
        fates = [_fate(each) for each in plan.targets]
        if fates[0] and len(set(fates)) == 1 and not subject.program.budgets:
            yield _all_share(subject, name, plan)
            continue
        for one, other in combinations(plan.targets, 2):
            pair = (one.provider, other.provider)
            if one.provider != other.provider and pair not in seen and _fate(one) and _fate(one) == _fate(other):
                seen.add(pair)
                message = f"providers '{one.provider}' and '{other.provider}' are one endpoint with one key"
                yield subject.warn(
                    "W181",
                    f"{message}: when it is down, refuses the key or has no quota left, both fail",
                    ("chains", name, "targets", other.index),
                    related=[(("chains", name, "targets", one.index), "the other target")],
                )


def _all_share(subject: Subject, name: str, plan: ChainPlan) -> Diagnostic:
    names = ", ".join(f"'{each.name}'" for each in plan.targets)
    message = f"{names} are one endpoint with one key: when it is down, refuses the key or has no quota left, all fail"
    hint = "add a target of another provider"
    return subject.warn("W181", message, ("chains", name, "targets"), suggestion=hint)


def _fate(target: TargetPlan) -> str:
    """Endpoint and key; empty for what runs in this process."""
    return "" if target.type.name in IN_PROCESS else target.key.removesuffix(f"|{target.model}")


def w182_fallback_that_can_do_less(subject: Subject) -> Iterator[Diagnostic]:
    """W182: a target is known to lack tools, images, system messages, or room, that a step of its chain asks for, and
    nothing allows the loss: it is skipped."""
    for name, plan in subject.program.chains.items():
        for target in plan.targets:
            found = next(filter(None, (_wrong(subject, target, step, plan) for step in _askers(subject, plan))), None)
            if found is not None:
                step, message, hint = found
                at: DocPath = ("chains", name, "targets", target.index)
                related = [(("steps", step.name), "the step")]
                yield subject.warn("W182", message, at, suggestion=hint, related=related)


def _wrong(subject: Subject, target: TargetPlan, step: StepPlan, plan: ChainPlan) -> tuple[StepPlan, str, str] | None:
    found = _lost(target, step, plan) or _no_room(subject, target, step, plan)
    return None if found is None else (step, *found)


def _lost(target: TargetPlan, step: StepPlan, plan: ChainPlan) -> tuple[str, str] | None:
    if step.prompt is None:
        return None
    facts = _facts(target)
    asks = {"tools": bool(step.tools), "images": step.prompt.has_images, "system": step.prompt.has_system}
    lost = [each for each in _ABILITIES if asks[each] and getattr(facts, each) is False and each not in plan.allow_loss]
    if not lost:
        return None
    words = " and ".join("system messages" if each == "system" else each for each in lost)
    message = f"'{target.name}' knows no {words}, which step '{step.name}' asks for: it is skipped"
    return message, f"use a model that does, or write allow_loss: [{', '.join(lost)}]"


def _no_room(subject: Subject, target: TargetPlan, step: StepPlan, plan: ChainPlan) -> tuple[str, str] | None:
    """Of each call, or of one with the longest inputs that fits another target."""
    facts = _facts(target)
    if facts.context is None or step.prompt is None:
        return None
    for messages, whose in ((fixed(step), "each call"), (longest(subject, step), "a call with the longest inputs")):
        if messages is None or not _is_too_small(target, step, messages):
            continue
        if whose == "each call" or not all(_is_too_small(each, step, messages) for each in plan.targets):
            message = f"the window of '{target.name}' ({facts.context} tokens) is too small for {whose} of step"
            return f"{message} '{step.name}': it is skipped", "lower maxLength or max_tokens, or use another model"
    return None


def _is_too_small(target: TargetPlan, step: StepPlan, messages: tuple[Message, ...]) -> bool:
    request = Request(messages=messages, params=dict(step.params), tools=tuple(step.tools))
    return too_small(_facts(target), request, target.name, target.params) is not None


def _askers(subject: Subject, plan: ChainPlan) -> list[StepPlan]:
    return [each for each in subject.program.steps if each.chain == plan.name and each.type.name == "generate"]


def _facts(target: TargetPlan) -> Facts:
    """What the file and the provider's type know; the price library, which is slow to load, is not asked."""
    return known_facts(target, lambda prices, model: Facts())


FALLBACK_RULES: Final = (w180_fallback_never_reached, w181_targets_share_their_fate, w182_fallback_that_can_do_less)
