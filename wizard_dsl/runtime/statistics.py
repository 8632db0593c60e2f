"""Statistics: what the runs of one runtime did so far, counted from their events.

Counting costs one dictionary look-up an event and one addition for those that count. Nothing is sampled and nothing
expires: figures are totals since the runtime was opened; who wants rates takes two readings and their difference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from wizard_dsl.core import events as e
from wizard_dsl.core.errors import TABLE
from wizard_dsl.core.figures import LimitFigures
from wizard_dsl.core.http import PoolFigures
from wizard_dsl.core.run import Run
from wizard_dsl.policies._breaker import BreakerFigures
from wizard_dsl.policies._shelf import CacheStats


class RunFigures(msgspec.Struct):
    """Whole runs. `failed` counts by kind; `active` is how many are under way."""

    started: int = 0
    ok: int = 0
    failed: dict[str, int] = {}
    active: int = 0


class RetryFigures(msgspec.Struct):
    """One target. `errors` counts failed attempts by kind, `successes_after_retry` repeats that answered,
    `given_up` how often nothing was repeated any more although the kind would have allowed it, by reason.
    `average_delay` is seconds before a repeat."""

    attempts: int = 0
    repeats: int = 0
    successes: int = 0
    successes_after_retry: int = 0
    given_up: dict[str, int] = {}
    errors: dict[str, int] = {}
    average_delay: float | None = None


class TargetFigures(msgspec.Struct):
    """One target as part of chains. `reliability` is the share of its attempts that answered, of those that say
    something about it (the verdicts of the breaker); null before there was one."""

    left: int = 0
    skipped: int = 0
    reliability: float | None = None


class FallbackFigures(msgspec.Struct):
    """One chain. `by_position` counts calls that were answered live, by the place of the target that answered;
    `mean_depth` is the mean of these places, 0 being the first."""

    by_position: dict[int, int] = {}
    mean_depth: float | None = None


class Counted(msgspec.Struct):
    """Everything that is counted from events: by target, and for `fallback` by chain."""

    runs: RunFigures
    retry: dict[str, RetryFigures]
    targets: dict[str, TargetFigures]
    fallback: dict[str, FallbackFigures]


class Stats(msgspec.Struct, kw_only=True):
    """A reading of one runtime: what was counted, and how things stand now. `unusable` says of what could not be
    asked why."""

    counted: Counted
    breakers: dict[str, BreakerFigures]
    limits: list[LimitFigures]
    caches: list[CacheStats]
    pools: list[PoolFigures]
    unusable: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain data: the counted figures beside the others; keys never disappear."""
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return {**plain.pop("counted"), **plain}


class Statistics:
    """Counts events: see `counters`."""

    def __init__(self) -> None:
        self._runs = RunFigures()
        self._retry: dict[str, RetryFigures] = {}
        self._targets: dict[str, TargetFigures] = {}
        self._chains: dict[str, dict[int, int]] = {}
        self._delays: dict[str, float] = {}
        #: What is called with each event of a type; types that are not here do not count.
        self.counters: dict[type[e.Event], Callable[[Run, Any], None]] = {
            e.RunStarted: self._run_started,
            e.RunEnded: self._run_ended,
            e.StepEnded: self._step_ended,
            e.AttemptEnded: self._attempt_ended,
            e.RetryScheduled: self._retry_scheduled,
            e.RetriesEnded: self._retries_ended,
            e.FallbackTriggered: self._fallback_triggered,
            e.TargetSkipped: self._target_skipped,
        }

    def counted(self) -> Counted:
        """The figures now; a copy."""
        for name, delay in self._delays.items():
            figures = self._retry[name]
            figures.average_delay = round(delay / figures.repeats, 6)
        for name, figures in self._retry.items():
            self._target(name).reliability = _reliability(figures)
        self._runs.active = self._runs.started - self._runs.ok - sum(self._runs.failed.values())
        fallback = {chain: _fallback(places) for chain, places in self._chains.items()}
        now = Counted(self._runs, self._retry, self._targets, fallback)
        return msgspec.convert(msgspec.to_builtins(now, str_keys=False), Counted)

    def _of(self, target: str) -> RetryFigures:
        figures = self._retry.get(target)
        if figures is None:
            figures = self._retry[target] = RetryFigures()
        return figures

    def _target(self, target: str) -> TargetFigures:
        figures = self._targets.get(target)
        if figures is None:
            figures = self._targets[target] = TargetFigures()
        return figures

    def _run_started(self, run: Run, event: e.RunStarted) -> None:
        if not run.scope.step:  # a file that a step runs is part of its run
            self._runs.started += 1

    def _run_ended(self, run: Run, event: e.RunEnded) -> None:
        if run.scope.step:
            return
        if event.kind == "ok":
            self._runs.ok += 1
        else:
            _count(self._runs.failed, event.kind)

    def _step_ended(self, run: Run, event: e.StepEnded) -> None:
        if event.chain is None or event.position is None:
            return
        places = self._chains.get(event.chain)
        if places is None:
            places = self._chains[event.chain] = {}
        _count(places, event.position)

    def _attempt_ended(self, run: Run, event: e.AttemptEnded) -> None:
        figures = self._of(event.target)
        figures.attempts += 1
        if event.kind == "ok":
            figures.successes += 1
            figures.successes_after_retry += event.repeat
        else:
            _count(figures.errors, event.kind)

    def _retry_scheduled(self, run: Run, event: e.RetryScheduled) -> None:
        self._of(event.target).repeats += 1
        self._delays[event.target] = self._delays.get(event.target, 0.0) + event.delay

    def _retries_ended(self, run: Run, event: e.RetriesEnded) -> None:
        _count(self._of(event.target).given_up, event.reason)

    def _fallback_triggered(self, run: Run, event: e.FallbackTriggered) -> None:
        self._target(event.target).left += 1

    def _target_skipped(self, run: Run, event: e.TargetSkipped) -> None:
        self._target(event.target).skipped += 1


def _count(counts: dict[Any, int], key: Any) -> None:
    counts[key] = counts.get(key, 0) + 1


def _reliability(figures: RetryFigures) -> float | None:
    good = figures.successes
    bad = sum(times for kind, times in figures.errors.items() if kind in TABLE and TABLE[kind].verdict == "failure")
    return round(good / (good + bad), 6) if good + bad else None


def _fallback(places: dict[int, int]) -> FallbackFigures:
    calls = sum(places.values())
    mean = round(sum(place * times for place, times in places.items()) / calls, 6)
    return FallbackFigures(by_position=dict(sorted(places.items())), mean_depth=mean)
