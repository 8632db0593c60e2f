"""One call of a chain: the bounds of its policies and its strategy, folded as `link` folds their nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from functools import reduce

import msgspec

from wizard_dsl.analysis._plan_attempt import attempt
from wizard_dsl.compiler.facts import Library, known_facts
from wizard_dsl.compiler.link import with_frame
from wizard_dsl.compiler.program import ChainPlan, PolicyPlan, TargetPlan, among
from wizard_dsl.core.bound import NOTHING, Again, Bound, BoundFacts, Figure, not_again, total
from wizard_dsl.core.component import seconds
from wizard_dsl.core.step_bound import Asked
from wizard_dsl.policies.budget import BudgetConfig, is_never_paid
from wizard_dsl.strategies._losses import lacking, needed

_FIGURES = ("attempts", "latency", "cost", "tokens", "in_flight")
#: Policies of a target behind which no call waits: what begins at once is sent at once.
_PROMPT = frozenset({"retry", "circuit_breaker", "budget", "timeout"})


class CallFold:
    """A chain as one step asks it. `own` are the policies that the step brings, `left_out` the kinds of policies that
    are not there; `streams` says whether a consumer may see its deltas, `shared` whether processes share
    its state. `deadline` is the run's, in seconds."""

    def __init__(
        self,
        chain: ChainPlan,
        own: Sequence[PolicyPlan],
        library: Library,
        *,
        deadline: float,
        streams: bool,
        shared: bool = False,
        left_out: Collection[str] = (),
    ) -> None:
        self.chain = chain
        self._own = own
        self._library = library
        self._deadline = deadline
        self._shared = shared
        self._left_out = left_out
        self._continues = streams and chain.mid_stream == "continue"
        self._outer = [*chain.shared, *among(chain.outer, own)]

    def bound(self, asked: Asked) -> Bound:
        """One call."""
        return self._policies(self._outer, _Asking(asked, self._deadline))

    def is_refused(self, asked: Asked) -> bool:
        """Whether no call can be answered: every target is skipped, whatever the values, and no cache holds answers of
        others."""
        asking = _Asking(asked, self._deadline)
        cached = any(each.type.name == "cache" for each in self._outer)
        return not cached and all(self._is_skipped(target, asking) for target in self.chain.targets)

    def without(self, kind: str) -> CallFold:
        """The same chain without the policies of a kind."""
        left_out = (*self._left_out, kind)
        return self._like(self.chain, left_out)

    def targets(self, asked: Asked) -> dict[str, Bound]:
        """One call, by target: what of it may be spent on each."""
        shares: dict[str, Bound] = {}
        for target in self.chain.targets:
            share = self._only(target).bound(asked)
            shares[target.name] = shares[target.name].after(share) if target.name in shares else share
        return shares

    def _only(self, target: TargetPlan) -> CallFold:
        """The same chain with no other target."""
        return self._like(msgspec.structs.replace(self.chain, targets=(target,)), self._left_out)

    def _like(self, chain: ChainPlan, left_out: Collection[str]) -> CallFold:
        return CallFold(
            chain,
            self._own,
            self._library,
            deadline=self._deadline,
            streams=self._continues,
            shared=self._shared,
            left_out=left_out,
        )

    def answer(self, asked: Asked) -> Figure:
        """Bytes of an answer. One that is continued where it breaks is made of several."""
        longest = self._longest(asked)
        if not self._continues:
            return longest
        return longest.product(self._strategy(_Asking(asked, self._deadline)).attempts)

    def _longest(self, asked: Asked) -> Figure:
        found = Figure(0)
        for target in self.chain.targets:
            found = found.largest(attempt(target, asked, Figure(0), self._library).answer)
        return found

    def _policies(self, policies: Sequence[PolicyPlan], asking: _Asking) -> Bound:
        """The bound of `policies`, outermost first, over the strategy."""
        if not policies:
            return self._resumed(asking)
        return self._around(policies, asking, self._policies, self._again)

    def _again(self, policies: Sequence[PolicyPlan], asking: _Asking) -> Bound:
        """As `_policies`, once somebody has answered: of those that were asked at once, the others are not asked again.
        Each visit that ends with an answer has used up as many targets as are asked at once, or all that were left."""
        chain = self.chain
        at_once = chain.strategy.at_once(chain.strategy_config)
        if at_once < 2 or self._shared or any(_may_wait(target) for target in chain.targets):
            return self._policies(policies, asking)
        bounds = [self._only(target)._policies(policies, asking) for target in chain.targets]
        return _most_of(bounds, math.ceil(len(bounds) / at_once))

    def _resumed(self, asking: _Asking) -> Bound:
        """Where a broken answer is continued, the prompt also holds all that came of it before."""
        bound = self._strategy(asking)
        if not self._continues:
            return bound
        return self._strategy(asking.longer(self._longest(asking.asked).product(bound.attempts)))

    def _strategy(self, asking: _Asking) -> Bound:
        branches = []
        for target in self.chain.targets:

            def ladder(policies: Sequence[PolicyPlan], asking: _Asking, target: TargetPlan = target) -> Bound:
                if not policies:
                    return asking.cut(attempt(target, asking.asked, asking.more, self._library).bound)
                return self._around(policies, asking, ladder, ladder)

            branches.append(NOTHING if self._is_skipped(target, asking) else ladder(with_frame(target), asking))
        facts = self._facts(asking, not_again)
        return self.chain.strategy.bound(self.chain.strategy_config, branches, facts)

    def _is_skipped(self, target: TargetPlan, asking: _Asking) -> bool:
        """Whether a target is skipped whatever the values: it is known to lack what every such request holds, and the
        chain does not allow that loss; its window has no room for what every such request says; or no budget ever has
        what an answer of it may cost."""
        facts, asked, request = known_facts(target, self._library), asking.asked, asking.asked.request
        if facts.context is not None and needed(asking.least, {**request.params, **target.params}) > facts.context:
            return True
        sure = {each for each in lacking(facts, request) if each != "system" or asked.instructs}
        kept = [each.config for each in target.ladder if each.type.name not in self._left_out]
        budgets = [each for each in kept if isinstance(each, BudgetConfig)]
        unpaid = any(is_never_paid(each, request, target.params, facts) for each in budgets)
        return unpaid or not sure <= set(self.chain.allow_loss)

    def _around(self, policies: Sequence[PolicyPlan], asking: _Asking, fold: _Folds, again: _Folds) -> Bound:
        """The first policy around the rest of them. A deadline also bounds the waits below it."""
        policy, rest = policies[0], policies[1:]
        if policy.type.name in self._left_out:
            return fold(rest, asking)
        below = asking.within(policy)
        facts = self._facts(asking, lambda more, least=0: again(rest, below.longer(more, least)))
        return _placed(policy.type.bound(policy.config, fold(rest, below), facts), policy)

    def _facts(self, asking: _Asking, again: Again) -> BoundFacts:
        rule = self.chain.rate_limit
        return BoundFacts(
            deadline=asking.left,
            max_retry_after=rule.max_retry_after,
            wait_up_to=rule.wait_up_to,
            answer=self._longest(asking.asked),
            shared=self._shared,
            again=again,
        )


