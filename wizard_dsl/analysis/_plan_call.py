"""One call of a chain: the bounds of its policies and its strategy, folded as `link` folds their nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import msgspec

from wizard_dsl.analysis._plan_attempt import attempt
from wizard_dsl.compiler.link import Library, with_frame
from wizard_dsl.compiler.program import ChainPlan, PolicyPlan, TargetPlan, among
from wizard_dsl.core.bound import Bound, BoundFacts, Figure
from wizard_dsl.core.component import seconds
from wizard_dsl.core.step_bound import Asked

_NO_MORE = Figure(0)
_FIGURES = ("attempts", "latency", "cost", "tokens", "in_flight")


class CallFold:
    """A chain as one step asks it. `own` are the policies that the step brings, `left_out` the kinds of policies that
    are not there; `streams` says whether a consumer may see its deltas. `deadline` is the run's, in seconds."""

    def __init__(
        self,
        chain: ChainPlan,
        own: Sequence[PolicyPlan],
        library: Library,
        *,
        deadline: float,
        streams: bool,
        left_out: Collection[str] = (),
    ) -> None:
        self._chain = chain
        self._own = own
        self._library = library
        self._left_out = left_out
        self._continues = streams and chain.mid_stream == "continue"
        self._outer = [*chain.shared, *among(chain.outer, own)]
        after = [seconds(getattr(each.config, "after", "off")) for each in chain.outer if each.type.name == "deadline"]
        self._deadline = min([deadline, *(each for each in after if each is not None)])

    def bound(self, asked: Asked) -> Bound:
        """One call."""
        return self._policies(self._outer, asked, _NO_MORE)

    def targets(self, asked: Asked) -> dict[str, Bound]:
        """One call, by target: what of it may be spent on each."""
        shares: dict[str, Bound] = {}
        for target in self._chain.targets:
            alone = msgspec.structs.replace(self._chain, targets=(target,))
            fold = CallFold(
                alone,
                self._own,
                self._library,
                deadline=self._deadline,
                streams=self._continues,
                left_out=self._left_out,
            )
            share = fold.bound(asked)
            shares[target.name] = shares[target.name].after(share) if target.name in shares else share
        return shares

    def answer(self, asked: Asked) -> Figure:
        """Bytes of an answer. One that is continued where it breaks is made of several."""
        longest = self._longest(asked)
        if not self._continues:
            return longest
        return longest.product(self._strategy(asked, _NO_MORE).attempts)

    def _longest(self, asked: Asked) -> Figure:
        found = _NO_MORE
        for target in self._chain.targets:
            found = found.largest(attempt(target, asked, _NO_MORE, self._library).answer)
        return found

    def _policies(self, policies: Sequence[PolicyPlan], asked: Asked, more: Figure) -> Bound:
        """The bound of `policies`, outermost first, over the strategy."""
        if not policies:
            return self._resumed(asked, more)
        first, rest = policies[0], policies[1:]
        inner = self._policies(rest, asked, more)
        return self._around(first, inner, self._facts(asked, lambda extra: self._policies(rest, asked, more + extra)))

    def _resumed(self, asked: Asked, more: Figure) -> Bound:
        """Where a broken answer is continued, the prompt also holds all that came of it before."""
        bound = self._strategy(asked, more)
        if not self._continues:
            return bound
        before = self._longest(asked).product(bound.attempts)
        return self._strategy(asked, more + before)

    def _strategy(self, asked: Asked, more: Figure) -> Bound:
        branches = [self._ladder(with_frame(target), target, asked, more) for target in self._chain.targets]
        facts = self._facts(asked, lambda extra: None)
        return self._chain.strategy.bound(self._chain.strategy_config, branches, facts)

    def _ladder(self, policies: Sequence[PolicyPlan], target: TargetPlan, asked: Asked, more: Figure) -> Bound:
        if not policies:
            return attempt(target, asked, more, self._library).bound
        first, rest = policies[0], policies[1:]
        inner = self._ladder(rest, target, asked, more)
        facts = self._facts(asked, lambda extra: self._ladder(rest, target, asked, more + extra))
        return self._around(first, inner, facts)

    def _around(self, policy: PolicyPlan, inner: Bound, facts: BoundFacts) -> Bound:
        if policy.type.name in self._left_out:
            return inner
        return _placed(policy.type.bound(policy.config, inner, facts), policy)

    def _facts(self, asked: Asked, longer: Callable[[Figure], Bound | None]) -> BoundFacts:
        rule = self._chain.rate_limit
        return BoundFacts(
            deadline=self._deadline,
            max_retry_after=rule.max_retry_after,
            wait_up_to=rule.wait_up_to,
            answer=self._longest(asked),
            longer=longer,
        )


def _placed(bound: Bound, policy: PolicyPlan) -> Bound:
    """With the place of the policy where it is what leaves a figure unbounded."""
    changes = {}
    for name in _FIGURES:
        figure: Figure = getattr(bound, name)
        if math.isinf(figure.value) and not figure.at and policy.origin:
            changes[name] = Figure(figure.value, figure.reason, policy.origin)
    return msgspec.structs.replace(bound, **changes) if changes else bound
