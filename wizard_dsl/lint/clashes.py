"""Settings that leave one another without effect: after a 429, of times, and of what is repeated."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from wizard_dsl.compiler.program import ChainPlan
from wizard_dsl.core import units
from wizard_dsl.core.component import seconds
from wizard_dsl.core.errors import TABLE
from wizard_dsl.lint.repeats import Place, places
from wizard_dsl.lint.subject import Found, Subject, idle_for_all
from wizard_dsl.lint.time import Limit, deadline_of
from wizard_dsl.policies.timeout import TimeoutConfig
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath

_Other = tuple[DocPath, str]


def w137_rate_limit_settings(subject: Subject) -> Iterator[Diagnostic]:
    """W137: `on_rate_limit` waits for what it never waits for, says other than `fallback_on` what a 429 does, or blocks
    a target without quota for longer than a repeat waits."""
    for name, plan in subject.program.chains.items():
        yield from _waits(subject, plan, ("chains", name, "on_rate_limit"))
        yield from _moves(subject, plan, ("chains", name))
    for at, message, related in idle_for_all(_without_quota(subject)):
        hint = "lower quota_block, or remove it"
        yield subject.warn("W137", message, at, key=True, suggestion=hint, related=related)


def _waits(subject: Subject, plan: ChainPlan, section: DocPath) -> Iterator[Diagnostic]:
    rule = plan.rate_limit
    if rule.wait_up_to <= rule.max_retry_after:
        return
    short = not isinstance(subject.document.chains[plan.name].spec.on_rate_limit, dict)
    wait: DocPath = section if short else (*section, "wait_up_to")
    most: DocPath = (*section, "max_retry_after")
    texts = [
        units.show_duration(each) + ("" if subject.written(at) else " (built-in)")
        for each, at in ((rule.wait_up_to, wait), (rule.max_retry_after, most))
    ]
    here, other = (wait, most) if subject.written(wait) else (most, wait)
    message = f"on_rate_limit.wait_up_to {texts[0]} is above max_retry_after {texts[1]}, the longest that is waited for"
    related = [(other, "the other time")] if subject.written(other) else []
    hint = "lower wait_up_to, or raise max_retry_after"
    yield subject.warn("W137", message, here, suggestion=hint, related=related)


def _moves(subject: Subject, plan: ChainPlan, chain: DocPath) -> Iterator[Diagnostic]:
    at: DocPath = (*chain, "on_rate_limit", "then")
    if not subject.written(at):
        return
    for key in ("rate_limited", "429"):
        asked = plan.fallback_on.get(key)
        if asked is not None and asked is not (plan.rate_limit.then == "fallback"):
            message = f"then: {plan.rate_limit.then} has no effect: fallback_on says {key}: {str(asked).lower()}"
            other: DocPath = (*chain, "fallback_on", key)
            yield subject.warn("W137", message, at, suggestion="remove one", related=[(other, "what decides")])
            return


def _without_quota(subject: Subject) -> Iterator[tuple[DocPath, Found | None]]:
    """`retry_on: {quota_exhausted: true}` where the block is longer than any wait; not in an order by hand."""
    for place in places(subject, "retry"):
        on = place.at("retry_on")
        if on is not None and place.config.retry_on.get("quota_exhausted"):
            at: DocPath = (*on, "quota_exhausted")
            yield at, None if place.entry.stack is not None else _too_long_a_block(place, at)


def _too_long_a_block(place: Place, at: DocPath) -> Found | None:
    rule, section = place.chain.rate_limit, ("chains", place.entry.name, "on_rate_limit")
    block = _limit(place.subject, rule.quota_block, (*section, "quota_block"))
    most = _limit(place.subject, rule.max_retry_after, (*section, "max_retry_after"))
    deadline = deadline_of(place.subject, place.chain, place.entry)
    name, end = ("deadline", deadline) if deadline.seconds < most.seconds else ("max_retry_after", most)
    if block.seconds <= end.seconds:
        return None
    message = f"retry_on.quota_exhausted never acts: {block.words('quota_block')} is above the {end.words(name)}"
    related = [(other.at, text) for other, text in ((block, "quota_block"), (end, name)) if other.at is not None]
    return at, message, related


def _limit(subject: Subject, value: float, at: DocPath) -> Limit:
    return Limit(value, at if subject.written(at) else None)


def w138_time_that_never_applies(subject: Subject) -> Iterator[Diagnostic]:
    """W138: `timeout.total` or the deadline, whichever is earlier, ends an attempt before another time that the file
    sets could act, in every chain that shares the setting. What W113 tells of `timeout` alone is left to it."""
    able: set[DocPath] = set()
    idle: dict[DocPath, tuple[str, str, Limit]] = {}
    for at, key, text, place in _times(subject):
        name, limit = _end(place)
        if (seconds(text) or 0.0) <= limit.seconds or _told_by_timeout(place, key, text):
            able.add(at)
        else:
            idle.setdefault(at, (f"{place.plan.type.name}.{key} ({text})", name, limit))
    for at, (words, name, limit) in idle.items():
        if at not in able:
            built_in = "" if limit.at is not None else " (built-in)"
            message = f"{words} is above {name} ({units.show_duration(limit.seconds)}){built_in}: it never applies"
            related = [(limit.at, "what ends it before")] if limit.at is not None else []
            yield subject.warn("W138", message, at, suggestion=f"lower it, or raise {name}", related=related)


def _times(subject: Subject) -> Iterator[tuple[DocPath, str, str, Place]]:
    for kind, keys in (("timeout", ("first_chunk", "connect", "idle")), ("circuit_breaker", ("slow_after",))):
        for place, key in product(places(subject, kind), keys):
            at = place.at(key)
            if at is not None:
                yield at, key, getattr(place.config, key), place


def _told_by_timeout(place: Place, key: str, text: str) -> bool:
    """Whether the timeout's own check tells of it: a time that is not the built-in one, above the same total."""
    total = seconds(getattr(place.config, "total", "off"))
    usual = getattr(TimeoutConfig(), key, text)
    return total is not None and text != usual and (seconds(text) or 0.0) > total


