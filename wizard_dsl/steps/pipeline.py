"""pipeline: run another file as a step."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from wizard_dsl.core.component import Example, PolicyConfig, StepType
from wizard_dsl.core.step import StepCall, StepContext, StepValue
from wizard_dsl.core.step_bound import Made, StepFacts


class PipelineConfig(PolicyConfig, frozen=True):
    """The keys of a pipeline step. Its `text` and `json` are those of the other file's output."""

    file: Annotated[str, Meta(description="the other pipeline file, relative to this one")]
    inputs: Annotated[dict[str, str], Meta(description="its inputs: templates")] = {}


class Pipeline:
    """Runs inside the calling run: one deadline, one ledger, one transcript."""

    def __init__(self, config: PipelineConfig, context: StepContext) -> None:
        assert context.subprogram is not None
        self._subprogram = context.subprogram
        self._inputs = context.templates.get("inputs", {})

    async def run(self, call: StepCall) -> StepValue:
        """Raises what the other file's run raises; InputInvalid where its inputs do not fit."""
        inputs = {name: template.value(call.scope) for name, template in self._inputs.items()}
        return await self._subprogram(inputs, call.run, call.sink)


def bound(config: PipelineConfig, facts: StepFacts) -> Made:
    """One run of the other file."""
    return facts.run(facts.templates.get("inputs", {}))


PIPELINE = StepType(
    name="pipeline",
    summary="Runs another pipeline file as a step.",
    config=PipelineConfig,
    build=Pipeline,
    bound=bound,
    templates=("inputs",),
    examples=(Example("Another file", 'facts: {type: pipeline, file: facts.yaml, inputs: {topic: "{{ topic }}"}}'),),
)
