"""Calls that are larger than a limit of LLM tokens, however empty it is, and estimates that none needs. The price
library, which knows how long the answers of a model may be, is loaded only for a file that has such a limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from wizard_dsl.compiler.facts import known_facts
from wizard_dsl.compiler.program import ChainPlan, StepPlan, TargetPlan
from wizard_dsl.core.errors import RateLimitExceeded, StepFailed
from wizard_dsl.core.messages import Message, Request
from wizard_dsl.core.units import Rate, parse_rate
from wizard_dsl.lint.limits import Place, parts
from wizard_dsl.lint.params import place_of
from wizard_dsl.lint.subject import Found, Subject, idle_for_all
from wizard_dsl.policies._reservation import Reservation
from wizard_dsl.prompts.messages import Prompt
from wizard_dsl.prompts.template import bind
from wizard_dsl.providers._prices import library
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath

#: Longest text that is tried for an input, in characters.
_LONGEST: Final = 1 << 22


class _Limit(msgspec.Struct, frozen=True):
    """A limit of LLM tokens, where it and its estimate are written (None: built in), and the target that it stands
    before; None above the strategy."""

    name: str
    windows: list[Rate]
    estimate: int
    at: DocPath
    estimate_at: DocPath | None
    target: TargetPlan | None


def w143_call_above_token_limit(subject: Subject) -> Iterator[Diagnostic]:
    """W143: what a call reserves, for its answer alone or with its longest inputs, is more than a window ever holds."""
    for name, chain in subject.program.chains.items():
        limits = list(_limits(subject, chain))
        steps = [step for step in subject.program.steps if step.chain == name]
        for step in steps if limits else ():
            for limit in limits:
                yield from _too_large(subject, step, limit)


def w142_estimate_that_is_never_reserved(subject: Subject) -> Iterator[Diagnostic]:
    """W142: a token_estimate, where it is known of every call that meets the limit how long its answer may be."""
    for at, message, related in idle_for_all(_estimates(subject)):
        yield subject.warn("W142", message, at, suggestion="remove it", related=related)


def _estimates(subject: Subject) -> Iterator[tuple[DocPath, Found | None]]:
    for name, chain in subject.program.chains.items():
        steps = [step for step in subject.program.steps if step.chain == name]
        for limit in _limits(subject, chain) if steps else ():
            at = limit.estimate_at
            if at is not None:
                found = [_bound(subject, step, limit) for step in steps]
                known = list(dict.fromkeys(each for each in found if each is not None))
                message = (
                    f"token_estimate {limit.estimate} of {limit.name} is never reserved: it is known of each call how "
                    "long its answer may be"
                )
                yield at, (at, message, known) if None not in found else None


def _bound(subject: Subject, step: StepPlan, limit: _Limit) -> tuple[DocPath, str] | None:
    """Where it stands how long an answer may be; None where a call may need the estimate."""
    if step.type.name == "embed":
        return ("steps", step.name), "an embedding has no answer to reserve for"
    if step.type.name != "generate":
        return None
    target = limit.target
    params = dict(step.params) if target is None else {**step.params, **target.params}
    asked = params.get("max_tokens")
    if type(asked) is int and asked > 0:
        return _place(subject, step, limit), "max_tokens"
    if target is None or not known_facts(target, library).max_output:
        return None
    return ("chains", step.chain or "", "targets", target.index), "the longest answer of its model is known"


def _limits(subject: Subject, chain: ChainPlan) -> Iterator[_Limit]:
    place = Place(subject, chain, subject.document.chains[chain.name])
    found: list[tuple[str, Any, DocPath, DocPath | None, TargetPlan | None]] = []
    for plan, part, own in parts(chain):
        path = place.part(plan, part)
        guess: DocPath = (*path, "token_estimate")
        found.append((f"admission.{part}", own, (*path, "windows"), guess if subject.written(guess) else None, None))
    for target in chain.targets:
        at = msgspec.structs.replace(place, target=target)
        for plan in (each for each in target.ladder if each.type.name == "rate_limit"):
            written = at.of(plan, "windows") or plan.origin
            found.append((plan.type.name, plan.config, written, at.of(plan, "token_estimate"), target))
    for name, config, written, estimate, before in found:
        windows = [rate for rate in map(parse_rate, config.windows) if rate.tokens]
        if windows:
            yield _Limit(name, windows, config.token_estimate, written, estimate, before)


def _too_large(subject: Subject, step: StepPlan, limit: _Limit) -> Iterator[Diagnostic]:
    """One finding: about every call where what is fixed of the prompt is enough, else about one with long inputs."""
    for messages, whose in ((fixed(step), "each call"), (longest(subject, step), "a call with the longest inputs")):
        error = None if messages is None else _refusal(step, limit, messages)
        if error is None:
            continue
        at = _place(subject, step, limit)
        related = [(limit.at, "the limit")]
        own: DocPath = ("steps", step.name)
        if at != own and messages:
            related.append((own, "the step"))
        message = f"{whose} of step '{step.name}' is refused: {error.message}"
        yield subject.warn("W143", message, at, suggestion=error.suggestion, related=related)
        return


def _refusal(step: StepPlan, limit: _Limit, messages: tuple[Message, ...]) -> RateLimitExceeded | None:
    target = limit.target
    reservation = Reservation(
        limit.name,
        limit.windows,
        limit.estimate,
        path="",
        who=step.chain or "" if target is None else target.name,
        params=None if target is None else target.params,
        max_output=None if target is None else known_facts(target, library).max_output,
    )
    try:
        reservation.tokens(Request(messages=messages, params=dict(step.params)))
    except RateLimitExceeded as error:
        return error
    return None


def fixed(step: StepPlan) -> tuple[Message, ...] | None:
    """The messages that depend on nothing; None where a step has no prompt."""
    return step.prompt.fixed if isinstance(step.prompt, Prompt) else None


def longest(subject: Subject, step: StepPlan) -> tuple[Message, ...] | None:
    """The messages with the longest texts that the inputs admit, in ASCII; None where they have no known bound."""
    if not isinstance(step.prompt, Prompt):
        return None
    values: dict[str, Any] = {}
    for name in step.prompt.names:
        spec = subject.program.inputs.get(name)
        text = None if spec is None else _text(spec.schema)
        if text is None:
            return None
        values[name] = text
    try:
        return step.prompt.render(bind(values))
    except StepFailed:
        return None


def _text(schema: Mapping[str, Any]) -> str | None:
    """The longest text of an input; None where it is something else, or as long as one likes."""
    words = [each for each in schema.get("enum", ()) if isinstance(each, str)]
    if words:
        return max(words, key=len)
    most = schema.get("maxLength")
    if schema.get("type") != "string" or not isinstance(most, int) or "pattern" in schema or "format" in schema:
        return None
    return "x" * min(most, _LONGEST)


def _place(subject: Subject, step: StepPlan, limit: _Limit) -> DocPath:
    """Where max_tokens is written, for that target or for the step; else the step."""
    if limit.target is not None and "max_tokens" in limit.target.params:
        return ("chains", step.chain or "", "targets", limit.target.index)
    return place_of(subject, step, "max_tokens")
