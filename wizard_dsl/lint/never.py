"""Settings that wait for what never comes: a loss nobody suffers, a kind of error that reaches no strategy, an answer
of a fallback target where there is none, a hedge after the attempt's end, a breaker that nothing trips, a constant
judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from wizard_dsl.compiler.facts import known_facts
from wizard_dsl.compiler.program import ChainPlan, StepPlan
from wizard_dsl.core import units
from wizard_dsl.core.component import seconds
from wizard_dsl.core.errors import TABLE, StepFailed
from wizard_dsl.core.target import Facts
from wizard_dsl.lint.repeats import Place, places
from wizard_dsl.lint.streams import unseen
from wizard_dsl.lint.subject import Found, Subject, idle_for_all
from wizard_dsl.prompts.expression import compile_expression
from wizard_dsl.prompts.template import bind
from wizard_dsl.registry import BUILT_INS
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath

#: Kinds that are raised above every strategy, and why they never reach one.
_ABOVE: Final[Mapping[str, str]] = {
    "safety": "an answer is judged above the strategy",
    "stream_buffer": "the buffer stands above the strategy",
    "input": "inputs are checked before the first target is asked",
    "session": "sessions are looked up before the first target is asked",
    "cancelled": "nobody waits for an answer any more",
}
#: What may refuse a call before it is sent, of our own.
_QUEUES: Final = frozenset({"rate_limit", "concurrency"})
#: Kinds of policies below the strategy that come with Wizard; what another one raises is not known.
_OURS: Final = frozenset({"retry", "rate_limit", "concurrency", "circuit_breaker", "budget", "timeout"})
#: Those under which a branch is over as soon as its one attempt is.
_SWIFT: Final = frozenset({"retry", "circuit_breaker", "timeout"})


# -- fallback ---------------------------------------------------------------------------------------


def w136_lifetime_of_no_fallback(subject: Subject) -> Iterator[Diagnostic]:
    """W136: how long an answer of a fallback target is kept, where every chain that has the cache has one target, or
    asks all of them at once."""
    for at, message, related in idle_for_all(_lifetimes(subject)):
        yield subject.warn("W136", message, at, suggestion="add a target, or remove it", related=related)


def _lifetimes(subject: Subject) -> Iterator[tuple[DocPath, Found | None]]:
    for name, plan in subject.program.chains.items():
        at = subject.setting(subject.document.chains[name], None, "cache", "fallback_ttl")
        if at is None or not any(each.type.name == "cache" for each in plan.outer):
            continue
        if len(plan.targets) == 1:
            why, other = f"chain '{name}' has one enabled target", ("chains", name, "targets")
        elif getattr(plan.strategy_config, "n", 0) >= len(plan.targets):
            why, other = (
                f"chain '{name}' asks all its targets at once, and none is a fallback",
                ("chains", name, "strategy"),
            )
        else:
            yield at, None
            continue
        yield at, (at, f"fallback_ttl of cache never applies: {why}", [(other, f"{other[-1]} of '{name}'")])


def w139_nothing_to_move_on_from(subject: Subject) -> Iterator[Diagnostic]:
    """W139: a rule of fallback for a kind that never reaches the strategy, or a loss that nothing suffers."""
    for name, plan in subject.program.chains.items():
        steps = [each for each in subject.program.steps if each.chain == name]
        if steps:
            yield from _unreached(subject, plan, steps)
            yield from _unsuffered(subject, plan, steps)


def _unreached(subject: Subject, plan: ChainPlan, steps: list[StepPlan]) -> Iterator[Diagnostic]:
    for kind in plan.fallback_on if len(plan.targets) > 1 else ():
        at: DocPath = ("chains", plan.name, "fallback_on", kind)
        why, related = _ABOVE.get(kind, ""), list[tuple[DocPath, str]]()
        if kind == "contract" and not any(own.type.name == "contract" for step in steps for own in step.own()):
            why = "no step that asks this chain has a schema"
            related = [(("steps", step.name), "a step that asks it") for step in steps]
        elif kind == "local_limit" and not any(_may_refuse(each.type.name) for t in plan.targets for each in t.ladder):
            why = "no target of the chain has a limit of its own"
            related = [(each.origin, "this one stands above the strategy") for each in plan.outer if _limits(each)]
        elif kind == "spec" and _is_ours(plan):
            why = "a file is checked, and its targets are made, before the first of them is asked"
        elif kind == "unsupported" and _is_ours(plan) and not any(_may_lack(plan, step) for step in steps):
            why = "no step that asks this chain has what one of its targets lacks"
            related = [(("steps", step.name), "a step that asks it") for step in steps]
        if why:
            message = f"fallback_on.{kind} decides nothing: {why}"
            yield subject.warn("W139", message, at, suggestion="remove it", related=related)


def _limits(plan: Any) -> bool:
    return plan.type.name == "admission" and bool(plan.origin)


def _may_refuse(kind: str) -> bool:
    return kind in _QUEUES or kind not in _OURS


def _is_ours(plan: ChainPlan) -> bool:
    """Whether it is known of everything below the strategy what it raises."""
    return plan.strategy.name in BUILT_INS["strategies"] and all(
        target.type.name in BUILT_INS["providers"] and {each.type.name for each in target.ladder} <= _OURS
        for target in plan.targets
    )


def _may_lack(plan: ChainPlan, step: StepPlan) -> bool:
    """Whether a target may refuse what a step asks. Providers that know images may refuse some, and those that make
    no embeddings refuse all; what the price library knows beside that is no ability."""
    if step.type.name != "generate" or _asks(step, "images"):
        return True
    facts = [known_facts(each, lambda prices, model: Facts()) for each in plan.targets]
    asked = {"streaming", *(each for each in ("tools", "system") if _asks(step, each))} - plan.allow_loss
    return any(getattr(each, name) is False for each in facts for name in asked)


def _unsuffered(subject: Subject, plan: ChainPlan, steps: list[StepPlan]) -> Iterator[Diagnostic]:
    """Losses of which it is certain that no step that asks the chain can suffer them."""
    at: DocPath = ("chains", plan.name, "allow_loss")
    asks: list[tuple[DocPath, str]] = [(("steps", step.name), "a step that asks it") for step in steps]
    for loss in sorted(plan.allow_loss):
        why, related = "", asks
        if loss == "json_schema":
            why, related = "a schema is never lost, since the contract checks whoever answers", []
        elif loss == "streaming" and (held := unseen(subject, plan)) is not None:
            why, related = "nobody sees its deltas while they come", [held]
        elif loss in {"tools", "images", "system"} and not any(_asks(step, loss) for step in steps):
            why = f"no step that asks this chain has {'a system message' if loss == 'system' else loss}"
        if why:
            message = f"allow_loss: {loss} allows nothing: {why}"
            yield subject.warn("W139", message, at, suggestion=f"remove {loss}", related=related)


def _asks(step: StepPlan, loss: str) -> bool:
    """Whether a step may ask for what `loss` names; one of another type than ours may ask for anything."""
    if step.type.name != "generate" or step.prompt is None:
        return True
    return bool({"tools": step.tools, "images": step.prompt.has_images, "system": step.prompt.has_system}[loss])


# -- hedges and breakers ----------------------------------------------------------------------------


def w138_hedge_after_the_attempt(subject: Subject) -> Iterator[Diagnostic]:
    """W138: the one attempt of each target is over before a hedge would begin."""
    for name, plan in subject.program.chains.items():
        after = getattr(plan.strategy_config, "after", None)
        at: DocPath = ("chains", name, "strategy", "after")
        if plan.strategy.name != "hedged" or len(plan.targets) == 1 or after in {None, "p95"}:
            continue
        ends = [_ends(subject, plan, index) for index in range(len(plan.targets) - 1)]
        if all(each is not None and each[0] <= units.parse_duration(str(after)) for each in ends):
            longest, other = max((each for each in ends if each is not None), key=lambda each: each[0])
            built_in = "" if other is not None else " (built-in)"
            message = (
                f"after {after} is not below timeout.total ({units.show_duration(longest)}){built_in}, and each target "
                "has one attempt: there is never a hedge"
            )
            related = [] if other is None else [(other, "the total")]
            hint = "lower it, or raise timeout.total"
            yield subject.warn("W138", message, at, suggestion=hint, related=related)


def _ends(subject: Subject, plan: ChainPlan, index: int) -> tuple[float, DocPath | None] | None:
    """The seconds after which a branch is over, whatever happens, and where they are set; None where that is not
    certain: it may repeat, queue, or wait for
    a state that is shared."""
    target = plan.targets[index]
    if not {each.type.name for each in target.ladder} <= _SWIFT or subject.written(("state",)):
        return None
    if any(getattr(each.config, "max_attempts", 1) > 1 for each in target.ladder):
        return None
    found: list[tuple[float, DocPath | None]] = []
    for each in (each for each in target.ladder if each.type.name == "timeout"):
        place = Place(subject, subject.document.chains[plan.name], plan, target, each)
        total = seconds(place.config.total)
        if total is not None:
            found.append((total, place.at("total")))
    return min(found, key=lambda each: each[0], default=None)


def w154_breaker_that_nothing_trips(subject: Subject) -> Iterator[Diagnostic]:
    """W154: `trip_on` takes out every kind that counts as a failure, and nothing is slow."""
    for at, message, related in idle_for_all(_trips(subject)):
        yield subject.warn("W154", message, at, suggestion="leave a kind in, or turn the breaker off", related=related)


def _trips(subject: Subject) -> Iterator[tuple[DocPath, Found | None]]:
    failing = {kind for kind, row in TABLE.items() if row.verdict == "failure"}
    for place in places(subject, "circuit_breaker"):
        at, trip_on = place.at("trip_on"), place.config.trip_on
        if at is None:
            continue
        off = {kind for kind, counts in trip_on.items() if not counts}
        slow = place.config.slow_after != "off" or place.chain.strategy.name == "hedged"
        if slow or any(trip_on.values()) or not failing <= off:
            yield at, None
        else:
            message = "the breaker can never open: trip_on takes out every kind that counts as a failure"
            key = next((each for each in ("failure_threshold", "failure_ratio") if place.at(each)), "")
            other = place.at(key) if key else None
            yield at, (at, message, [] if other is None else [(other, key)])


# -- the judge --------------------------------------------------------------------------------------


def w155_constant_judge(subject: Subject) -> Iterator[Diagnostic]:
    """W155: `block_when` looks at nothing, so that it refuses every answer or none."""
    for at, text in _judges(subject):
        made = compile_expression(text)
        if isinstance(made, list) or made.uses:
            continue
        try:
            refuses = bool(made.evaluate(bind({"text": "", "json": None})))
        except StepFailed:
            continue  # that is told at run time
        what = "always true: every answer is refused" if refuses else "never true: no answer is refused"
        yield subject.warn("W155", f"block_when is {what}", at, suggestion="look at text or json, or remove it")


def _judges(subject: Subject) -> Iterator[tuple[DocPath, str]]:
    whole = subject.document.file.safety.block_when
    if whole is not None:
        yield ("safety", "block_when"), whole
    for name, step in subject.document.steps.items():
        own = getattr(step.config, "safety", None)
        if own is not None and own.block_when is not None:
            yield ("steps", name, "safety", "block_when"), own.block_when
