"""Weighted: each call draws its target, in proportion to the weights; for A/B tests and for shifting load.

`weight` stands on the targets, 1 unless set. A target whose call fails, or that is closed, is put aside and the rest
is drawn again by weight. Weight 0 is never drawn: such a target is a spare, tried only after all others, in the
order they are written (`enabled: false` takes a target out altogether).

With `sticky`, an expression over the inputs such as `customer_id`, the draw is a hash of its value, so that a customer
always meets the same target: in every process, after every restart, whatever the seed. Where the value is null,
chance decides. When weights change, or a target is added, only as many keys move as have to.

Both are one rule: a target's number is -ln(u) / weight, u being uniform in (0, 1], and the smallest number goes first.
That is a draw by weight without putting back (Efraimidis and Spirakis 2006), and with u hashed of key and target it is
weighted rendezvous hashing. As it is a pure function of the run, the cache can ask for the arm before it is called: its
key is the chosen target's, and the answer of another one, which stands in for it, is kept for `fallback_ttl`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log1p
from typing import Annotated

from msgspec import Meta

from wizard_dsl.core.bound import Bound, BoundFacts
from wizard_dsl.core.component import Example, PolicyConfig, StrategyType
from wizard_dsl.core.messages import Request
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.rng import uniform
from wizard_dsl.core.run import Run
from wizard_dsl.core.target import Branch, Target
from wizard_dsl.strategies._outcomes import CHOSEN, WALK
from wizard_dsl.strategies._rank import ranked
from wizard_dsl.strategies._walk import EMITS, RAISES, Walk, bound_walk


class WeightedConfig(PolicyConfig, frozen=True):
    """The keys of `strategy: {type: weighted}`; `weight` stands on the targets."""

    sticky: Annotated[
        str | None, Meta(description="an expression over the inputs; equal values always get the same target")
    ] = None


def build(config: WeightedConfig, branches: Sequence[Branch], context: BuildContext) -> Walk:
    """The walk in a drawn order; tells the cache whose answer a call asks for."""

    def draw(run: Run) -> list[Branch]:
        def rank(target: Target) -> float:
            if not target.weight:
                return inf
            if run.scope.sticky is None:
                chance = context.chance.draw(run, target.position)
            else:
                chance = uniform(f"{context.chain.name}/{target.name}/{run.scope.sticky}")
            return -log1p(-chance) / target.weight

        return ranked(branches, rank)

    def asked(run: Run) -> str:
        return f"weighted {draw(run)[0].target.fingerprint}"

    def order(request: Request, run: Run) -> list[Branch]:
        return draw(run)

    context.chain.asked = asked
    return Walk(branches, context, order)


def bound(config: WeightedConfig, branches: Sequence[Bound], facts: BoundFacts) -> Bound:
    """The sum over the targets."""
    return bound_walk(branches, facts)


WEIGHTED = StrategyType(
    name="weighted",
    summary="Draws the target of each call in proportion to the weights, or by a hash, and draws again on failure.",
    config=WeightedConfig,
    build=build,
    bound=bound,
    weighs=True,
    asks="chosen",
    expression="sticky",
    emits=EMITS,
    raises=RAISES,
    outcomes=(*CHOSEN, *WALK),
    examples=(
        Example(
            "One call in ten goes to the new model",
            "strategy: weighted\ntargets: [{provider: openai, model: gpt-4o, weight: 9}, openai/gpt-4o-mini]",
        ),
        Example("A customer always gets the same model", "strategy: {type: weighted, sticky: customer}"),
    ),
)
