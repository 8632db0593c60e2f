"""Settings of a breaker that another one, or a limit before it, always comes before."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any

from wizard_dsl.core.units import parse_ratio
from wizard_dsl.lint.repeats import Place, places
from wizard_dsl.lint.subject import Found, Subject, idle_for_all
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath

#: A ratio is reached in spite of rounding, as in the breaker itself.
_DUST = 1e-9


def w154_breaker_setting_outdone(subject: Subject) -> Iterator[Diagnostic]:
    """W154: failure_threshold opens the breaker before failure_ratio could, or at the first failure, whatever the
    window; or a concurrency before it admits fewer calls than half_open_max_calls. Each for all that share it."""
    hints = {
        "failure_ratio": "write failure_threshold: off, or raise it or minimum_calls",
        "window": "remove it, or raise failure_threshold",
        "half_open_max_calls": "lower it, or raise the concurrency",
    }
    for find in (_ratio, _window, _half_open):
        for at, message, related in idle_for_all(find(subject)):
            yield subject.warn("W154", message, at, suggestion=hints[str(at[-1])], related=related)


def _ratio(subject: Subject) -> Iterator[tuple[DocPath, Found | None]]:
    """The ratio is looked at from `minimum_calls` on, and is then so many failures at least."""
    for place in places(subject, "circuit_breaker"):
        at, config = place.at("failure_ratio"), place.config
        if at is None or config.failure_ratio == "off":
            continue
        least = ceil((parse_ratio(config.failure_ratio) - _DUST) * config.minimum_calls)
        if config.failure_threshold == "off" or least < config.failure_threshold:
            yield at, None
            continue
        threshold, calls = place.at("failure_threshold"), place.at("minimum_calls")
        message = (
            f"failure_ratio {config.failure_ratio} never opens the breaker: of {_shown(config.minimum_calls, calls)} "
            f"calls it takes {least} failures, and failure_threshold {_shown(config.failure_threshold, threshold)} "
            "opens it by then"
        )
        related = [(own, str(own[-1])) for own in (threshold, calls) if own is not None]
        yield at, (at, message, related)


def _shown(value: object, at: DocPath | None) -> str:
    return str(value) if at is not None else f"{value} (built-in)"


def _window(subject: Subject) -> Iterator[tuple[DocPath, Found | None]]:
    """One failure is in any window. A ratio beside it is outdone; one of slow attempts is not."""
    for place in places(subject, "circuit_breaker"):
        at, threshold = place.at("window"), place.at("failure_threshold")
        slow = place.config.slow_after != "off" or place.chain.strategy.name == "hedged"
        if at is not None and (slow or place.config.failure_threshold != 1):
            yield at, None
        elif at is not None:
            message = "window of circuit_breaker has no effect: with failure_threshold 1 the first failure opens it"
            yield at, (at, message, [] if threshold is None else [(threshold, "failure_threshold")])


def _half_open(subject: Subject) -> Iterator[tuple[DocPath, Found | None]]:
    """A lease is held by an attempt that holds a place, so there are never more leases than places."""
    for place in places(subject, "circuit_breaker"):
        at = place.at("half_open_max_calls")
        if at is None:
            continue
        limit = _places_before(subject, place)
        if limit is None or limit.config.limit >= place.config.half_open_max_calls:
            yield at, None
            continue
        message = (
            f"half_open_max_calls {place.config.half_open_max_calls} is never reached: concurrency lets "
            f"{limit.config.limit} through at once"
        )
        yield at, (at, message, [(limit.at("limit") or limit.plan.origin, "the concurrency")])


def _places_before(subject: Subject, breaker: Place) -> Place | None:
    """The smallest fixed concurrency that all calls of the breaker pass first; not where probes go past it, or where
    other processes have places of their own."""
    if breaker.config.probe or subject.written(("state",)):
        return None
    before = breaker.target.ladder[: breaker.target.ladder.index(breaker.plan)]
    found = [
        Place(subject, breaker.entry, breaker.chain, breaker.target, each)
        for each in before
        if each.type.name == "concurrency" and _covers(each, breaker.plan)
    ]
    fixed = [each for each in found if isinstance(each.config.limit, int)]
    return min(fixed, key=lambda each: int(each.config.limit), default=None)


def _covers(limit: Any, breaker: Any) -> bool:
    """Whether the two have a state each for the same calls, or the limit one for more of them."""
    of_provider = [each.origin[:1] == ("providers",) for each in (limit, breaker)]
    if of_provider[0]:
        return True
    return not of_provider[1] and limit.config.per == breaker.config.per
