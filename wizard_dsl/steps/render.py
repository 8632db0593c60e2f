"""render: a template, without a call."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from wizard_dsl.core.bound import NOTHING
from wizard_dsl.core.component import Example, PolicyConfig, StepType
from wizard_dsl.core.messages import Delta
from wizard_dsl.core.step import StepCall, StepContext, StepValue, as_text
from wizard_dsl.core.step_bound import Made, StepFacts


class RenderConfig(PolicyConfig, frozen=True):
    """The keys of a render step."""

    template: Annotated[str, Meta(description="a template; a single expression keeps its JSON type in `json`")]


class Render:
    def __init__(self, config: RenderConfig, context: StepContext) -> None:
        self._template = context.templates["template"]

    async def run(self, call: StepCall) -> StepValue:
        """Raises StepFailed where the values do not fit."""
        value = self._template.value(call.scope)
        text = as_text(value)
        if call.sink is not None and text:
            await call.sink([Delta(text=text)])
        return StepValue(text=text, json=None if isinstance(value, str) else value)


def bound(config: RenderConfig, facts: StepFacts) -> Made:
    """Nothing is called."""
    value = facts.templates["template"]
    return Made(NOTHING, value, value)


RENDER = StepType(
    name="render",
    summary="Renders a template, without a call.",
    config=RenderConfig,
    build=Render,
    bound=bound,
    templates=("template",),
    examples=(Example("A heading", 'title: {type: render, template: "Report on {{ topic }}"}'),),
)
