"""The shape of back-offs: delays of repeats that are never made, and growth of delays that never grow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from wizard_dsl.core.component import seconds
from wizard_dsl.core.errors import TABLE
from wizard_dsl.lint.clashes import repeated
from wizard_dsl.lint.predicates import attempts
from wizard_dsl.lint.repeats import Place, backoffs, places
from wizard_dsl.lint.subject import Found, Subject
from wizard_dsl.policies._backoff import MODES
from wizard_dsl.spec.diagnostics import DocPath

#: Back-offs in which each delay is longer than the one before.
_GROW: Final = frozenset({"exponential", "immediate"})


def of_backoff(subject: Subject) -> Iterator[tuple[DocPath, Found | None]]:
    """The back-off of each kind, where nothing is repeated. That of a 429 says for how long the target is blocked."""
    for place in places(subject, "retry"):
        limit = place.at("max_attempts")
        for path, kind in backoffs(place):
            if place.config.max_attempts > 1 or limit is None or kind == "rate_limited":
                yield path, None
            elif repeated(kind, place.config.retry_on):
                message = f"retry.backoff.{kind} has no effect: with max_attempts 1 nothing is repeated"
                yield path, (path, message, [(limit, "the attempts")])


def of_one_failure(subject: Subject) -> Iterator[tuple[DocPath, Found | None]]:
    """The back-off of a kind that opens the breaker at once: what it refuses is not repeated."""
    for place in places(subject, "retry"):
        breakers = [own for own in _inside(place) if own.config.failure_threshold == 1]
        for path, kind in backoffs(place):
            if kind not in TABLE:
                continue
            trips = [own for own in breakers if own.config.trip_on.get(kind, TABLE[kind].verdict == "failure")]
            statuses = any(key.isdigit() for own in breakers for key in own.config.trip_on)
            if not trips or statuses or place.config.max_attempts == 1:
                yield path, None
                continue
            message = f"retry.backoff.{kind} never acts: failure_threshold 1 opens the breaker, and ends the repeats"
            yield path, (path, message, [(trips[0].at("failure_threshold") or trips[0].plan.origin, "the threshold")])


def _inside(place: Place) -> list[Place]:
    """The breakers that stand inside a retry, and so see each of its attempts."""
    ladder = place.target.ladder
    inner = ladder[ladder.index(place.plan) :]
    return [msgspec.structs.replace(place, plan=each) for each in inner if each.type.name == "circuit_breaker"]


def of_multiplier(subject: Subject) -> Iterator[tuple[DocPath, Found | None]]:
    """A multiplier of delays that never grow, with the setting that is the reason."""
    for place in places(subject, "retry"):
        at = place.at("multiplier")
        if at is None:
            continue
        reason = _why_nothing_grows(place)
        if reason is None:
            yield at, None
        else:
            why, key = reason
            other = place.at(key)
            yield at, (at, f"retry.multiplier has no effect: {why}", [] if other is None else [(other, key)])


def of_no_delay(subject: Subject) -> Iterator[tuple[DocPath, Found | None]]:
    """What shapes delays, where the back-off of every kind is none; a 429 that names no time then blocks for none."""
    for place in places(subject, "retry"):
        modes = {**MODES, **place.config.backoff}
        kinds = ["rate_limited", "mid_stream", *(kind for kind in TABLE if repeated(kind, place.config.retry_on))]
        nothing = all(modes.get(kind, "exponential") == "none" for kind in kinds)
        other = place.at("backoff")
        for key in ("base", "max_delay", "jitter"):
            at = place.at(key)
            if at is not None and not nothing:
                yield at, None
            elif at is not None:
                message = f"retry.{key} has no effect: the back-off of every kind that is repeated is none"
                yield at, (at, message, [] if other is None else [(other, "the back-offs")])


def of_a_base_of_zero(subject: Subject) -> Iterator[tuple[DocPath, Found | None]]:
    """A spread, and shapes of delays, that begin at zero and stay there."""
    for place in places(subject, "retry"):
        shapes = [(path, f"backoff.{kind}") for path, kind in backoffs(place) if place.config.backoff[kind] != "none"]
        spread = place.at("jitter")
        base = place.at("base")
        for path, key in [*shapes, *([] if spread is None else [(spread, "jitter")])]:
            if base is None or not _is_zero(place) or (key == "jitter" and place.config.jitter in {"none", 0}):
                yield path, None
            else:
                yield path, (path, f"retry.{key} has no effect: with base 0s there is no delay", [(base, "base")])


def _is_zero(place: Place) -> bool:
    """Whether every delay of ours is none; one that is drawn from the one before may follow a provider's wish."""
    return seconds(place.config.base) == 0.0 and place.config.jitter != "decorrelated"


def _why_nothing_grows(place: Place) -> tuple[str, str] | None:
    """The reason, and its key; None where a delay may grow. A block after a 429 that names no time grows with each in
    a row, however many attempts a call has."""
    config = place.config
    modes = {**MODES, **config.backoff}
    if _is_zero(place):
        return "with base 0s there is no delay", "base"
    if config.jitter == "decorrelated":
        return "jitter: decorrelated draws each delay from the one before", "jitter"
    if config.multiplier > 1 and seconds(config.max_delay) == seconds(config.base):
        return f"max_delay is not above base ({config.base}), which every delay is", "max_delay"
    if modes["rate_limited"] in _GROW:
        return None
    if config.max_attempts == 1:
        return "with max_attempts 1 nothing is repeated", "max_attempts"
    if config.max_attempts == 2:
        return "with max_attempts 2 there is one delay, which is the base", "max_attempts"
    if attempts(place) == 2:
        return "retry.when repeats nothing after attempt 2, and the first delay is the base", "when"
    asked = [kind for kind in TABLE if repeated(kind, config.retry_on)]
    if place.chain.mid_stream in {"restart", "continue"}:
        asked.append("mid_stream")
    if any(modes.get(kind, "exponential") in _GROW for kind in asked):
        return None
    return "the delay of no kind that is repeated is exponential", "backoff"


OF_THE_SHAPE: Final = (of_backoff, of_multiplier, of_no_delay, of_a_base_of_zero, of_one_failure)
