"""The canonical ladder: what wraps what, and how policies are inherited."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from wizard_dsl.compiler.program import PolicyPlan
from wizard_dsl.core.component import PolicyConfig, PolicyType

PolicyMap = dict[str, Any]

#: What lies under every chain that names no set: everything at its defaults.
BUILT_IN_DEFAULT: PolicyMap = {"timeout": {}, "retry": {}, "retry_budget": {}, "circuit_breaker": {}}


def inherit(*layers: PolicyMap) -> PolicyMap:
    """Merge policies kind by kind, later layers over earlier ones: maps merge, lists and scalars replace, `off`
    removes a policy, and a map after `off` starts from the defaults again."""
    merged: PolicyMap = {}
    for layer in layers:
        for kind, own in layer.items():
            below = merged.get(kind)
            merged[kind] = _merge(below, own) if isinstance(below, dict) and isinstance(own, dict) else own
    return merged


def _merge(below: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in own.items():
        known = merged.get(key)
        merged[key] = _merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def configured(policies: PolicyMap) -> dict[str, dict[str, Any]]:
    """The policies that are there, without those turned off."""
    return {kind: own for kind, own in policies.items() if own != "off"}


def convert(type: PolicyType, raw: dict[str, Any]) -> PolicyConfig:
    """The config of raw keys; raises msgspec.ValidationError."""
    return msgspec.convert(raw, type.config)


def in_order(plans: Iterable[PolicyPlan], stack: Sequence[str] | None) -> tuple[PolicyPlan, ...]:
    """Ladder order, outermost first; a `stack` moves the kinds it names into its own order.

    Kinds that a stack leaves out keep their canonical place, relative to their neighbours outside of it.
    """
    canonical = sorted(plans, key=lambda plan: (plan.type.rung, plan.type.name))
    if stack is None:
        return tuple(canonical)
    place = {kind: index for index, kind in enumerate(stack)}
    moved = iter(sorted((p for p in canonical if p.type.name in place), key=lambda p: place[p.type.name]))
    return tuple(next(moved) if plan.type.name in place else plan for plan in canonical)


def around_attempt(plans: Sequence[PolicyPlan], budget: PolicyPlan) -> tuple[PolicyPlan, ...]:
    """The budget directly around the attempt and its timeouts, whatever a stack does with the rest: a reservation is
    that of one attempt."""
    place = len(plans)
    while place and plans[place - 1].type.rung > budget.type.rung:
        place -= 1
    return (*plans[:place], budget, *plans[place:])


#: Pairs (outer, inner) that do not make sense, and what happens then.
ODD_PAIRS: tuple[tuple[str, str, str], ...] = (
    ("retry", "cache", "each repeat looks into the cache again, and a stored answer hides that the target failed"),
    ("circuit_breaker", "retry", "the breaker sees only the last of several attempts, so a failing target stays open"),
    ("timeout", "retry", "one attempt's timeout cuts all attempts together, and their delays"),
    ("rate_limit", "retry", "repeats take no tokens, so the provider's limit is exceeded when it hurts most"),
    ("concurrency", "retry", "a place is held while the retry sleeps"),
    ("circuit_breaker", "rate_limit", "a half-open lease is held while the call queues for a token"),
    ("circuit_breaker", "concurrency", "a half-open lease is held while the call queues for a place"),
    ("timeout", "rate_limit", "the wait for a token counts against the attempt, and the provider is blamed for it"),
    ("timeout", "concurrency", "the wait for a place counts against the attempt, and the provider is blamed for it"),
    ("timeout", "circuit_breaker", "the gate stands behind the timer instead of directly before sending"),
    ("contract", "cache", "an answer that breaks the contract may be stored and served again"),
    ("contract", "deadline", "a repair starts with a deadline of its own"),
    ("admission", "cache", "an answer that is stored already takes a turn"),
    ("contract", "admission", "each repair takes a turn of its own"),
    ("retry", "admission", "each repeat takes a turn of its own"),
    ("cache", "deadline", "those who follow a call in flight wait without a deadline of their own"),
)


def odd_pairs(order: Sequence[str]) -> list[tuple[str, str, str]]:
    """The pairs of a stack that stand in an order without sense, each with the consequence."""
    place = {kind: index for index, kind in enumerate(order)}
    return [pair for pair in ODD_PAIRS if pair[0] in place and pair[1] in place and place[pair[0]] < place[pair[1]]]
