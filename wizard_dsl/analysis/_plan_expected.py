"""What a run is expected to need: nothing fails, or each attempt fails at a given rate.

A failure is one that a second try may cure, such as a 503; it costs nothing. Prompts and answers are as long as they
may be, at four bytes a token; breakers are closed, limits have room, caches are empty, contracts are kept. How long
targets take is not known before a run: `latency` holds only the delays between attempts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from wizard_dsl.analysis._plan_attempt import TYPICAL, attempt
from wizard_dsl.analysis._plan_fold import Fold
from wizard_dsl.compiler.facts import Library
from wizard_dsl.compiler.program import ChainPlan, Program, StepPlan, TargetPlan
from wizard_dsl.core.bound import NOTHING, Bound, Figure
from wizard_dsl.core.step_bound import Asked
from wizard_dsl.policies._backoff import usual
from wizard_dsl.policies._retry_when import most_attempts
from wizard_dsl.policies.retry import RetryConfig, backoff

#: The share of a target's attempts that fail.
Rate = Callable[[TargetPlan], float]
_NO_MORE = Figure(0)


class ExpectedFold(Fold):
    """A whole program, on average. `failed` is the probability that a run fails, once the steps were folded."""

    def __init__(self, program: Program, library: Library, rate: Rate, *, deadline: float = math.inf) -> None:
        super().__init__(program, library, deadline=deadline)
        self._rate = rate
        self._answers = 1.0

    @property
    def failed(self) -> float:
        return 1 - self._answers

    def inner(self, program: Program) -> ExpectedFold:
        return ExpectedFold(program, self._library, self._rate, deadline=self._deadline)

    def call(self, step: StepPlan) -> ExpectedCall | None:
        if step.chain is None:
            return None
        return ExpectedCall(self._program.chains[step.chain], self._library, self._rate)

    def note(self, step: StepPlan, call: Any, executions: Figure) -> None:
        """A step whose failure is no failure of the run does not count."""
        if isinstance(call, ExpectedCall) and step.on_error == "fail" and executions.bounded:
            self._answers *= (1 - call.failed) ** executions.value


class ExpectedCall:
    """One call of a chain, on average; `failed` is the probability that no target answers, once it was asked for."""

    def __init__(self, chain: ChainPlan, library: Library, rate: Rate) -> None:
        self._chain = chain
        self._library = library
        self._rate = rate
        self.failed = 0.0

    def bound(self, asked: Asked) -> Bound:
        """The mean over the orders in which the targets may be asked."""
        total, self.failed = NOTHING, 0.0
        for share, order in self._orders(asked):
            one, failed = self._in_turn(order, asked)
            total = total.after(_scaled(one, share))
            self.failed += share * failed
        return msgspec.structs.replace(total, in_flight=Figure(self._at_once))

    def targets(self, asked: Asked) -> dict[str, Bound]:
        """Not told apart."""
        return {}

    def answer(self, asked: Asked) -> Figure:
        """Bytes of an answer."""
        longest = _NO_MORE
        for target in self._chain.targets:
            longest = longest.largest(attempt(target, asked, _NO_MORE, self._library, TYPICAL).answer)
        return longest

    @property
    def _at_once(self) -> int:
        return min(self._chain.strategy.at_once(self._chain.strategy_config), len(self._chain.targets))

    def _orders(self, asked: Asked) -> list[tuple[float, Sequence[TargetPlan]]]:
        """Orders, each with its share. A target that was drawn first is followed by the others as they are written."""
        targets = self._chain.targets
        if self._chain.strategy.weighs:
            group = [each for each in targets if each.priority == targets[0].priority]
            total = sum(each.weight for each in group) or 1.0
            return [
                (first.weight / total, [first, *(each for each in targets if each is not first)]) for first in group
            ]
        if self._chain.strategy.name == "cheapest":
            return [(1.0, sorted(targets, key=lambda each: (each.priority, self._once(each, asked).cost.value)))]
        return [(1.0, targets)]

    def _once(self, target: TargetPlan, asked: Asked) -> Bound:
        made = attempt(target, asked, _NO_MORE, self._library, TYPICAL).bound
        return made.with_latency(Figure(0))

    def _in_turn(self, order: Sequence[TargetPlan], asked: Asked) -> tuple[Bound, float]:
        """One group of targets after the other, while all of those before failed."""
        total, reached = NOTHING, 1.0
        for begin in range(0, len(order), self._at_once):
            failed, group = 1.0, NOTHING
            for target in order[begin : begin + self._at_once]:
                visit, own = self._visit(target, asked)
                group = group.beside(visit)
                failed *= own
            total = total.after(_scaled(group, reached))
            reached *= failed
        return total, reached

    def _visit(self, target: TargetPlan, asked: Asked) -> tuple[Bound, float]:
        """All attempts of a call on one target, and the probability that none answers."""
        rate = self._rate(target)
        retry = next((each.config for each in target.ladder if isinstance(each.config, RetryConfig)), None)
        most = 1 if retry is None else most_attempts(retry.when, retry.max_attempts)
        once = self._once(target, asked)
        answers = 1 - rate**most
        waits = 0.0
        if retry is not None:
            times, mode = backoff(retry), retry.backoff.get("server", "exponential")
            waits = sum(rate**k * usual(times, mode, k) for k in range(1, most))
        visit = Bound(
            attempts=Figure(math.fsum(rate**k for k in range(most))),
            latency=Figure(waits),
            cost=once.cost.times(answers),
            tokens=once.tokens.times(answers),
        )
        return visit, rate**most


def _scaled(bound: Bound, share: float) -> Bound:
    return bound.repeated(share) if share else NOTHING
