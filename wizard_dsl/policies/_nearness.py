"""Whether a limit is nearly used up, told once for each time that it comes near."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from wizard_dsl.core.events import RateLimitApproaching
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.run import Run
from wizard_dsl.core.units import parse_ratio
from wizard_dsl.policies._line import DUST, Crossings, Level


class Watched(Protocol):
    """What is looked at of a line."""

    crossings: Crossings

    def levels(self, now: float, /) -> Sequence[Level]: ...


class Nearness:
    """Looks at a limit after something was taken of it, and emits RateLimitApproaching."""

    __slots__ = ("_context", "_far", "_name", "_threshold")

    def __init__(self, name: str, warn_at: str, context: BuildContext) -> None:
        self._name = name
        self._threshold = parse_ratio(warn_at)
        self._far = self._threshold - DUST
        self._context = context

    def look(self, line: Watched, run: Run, now: float) -> None:
        """At our own limit. One that a single call uses up to the threshold is always near, which is no news."""
        crossings, threshold = line.crossings, self._threshold
        for level in line.levels(now):
            share = 1 - (level.available if level.ours is None else level.ours) / level.capacity
            if share < self._far and not crossings.above:
                continue
            if level.capacity * threshold > 1 and crossings.crossed(level.rule, share, threshold):
                self._tell(run, level.rule, "own", share)

    def heard(self, line: Watched, run: Run, rule: str, share: float) -> None:
        """Of a provider's limit."""
        if line.crossings.crossed(f"provider {rule}", share, self._threshold):
            self._tell(run, rule, "provider", share)

    def _tell(self, run: Run, rule: str, whose: str, share: float) -> None:
        event = RateLimitApproaching(
            path=self._context.path, limit=self._name, rule=rule, whose=whose, used=round(share, 4)
        )
        self._context.emit(run, event)
