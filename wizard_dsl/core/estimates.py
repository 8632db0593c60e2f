"""How a target has been answering lately: what hedges, and orders by speed or success, go by. Pure.

A sample is one attempt: the seconds to its commit point, and whether it answered. An attempt that was given up
before it answered took *at least* its seconds. Such bounds are weighed by Kaplan and Meier's product-limit estimator
(https://doi.org/10.1080/01621459.1958.10501452), because leaving them out would call a target the faster the more of
its slow answers were overtaken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

#: Samples kept, and how long one counts, in seconds.
KEPT = 256
WINDOW = 600.0


class Sample(msgspec.Struct):
    """One attempt that ended at `at`, a loop time. `ok` is None where nobody will know; `streamed` says whether its
    commit point was the first content instead of the end."""

    at: float
    seconds: float
    ok: bool | None
    at_least: bool = False
    streamed: bool = False


class Estimate:
    """The latest samples of one target. Adding one is O(1); the work is done when somebody asks."""

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=KEPT)

    def add(
        self, now: float, seconds: float, ok: bool | None, *, at_least: bool = False, streamed: bool = False
    ) -> Sample:
        """Book an attempt; see Sample. Its `ok` may be changed later: a stream may break after its commit point."""
        sample = Sample(now, seconds, ok, at_least, streamed)
        self._samples.append(sample)
        return sample

    def count(self, now: float, *, window: float = WINDOW, streamed: bool | None = None) -> int:
        """How many samples say something about the time to commit; `streamed` picks one kind of commit point."""
        return len(self._timed(now, window, streamed))

    def p95(self, now: float, *, window: float = WINDOW, streamed: bool | None = None) -> float | None:
        """The seconds within which 95 of 100 attempts commit, or the largest seen where even that is no bound; None
        without samples."""
        timed = self._timed(now, window, streamed)
        for seconds, _, left in _survival(timed):
            if left <= 0.05 + 1e-9:
                return seconds
        return timed[-1][0] if timed else None

    def mean(self, now: float, *, window: float = WINDOW, streamed: bool | None = None) -> float | None:
        """The mean seconds to commit, as far as they were seen; None without samples."""
        timed = self._timed(now, window, streamed)
        if not timed:
            return None
        area = before = 0.0
        for seconds, running, _ in _survival(timed):
            area += running * (seconds - before)
            before = seconds
        return area

    def success(self, now: float, *, window: float = WINDOW) -> float | None:
        """The share of attempts that answered, of those that did or failed; None without any."""
        answered, failed = self.verdicts(now, window=window)
        return answered / (answered + failed) if answered or failed else None

    def verdicts(self, now: float, *, window: float = WINDOW) -> tuple[int, int]:
        """How many attempts answered, and how many failed."""
        known = [each.ok for each in self._recent(now, window) if each.ok is not None]
        return sum(known), len(known) - sum(known)

    def _recent(self, now: float, window: float) -> Iterator[Sample]:
        """Newest first: whoever asks stops at the first that is too old."""
        for each in reversed(self._samples):
            if each.at < now - window:
                return
            yield each

    def _timed(self, now: float, window: float, streamed: bool | None) -> list[tuple[float, bool]]:
        """(seconds, at least?) of the samples that know: the failed ones were no answers, however fast."""
        found = [
            (each.seconds, each.at_least)
            for each in self._recent(now, window)
            if (each.at_least or each.ok) and streamed in {None, each.streamed}
        ]
        return sorted(found)


def _survival(timed: list[tuple[float, bool]]) -> Iterator[tuple[float, float, float]]:
    """At each sample, in order of seconds: (seconds, share that ran until then, share that runs on)."""
    share = 1.0
    for index, (seconds, at_least) in enumerate(timed):
        running = share
        if not at_least:
            at_risk = len(timed) - index
            share *= 1 - 1 / at_risk
        yield seconds, running, share
