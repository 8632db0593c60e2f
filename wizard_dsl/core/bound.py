"""Static worst cases: what one run can cost at most, folded along the same ladder that `link` folds nodes.

Each figure is exact-or-above, or unbounded with the reason and the setting that would bound it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol

import msgspec

#: A path in a document: keys and indexes.
Path = tuple[str | int, ...]


class Figure(msgspec.Struct, frozen=True):
    """A number that is never below the truth. `inf` is unbounded; then `reason` says why, and `at` is the place of the
    setting that would bound it, where one is known."""

    value: float
    reason: str = ""
    at: Path = ()

    @property
    def bounded(self) -> bool:
        return not math.isinf(self.value)

    def __add__(self, other: Figure) -> Figure:
        first, second = (other, self) if self.bounded and not other.bounded else (self, other)
        return Figure(self.value + other.value, first.reason or second.reason, first.at or second.at)

    def times(self, factor: float) -> Figure:
        """`factor` times as much; nothing of something unbounded is nothing."""
        return Figure(0.0) if factor == 0 else Figure(self.value * factor, self.reason, self.at)

    def product(self, other: Figure) -> Figure:
        """`other` times as much, where both are only known as bounds."""
        if 0 in (self.value, other.value):
            return Figure(0.0)
        worse = other if self.bounded and not other.bounded else self
        return Figure(self.value * other.value, worse.reason, worse.at)

    def largest(self, other: Figure) -> Figure:
        return self if self.value >= other.value else other

    def smallest(self, other: Figure) -> Figure:
        return self if self.value <= other.value else other


def total(figures: Iterable[Figure]) -> Figure:
    """Their sum."""
    found = Figure(0)
    for each in figures:
        found = found + each
    return found


def unbounded(reason: str, at: Path = ()) -> Figure:
    """No limit; `reason` names the setting that would give one."""
    return Figure(math.inf, reason, at)


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

    def beside(self, other: Bound) -> Bound:
        """This and `other` at the same time."""
        both = self.after(other)
        return msgspec.structs.replace(
            both, latency=self.latency.largest(other.latency), in_flight=self.in_flight + other.in_flight
        )

    def largest(self, other: Bound) -> Bound:
        """This or `other`."""
        return Bound(**{name: getattr(self, name).largest(getattr(other, name)) for name in self.__struct_fields__})

    def with_latency(self, latency: Figure) -> Bound:
        return msgspec.structs.replace(self, latency=latency)


class Again(Protocol):
    """The bound of `inner` where whoever answered is asked once more, with a prompt of at most `more` bytes more, and
    no less than `least` in all; None where that is `inner`."""

    def __call__(self, more: Figure, least: int = 0) -> Bound | None: ...


def not_again(more: Figure, least: int = 0) -> Bound | None:
    """Where asking again is as asking."""
    return None


#: Nothing is done.
NOTHING = Bound(attempts=Figure(0), latency=Figure(0), cost=Figure(0), tokens=Figure(0), in_flight=Figure(0))


class BoundFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a bound may refer to besides its config.

    Seconds: of the enclosing `deadline`, and of the chain's largest wait after a 429, in place (`wait_up_to`) and in
    all. `shared`: processes share the state. `answer`: bytes of an answer. `again`: asking once more.
    """

    deadline: float = math.inf
    max_retry_after: float = 0.0
    wait_up_to: float = math.inf
    shared: bool = False
    answer: Figure = Figure(0)
    again: Again = not_again

    @property
    def patience(self) -> float:
        """The longest wait in place, in seconds."""
        return min(self.wait_up_to, self.max_retry_after)


def bound_unchanged(config: object, inner: Bound, facts: BoundFacts) -> Bound:
    """The bound of a policy that adds nothing in the worst case."""
    return inner
