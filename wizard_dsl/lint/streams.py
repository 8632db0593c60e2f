"""What the file says of streams, and other settings that leave nothing of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from wizard_dsl.compiler.program import ChainPlan
from wizard_dsl.lint.subject import Found, Subject, idle_for_all
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath
from wizard_dsl.spec.document import PolicyMap

_BUFFER: DocPath = ("stream", "buffer")
_WHEN_FULL: DocPath = ("stream", "when_full")

#: A place, with what stands there.
_Other = tuple[DocPath, str]


def w134_dropped_output(subject: Subject) -> Iterator[Diagnostic]:
    """W134: `drop_oldest` where the deltas are the output, and not the progress of one that has other parts."""
    program = subject.program
    if program.stream.when_full != "drop_oldest" or program.streamed is None or isinstance(program.output, Mapping):
        return
    message = (
        f"drop_oldest: a slow reader gets an answer with holes, for the deltas of '{program.streamed}' are the output"
    )
    hint = "write block or error; drop_oldest is for progress displays, which show the newest"
    yield subject.warn("W134", message, _WHEN_FULL, suggestion=hint, related=[_output(subject)])


def w135_stream_setting_without_effect(subject: Subject) -> Iterator[Diagnostic]:
    """W135: a setting of streams that another one leaves without effect."""
    yield from _of_the_section(subject)
    for at, message, related in idle_for_all(_of_the_timeouts(subject)):
        yield subject.warn("W135", message, at, suggestion="remove it, or set total", related=related)
    for name in subject.compiled.used.chains:
        plan = subject.program.chains.get(name)
        if plan is not None:
            yield from _of_the_mode(subject, plan)
            yield from _of_the_kind(subject, plan)


def _of_the_section(subject: Subject) -> Iterator[Diagnostic]:
    rule = subject.program.stream
    if rule.when_full == "block":
        if subject.written(_BUFFER):
            related = [(_WHEN_FULL, "when_full")] if subject.written(_WHEN_FULL) else []
            message = "stream.buffer has no effect: block keeps nothing, it holds the run back"
            yield subject.warn("W135", message, _BUFFER, suggestion="remove it, or set when_full", related=related)
        return
    held = _held(subject)
    if held is not None:
        message = f"stream.when_full: {rule.when_full} has no effect: {held[1]}"
        yield subject.warn("W135", message, _WHEN_FULL, related=[held])


def _of_the_timeouts(subject: Subject) -> Iterator[tuple[DocPath, Found | None]]:
    """The limits of a stream's phases, where every answer comes in one piece."""
    plans = [subject.program.chains[name] for name in subject.compiled.used.chains if name in subject.program.chains]
    for plan, key in product(plans, ("first_chunk", "idle")):
        hidden = _whole(plan) or unseen(subject, plan)
        for target in plan.targets:
            limits = {getattr(each.config, key) for each in target.ladder if each.type.name == "timeout"} - {"off"}
            at = subject.setting(subject.document.chains[plan.name], target.index, "timeout", key)
            if at is not None and limits:
                message = "" if hidden is None else f"timeout.{key} has no effect: {hidden[1]}"
                yield at, None if hidden is None else (at, message, [hidden])


def _of_the_mode(subject: Subject, plan: ChainPlan) -> Iterator[Diagnostic]:
    """Restart and its kin change nothing where nobody sees the deltas of the chain."""
    path = _mode(plan)
    if plan.mid_stream == "fail" or not subject.own(path):
        return
    hidden = unseen(subject, plan)
    if hidden is not None:
        message = f"on_mid_stream_error: {plan.mid_stream} has no effect: {hidden[1]}"
        yield subject.warn("W135", message, path, suggestion="remove it", related=[hidden])


def _of_the_kind(subject: Subject, plan: ChainPlan) -> Iterator[Diagnostic]:
    """What the chain says about mid_stream is asked only where a break is resumed."""
    if plan.mid_stream in {"restart", "continue"}:
        return
    related = [(_mode(plan), "the mode of the chain")] if subject.written(_mode(plan)) else []
    for path in _mentions(subject, plan):
        message = f"mid_stream has no effect: with on_mid_stream_error: {plan.mid_stream} no broken stream is resumed"
        hint = "set on_mid_stream_error to restart or continue"
        yield subject.warn("W135", message, path, key=True, suggestion=hint, related=related)


def _mentions(subject: Subject, plan: ChainPlan) -> Iterator[DocPath]:
    entry = subject.document.chains[plan.name]
    chain: DocPath = ("chains", plan.name)
    if "mid_stream" in entry.spec.fallback_on:
        yield (*chain, "fallback_on", "mid_stream")
    places: list[tuple[DocPath, PolicyMap]] = [((*chain, "policies"), entry.policies)]
    places += [((*chain, "targets", at, "policies"), own) for at, own in enumerate(entry.target_policies)]
    for place, policies in places:
        retry = policies.get("retry")
        for key in ("retry_on", "backoff"):
            if isinstance(retry, dict) and "mid_stream" in retry.get(key, {}):
                yield (*place, "retry", key, "mid_stream")


def unseen(subject: Subject, plan: ChainPlan) -> _Other | None:
    """Why no consumer sees the deltas of a chain while they come."""
    program = subject.program
    if program.streamed is None:
        return _output(subject)[0], "the output comes in one piece"
    asked = subject.program.step(program.streamed).chain
    if asked != plan.name:
        return (
            "steps",
            program.streamed,
        ), f"only the deltas of '{program.streamed}' are seen; it asks another chain"
    return _holder(subject, plan)


def _holder(subject: Subject, plan: ChainPlan) -> _Other | None:
    """What holds the streamed answer of a chain until it is complete."""
    streamed = subject.program.streamed
    assert streamed is not None
    schema: DocPath = ("steps", streamed, "output", "schema")
    if subject.written(schema):
        return schema, f"the answer of '{streamed}' is held until it has been checked"
    judges: list[DocPath] = [("steps", streamed, "safety", "block_when"), ("safety", "block_when")]
    for judge in judges if subject.program.step(streamed).block_when is not None else ():
        if subject.written(judge):
            return judge, f"the answer of '{streamed}' is held until it has been judged"
    for policy in plan.outer:
        if policy.type.buffers:
            return policy.origin or ("chains", plan.name), f"{policy.type.name} holds the answer until it is complete"
    return None


def _held(subject: Subject) -> _Other | None:
    """Why there is never more than one delta."""
    program = subject.program
    if program.streamed is None:
        return _output(subject)[0], "the output comes in one piece"
    plan = program.chains.get(program.step(program.streamed).chain or "")
    if plan is None:
        return None
    return _whole(plan) or _holder(subject, plan)


def _whole(plan: ChainPlan) -> _Other | None:
    whole = "on_mid_stream_error: buffer gives the answer in one piece"
    return (_mode(plan), whole) if plan.mid_stream == "buffer" else None


def _mode(plan: ChainPlan) -> DocPath:
    return ("chains", plan.name, "on_mid_stream_error")


def _output(subject: Subject) -> _Other:
    return (("output",) if subject.written(("output",)) else ("steps",)), "the output"
