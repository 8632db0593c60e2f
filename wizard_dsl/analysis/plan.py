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

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec

from wizard_dsl.analysis._plan_expected import ExpectedFold
from wizard_dsl.analysis._plan_fold import Fold, Left, StepFold
from wizard_dsl.compiler.facts import Library
from wizard_dsl.compiler.program import Program, TargetPlan
from wizard_dsl.core.bound import Bound, Figure
from wizard_dsl.core.size import Size, of_value

FigureName = Literal["attempts", "latency", "cost", "tokens", "in_flight"]
FIGURES: tuple[FigureName, ...] = ("attempts", "latency", "cost", "tokens", "in_flight")


class Contributor(msgspec.Struct, frozen=True):
    """`share` of a figure would not be there without `name`: a step, its loop, or a policy or a target of its chain."""

    name: str
    share: float


class StepPlanned(msgspec.Struct, frozen=True):
    """One step, in the worst case: `once` is one execution, `worst` all of them, under the limits of the run. `targets`
    holds, by name, what of it may be spent on each."""

    executions: Figure
    once: Bound
    worst: Bound
    targets: Mapping[str, Bound]


class Expected(msgspec.Struct, frozen=True):
    """What a run needs on average. `waits` are the delays between its attempts, in seconds, `failed` is the probability
    that no target answers."""

    attempts: Figure
    waits: Figure
    cost: Figure
    tokens: Figure
    failed: float


class Plan(msgspec.Struct, frozen=True):
    """The worst case of a run, what it needs where nothing fails (`typical`), and, where failure rates are given, what
    it is `expected` to need. `unlimited` is what it would be without the run's deadline and budgets; `contributors`
    are, for each figure of it, what adds most, the largest first."""

    worst: Bound
    unlimited: Bound
    steps: Mapping[str, StepPlanned]
    contributors: Mapping[FigureName, tuple[Contributor, ...]]
    typical: Expected
    expected: Expected | None = None

    @property
    def targets(self) -> dict[str, Figure]:
        """Attempts on each target in one run, by name. Those of other files that are run are none of them."""
        found: dict[str, Figure] = {}
        for step in self.steps.values():
            for name, share in step.targets.items():
                found[name] = found.get(name, Figure(0)) + share.attempts
        return found


def plan_of(
    program: Program,
    *,
    library: Library | None = None,
    failure_rates: Mapping[str, float] | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan of a compiled program; with `inputs`, of a run that is given these.

    `library` knows the facts of models that the file does not state, the price library's where none is given.
    `failure_rates` maps providers, or patterns of target names, to the share of attempts that fail.
    """
    if library is None:
        from wizard_dsl.providers._prices import library as prices

        library = prices
    known = None if inputs is None else {name: of_value(value) for name, value in inputs.items()}
    fold = Fold(program, library)
    steps = fold.steps(known)
    whole = fold.whole(steps)
    return Plan(
        worst=fold.limited(whole),
        unlimited=whole,
        steps={name: _step(fold, each) for name, each in steps.items()},
        contributors=_contributors(program, library, known, whole),
        typical=_expected(program, library, known, {}),
        expected=None if failure_rates is None else _expected(program, library, known, failure_rates),
    )


def _step(fold: Fold, step: StepFold) -> StepPlanned:
    targets = {name: fold.limited(share) for name, share in step.targets.items()}
    return StepPlanned(step.executions, fold.limited(step.once), fold.limited(step.whole), targets)


def matches(target: TargetPlan, pattern: str) -> bool:
    """Whether a pattern means a target: by its name, or by that of its provider."""
    return target.provider == pattern or fnmatchcase(target.name, pattern)


def _expected(
    program: Program, library: Library, inputs: Mapping[str, Size] | None, rates: Mapping[str, float]
) -> Expected:
    """The first pattern that means a target holds."""

    def rate(target: TargetPlan) -> float:
        return next((share for pattern, share in rates.items() if matches(target, pattern)), 0.0)

    fold = ExpectedFold(program, library, rate)
    whole = fold.limited(fold.whole(fold.steps(inputs)))
    return Expected(whole.attempts, whole.latency, whole.cost, whole.tokens, fold.failed)


def _contributors(
    program: Program, library: Library, inputs: Mapping[str, Size] | None, whole: Bound
) -> dict[FigureName, tuple[Contributor, ...]]:
    """How much less each figure would be without each part; parts that make nothing less are left out."""
    without: dict[Left, Bound] = {}
    for what in _parts(program):
        fold = Fold(program, library, left_out={what})
        without[what] = fold.whole(fold.steps(inputs))
    found: dict[FigureName, tuple[Contributor, ...]] = {}
    for name in FIGURES:
        figure: Figure = getattr(whole, name)
        shares = [(figure.value - getattr(less, name).value, what) for what, less in without.items() if figure.bounded]
        ranked = sorted((each for each in shares if each[0] > 0), key=lambda each: (-each[0], each[1]))
        found[name] = tuple(Contributor(".".join(what), share) for share, what in ranked)
    return found


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
