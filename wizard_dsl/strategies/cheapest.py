"""Cheapest: the target whose answer to this request costs least, then the next dearer one.

The estimate is prompt × input price + answer × output price. The prompt is estimated from the text; of the answer
`max_tokens` is known where it is set (the target's own, else the request's), else 1000 tokens are assumed for every
target, but never more than a model can write. A fixed guess is fair: it favours no model for its small window, and
which of two targets is cheaper mostly hangs on the ratio of prompt and answer, not on their size. Targets without a
known price are tried last, in the order they are written: not knowing is no bargain.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final

from wizard_dsl.core.bound import Bound, BoundFacts
from wizard_dsl.core.component import Example, NoConfig, StrategyType
from wizard_dsl.core.messages import Request, Usage, estimate_tokens
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.run import Run
from wizard_dsl.core.target import Branch, Target
from wizard_dsl.strategies._outcomes import CHOSEN, WALK
from wizard_dsl.strategies._rank import ranked
from wizard_dsl.strategies._walk import EMITS, RAISES, Walk, bound_walk

#: Tokens of an answer for which nobody set `max_tokens`.
USUAL_ANSWER: Final = 1000


def build(config: NoConfig, branches: Sequence[Branch], context: BuildContext) -> Walk:
    """The walk from the cheapest target to the dearest."""

    def order(request: Request, run: Run) -> list[Branch]:
        prompt = estimate_tokens(request.size())
        return ranked(branches, lambda target: price(target, request, prompt))

    return Walk(branches, context, order)


def price(target: Target, request: Request, prompt: int) -> float:
    """US dollars that `target` would take for a request of `prompt` tokens; inf where that is not known."""
    prices = target.facts.prices
    if prices is None:
        return inf
    return prices.cost(Usage(prompt, _answer(target, request)))


def _answer(target: Target, request: Request) -> int:
    """Tokens the answer is taken to have; an embedding has none."""
    if request.kind == "embed":
        return 0
    asked = {**request.params, **target.params}.get("max_tokens")
    tokens = asked if isinstance(asked, int) else USUAL_ANSWER
    most = target.facts.max_output
    return tokens if most is None else min(tokens, most)


def bound(config: NoConfig, branches: Sequence[Bound], facts: BoundFacts) -> Bound:
    """The sum over the targets."""
    return bound_walk(branches, facts)


CHEAPEST = StrategyType(
    name="cheapest",
    summary="The target whose answer is estimated to cost least, then the next dearer one; unknown prices last.",
    config=NoConfig,
    build=build,
    bound=bound,
    asks="all",
    emits=EMITS,
    raises=RAISES,
    outcomes=(*CHOSEN, *WALK),
    examples=(Example("By the price of each request", "strategy: cheapest"),),
)
