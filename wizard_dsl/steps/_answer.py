"""What generate and embed share: one call of a chain, streamed or not, and its value."""

from __future__ import annotations

from typing import Any

from wizard_dsl.core.contract import parse_json
from wizard_dsl.core.messages import Completion, Request
from wizard_dsl.core.node import Handler
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.core.step import Sink, StepValue


async def answer(handler: Handler, request: Request, run: Run, sink: Sink | None) -> StepValue:
    """Ask, hand the deltas to `sink` as they come, and return the whole answer."""
    response = await handler(request, run)
    if sink is not None or response.outcome is None:
        await _arrive(response, sink)
    return _value(response, response.whole(), request)


async def _arrive(response: Response, sink: Sink | None) -> None:
    """Read to the end, and give it up where that fails."""
    async with response:
        if sink is not None:
            await _show(response, sink)
        await response.read()


async def _show(response: Response, sink: Sink) -> None:
    batches = response.batches()
    try:
        async for batch in batches:
            await sink(batch)
    finally:
        await batches.aclose()


def _value(response: Response, completion: Completion, request: Request) -> StepValue:
    served = response.served
    return StepValue(  # by place, which takes half the time
        completion.text,
        _json(completion, request),
        completion.finish_reason,
        completion.tool_calls,
        completion.reasoning,
        completion.usage,
        served.target or None,
        served.position,
        served.cached,
        served.shared,
        served.saved,
        served.stale,
        served.age,
        served.losses,
    )


def _json(completion: Completion, request: Request) -> Any:
    if request.kind == "embed":
        return [list(vector) for vector in completion.embeddings]
    if request.schema is not None and not completion.tool_calls:
        return parse_json(completion.text)
    return None
