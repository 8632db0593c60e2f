"""Steps: what the runtime gives to a step's runner and what it gets back.

A step type's `build(config, context)` makes a runner, once; `runner.run(call)` is one execution of the step, or
of one item of its `for_each`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from wizard_dsl.core.messages import Delta, Message, Tool, ToolCall, Usage

if TYPE_CHECKING:
    from wizard_dsl.core.node import Handler
    from wizard_dsl.core.run import Run

#: Takes the batches of a streamed step; awaiting it is the backpressure.
Sink = Callable[[list[Delta]], Awaitable[None]]


class RendersMessages(Protocol):
    """A compiled prompt."""

    def render(self, scope: Any) -> tuple[Message, ...]: ...


class StepValue(msgspec.Struct, frozen=True):
    """What a step made. `json` is the parsed answer where a schema was asked for, else the value of a single
    expression, else None. `saved` is the usage that a stored answer once took, `age` the seconds since then, and
    `stale` says that it was given after its time."""

    text: str = ""
    json: Any = None
    finish_reason: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    usage: Usage | None = None
    served_by: str | None = None
    position: int | None = None
    cached: bool = False
    shared: bool = False
    saved: Usage | None = None
    stale: bool = False
    age: float | None = None
    losses: tuple[str, ...] = ()


class StepCall(msgspec.Struct, frozen=True):
    """One execution: the bound names its templates see, the run, and who listens."""

    scope: Any
    run: Run
    sink: Sink | None = None


class StepRunner(Protocol):
    def run(self, call: StepCall) -> Awaitable[StepValue]: ...


#: Runs another compiled file: (inputs, run, sink) → its value.
Subprogram = Callable[[Mapping[str, Any], "Run", "Sink | None"], Awaitable[StepValue]]


class StepContext(msgspec.Struct, frozen=True):
    """What a runner may use. `templates` are the compiled fields that its type declares as such, by key; of a
    list or mapping of texts, a list or mapping of templates."""

    name: str
    path: str
    templates: Mapping[str, Any]
    handler: Handler | None = None
    prompt: RendersMessages | None = None
    params: Mapping[str, Any] = {}
    tools: Sequence[Tool] = ()
    subprogram: Subprogram | None = None


def as_text(value: Any) -> str:
    """How a value stands in text: strings as they are, everything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
