"""Caches that do not do what somebody may expect of them."""

from __future__ import annotations

from collections.abc import Iterator

from wizard_dsl.compiler.program import PolicyPlan
from wizard_dsl.core.component import seconds
from wizard_dsl.lint.params import place_of
from wizard_dsl.lint.subject import Subject
from wizard_dsl.policies.cache import CacheConfig
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath


def w150_cache_with_temperature(subject: Subject) -> Iterator[Diagnostic]:
    """W150: answers are meant to differ, and a cache gives the same one again."""
    seen: set[DocPath] = set()
    for step in subject.program.steps:
        for target in subject.program.chains[step.chain].targets if step.chain else ():
            cache = next((plan for plan, _ in _caches(subject, step.chain or "")), None)
            heat = target.params.get("temperature", step.params.get("temperature"))
            if cache is None or isinstance(heat, bool) or not isinstance(heat, (int, float)) or heat <= 0:
                continue
            at = place_of(subject, step, "temperature", target)
            if at not in seen:
                seen.add(at)
                message = f"temperature is {heat:g}, and the cache gives one of the answers again and again"
                hint = "set temperature to 0, or `cache: off`; a repeat index keeps samples apart"
                yield subject.warn("W150", message, at, suggestion=hint, related=[(cache.origin, "the cache")])


def w151_cache_setting_without_effect(subject: Subject) -> Iterator[Diagnostic]:
    """W151: a time of the cache that can never apply as it is written. Only where the file sets it."""
    for name in subject.program.chains:
        for key, message, other in [each for _, config in _caches(subject, name) for each in _idle(config)]:
            at, why = _set(subject, name, key), _set(subject, name, other)
            if at is not None:
                related = [] if why is None else [(why, other)]
                yield subject.warn("W151", message, at, related=related)


def _set(subject: Subject, chain: str, key: str) -> DocPath | None:
    return subject.setting(subject.document.chains[chain], None, "cache", key)


def _idle(config: CacheConfig) -> Iterator[tuple[str, str, str]]:
    """The keys that have no effect, why, and the key that is the reason."""
    ttl, negative = seconds(config.ttl) or 0.0, seconds(config.negative)
    failing, refreshing = seconds(config.stale_if_error), seconds(config.stale_while_revalidate)
    for key, value in (("stale_if_error", failing), ("stale_while_revalidate", refreshing), ("negative", negative)):
        if ttl == 0 and value is not None:
            yield key, f"{key} never applies: ttl is 0s, so nothing is stored", "ttl"
    if ttl and negative is not None and negative > ttl:
        yield "negative", "negative is longer than ttl, which then applies to remembered errors too", "ttl"
    if ttl and failing is not None and refreshing is not None and failing <= refreshing:
        reason = "never applies: within stale_while_revalidate the old answer is given before anybody is asked"
        yield "stale_if_error", f"stale_if_error {reason}", "stale_while_revalidate"


def w152_cache_scope_without_owner(subject: Subject) -> Iterator[Diagnostic]:
    """W152: answers are kept apart by session, and the file has none, so that all runs share them."""
    if subject.written(("session",)):
        return
    for name in subject.program.chains:
        for _, config in _caches(subject, name):
            at = _set(subject, name, "scope")
            if config.scope == "session" and at is not None:
                message = "scope is session, and this file has none: runs that are not given one share their answers"
                hint = "use scope: principal, or shared, unless all your runs are given a session"
                chain: DocPath = ("chains", name)
                yield subject.warn("W152", message, at, suggestion=hint, related=[(chain, "the chain that uses it")])


def _caches(subject: Subject, chain: str) -> Iterator[tuple[PolicyPlan, CacheConfig]]:
    """The caches of a chain that a file configures."""
    for plan in subject.program.chains[chain].outer:
        if isinstance(plan.config, CacheConfig) and plan.origin:
            yield plan, plan.config