def _end(place: Place) -> tuple[str, Limit]:
    """What ends an attempt on the target at the latest: the innermost timeout's total, or the deadline."""
    deadline = deadline_of(place.subject, place.chain, place.entry)
    own = [each for each in place.target.ladder if each.type.name == "timeout"]
    total = seconds(getattr(own[-1].config, "total", "off")) if own else None
    if total is None or total > deadline.seconds:
        return "the deadline", deadline
    timeout = Place(place.subject, place.entry, place.chain, place.target, own[-1])
    return "timeout.total", Limit(total, timeout.at("total"))


def w139_nothing_to_act_on(subject: Subject) -> Iterator[Diagnostic]:
    """W139: `output.repairs` without a schema, `output.allow_empty` with one, `concurrency` without a loop, or a
    back-off for a kind that nothing repeats."""
    for name, step in subject.document.steps.items():
        yield from _of_the_output(subject, ("steps", name, "output"), getattr(step.config, "output", None))
        at: DocPath = ("steps", name, "concurrency")
        if subject.written(at) and not subject.written(("steps", name, "for_each")):
            message = f"concurrency of step '{name}' has no effect: without for_each there is one item"
            related = [(("steps", name), "the step")]
            yield subject.warn("W139", message, at, suggestion="add for_each, or remove it", related=related)
    yield from _of_backoff(subject)


def _of_the_output(subject: Subject, at: DocPath, output: Any) -> Iterator[Diagnostic]:
    if output is None:
        return
    schema: DocPath = (*at, "schema")
    repairs: DocPath = (*at, "repairs")
    if output.schema is None and output.repairs and subject.written(repairs):
        message = f"output.repairs: {output.repairs} has no effect: without a schema nothing is checked"
        related = [(("steps", at[1]), "the step")]
        yield subject.warn("W139", message, repairs, suggestion="add output.schema, or remove it", related=related)
    if output.schema is not None and output.allow_empty:
        message = "output.allow_empty lets an empty answer through, and the schema refuses it"
        hint = "remove it; let the schema admit an answer that says nothing, such as null"
        yield subject.warn("W139", message, (*at, "allow_empty"), suggestion=hint, related=[(schema, "the schema")])


def _of_backoff(subject: Subject) -> Iterator[Diagnostic]:
    """Only what no target that shares the setting repeats; that of mid_stream is W135's, and that of a 429 also says
    for how long its target is blocked."""
    able: set[DocPath] = set()
    idle: dict[DocPath, tuple[str, Place]] = {}
    for place in places(subject, "retry"):
        for path in _backoffs(subject, place):
            kind = str(path[-1])
            if kind in {"mid_stream", "rate_limited"} or repeated(kind, place.config.retry_on):
                able.add(path)
            else:
                idle.setdefault(path, (kind, place))
    for path, (kind, place) in idle.items():
        if path not in able:
            yield _unrepeated(subject, path, kind, place)


def _backoffs(subject: Subject, place: Place) -> Iterator[DocPath]:
    """Where the back-off of single kinds is written, for one target."""
    for path, policies in subject.places_of(place.entry, place.target.index):
        retry = policies.get("retry")
        for kind in retry.get("backoff", {}) if isinstance(retry, dict) else ():
            yield (*path, "retry", "backoff", kind)


def repeated(kind: str, retry_on: dict[str, bool]) -> bool:
    """Whether an error of the kind may be repeated; a status that is asked for may stand for any kind."""
    if any(yes and key.isdigit() for key, yes in retry_on.items()):
        return True
    return retry_on.get(kind, TABLE[kind].retry == "yes" or kind == "rate_limited")


def _unrepeated(subject: Subject, path: DocPath, kind: str, place: Place) -> Diagnostic:
    on = place.at("retry_on")
    related: list[_Other] = [] if on is None else [(on, "what is repeated")]
    built_in = " by default" if on is None or kind not in place.config.retry_on else ""
    message = f"retry.backoff.{kind} has no effect: an error of kind {kind} is not repeated{built_in}"
    hint = f"add {kind}: true to retry_on, or remove it"
    return subject.warn("W139", message, path, suggestion=hint, related=related)
