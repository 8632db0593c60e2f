"""Turns that a limit never has: for the steps of one run, or for the second attempt of one call."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any

import msgspec

from wizard_dsl.compiler.program import ChainPlan, StepPlan
from wizard_dsl.core.component import seconds
from wizard_dsl.core.errors import TABLE
from wizard_dsl.core.units import parse_duration
from wizard_dsl.lint.clashes import repeated
from wizard_dsl.lint.limits import Place as Spot
from wizard_dsl.lint.limits import most_in, parts, shown
from wizard_dsl.lint.repeats import Place, places
from wizard_dsl.lint.subject import Found, Subject, idle_for_all
from wizard_dsl.lint.time import Limit, deadline_of
from wizard_dsl.policies._backoff import MODES, largest
from wizard_dsl.policies.retry import backoff
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath


def w157_turns_that_never_come(subject: Subject) -> Iterator[Diagnostic]:
    """W157: a limit lets fewer calls through until the deadline than every run makes, or has no second turn for a call
    that is to be repeated or repaired."""
    certain = _certain(subject)
    yield from _of_admission(subject, certain)
    for chain in subject.program.chains.values():
        yield from _of_targets(subject, chain, [step for step in certain if step.chain == chain.name])
    for find in (_of_repeats, _of_repairs):
        for at, message, related in idle_for_all(find(subject)):
            hint = "remove it, or let the limit have more turns"
            yield subject.warn("W157", message, at, suggestion=hint, related=related)


# -- the steps of a run -----------------------------------------------------------------------------


def _certain(subject: Subject) -> list[StepPlan]:
    """The steps that ask a target in every run that gets that far."""
    found: dict[str, StepPlan] = {}
    for step in subject.program.steps:
        plan = subject.program.chains.get(step.chain or "")
        cached = plan is not None and any(each.type.name == "cache" for each in plan.outer)
        known = all(name in found for name, kind in step.needs.items() if kind == "ran")
        if known and plan is not None and not cached and step.when is None and step.for_each is None:
            found[step.name] = step
    return list(found.values())


def _of_admission(subject: Subject, certain: list[StepPlan]) -> Iterator[Diagnostic]:
    """Each logical call counts once, so one for each step."""
    counted: dict[str, list[StepPlan]] = {}
    limits: dict[str, tuple[Any, DocPath]] = {}
    for step in certain:
        chain = subject.program.chains[step.chain or ""]
        spot = Spot(subject, chain, subject.document.chains[chain.name])
        for plan, part, own in parts(chain):
            counted.setdefault(part, []).append(step)
            limits.setdefault(part, (own, spot.part(plan, part)))
    for part, steps in counted.items():
        own, at = limits[part]
        most = most_in(own, subject.program.deadline)
        if most < len(steps):
            yield _too_few(subject, f"admission.{part}", at, most, steps)


def _of_targets(subject: Subject, chain: ChainPlan, steps: list[StepPlan]) -> Iterator[Diagnostic]:
    """Each step needs an attempt of one of its chain's targets."""
    turns, at = 0.0, None
    for target in chain.targets:
        spot = Spot(subject, chain, subject.document.chains[chain.name], target)
        limits = [each for each in target.ladder if each.type.name == "rate_limit"]
        narrow = min(limits, key=lambda each: most_in(each.config, subject.program.deadline), default=None)
        turns += inf if narrow is None else most_in(narrow.config, subject.program.deadline)
        if narrow is not None:
            at = at or spot.of(narrow, "windows") or spot.of(narrow, "rate") or narrow.origin
    if at and turns < len(steps):
        yield _too_few(subject, f"rate_limit of the targets of chain '{chain.name}'", at, turns, steps)


def _too_few(subject: Subject, limit: str, at: DocPath, most: float, steps: list[StepPlan]) -> Diagnostic:
    deadline = _of_the_run(subject)
    related = [] if deadline.at is None else [(deadline.at, "the deadline")]
    calls = "one call" if most == 1 else f"{most:g} calls"
    return subject.warn(
        "W157",
        f"{limit} lets {calls} through before the {deadline.words('deadline')}, and every run makes {len(steps)}: it "
        "can never come to its end",
        at,
        suggestion="raise the limit or the deadline, or spare a step",
        related=[(("steps", steps[int(most)].name), "the step that has no turn"), *related],
    )


