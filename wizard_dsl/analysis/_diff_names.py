"""Which things of two programs are the same one: by name, else by being equal in all but the name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from wizard_dsl.analysis._diff_view import ChainView, Part, StepView, TargetView, View

T = TypeVar("T")
Names = tuple[tuple[str, str], ...]


class Pairs(msgspec.Struct, frozen=True):
    """Pairs of an old and a new name, in the order of the new side."""

    inputs: Names
    providers: Names
    chains: Names
    steps: Names

    def targets(self, was: ChainView, now: ChainView) -> Names:
        """The targets of two chains that are the same one: by name, else the same model at the same endpoint, under
        the same key."""
        return _pairs(was.targets, now.targets, lambda each: each.plan.key)


def pairs_of(old: View, new: View) -> Pairs:
    """What of two programs belongs together."""
    chains = _pairs(old.chains, new.chains, _chain)
    providers = set()
    for one, other in chains:
        was, now = old.chains[one], new.chains[other]
        both = _pairs(was.targets, now.targets, lambda each: each.plan.key)
        providers |= {(was.targets[a].plan.provider, now.targets[b].plan.provider) for a, b in both}
    return Pairs(
        inputs=_pairs(old.inputs, new.inputs, _part),
        providers=tuple(sorted(providers)),
        chains=chains,
        steps=_pairs(old.steps, new.steps, _step),
    )


def _pairs(old: Mapping[str, T], new: Mapping[str, T], shape: Callable[[T], Any]) -> Names:
    """Equal names first; of the others, those whose shape is that of exactly one on the other side."""
    left = {name: shape(each) for name, each in old.items() if name not in new}
    right = {name: shape(each) for name, each in new.items() if name not in old}
    found = {name: name for name in new if name in old}
    for name, own in right.items():
        alike = [each for each, other in left.items() if other == own]
        if len(alike) == 1 and sum(other == own for other in right.values()) == 1:
            found[name] = alike[0]
    return tuple((found[name], name) for name in new if name in found)


def _part(part: Part) -> Any:
    return {key: value.value for key, value in part.leaves.items()}


def _target(target: TargetView) -> Any:
    return target.plan.key, _part(target.own), {kind: _part(each) for kind, each in target.policies.items()}


def _chain(chain: ChainView) -> Any:
    plan = chain.plan
    return (
        _part(chain.own),
        plan.strategy.name,
        _part(chain.strategy),
        {kind: _part(each) for kind, each in chain.policies.items()},
        [_target(each) for each in chain.targets.values()],
        dict(plan.fallback_on),
    )


def _step(step: StepView) -> Any:
    return _part(step.own), step.messages
