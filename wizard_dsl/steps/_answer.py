"""What generate and embed share: one call of a chain, streamed or not, and its value."""

from __future__ import annotations

from wizard_dsl.core.contract import parse_json
from wizard_dsl.core.messages import Completion, Request
from wizard_dsl.core.node import Handler
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.core.step import Sink, StepValue


async def answer(handler: Handler, request: Request, run: Run, sink: Sink | None) -> StepValue:
    """Ask, hand the deltas to `sink` as they come, and return the whole answer."""
    async with await handler(request, run) as response:
        if sink is not None:
            batches = response.batches()
            try:
                async for batch in batches:
                    await sink(batch)
            finally:
                await batches.aclose()
        completion = await response.read()
    return _value(response, completion, request)


def _value(response: Response, completion: Completion, request: Request) -> StepValue:
    served = response.served
    value = StepValue(
        text=completion.text,
        finish_reason=completion.finish_reason,
        tool_calls=completion.tool_calls,
        reasoning=completion.reasoning,
        usage=completion.usage,
        served_by=served.target or None,
        position=served.position,
        cached=served.cached,
        shared=served.shared,
        saved=served.saved,
        stale=served.stale,
        age=served.age,
        losses=served.losses,
    )
    if request.kind == "embed":
        value.json = [list(vector) for vector in completion.embeddings]
    elif request.schema is not None and not completion.tool_calls:
        value.json = parse_json(completion.text)
    return value