def _of_the_run(subject: Subject) -> Limit:
    top: DocPath = ("deadline",)
    return Limit(subject.program.deadline, top if subject.written(top) else None)


# -- the second attempt of a call -------------------------------------------------------------------


class _Single(msgspec.Struct, frozen=True):
    """A limit that has one turn for a call on a target, in words, and the places that make it so."""

    words: str
    related: list[tuple[DocPath, str]]


def _of_repeats(subject: Subject) -> Iterator[tuple[DocPath, Found | None]]:
    for place in places(subject, "retry"):
        at = place.at("max_attempts")
        if at is None or place.config.max_attempts == 1:
            continue
        single = _single(place, _pause(place))
        if single is None:
            yield at, None
        else:
            message = f"retry.max_attempts {place.config.max_attempts} never acts: {single.words}"
            yield at, (at, message, single.related)


def _of_repairs(subject: Subject) -> Iterator[tuple[DocPath, Found | None]]:
    """A repair is asked of the target that broke the contract, at once."""
    timeouts = list(places(subject, "timeout"))
    for step in subject.program.steps:
        at: DocPath = ("steps", step.name, "output", "repairs")
        asked = [place for place in timeouts if place.chain.name == step.chain]
        if not subject.written(at) or not any(getattr(own.config, "repairs", 0) for own in step.own()):
            continue
        found = [_single(place, 0.0) for place in asked]
        first = next((each for each in found if each is not None), None)
        if first is None or None in found:
            yield at, None
        else:
            yield at, (at, f"output.repairs of '{step.name}' never acts: {first.words}", first.related)


def _single(place: Place, pause: float) -> _Single | None:
    """The limit under which a target has no second turn for a call that pauses at most so many seconds before it: the
    deadline, or the longest attempt with the pause and `max_wait`, is over before."""
    deadline = deadline_of(place.subject, place.chain, place.entry)
    spot = Spot(place.subject, place.chain, place.entry, place.target)
    attempt = _longest(place)
    for limit in (each for each in place.target.ladder if each.type.name == "rate_limit"):
        config: Any = limit.config
        wait = parse_duration(config.max_wait) if config.max_wait else inf
        within = min(deadline.seconds, attempt + pause + wait)
        if most_in(config, within) >= 2:
            continue
        at = spot.of(limit, "windows") or spot.of(limit, "rate") or limit.origin
        related = [(at, "the limit")] if at else []
        if most_in(config, deadline.seconds) < 2:
            why = f"before the {deadline.words('deadline')}"
            related += [] if deadline.at is None else [(deadline.at, "the deadline")]
        else:
            why = f"in time, and max_wait {config.max_wait} does not wait for it"
            waits = spot.of(limit, "max_wait")
            related += [] if waits is None else [(waits, "max_wait")]
        return _Single(f"rate_limit ({shown(spot, limit)}) has no second turn for a call {why}", related)
    return None


def _longest(place: Place) -> float:
    """Seconds that one attempt takes at most. A stream that is resumed stands still while its reader does."""
    limits = [each.config for each in place.target.ladder if each.type.name == "timeout"]
    totals = [seconds(getattr(each, "total", "off")) for each in limits]
    resumed = place.chain.mid_stream in {"restart", "continue"}
    return inf if resumed else min((each for each in totals if each is not None), default=inf)


def _pause(place: Place) -> float:
    """Seconds that are waited before a first repeat at most, on our own or on a provider's wish."""
    config, rule = place.config, place.chain.rate_limit
    modes = {**MODES, **config.backoff}
    kinds = ["rate_limited", *(kind for kind in TABLE if repeated(kind, config.retry_on))]
    own = max(largest(backoff(config), modes.get(kind, "exponential"), 1) for kind in kinds)
    return max(own, rule.max_retry_after if any(config.retry_on.values()) else rule.wait_up_to)
