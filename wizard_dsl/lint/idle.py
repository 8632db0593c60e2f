"""Settings that another one leaves nothing to do: repeats that are never made, a choice that is none, a guard without
anything to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from wizard_dsl.compiler.program import ChainPlan, PolicyPlan
from wizard_dsl.core.errors import TABLE
from wizard_dsl.lint.clashes import repeated
from wizard_dsl.lint.repeats import places
from wizard_dsl.lint.shape import OF_THE_SHAPE
from wizard_dsl.lint.subject import Found, Subject, idle_for_all
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath

_BY_ORDER: Final = frozenset({"cheapest", "fastest", "adaptive", "weighted"})
#: How fallback_on may name a 429.
_OF_A_429: Final = ("rate_limited", "429")
#: Keys of retry that are looked at only once a repeat is possible.
_OF_REPEATS: Final = ("retry_on", "when")


def w148_nothing_left_to_do(subject: Subject) -> Iterator[Diagnostic]:
    """W148: rules and a budget of repeats where nothing is repeated, a race for one place, a choice among priorities of
    one target each, a guard where all inputs are trusted. What a set says counts for all that use it."""
    for find in (_of_one_attempt, _of_no_kind, _of_the_retry_budget, *OF_THE_SHAPE):
        yield from (_told(subject, found) for found in idle_for_all(find(subject)))
    rules: tuple[Callable[[Subject, ChainPlan], Iterator[Found]], ...] = (_of_one_place, _of_priorities, _of_the_wait)
    for chain in subject.program.chains.values():
        for rule in rules:
            yield from (_told(subject, found) for found in rule(subject, chain))
    yield from (_told(subject, found) for found in _of_the_guard(subject))


def _told(subject: Subject, found: Found) -> Diagnostic:
    at, message, related = found
    return subject.warn("W148", message, at, suggestion="remove it, or change the other setting", related=related)


def _of_one_attempt(subject: Subject) -> Iterator[tuple[DocPath, Found | None]]:
    """Each key that concerns repeats, with what is wrong with it for one target."""
    for place in places(subject, "retry"):
        limit = place.at("max_attempts")
        for key in _OF_REPEATS:
            at = place.at(key)
            if at is not None and (place.config.max_attempts > 1 or limit is None):
                yield at, None
            elif at is not None and limit is not None:
                message = (
                    f"retry.{key} has no effect: with max_attempts {place.config.max_attempts} nothing is repeated"
                )
                yield at, (at, message, [(limit, "the attempts")])


def _of_no_kind(subject: Subject) -> Iterator[tuple[DocPath, Found | None]]:
    """Attempts beyond the first, where `retry_on` takes out every kind that would be repeated."""
    for place in places(subject, "retry"):
        at, limit, config = place.at("retry_on"), place.at("max_attempts"), place.config
        resumed = place.chain.mid_stream in {"restart", "continue"} and config.retry_on.get("mid_stream", True)
        if at is None or config.max_attempts == 1:
            continue
        if resumed or any(repeated(kind, config.retry_on) for kind in TABLE if kind != "mid_stream"):
            yield at, None
        else:
            message = f"retry_on leaves no kind to repeat: max_attempts {config.max_attempts} has no effect"
            yield at, (at, message, [] if limit is None else [(limit, "the attempts")])


def _of_the_retry_budget(subject: Subject) -> Iterator[tuple[DocPath, Found | None]]:
    for chain in subject.program.chains.values():
        entry = subject.document.chains[chain.name]
        written = [path for path, own in subject.places_of(entry, None) if isinstance(own.get("retry_budget"), dict)]
        if not written or not any(plan.type.name == "retry_budget" for plan in chain.shared):
            continue
        at: DocPath = (*written[0], "retry_budget")
        if chain.strategy.name == "hedged" or _repeats(subject, chain):
            yield at, None
        else:
            message = "retry_budget has no effect: nothing is repeated, and nothing is hedged"
            yield at, (at, message, _retries(subject, chain))


def _repeats(subject: Subject, chain: ChainPlan) -> bool:
    return any(place.config.max_attempts > 1 for place in places(subject, "retry") if place.chain.name == chain.name)


def _retries(subject: Subject, chain: ChainPlan) -> list[tuple[DocPath, str]]:
    """Why nothing is repeated."""
    entry = subject.document.chains[chain.name]
    found = [
        (*path, "retry")
        for target in chain.targets
        for path, own in subject.places_of(entry, target.index)
        if "retry" in own
    ]
    return [(path, "the retry") for path in dict.fromkeys(found)][:1] or [(("chains", chain.name), "the chain")]


def _of_one_place(subject: Subject, chain: ChainPlan) -> Iterator[Found]:
    """Branches that should be under way at once, and share a single place."""
    strategy: DocPath = ("chains", chain.name, "strategy")
    if chain.strategy.name not in {"hedged", "parallel"} or len(chain.targets) == 1:
        return
    single = [{plan.scope_key: plan for plan in target.ladder if _is_single(plan)} for target in chain.targets]
    shared = set(single[0]).intersection(*single[1:])
    for key in sorted(shared):
        message = (
            f"strategy {chain.strategy.name} never has two attempts under way: all targets of chain '{chain.name}' "
            "share a concurrency of 1"
        )
        yield strategy, message, [(single[0][key].origin, "the limit")]


def _is_single(plan: PolicyPlan) -> bool:
    return plan.type.name == "concurrency" and getattr(plan.config, "limit", None) == 1


def _of_priorities(subject: Subject, chain: ChainPlan) -> Iterator[Found]:
    """A strategy orders the targets of one priority; with one target each there is nothing to order."""
    ranks = {target.priority for target in chain.targets}
    if chain.strategy.name in _BY_ORDER and len(chain.targets) > 1 and len(ranks) == len(chain.targets):
        at: DocPath = ("chains", chain.name, "strategy")
        message = f"strategy {chain.strategy.name} has nothing to choose from: every target has a priority of its own"
        yield at, message, [(("chains", chain.name, "targets"), f"the targets of '{chain.name}'")]


def _of_the_wait(subject: Subject, chain: ChainPlan) -> Iterator[Found]:
    """A wait in place after a 429 ends with a repeat, or where the call may not move on."""
    section: DocPath = ("chains", chain.name, "on_rate_limit")
    short = not isinstance(subject.document.chains[chain.name].spec.on_rate_limit, dict)
    at = section if short else (*section, "wait_up_to")
    stays = chain.rate_limit.then == "fail" or not all(chain.fallback_on.get(key, True) for key in _OF_A_429)
    if subject.written(at) and chain.rate_limit.wait_up_to and not stays and not _repeats(subject, chain):
        message = "on_rate_limit.wait_up_to never acts: nothing is repeated, so a 429 is not waited for in place"
        yield at, message, _retries(subject, chain)


def _of_the_guard(subject: Subject) -> Iterator[Found]:
    inputs, guard = subject.program.inputs, subject.program.guard
    if not inputs or not all(each.trusted for each in inputs.values()):
        return
    for key in ("roles", "injection"):
        at: DocPath = ("safety", "input", key)
        if getattr(guard, key) != "off" and subject.written(at):
            message = f"safety.input.{key} has nothing to look at: every input is trusted"
            yield at, message, [(("inputs",), "the inputs")]
