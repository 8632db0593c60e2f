"""What a target cannot do, and what is left of a request when the loss is allowed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from wizard_dsl.core.errors import Unsupported, WindowTooSmall, WizardError
from wizard_dsl.core.messages import Image, Message, Request, Text, estimate_tokens
from wizard_dsl.core.run import Run
from wizard_dsl.core.target import Facts, Target
from wizard_dsl.strategies._visit import Visit

#: Parameters that mean nothing without tools.
_TOOL_PARAMS: Final = ("tool_choice", "parallel_tool_calls")


def is_open_minded(facts: Facts) -> bool:
    """Whether nothing is known that could stand against any request: then nothing needs to be checked."""
    limits = (facts.tools, facts.images, facts.json_schema, facts.system, facts.streaming)
    return facts.context is None and False not in limits


def losses(facts: Facts, request: Request, run: Run) -> tuple[str, ...]:
    """What the request asks for and the target is known to lack. A JSON schema is none of it: our contract checks
    it, whoever answers."""
    lost = lacking(facts, request)
    return (*lost, "streaming") if facts.streaming is False and run.commit == "content" else lost


def lacking(facts: Facts, request: Request) -> tuple[str, ...]:
    """As `losses`, of whatever a request holds, however its answer is read."""
    lost = []
    if facts.tools is False and request.tools:
        lost.append("tools")
    if facts.images is False and request.has_images:
        lost.append("images")
    if facts.system is False and any(each.role == "system" for each in request.messages):
        lost.append("system")
    return tuple(lost)


def too_small(facts: Facts, request: Request, name: str, params: Mapping[str, Any]) -> WizardError | None:
    """The error of a prompt that, by our estimate and with `max_tokens` of answer, exceeds the window."""
    if facts.context is None:
        return None
    need = needed(request.size(), {**request.params, **params})
    if need <= facts.context:
        return None
    return WindowTooSmall(
        f"about {need} tokens, prompt and answer, do not fit the window of {name} ({facts.context})", where=name
    )


def needed(size: int, params: Mapping[str, Any]) -> int:
    """Tokens of a prompt of `size` bytes, by our estimate, and of the answer that `params` ask for."""
    answer = params.get("max_tokens")
    return estimate_tokens(size) + (answer if isinstance(answer, int) else 0)


def refused(name: str, lost: tuple[str, ...]) -> Unsupported:
    """The error of a target that lacks what may not be lost."""
    return Unsupported(f"{name} cannot do what is asked: {', '.join(lost)}", lost=lost, where=name)


def adapted(facts: Facts, request: Request, lost: tuple[str, ...]) -> Request:
    """The request without what the target lacks; the system's text goes into the first user message."""
    if "tools" in lost:
        params = {name: value for name, value in request.params.items() if name not in _TOOL_PARAMS}
        request = msgspec.structs.replace(request, tools=(), params=params)
    if "images" in lost:
        request = msgspec.structs.replace(request, messages=_without_images(request.messages))
    if "system" in lost:
        request = msgspec.structs.replace(request, messages=_without_system(request.messages))
    if facts.json_schema is False and request.schema is not None:
        request = msgspec.structs.replace(request, schema=None)
    return request


def fitted(target: Target, request: Request, run: Run, lost: tuple[str, ...]) -> tuple[Request, Run]:
    """What this target is asked: without what it lacks."""
    if lost or (request.schema is not None and target.facts.json_schema is False):
        request = adapted(target.facts, request, lost)
        if "streaming" in lost:
            run = msgspec.structs.replace(run, commit="end")
    return request, run


def _without_images(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    kept = []
    for each in messages:
        if not each.has_image:
            kept.append(each)
            continue
        parts = tuple(part for part in each.parts if type(part) is not Image)
        if parts or each.tool_calls:
            kept.append(msgspec.structs.replace(each, parts=parts))
    return tuple(kept)


def _without_system(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    text = "\n\n".join(each.text for each in messages if each.role == "system")
    rest = [each for each in messages if each.role != "system"]
    for index, each in enumerate(rest):
        if each.role == "user":
            rest[index] = msgspec.structs.replace(each, parts=(Text(f"{text}\n\n"), *each.parts))
            return tuple(rest)
    return (Message("user", (Text(text),)), *rest)


def incapable(target: Target, visit: Visit, lost: tuple[str, ...], allowed: frozenset[str]) -> WizardError | None:
    """Why `target` cannot answer what is visited, of which it would lose `lost`; None where it can."""
    forbidden = tuple(each for each in lost if each not in allowed)
    if forbidden:
        return refused(target.name, forbidden)
    if visit.has_outgrown(target):
        window = target.facts.context
        return WindowTooSmall(f"the window of {target.name} ({window}) is not larger", where=target.name)
    return too_small(target.facts, visit.request, target.name, target.params)
