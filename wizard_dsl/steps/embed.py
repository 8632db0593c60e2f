"""embed: ask a chain for the vectors of one or more texts."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from wizard_dsl.core.bound import Figure, total
from wizard_dsl.core.budget import PER_MESSAGE
from wizard_dsl.core.component import Example, PolicyConfig, StepType
from wizard_dsl.core.errors import StepFailed
from wizard_dsl.core.messages import Request
from wizard_dsl.core.step import StepCall, StepContext, StepValue
from wizard_dsl.core.step_bound import Asked, Made, StepFacts
from wizard_dsl.steps._answer import answer


class EmbedConfig(PolicyConfig, frozen=True):
    """The keys of an embed step. Its `json` is a list of vectors, one for each text."""

    texts: Annotated[
        str | list[str],
        Meta(description="a template whose value is a text or a list of texts, or several templates"),
    ]
    chain: Annotated[str, Meta(description="a chain's name")] = "default"
    params: Annotated[dict[str, Any], Meta(description="parameters of the embedding model")] = {}


class Embed:
    """One call for each execution, however many texts it has."""

    def __init__(self, config: EmbedConfig, context: StepContext) -> None:
        assert context.handler is not None
        self._handler = context.handler
        self._templates = context.templates["texts"]
        self._params = dict(context.params)
        self._path = context.path

    async def run(self, call: StepCall) -> StepValue:
        """Raises what leaves the chain, and StepFailed where a value is not a text."""
        request = Request(kind="embed", texts=self._texts(call), params=self._params)
        return await answer(self._handler, request, call.run, None)

    def _texts(self, call: StepCall) -> tuple[str, ...]:
        if isinstance(self._templates, list):
            return tuple(template.render(call.scope) for template in self._templates)
        value = self._templates.value(call.scope)
        texts = value if isinstance(value, list) else [value]
        for text in texts:
            if not isinstance(text, str):
                raise StepFailed(f"embed wants texts, not {type(text).__name__}", where=f"{self._path}.texts")
        return tuple(texts)


def bound(config: EmbedConfig, facts: StepFacts) -> Made:
    """One call of the chain, with all texts."""
    sizes = facts.templates["texts"]
    if isinstance(sizes, list):
        return facts.ask(Asked(Request(kind="embed", texts=("",) * len(sizes)), total(each.text for each in sizes)))
    many = sizes.count if sizes.item is not None else Figure(1)
    return facts.ask(Asked(Request(kind="embed"), sizes.text + many.times(PER_MESSAGE)))


EMBED = StepType(
    name="embed",
    summary="Asks a chain for the vectors of one or more texts.",
    config=EmbedConfig,
    build=Embed,
    bound=bound,
    templates=("texts",),
    calls=True,
    examples=(Example("One vector", 'vector: {type: embed, texts: "{{ question }}", chain: embedder}'),),
)
