"""Limits that never apply, and what other policies can never do because of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations
from math import floor, inf
from typing import Any, Final

import msgspec

from wizard_dsl.compiler.program import ChainPlan, PolicyPlan, StepPlan, TargetPlan
from wizard_dsl.core.component import seconds
from wizard_dsl.core.units import parse_rate, show_duration
from wizard_dsl.lint.subject import Found, Subject, idle_for_all
from wizard_dsl.lint.time import deadline_of
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath
from wizard_dsl.spec.document import ChainEntry

#: Kinds that limit the attempts on a target.
_LIMITS: Final = frozenset({"rate_limit", "concurrency"})


class Place(msgspec.Struct, frozen=True):
    """The targets and chains of a file, with their places in it."""

    subject: Subject
    chain: ChainPlan
    entry: ChainEntry
    target: TargetPlan | None = None

    def of(self, plan: PolicyPlan, key: str) -> DocPath | None:
        """Where a key of a policy is written; None where it is a default."""
        if plan.origin[:1] == ("providers",):
            path: DocPath = (*plan.origin, key)
            return path if self.subject.written(path) else None
        index = None if self.target is None else self.target.index
        return self.subject.setting(self.entry, index, plan.type.name, key)

    def part(self, plan: PolicyPlan, part: str) -> DocPath:
        """Where a part of a policy above the strategy is written."""
        return self.of(plan, part) or plan.origin


def _targets(subject: Subject) -> Iterator[tuple[Place, TargetPlan]]:
    for name, chain in subject.program.chains.items():
        for target in chain.targets:
            yield Place(subject, chain, subject.document.chains[name], target), target


def _once(found: Iterator[Diagnostic]) -> Iterator[Diagnostic]:
    """What a set says is said for each chain that uses it."""
    seen: set[tuple[str, Any]] = set()
    for each in found:
        if (each.message, each.path) not in seen:
            seen.add((each.message, each.path))
            yield each


def _is_providers(plan: PolicyPlan) -> bool:
    return plan.origin[:1] == ("providers",)


# -- W140 -------------------------------------------------------------------------------------------


def w140_breaker_that_never_trips(subject: Subject) -> Iterator[Diagnostic]:
    """W140: the limit lets fewer attempts through in the breaker's window than it needs to open. Only where the file
    sets one of the two."""
    yield from _once(each for place, target in _targets(subject) for each in _never_trips(place, target))


def _never_trips(place: Place, target: TargetPlan) -> Iterator[Diagnostic]:
    for breaker in (plan for plan in target.ladder if plan.type.name == "circuit_breaker"):
        for limit, needed, most in starving(target, breaker):
            yield _no_trip(place, breaker, limit, needed, most)


def starving(target: TargetPlan, breaker: PolicyPlan) -> Iterator[tuple[PolicyPlan, dict[str, int], float]]:
    """The limits of a target that let too few attempts through for its breaker to open, with what it needs and what
    they let through."""
    config: Any = breaker.config
    needed = _needed(config)
    for limit in (plan for plan in target.ladder if plan.type.name == "rate_limit"):
        most = most_in(limit.config, seconds(config.window) or 0.0)
        if _covers(limit, breaker) and needed is not None and most < min(needed.values()):
            yield limit, needed, most


def _needed(config: Any) -> dict[str, int] | None:
    """Attempts in one window that each way to open takes, by the key that says so; None where there is no way."""
    needed = {}
    if config.failure_threshold != "off":
        needed["failure_threshold"] = config.failure_threshold
    if config.failure_ratio != "off" or config.slow_after != "off":
        needed["minimum_calls"] = config.minimum_calls
    return needed or None


def _covers(limit: PolicyPlan, breaker: PolicyPlan) -> bool:
    """Whether all that the breaker counts went through the limit."""
    if _is_providers(breaker):
        return _is_providers(limit)
    return getattr(limit.config, "per", "target") != "chain" or getattr(breaker.config, "per", "target") == "chain"


def most_in(config: Any, window: float) -> float:
    """Attempts that a limit lets through in `window` seconds, at most."""
    if not config.windows:
        burst: int = config.burst
        return floor(burst + parse_rate(config.rate).per_second * window + 1e-9)
    rates = [parse_rate(text) for text in config.windows]
    return min([inf, *(rate.amount * (floor(window / rate.period) + 1) for rate in rates if not rate.tokens)])


def _no_trip(place: Place, breaker: PolicyPlan, limit: PolicyPlan, needed: dict[str, int], most: float) -> Diagnostic:
    key = min(needed, key=lambda each: needed[each])
    at = place.of(breaker, key)
    other = place.of(limit, "windows") or place.of(limit, "rate") or limit.origin
    built_in = "" if at else " (built-in)"
    config: Any = breaker.config
    span = place.of(breaker, "window")
    assert place.target is not None
    values, own = shown(place, limit), "" if span else " (built-in)"
    related = [(other, "the limit")] if at else [(breaker.origin, "the breaker")] if breaker.origin else []
    return place.subject.warn(
        "W140",
        f"the breaker of {place.target.name} can never open: {key} {needed[key]}{built_in}, and rate_limit ({values}) "
        f"lets at most {most:g} attempts through in its window of {config.window}{own}",
        at or other,
        suggestion=f"set {key} to at most {max(1, int(most))}, or give the breaker a longer window",
        related=[*related, (span, "the window")] if span else related,
    )


def shown(place: Place, limit: PolicyPlan) -> str:
    """The values of a limit, and which of them are built in."""
    config: Any = limit.config
    if config.windows:
        return ", ".join(config.windows)
    values = {"rate": config.rate, "burst": config.burst}
    return ", ".join(
        f"{key} {value}" + ("" if place.of(limit, key) else " (built-in)") for key, value in values.items()
    )


# -- W141 -------------------------------------------------------------------------------------------


def w141_max_tokens_missing(subject: Subject) -> Iterator[Diagnostic]:
    """W141: a step without max_tokens under a limit of LLM tokens, which then has to reserve the most that its target
    could answer, or a guess."""
    for step in subject.program.steps:
        chain = None if step.chain is None else subject.program.chains.get(step.chain)
        if chain is None or step.type.name != "generate" or "max_tokens" in step.params:
            continue
        limit = _token_limit(Place(subject, chain, subject.document.chains[chain.name]), chain)
        if limit is not None:
            yield _reserves_a_guess(subject, step, limit)


def _token_limit(place: Place, chain: ChainPlan) -> DocPath | None:
    """Where a limit of LLM tokens is written that calls of a chain meet without a max_tokens."""
    for plan, part, own in parts(chain):
        if _counts_tokens(own):
            return (*place.part(plan, part), "windows")
    for target in (each for each in chain.targets if "max_tokens" not in each.params):
        at = msgspec.structs.replace(place, target=target)
        for plan in target.ladder:
            if plan.type.name == "rate_limit" and _counts_tokens(plan.config):
                return at.of(plan, "windows")
    return None


def parts(chain: ChainPlan) -> Iterator[tuple[PolicyPlan, str, Any]]:
    """The limits of admission."""
    for plan in (plan for plan in chain.outer if plan.type.name == "admission"):
        for part, own in plan.type.parts(plan.config).items():
            yield plan, part, own


def _counts_tokens(config: Any) -> bool:
    return any(parse_rate(text).tokens for text in config.windows)


def _reserves_a_guess(subject: Subject, step: StepPlan, limit: DocPath) -> Diagnostic:
    return subject.warn(
        "W141",
        f"step '{step.name}' sets no max_tokens, and its chain limits LLM tokens: each call reserves the longest "
        "answer of the model, or token_estimate",
        ("steps", step.name),
        suggestion="set max_tokens in the params of the prompt or the step",
        related=[(limit, "the limit")],
    )


# -- W142 -------------------------------------------------------------------------------------------


def w142_limit_that_never_applies(subject: Subject) -> Iterator[Diagnostic]:
    """W142: a limit, or a key of one, that another one leaves without effect."""
    rules: Sequence[Callable[[Subject], Iterator[Diagnostic]]] = (
        _wider_than_outer,
        _wider_part,
        _waits,
        _no_bucket,
        _per_of_a_provider,
    )
    yield from _once(each for rule in rules for each in rule(subject))


def _wider_than_outer(subject: Subject) -> Iterator[Diagnostic]:
    """A target's own limit that lets more through than the provider's, which every attempt meets as well."""
    for _, target in _targets(subject):
        for own, outer in combinations(target.ladder, 2):
            if own.type.name != outer.type.name or own.type.name not in _LIMITS:
                continue
            if _is_providers(own) == _is_providers(outer):
                continue
            own, outer = (outer, own) if _is_providers(own) else (own, outer)
            if own.origin and _implied(own.config, outer.config):
                yield subject.warn(
                    "W142",
                    f"{own.type.name} of {target.name} never applies: the one of its provider is as strict",
                    own.origin,
                    suggestion="lower it, or remove it",
                    related=[(outer.origin, "the provider's")],
                )


def _wider_part(subject: Subject) -> Iterator[Diagnostic]:
    """A limit of admission that a wider one already keeps: each session's above that of all sessions together."""
    for name, chain in subject.program.chains.items():
        place = Place(subject, chain, subject.document.chains[name])
        for (plan, outer, wide), (_, part, own) in combinations(parts(chain), 2):
            if _implied(own, wide):
                yield subject.warn(
                    "W142",
                    f"admission.{part} never applies: admission.{outer}, which counts more calls, is as strict",
                    place.part(plan, part),
                    suggestion=f"set it below admission.{outer}",
                    related=[(place.part(plan, outer), f"admission.{outer}")],
                )


