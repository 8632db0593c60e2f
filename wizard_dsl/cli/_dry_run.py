"""`run --dry-run`: what would be asked of whom, without a call.

The real program runs on mocks in virtual time, and what reaches a provider is written down instead of sent. Steps
that use the answer of another one see a mock's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from wizard_dsl.analysis.plan import plan_of
from wizard_dsl.analysis.plan_report import bound_data, one_line, places_in
from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.events import CacheMissed
from wizard_dsl.core.messages import Message, Text, estimate_tokens
from wizard_dsl.runtime.mocks import mock_of
from wizard_dsl.runtime.runtime import running

if TYPE_CHECKING:
    from wizard_dsl.compiler.compile import Compiled
    from wizard_dsl.compiler.program import TargetPlan
    from wizard_dsl.core.events import Event
    from wizard_dsl.core.messages import Request
    from wizard_dsl.core.node import BuildContext, Node
    from wizard_dsl.core.response import Response
    from wizard_dsl.core.run import Run
    from wizard_dsl.registry import Registry


class _Recorder:
    """Writes a request down and lets the mock answer it."""

    def __init__(self, plan: TargetPlan, mock: Node, calls: list[dict[str, Any]]) -> None:
        self._plan = plan
        self._mock = mock
        self._calls = calls

    async def call(self, request: Request, run: Run) -> Response:
        self._calls.append(
            {
                "step": run.scope.step,
                "item": run.scope.item,
                "target": self._plan.name,
                "model": self._plan.model,
                "endpoint": self._plan.type.endpoint(self._plan.config),
                "tokens": estimate_tokens(request.size()),
                "params": dict(request.params),
                "tools": [tool.name for tool in request.tools],
                "schema": request.schema,
                "cache_key": None,
                "messages": [_message(each) for each in request.messages],
                "texts": list(request.texts),
            }
        )
        return await self._mock.call(request, run)


async def show(compiled: Compiled, registry: Registry, inputs: Mapping[str, Any], form: str) -> str:
    """What every call would send first, as text or JSON. Raises what keeps the run from getting there."""
    calls: list[dict[str, Any]] = []
    keys: dict[tuple[str, int | None], str] = {}

    def provide(plan: TargetPlan, context: BuildContext) -> Node:
        return _Recorder(plan, mock_of(plan, context), calls)

    def listen(run: Run, event: Event) -> None:
        if isinstance(event, CacheMissed):
            keys[run.scope.step, run.scope.item] = event.key

    async with running(compiled, registry, seed=0, mock=True, sinks=[listen], provide=provide) as pipeline:
        try:
            await pipeline.run(inputs=inputs)
        except WizardError:
            if not calls:
                raise
    firsts = _firsts(calls)
    for call in firsts:
        call["cache_key"] = keys.get((call["step"], call["item"]))
    assert compiled.program is not None
    worst = plan_of(compiled.program, inputs=inputs).worst
    if form == "json":
        return msgspec.json.encode({"calls": firsts, "worst": bound_data(worst, places_in(compiled))}).decode()
    return "\n\n".join([*map(_text, firsts), f"at most {one_line(worst)}"])


def _firsts(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first attempt of each step and item: repairs and repeats depend on real answers."""
    firsts: dict[tuple[str, int | None], dict[str, Any]] = {}
    for call in calls:
        firsts.setdefault((call["step"], call["item"]), call)
    return list(firsts.values())


def _message(message: Message) -> dict[str, Any]:
    parts = [part.text if isinstance(part, Text) else f"[image {part.url[:60]}]" for part in message.parts]
    return {"role": message.role, "content": "".join(parts)}


def _text(call: dict[str, Any]) -> str:
    name = call["step"] if call["item"] is None else f"{call['step']}[{call['item']}]"
    lines = [
        f"{name} → {call['target']} ({call['model']} at {call['endpoint']})",
        f"  about {call['tokens']} tokens in, params {msgspec.json.encode(call['params']).decode()}",
    ]
    if call["cache_key"]:
        lines.append(f"  cache key {call['cache_key']}")
    if call["schema"] is not None:
        lines.append(f"  answer as JSON: {msgspec.json.encode(call['schema']).decode()}")
    if call["tools"]:
        lines.append(f"  tools {', '.join(call['tools'])}")
    for message in call["messages"]:
        lines += [f"  [{message['role']}]", *(f"    {line}" for line in message["content"].split("\n"))]
    lines += [f"  [text] {text}" for text in call["texts"]]
    return "\n".join(lines)
