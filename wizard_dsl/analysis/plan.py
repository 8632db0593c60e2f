"""What a run of a program can cost at most, before it runs: attempts, latency, cost, tokens, calls in flight.

    plan = plan_of(program)
    plan.worst.cost                    # Figure(value=0.31, …): never below what a run costs
    plan.steps["reply"].targets        # what of it may be spent on each target
    plan.contributors["cost"][0]       # Contributor("reply.retry", 0.2): what it would be less without

Every figure is folded from what the policies, strategies, providers and steps of the program declare (`bound` beside
their `build`), along the ladder along which `link` folds their nodes. It holds for every run, whatever the targets
do, as long as a provider bills no more tokens than it was sent bytes and asked to write, and as long as whoever reads a
stream does not hold it back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import msgspec

from wizard_dsl.analysis._plan_fold import Fold, Left, StepFold
from wizard_dsl.compiler.link import Library
from wizard_dsl.compiler.program import Program
from wizard_dsl.core.bound import Bound, Figure

FigureName = Literal["attempts", "latency", "cost", "tokens", "in_flight"]
FIGURES: tuple[FigureName, ...] = ("attempts", "latency", "cost", "tokens", "in_flight")


class Contributor(msgspec.Struct, frozen=True):
    """`share` of a figure would not be there without `name`: a step, its loop, or a policy or a target of its chain."""

    name: str
    share: float


class StepPlanned(msgspec.Struct, frozen=True):
    """One step, in the worst case: `once` is one execution, `worst` all of them. `targets` holds, by name, what of it
    may be spent on each."""

    executions: Figure
    once: Bound
    worst: Bound
    targets: Mapping[str, Bound]


class Plan(msgspec.Struct, frozen=True):
    """The worst case of a run. `unlimited` is what it would be without the run's deadline and budgets; `contributors`
    are, for each figure of it, what adds most, the largest first."""

    worst: Bound
    unlimited: Bound
    steps: Mapping[str, StepPlanned]
    contributors: Mapping[FigureName, tuple[Contributor, ...]]

    @property
    def targets(self) -> dict[str, Figure]:
        """Attempts on each target in one run, by name. Those of other files that are run are none of them."""
        found: dict[str, Figure] = {}
        for step in self.steps.values():
            for name, share in step.targets.items():
                found[name] = found.get(name, Figure(0)) + share.attempts
        return found


def plan_of(program: Program, *, library: Library | None = None) -> Plan:
    """The plan of a compiled program. `library` knows the facts of models that the file does not state, the price
    library's where none is given."""
    if library is None:
        from wizard_dsl.providers._prices import library as prices

        library = prices
    fold = Fold(program, library)
    steps = fold.steps()
    whole = fold.whole(steps)
    return Plan(
        worst=fold.limited(whole),
        unlimited=whole,
        steps={name: StepPlanned(each.executions, each.once, each.whole, each.targets) for name, each in steps.items()},
        contributors=_contributors(program, library, steps, whole),
    )


def _contributors(
    program: Program, library: Library, steps: Mapping[str, StepFold], whole: Bound
) -> dict[FigureName, tuple[Contributor, ...]]:
    """How much less each figure would be without each part; parts that make nothing less are left out."""
    without = {what: _without(program, library, {what}) for what in _parts(program)}
    found: dict[FigureName, tuple[Contributor, ...]] = {}
    for name in FIGURES:
        figure: Figure = getattr(whole, name)
        shares = [(figure.value - getattr(less, name).value, what) for what, less in without.items() if figure.bounded]
        ranked = sorted((each for each in shares if each[0] > 0), key=lambda each: (-each[0], each[1]))
        found[name] = tuple(Contributor(".".join(what), share) for share, what in ranked)
    return found


def _without(program: Program, library: Library, left_out: Collection[Left]) -> Bound:
    fold = Fold(program, library, left_out=left_out)
    return fold.whole(fold.steps())


def _parts(program: Program) -> list[Left]:
    """What may be left out: each step's loop, the policies on its way, and its targets but the first."""
    found: list[Left] = []
    for step in program.steps:
        if step.for_each is not None:
            found.append((step.name, "for_each"))
        if step.chain is None:
            continue
        chain = program.chains[step.chain]
        kinds = [*chain.outer, *step.own(), *(policy for target in chain.targets for policy in target.ladder)]
        found += [(step.name, kind) for kind in dict.fromkeys(policy.type.name for policy in kinds)]
        found += [(step.name, target.name) for target in chain.targets[1:] if target.name != chain.targets[0].name]
    return list(dict.fromkeys(found))