def _implied(own: Any, outer: Any) -> bool:
    """Whether whatever passes `outer` passes `own`, too."""
    if hasattr(own, "limit"):
        most = (own.limit or own.adaptive.min, outer.limit or outer.adaptive.max)
        return bool(most[0] >= most[1])
    if own.windows and outer.windows:
        wide = [parse_rate(text) for text in outer.windows]
        return all(
            any(
                rate.tokens == each.tokens and rate.period == each.period and each.amount >= rate.amount
                for rate in wide
            )
            for each in map(parse_rate, own.windows)
        )
    if own.windows or outer.windows:
        return False
    return bool(own.burst >= outer.burst and parse_rate(own.rate).per_second >= parse_rate(outer.rate).per_second)


def _waits(subject: Subject) -> Iterator[Diagnostic]:
    """A max_wait that the deadline always cuts short."""
    for place, plan, own, written in _limits(subject):
        path = written("max_wait")
        limit = deadline_of(subject, place.chain, place.entry)
        if path is not None and own.max_wait and (seconds(own.max_wait) or 0.0) > limit.seconds:
            yield subject.warn(
                "W142",
                f"max_wait {own.max_wait} of {plan.type.name} is never reached: the {limit.words('deadline')} "
                "is earlier",
                path,
                suggestion=f"set it below {show_duration(limit.seconds)}",
                related=[(limit.at, "the deadline")] if limit.at is not None else [],
            )


