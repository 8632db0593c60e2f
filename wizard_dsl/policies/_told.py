"""What a provider says is left of its own limit, kept until the time at which it says that it resets.

It can only tighten: a call passes where both our own limit and what was told leave room for it. What is under way
when a provider speaks may not be in its count yet, and is taken off what it says.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from wizard_dsl.core.announced import Counted
from wizard_dsl.policies._line import Gate, Level, Taken


class Left(msgspec.Struct):
    """`remaining` units until the loop time `until`."""

    remaining: int
    until: float


class Open:
    """A gate that is no limit: before one that is kept elsewhere, where only what was told is ours."""

    __slots__ = ()

    def take(self, now: float, tokens: int, /) -> Taken:
        return Taken(now, tokens)

    def give(self, taken: Taken, now: float, /) -> None:
        """Nothing was counted."""

    def settle(self, taken: Taken, used: int, now: float, /) -> None:
        """Nothing was counted."""

    def wait(self, now: float, place: int, ahead: int, tokens: int, /) -> float:
        return 0.0

    def levels(self, now: float, /) -> tuple[Level, ...]:
        return ()


class Told:
    """A gate before a gate. Each `taken` is given back or settled once."""

    __slots__ = ("_flying", "_gate", "_left")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._left: dict[Counted, Left] = {}
        self._flying: dict[Counted, int] = {"requests": 0, "tokens": 0}

    def tell(self, counts: Counted, remaining: int, until: float, taken: Taken) -> None:
        """The answer to the call that has `taken` says that so many are left until `until`."""
        others = self._flying[counts] - _needed(counts, 1, taken.tokens)
        self._left[counts] = Left(max(0, remaining - others), until)

    def take(self, now: float, tokens: int, /) -> Taken | None:
        """Take of both, or of none."""
        known = self._known(now)
        if any(_needed(counts, 1, tokens) > left.remaining for counts, left in known):
            return None
        taken = self._gate.take(now, tokens)
        if taken is not None:
            self._fly(1, tokens)
            for counts, left in known:
                left.remaining -= _needed(counts, 1, tokens)
        return taken

    def give(self, taken: Taken, now: float, /) -> None:
        """Back to our own limit; what the provider says holds until it says something else."""
        self._fly(-1, -taken.tokens)
        self._gate.give(taken, now)

    def settle(self, taken: Taken, used: int, now: float, /) -> None:
        """Likewise."""
        self._fly(-1, -taken.tokens)
        self._gate.settle(taken, used, now)

    def wait(self, now: float, place: int, ahead: int, tokens: int, /) -> float | None:
        """The longer wait of the two."""
        wait = self._gate.wait(now, place, ahead, tokens)
        for counts, left in self._known(now):
            if wait is not None and _needed(counts, place, ahead + tokens) > left.remaining:
                wait = max(wait, left.until - now)
        return wait

    def levels(self, now: float, /) -> Sequence[Level]:
        """The lower level of the two."""
        known = dict(self._known(now))
        return [
            msgspec.structs.replace(
                level, available=min(level.available, float(known[level.counts].remaining)), ours=level.available
            )
            if level.counts in known
            else level
            for level in self._gate.levels(now)
        ]

    def _known(self, now: float) -> list[tuple[Counted, Left]]:
        return [(counts, left) for counts, left in self._left.items() if now < left.until]

    def _fly(self, requests: int, tokens: int) -> None:
        self._flying["requests"] += requests
        self._flying["tokens"] += tokens


def _needed(counts: Counted, requests: int, tokens: int) -> int:
    return requests if counts == "requests" else tokens
