"""Static worst cases: what one run can cost at most, folded along the same ladder that `link` folds nodes.

Each figure is exact-or-above, or unbounded with the reason and the setting that would bound it.
"""

from __future__ import annotations

import math

import msgspec


class Figure(msgspec.Struct, frozen=True):
    """A number that is never below the truth. `inf` is unbounded, and `reason` says why."""

    value: float
    reason: str = ""

    @property
    def bounded(self) -> bool:
        return not math.isinf(self.value)

    def __add__(self, other: Figure) -> Figure:
        return Figure(self.value + other.value, self.reason or other.reason)

    def times(self, factor: float) -> Figure:
        """`factor` times as much; nothing of something unbounded is nothing."""
        return Figure(0.0) if factor == 0 else Figure(self.value * factor, self.reason)

    def largest(self, other: Figure) -> Figure:
        return self if self.value >= other.value else other


def unbounded(reason: str) -> Figure:
    """No limit; `reason` names the setting that would give one."""
    return Figure(math.inf, reason)


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """One call's worst case: attempts, seconds, US dollars, tokens, and calls in flight at once."""

    attempts: Figure
    latency: Figure
    cost: Figure
    tokens: Figure
    in_flight: Figure = Figure(1)

    def after(self, other: Bound) -> Bound:
        """This, then `other`."""
        return Bound(
            attempts=self.attempts + other.attempts,
            latency=self.latency + other.latency,
            cost=self.cost + other.cost,
            tokens=self.tokens + other.tokens,
            in_flight=self.in_flight.largest(other.in_flight),
        )

    def repeated(self, count: float) -> Bound:
        """`count` times, one after the other."""
        return Bound(
            attempts=self.attempts.times(count),
            latency=self.latency.times(count),
            cost=self.cost.times(count),
            tokens=self.tokens.times(count),
            in_flight=self.in_flight,
        )

    def with_latency(self, latency: Figure) -> Bound:
        return msgspec.structs.replace(self, latency=latency)


class BoundFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a bound may refer to besides its config: seconds of the enclosing deadline and of the chain's
    largest wait after a 429, and the worst case of one attempt."""

    deadline: float = math.inf
    max_retry_after: float = 0.0


def bound_unchanged(config: object, inner: Bound, facts: BoundFacts) -> Bound:
    """The bound of a policy that adds nothing in the worst case."""
    return inner
