"""generate: render a prompt, ask a chain, keep the answer."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from wizard_dsl.core.component import Example, PolicyConfig, StepType
from wizard_dsl.core.messages import Request
from wizard_dsl.core.size import of_schema
from wizard_dsl.core.step import StepCall, StepContext, StepValue
from wizard_dsl.core.step_bound import Made, StepFacts
from wizard_dsl.steps._answer import answer


class OutputSpec(PolicyConfig, frozen=True):
    """What the answer must be."""

    schema: Annotated[dict[str, Any] | None, Meta(description="JSON Schema (2020-12) of the answer")] = None
    repairs: Annotated[int, Meta(ge=0, le=5, description="how often a violation is shown to the model")] = 1
    allow_empty: Annotated[bool, Meta(description="an empty answer is an answer")] = False


class StepSafety(PolicyConfig, frozen=True):
    """What a step sets of the file's `safety`."""

    block_when: Annotated[
        str | None, Meta(description="an expression over `text` and `json` of the answer; true refuses it")
    ] = None


class GenerateConfig(PolicyConfig, frozen=True):
    """The keys of a generate step."""

    prompt: Annotated[str | dict[str, Any], Meta(description="a prompt's name, or a prompt")]
    chain: Annotated[str, Meta(description="a chain's name")] = "default"
    params: Annotated[dict[str, Any], Meta(description="sampling parameters; prompt < step < target")] = {}
    output: OutputSpec = OutputSpec()
    safety: StepSafety = StepSafety()


class Generate:
    """One call for each execution. What is constant about the request is made once."""

    def __init__(self, config: GenerateConfig, context: StepContext) -> None:
        assert context.prompt is not None and context.handler is not None
        self._prompt = context.prompt
        self._handler = context.handler
        self._params = dict(context.params)
        self._tools = tuple(context.tools)
        self._schema = config.output.schema
        self._allow_empty = config.output.allow_empty

    def run(self, call: StepCall) -> Coroutine[Any, Any, StepValue]:
        """Raises what leaves the chain, and StepFailed where the prompt cannot be rendered."""
        request = Request(
            messages=self._prompt.render(call.scope), params=self._params, tools=self._tools, schema=self._schema
        )
        run = call.run.child(allow_empty=True) if self._allow_empty else call.run
        return answer(self._handler, request, run, call.sink)


def bound(config: GenerateConfig, facts: StepFacts) -> Made:
    """One call of the chain. A schema bounds what is read from the answer, not its white space."""
    assert facts.prompt is not None
    schema = config.output.schema
    made = facts.ask(facts.prompt.with_schema(schema))
    if schema is None:
        return made
    return msgspec.structs.replace(made, json=of_schema(schema, "the answer", facts.at).limited(made.text.json))


GENERATE = StepType(
    name="generate",
    summary="Renders a prompt, asks a chain and keeps the answer.",
    config=GenerateConfig,
    build=Generate,
    bound=bound,
    calls=True,
    examples=(
        Example("A prompt in place", 'answer: {prompt: {user: "{{ question }}"}}'),
        Example(
            "A JSON answer, with one repair",
            "topic: {prompt: classify, output: {schema: {type: object, required: [topic]}, repairs: 1}}",
        ),
    ),
)