class _Asking(msgspec.Struct, frozen=True):
    """What is asked at one place of the ladder: seconds that are `left` there at most, those that an attempt has in
    `total`, and bytes that the prompt has `more` there; it has `least` bytes in all, whatever the values."""

    asked: Asked
    left: float
    total: float | None = None
    more: Figure = Figure(0)
    least: int = 0

    def longer(self, extra: Figure, least: int = 0) -> _Asking:
        return msgspec.structs.replace(self, more=self.more + extra, least=max(self.least, least))

    def within(self, policy: PolicyPlan) -> _Asking:
        if policy.type.name == "timeout":
            return msgspec.structs.replace(self, total=seconds(getattr(policy.config, "total", "off")))
        after = seconds(getattr(policy.config, "after", "off")) if policy.type.name == "deadline" else None
        return self if after is None else msgspec.structs.replace(self, left=min(self.left, after))

    def cut(self, attempt: Bound) -> Bound:
        """One attempt, which the last `timeout` around it limits, whatever waits between the two."""
        if self.total is None:
            return attempt
        return attempt.with_latency(Figure(self.total, "besides the time the consumer holds the stream back"))


#: Folds the rest of a ladder.
_Folds = Callable[[Sequence[PolicyPlan], _Asking], Bound]


def _most_of(bounds: Sequence[Bound], count: int) -> Bound:
    """The largest `count` of them, figure by figure, one after the other."""

    def figure(name: str) -> Figure:
        return total(sorted((getattr(each, name) for each in bounds), key=lambda each: -each.value)[:count])

    in_flight = reduce(Figure.largest, (each.in_flight for each in bounds))
    return Bound(**{name: figure(name) for name in _FIGURES if name != "in_flight"}, in_flight=in_flight)


def _may_wait(target: TargetPlan) -> bool:
    return any(each.type.name not in _PROMPT for each in target.ladder)


def _placed(bound: Bound, policy: PolicyPlan) -> Bound:
    """With the place of the policy where it is what leaves a figure unbounded."""
    changes = {}
    for name in _FIGURES:
        figure: Figure = getattr(bound, name)
        if math.isinf(figure.value) and not figure.at and policy.origin:
            changes[name] = Figure(figure.value, figure.reason, policy.origin)
    return msgspec.structs.replace(bound, **changes) if changes else bound
