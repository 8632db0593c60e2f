"""Sequential: the targets in the order they are written, until one answers.

Before a target is called its capabilities are checked and its gates looked at, which costs nothing where it is
closed. What a failure does – move on, or leave – is the error table's, or the chain's `fallback_on`. Where no
untried target is left, a call waits for the one that a 429 blocks and that is free first, if attempts, deadline
and retry budget allow. A `priority` on targets overrules the order they are written in: lower numbers go first.
"""

from __future__ import annotations

from collections.abc import Sequence

from wizard_dsl.core.bound import Bound, BoundFacts
from wizard_dsl.core.component import Example, NoConfig, StrategyType
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.target import Branch
from wizard_dsl.strategies._outcomes import IN_ORDER, WALK
from wizard_dsl.strategies._walk import EMITS, RAISES, Walk, bound_walk


def build(config: NoConfig, branches: Sequence[Branch], context: BuildContext) -> Walk:
    """The walk in the order of the file."""
    return Walk(branches, context)


def bound(config: NoConfig, branches: Sequence[Bound], facts: BoundFacts) -> Bound:
    """The sum over the targets."""
    return bound_walk(branches, facts)


SEQUENTIAL = StrategyType(
    name="sequential",
    summary="The targets in the order they are written, until one answers.",
    config=NoConfig,
    build=build,
    bound=bound,
    asks="first",
    emits=EMITS,
    raises=RAISES,
    outcomes=(*IN_ORDER, *WALK),
    examples=(Example("The usual order", "strategy: sequential"),),
)
