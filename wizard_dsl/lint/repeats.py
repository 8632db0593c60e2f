"""Repeats and breakers: settings that can never act, and ladders that do not fit the deadline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import Any

import msgspec

from wizard_dsl.compiler.program import ChainPlan, PolicyPlan, TargetPlan
from wizard_dsl.core import units
from wizard_dsl.core.component import seconds
from wizard_dsl.lint.limits import starving
from wizard_dsl.lint.subject import Subject
from wizard_dsl.lint.time import Limit, deadline_of
from wizard_dsl.policies._backoff import MODES, plain
from wizard_dsl.policies._retry_when import most_attempts
from wizard_dsl.policies.retry import backoff
from wizard_dsl.policies.timeout import TimeoutConfig
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath
from wizard_dsl.spec.document import ChainEntry


class Place(msgspec.Struct, frozen=True):
    """One policy before one target of a chain."""

    subject: Subject
    entry: ChainEntry
    chain: ChainPlan
    target: TargetPlan
    plan: PolicyPlan

    @property
    def config(self) -> Any:
        return self.plan.config

    def at(self, key: str) -> DocPath | None:
        """Where the file sets `key` of it; None where that is built in."""
        if self.plan.origin[:1] == ("providers",):
            path: DocPath = (*self.plan.origin, key)
            return path if self.subject.written(path) else None
        return self.subject.setting(self.entry, self.target.index, self.plan.type.name, key)


def places(subject: Subject, kind: str) -> Iterator[Place]:
    for name, chain in subject.program.chains.items():
        entry = subject.document.chains[name]
        for target in chain.targets:
            for plan in (each for each in target.ladder if each.type.name == kind):
                yield Place(subject, entry, chain, target, plan)


def backoffs(place: Place) -> Iterator[tuple[DocPath, str]]:
    """Where the back-off of single kinds is written, for one target."""
    for path, policies in place.subject.places_of(place.entry, place.target.index):
        retry = policies.get("retry")
        for kind in retry.get("backoff", {}) if isinstance(retry, dict) else ():
            yield (*path, "retry", "backoff", kind), kind


def w154_breaker_never_acts(subject: Subject) -> Iterator[Diagnostic]:
    """W154: a ratio of slow attempts is set where nothing can be slow, in none of the chains that share the setting; or
    minimum_calls, and no ratio can open it; a probe of what has no breaker; or `per` under a provider."""
    able: set[DocPath] = set()
    idle: dict[DocPath, tuple[str, Place]] = {}
    for place in places(subject, "circuit_breaker"):
        slow = place.config.slow_after != "off" or place.chain.strategy.name == "hedged"
        for key, acts in (("slow_ratio", slow), ("minimum_calls", slow or place.config.failure_ratio != "off")):
            at = place.at(key)
            if at is not None and acts:
                able.add(at)
            elif at is not None:
                idle.setdefault(at, (key, place))
    for at, (key, place) in idle.items():
        if at not in able:
            yield _never_slow(subject, at, key, place)
    yield from _nothing_to_probe(subject)
    yield from _per_of_a_provider(subject)


def _nothing_to_probe(subject: Subject) -> Iterator[Diagnostic]:
    """`probe_first` where no target has a breaker, or none that could be open."""
    breakers: dict[str, list[Place]] = {}
    for place in places(subject, "circuit_breaker"):
        breakers.setdefault(place.entry.name, []).append(place)
    for name, chain in subject.program.chains.items():
        own = breakers.get(name, [])
        if chain.when_all_open != "probe_first" or any(map(_can_open, own)):
            continue
        why = "no breaker of the chain can open" if own else "no target of the chain has a circuit_breaker"
        others = subject.places_of(subject.document.chains[name], None)
        found = [((*path, "circuit_breaker"), map_.get("circuit_breaker")) for path, map_ in others]
        related = [(at, "off" if value == "off" else "the breaker") for at, value in found if value is not None]
        message = f"when_all_open: probe_first never acts: {why}"
        yield subject.warn("W154", message, ("chains", name, "when_all_open"), suggestion="remove it", related=related)


def _can_open(place: Place) -> bool:
    config = place.config
    if config.failure_threshold == config.failure_ratio == config.slow_after == "off":
        return place.chain.strategy.name == "hedged"
    return next(starving(place.target, place.plan), None) is None


def _per_of_a_provider(subject: Subject) -> Iterator[Diagnostic]:
    """What stands under a provider has one state for the provider and its key, whatever `per` says."""
    found = [place.at("per") for place in places(subject, "circuit_breaker") if place.plan.origin[:1] == ("providers",)]
    for at in dict.fromkeys(each for each in found if each is not None):
        message = "per has no effect under a provider: all its targets share one circuit_breaker"
        hint = "remove it, or write the policy under the chain or in a set"
        yield subject.warn("W154", message, at, suggestion=hint)


def _never_slow(subject: Subject, at: DocPath, key: str, place: Place) -> Diagnostic:
    what = "nothing is ever slow" if key == "slow_ratio" else "no ratio can open the breaker"
    message = f"{key} of circuit_breaker never acts: {what} without slow_after or a hedged strategy"
    chain: DocPath = ("chains", place.entry.name)
    strategy: DocPath = (*chain, "strategy")
    off = place.at("slow_after")
    if off is not None:
        other = (off, "slow_after is off")
    else:
        other = (strategy if subject.written(strategy) else chain, "the chain that it serves is not hedged")
    hint = "set slow_after" if key == "slow_ratio" else "set failure_ratio, or slow_after"
    return subject.warn("W154", message, at, suggestion=hint, related=[other])


# -- the deadline -----------------------------------------------------------------------------------


def w156_wait_above_deadline(subject: Subject) -> Iterator[Diagnostic]:
    """W156: a wait after a 429 that the file allows is longer than the deadline, so that it never fits; or the one for
    a hedge."""
    for name, plan in subject.program.chains.items():
        entry = subject.document.chains[name]
        deadline = deadline_of(subject, plan, entry)
        for key in ("wait_up_to", "max_retry_after"):
            at: DocPath = ("chains", name, "on_rate_limit", key)
            text = getattr(entry.rate_limit, key)
            if subject.written(at) and units.parse_duration(text) > deadline.seconds:
                yield _unfit(subject, key, text, at, deadline)
        after = getattr(plan.strategy_config, "after", None)
        if isinstance(after, str) and after != "p95" and units.parse_duration(after) >= deadline.seconds:
            message = f"after {after} is not below the {deadline.words('deadline')}: there is never a hedge"
            related = [] if deadline.at is None else [(deadline.at, "the deadline")]
            hint = "lower it, or raise the deadline"
            yield subject.warn("W156", message, ("chains", name, "strategy", "after"), suggestion=hint, related=related)


def _unfit(subject: Subject, key: str, text: str, at: DocPath, deadline: Limit) -> Diagnostic:
    message = f"on_rate_limit.{key} {text} is above the {deadline.words('deadline')}: it is never waited for"
    related = [] if deadline.at is None else [(deadline.at, "the deadline")]
    return subject.warn("W156", message, at, suggestion=f"lower {key}, or raise the deadline", related=related)


def w159_ladder_longer_than_deadline(subject: Subject) -> Iterator[Diagnostic]:
    """W159: the attempts and delays that the file sets for a chain take longer, at worst, than the deadline. Hedges and
    parallel targets run beside each other; before a p95 is known there is no hedge."""
    for name, plan in subject.program.chains.items():
        entry = subject.document.chains[name]
        deadline = deadline_of(subject, plan, entry)
        spent = [each for each in map(_spent, places(subject, "retry")) if each.chain == name]
        longest = max(spent, key=lambda each: each.seconds, default=None)
        total = _whole([each.seconds for each in spent], plan)
        if longest is not None and longest.at is not None and total > deadline.seconds:
            yield _too_long(subject, longest, longest.at, total, deadline)


def _whole(spent: Sequence[float], plan: ChainPlan) -> float:
    """How long the targets take at worst, one after the other or, as far as the strategy has it so, at once."""
    if plan.strategy.name == "parallel":
        at_once = int(getattr(plan.strategy_config, "n", 1))
        return sum(max(spent[start : start + at_once]) for start in range(0, len(spent), at_once))
    after = getattr(plan.strategy_config, "after", "p95")
    if plan.strategy.name != "hedged" or after == "p95":
        return sum(spent)
    begun, ends = 0.0, list[float]()
    for each in spent:
        if ends:  # two are under way at most; where none is any more, the next begins at once
            free = max(begun + units.parse_duration(after), *sorted(ends)[:-1], 0.0)
            begun = min(free, max(ends))
        ends.append(begun + each)
    return max(ends, default=0.0)


class _Spent(msgspec.Struct, frozen=True):
    """What the file lets one target take at worst, and the setting that it is made of."""

    chain: str
    seconds: float
    at: DocPath | None
    words: str
    others: tuple[tuple[DocPath, str], ...] = ()


def _spent(place: Place) -> _Spent:
    """Nothing where the file says nothing of retry; else the delays, and the waits for a first chunk that it sets."""
    set_here = [at for at in map(place.at, ("max_attempts", "max_delay", "base", "multiplier", "backoff")) if at]
    if not set_here:
        return _Spent(place.entry.name, 0.0, None, "")
    times = most_attempts(place.config.when, place.config.max_attempts)
    mode = {**MODES, **place.config.backoff}.get("server", "exponential")
    pause = sum(plain(backoff(place.config), mode, k) for k in range(1, times))
    wait = _first_chunk(place)
    own = "" if place.at("max_attempts") else " (built-in)"
    shape = "" if {"base", "multiplier", "max_delay", "backoff"} & {str(at[-1]) for at in set_here} else " (built-in)"
    words = f"{units.show_duration(pause)} of delays{shape} between {times}{own} attempts"
    if wait:
        words = f"{times}{own} × {units.show_duration(wait)}, and {units.show_duration(pause)} of delays{shape}"
    others = tuple((at, str(at[-1])) for at in set_here[1:])
    return _Spent(place.entry.name, times * wait + pause, set_here[0], words, others)


def _first_chunk(place: Place) -> float:
    """The seconds that the file gives an attempt for its first content, its whole time at most; 0 where it says
    nothing."""
    if place.subject.setting(place.entry, place.target.index, "timeout", "first_chunk") is None:
        return 0.0
    limits = [plan.config for plan in place.target.ladder if plan.type.name == "timeout"]
    times = [(seconds(each.first_chunk), seconds(each.total)) for each in limits if isinstance(each, TimeoutConfig)]
    return max((min(first or 0.0, whole or inf) for first, whole in times), default=0.0)


def _too_long(subject: Subject, longest: _Spent, at: DocPath, total: float, deadline: Limit) -> Diagnostic:
    message = (
        f"the attempts of chain '{longest.chain}' may take {units.show_duration(total)} ({longest.words}, for one "
        f"target), longer than the {deadline.words('deadline')}: the last ones never begin"
    )
    line = subject.compiled.loaded.places.value_at
    related = [] if deadline.at is None else [(deadline.at, "the deadline")]
    related += [(other, key) for other, key in longest.others if line(other)[:2] != line(at)[:2]]
    return subject.warn("W159", message, at, suggestion="lower it, or raise the deadline", related=related)
