"""Budgets that cannot do what they say. Prices come from the file, the provider's type, or the price library, which is
loaded only for a file that has budgets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from wizard_dsl.compiler.facts import known_facts
from wizard_dsl.compiler.program import StepPlan, TargetPlan
from wizard_dsl.core import units
from wizard_dsl.core.budget import most_output, usd, worst_case
from wizard_dsl.core.messages import Request
from wizard_dsl.lint.subject import Subject
from wizard_dsl.providers._prices import library
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath

_SECTION: DocPath = ("budgets",)


def w144_budget_without_bound(subject: Subject) -> Iterator[Diagnostic]:
    """W144: under a budget, a target whose price is not known, or whose answer is bounded by its window alone."""
    if not subject.program.budgets:
        return
    for path, target, steps in _asked(subject):
        says = _what_is_missing(target, [_request(step) for step in steps])
        if says is not None:
            related = [(_SECTION, "the budgets")] if subject.written(_SECTION) else []
            yield subject.warn("W144", says[0], path, suggestion=says[1], related=related)


def _what_is_missing(target: TargetPlan, requests: list[Request]) -> tuple[str, str] | None:
    facts = known_facts(target, library)
    models = f"providers.{target.provider}.models.{target.model}"
    if facts.prices is None:
        message = f"there are budgets, and the price of {target.name} is not known"
        return f"{message}: one that stops never lets it be asked", f"state it: {models}.prices"
    if facts.prices.output == 0 or facts.max_output is not None:
        return None
    blind = msgspec.structs.replace(facts, context=None)
    if all(most_output(each, target.params, blind) is not None for each in requests):
        return None
    hint = f"set max_tokens in the prompt, the step or the target, or state {models}.max_output"
    if facts.context is None:
        return (
            f"there are budgets, and nothing bounds an answer of {target.name}: one that stops never lets it be asked",
            hint,
        )
    most = units.show_money(facts.context * facts.prices.output / 1e6)
    return f"there are budgets, and each attempt on {target.name} reserves its whole window of output, {most}", hint


def w145_budget_below_one_attempt(subject: Subject) -> Iterator[Diagnostic]:
    """W145: a limit that no attempt of some step fits, however short its prompt; or none on one of its targets."""
    budgets = subject.document.file.budgets
    for name in budgets.__struct_fields__:
        limit = getattr(budgets, name)
        if limit is None:
            continue
        degrades = getattr(limit, "then", "stop") != "stop"
        for step in subject.program.steps if not degrades else ():
            costs = _costs(subject, step)
            dear = [each for each in costs if each[0] > _dollars(limit)]
            if dear and len(dear) == len(costs):
                yield _below_all(subject, name, step, min(dear))
        if not degrades or name != "session":  # a run without a session has the choice of all
            yield from _below_one(subject, name, _dollars(limit), degrades)


def _below_all(subject: Subject, name: str, step: StepPlan, least: tuple[float, str]) -> Diagnostic:
    limit = units.show_money(_dollars(getattr(subject.document.file.budgets, name)))
    message = (
        f"the {name} budget of {limit} is below one attempt of step '{step.name}': at least "
        f"{units.show_money(least[0])}, on {least[1]}"
    )
    hint = f"raise budgets.{name}, or lower max_tokens"
    related: list[tuple[DocPath, str]] = [(("steps", step.name), "the step")]
    return subject.warn("W145", message, (*_SECTION, name), suggestion=hint, related=related)


def _below_one(subject: Subject, name: str, limit: float, degrades: bool) -> Iterator[Diagnostic]:
    """Targets that the budget leaves out for every step that asks them, while others fit; or, where it degrades, while
    another one is cheaper."""
    for path, target, steps in _asked(subject):
        costs = {step.name: dict((who, cost) for cost, who in _costs(subject, step)) for step in steps}
        own = [each.get(target.name) for each in costs.values()]
        least = min((cost for cost in own if cost is not None), default=0.0)
        fits = any(cost <= limit for each in costs.values() for cost in each.values())
        if degrades:
            others = [each for each in subject.program.chains[str(path[1])].targets if each is not target]
            fits = all(any(_is_cheaper(each, target, step) for each in others) for step in steps)
        if None not in own and least > limit and fits:
            where = " in a session" if name == "session" else ""  # other runs do not spend of it
            message = (
                f"{target.name} is never asked{where}: an attempt costs at least {units.show_money(least)}, and the "
                f"{name} budget is {units.show_money(limit)}"
            )
            hint = f"raise budgets.{name}, lower max_tokens, or remove the target"
            related: list[tuple[DocPath, str]] = [((*_SECTION, name), f"the {name} budget")]
            yield subject.warn("W145", message, path, suggestion=hint, related=related)


def _costs(subject: Subject, step: StepPlan) -> list[tuple[float, str]]:
    """The least that each target of a step reserves for an attempt, in US dollars; nothing of those that are not
    known, which may be less."""
    found: list[tuple[float, str]] = []
    for target in () if step.chain is None else subject.program.chains[step.chain].targets:
        worst = worst_case(_request(step), target.params, known_facts(target, library))
        found.append((0.0 if worst.amount is None else usd(worst.amount), target.name))
    return found


def w146_budget_above_a_wider_one(subject: Subject) -> Iterator[Diagnostic]:
    """W146: a month that stops may cost less than one of its days, or a day less than one of its runs: the limit of the
    part never applies."""
    budgets = subject.document.file.budgets
    for part, whole in (("run", "session"), ("run", "day"), ("run", "month"), ("day", "month")):
        own, wider = getattr(budgets, part), getattr(budgets, whole)
        if own is None or wider is None or getattr(wider, "then", "stop") != "stop":
            continue
        most, less = _dollars(own), _dollars(wider)
        if less < most:
            message = f"the {part} budget ({units.show_money(most)}) is above that of the {whole}"
            yield subject.warn(
                "W146",
                f"{message} ({units.show_money(less)}): it never applies",
                (*_SECTION, part),
                related=[((*_SECTION, whole), f"the {whole}")],
            )


def _is_cheaper(one: TargetPlan, other: TargetPlan, step: StepPlan) -> bool:
    """Whether an attempt on `one` may cost less than on `other`, however long the prompt is."""
    facts = known_facts(one, library), known_facts(other, library)
    prices = [each.prices for each in facts if each.prices is not None and not each.prices.tiers]
    worst = [worst_case(_request(step), each.params, own).amount for each, own in zip((one, other), facts, strict=True)]
    if len(prices) < len(facts) or worst[0] is None or worst[1] is None:
        return False
    inputs = [max(each.input, each.cached or 0.0) for each in prices]
    return inputs[0] <= inputs[1] and worst[0] + 1 < worst[1]  # each is rounded


def _dollars(limit: Any) -> float:
    return units.parse_money(limit if isinstance(limit, str) else limit.limit)


def _asked(subject: Subject) -> Iterator[tuple[DocPath, TargetPlan, list[StepPlan]]]:
    """Each target of a chain that steps ask, where it is written, and those steps."""
    for name, chain in subject.program.chains.items():
        steps = [step for step in subject.program.steps if step.chain == name]
        for target in chain.targets if steps else ():
            yield ("chains", name, "targets", target.index), target, steps


def _request(step: StepPlan) -> Request:
    """The least that a step asks."""
    params: Mapping[str, Any] = step.params
    return Request(params=dict(params), kind="embed" if step.type.name == "embed" else "generate")


BUDGET_RULES: Final = (w144_budget_without_bound, w145_budget_below_one_attempt, w146_budget_above_a_wider_one)