def _no_bucket(subject: Subject) -> Iterator[Diagnostic]:
    """Windows replace the bucket: a rate or a burst beside them, or written over them for one target, says nothing."""
    for at, message, related in idle_for_all(_buckets(subject)):
        hint = "write it as a window, or remove it"
        yield subject.warn("W142", message, at, suggestion=hint, related=related)


def _buckets(subject: Subject) -> Iterator[tuple[DocPath, Found | None]]:
    for _, _, own, written in _limits(subject):
        windows = written("windows") if getattr(own, "windows", ()) else None
        for at in filter(None, map(written, ("rate", "burst"))):
            message = f"{_name(at)} has no effect: windows replace the bucket"
            yield at, None if windows is None else (at, message, [(windows, "the windows")])


def _name(at: DocPath) -> str:
    """`rate_limit.rate`, `admission.session.rate`."""
    kind = next(index for index, part in enumerate(at) if part in {"rate_limit", "admission"})
    return ".".join(map(str, at[kind:]))


def _per_of_a_provider(subject: Subject) -> Iterator[Diagnostic]:
    """What stands under a provider has one state for the provider and its key, whatever `per` says."""
    for place, plan, _, _ in _limits(subject):
        at = place.of(plan, "per") if _is_providers(plan) else None
        if at is not None:
            message = f"{plan.type.name}.per has no effect under a provider: all its targets share one {plan.type.name}"
            hint = "remove it, or write the policy under the chain or in a set"
            yield subject.warn("W142", message, at, suggestion=hint)


def _limits(subject: Subject) -> Iterator[tuple[Place, PolicyPlan, Any, Callable[[str], DocPath | None]]]:
    """Every limit, its settings, and what tells where a key of it is written; None where that is built in."""
    for place, target in _targets(subject):
        for plan in target.ladder:
            if plan.type.name in _LIMITS:
                yield place, plan, plan.config, partial(place.of, plan)
    for name, chain in subject.program.chains.items():
        place = Place(subject, chain, subject.document.chains[name])
        for plan, part, own in parts(chain):
            yield place, plan, own, partial(_below, subject, place.part(plan, part))


def _below(subject: Subject, part: DocPath, key: str) -> DocPath | None:
    return (*part, key) if subject.written((*part, key)) else None
