"""Chance of a scenario: who comes when, how long an answer takes, whom a fault hits.

Every draw is a function of the seed, and of the target, arrival, place and attempt it is for: two pipelines under one
scenario meet the same arrivals and the same faults, and no draw shifts another one.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from wizard_dsl.core.rng import lognormal, uniform
from wizard_dsl.core.units import parse_duration

if TYPE_CHECKING:
    from wizard_dsl.analysis.scenario import Spread, TokenSpread
    from wizard_dsl.core.run import Run

_UNIT: Final = 1.0 / (1 << 32)


class Draws:
    """The draws of one attempt: eight numbers in [0, 1), and as many more as there are names."""

    __slots__ = ("_digest", "_key")

    def __init__(self, key: str) -> None:
        self._key = key
        self._digest = sha256(key.encode()).digest()

    def number(self, index: int) -> float:
        """One of the eight."""
        return int.from_bytes(self._digest[4 * index : 4 * index + 4], "big") * _UNIT

    def pair(self, index: int) -> tuple[float, float]:
        """Two of the eight."""
        return self.number(index), self.number(index + 1)

    def named(self, name: str) -> float:
        """One more."""
        return uniform(f"{self._key}/{name}")


def draws_of(seed: int, target: str, run: Run, now: float) -> Draws:
    """Those of the attempt that has just begun: the run's number, the step and item, and which attempt on this target
    it is there. A probe of a breaker is of no run: its draws are those of the moment, `now`."""
    scope = run.scope
    if not scope.run_id:
        return Draws(f"{seed}/{target}/probe/{now:.6f}")
    attempt = sum(
        1
        for row in run.transcript.attempts
        if row.target == target and row.step == scope.step and row.item == scope.item
    )
    return Draws(f"{seed}/{target}/{scope.number}/{scope.place}/{attempt}")


class Lognormal:
    """Numbers whose logarithm is normal, by median and 99th percentile; all equal where these are."""

    __slots__ = ("_p99", "median")

    def __init__(self, median: float, p99: float) -> None:
        self.median = median
        self._p99 = p99

    def at(self, draws: tuple[float, float]) -> float:
        """One of them."""
        return self.median if self._p99 == self.median else lognormal(self.median, self._p99, draws)


@cache
def durations(spec: str | Spread) -> Lognormal:
    """Of a duration, or of a median and a 99th percentile, in seconds."""
    if isinstance(spec, str):
        return Lognormal(parse_duration(spec), parse_duration(spec))
    median = parse_duration(spec.median)
    return Lognormal(median, median if spec.p99 is None else parse_duration(spec.p99))


@cache
def tokens(spec: int | TokenSpread) -> Lognormal:
    """Of a number of tokens, or of a median and a 99th percentile."""
    if isinstance(spec, int):
        return Lognormal(spec, spec)
    return Lognormal(spec.median, spec.median if spec.p99 is None else spec.p99)
