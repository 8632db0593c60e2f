"""The seam of chance. A draw is a pure function of the seed and of who draws: no node, run or item shifts
another's draws, and the same seed gives the same bytes."""

from __future__ import annotations

import math
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wizard_dsl.core.run import Run


class Chance:
    """The random stream of one node, identified by its path in the program.

    `draw(run, k)` is uniform in [0, 1): a function of (seed, path, run number, step, item, k).
    """

    __slots__ = ("_prefix", "_seed")

    def __init__(self, seed: int, path: str) -> None:
        self._seed = seed
        self._prefix = f"{seed}/{path}"

    def at(self, path: str) -> Chance:
        """The stream of another node under the same seed."""
        return Chance(self._seed, path)

    def draw(self, run: Run, k: int) -> float:
        scope = run.scope
        return uniform(f"{self._prefix}/{scope.number}/{scope.step}/{scope.item}/{k}")


def uniform(key: str) -> float:
    """A number in [0, 1) derived from `key`: 53 bits of its SHA-256."""
    return (int.from_bytes(sha256(key.encode()).digest()[:8], "big") >> 11) / (1 << 53)


#: Of the standard normal distribution: 99 % of all draws are below it.
_Z99 = 2.3263478740408408


def lognormal(median: float, p99: float, draws: tuple[float, float]) -> float:
    """A draw of the lognormal distribution with this median and 99th percentile, both above 0, made of two uniform
    draws (Box and Muller, 1958). It is the usual shape of latencies: never negative, with a long tail."""
    first, second = draws
    normal = math.sqrt(-2.0 * math.log(1.0 - first)) * math.cos(2.0 * math.pi * second)
    return median * math.exp(math.log(p99 / median) / _Z99 * normal)
