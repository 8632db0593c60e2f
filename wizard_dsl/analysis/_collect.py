"""Watches a simulated load: a sink of events, and what became of each run, summed up by slices of time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from wizard_dsl.analysis.figures import Level, LimitTrack, Point, SeedFigures, Slice, TargetTally, times_of, width_of
from wizard_dsl.core import events as e

if TYPE_CHECKING:
    from wizard_dsl.core.clock import Clock
    from wizard_dsl.core.events import Event
    from wizard_dsl.core.result import Result
    from wizard_dsl.core.run import Run
    from wizard_dsl.runtime.pipeline import Pipeline


class Collector:
    """`duration` is how long runs come, in seconds; the clock's time at `begin` is the start."""

    def __init__(self, duration: float) -> None:
        self._duration = duration
        self._width = width_of(duration)
        count = max(1, -(-duration // self._width))
        self._slices = [Slice(round(number * self._width, 6)) for number in range(int(count))]
        self._total = Slice(0.0)
        self._times: list[list[float]] = [[] for _ in self._slices]
        self._first: list[float] = []
        self._errors: dict[str, int] = {}
        self._targets: dict[str, TargetTally] = {}
        self._breakers: dict[str, list[Point]] = {}
        self._limits: dict[str, LimitTrack] = {}
        self._pipeline: Pipeline | None = None
        self._clock: Clock | None = None
        self._since = 0.0
        self._cached = self._unserved = 0
        self._takes: dict[type[Event], Callable[[Run, Any], None]] = {
            e.AttemptEnded: self._attempt,
            e.BreakerChanged: self._breaker_changed,
            e.CacheHit: self._looked_up,
            e.CacheShared: self._looked_up,
            e.CacheMissed: self._looked_up,
            e.CacheStale: self._looked_up,
        }

    @property
    def width(self) -> float:
        """Of a slice, in seconds."""
        return self._width

    def begin(self, pipeline: Pipeline, clock: Clock) -> None:
        """The load begins now. Looks at every target, breaker and limit there is."""
        self._pipeline, self._clock, self._since = pipeline, clock, clock.now()
        self._targets = {name: self._tally() for name in pipeline.targets()}
        self._breakers = {name: [Point(0.0, it.state)] for name, it in pipeline.breakers().items()}
        self.look()

    def _tally(self) -> TargetTally:
        return TargetTally(by_slice=[(0, 0)] * len(self._slices))

    def _now(self) -> float:
        assert self._clock is not None
        return self._clock.now() - self._since

    def _place(self, at: float) -> Slice | None:
        """The slice of a moment; None after the end of the load."""
        number = int(at / self._width)
        return self._slices[number] if number < len(self._slices) else None

    def look(self) -> None:
        """Note how our limits stand now."""
        assert self._pipeline is not None
        at = round(self._now(), 6)
        for each in self._pipeline.limits():
            name = f"{each.name} of {each.of}, {each.rule}"
            track = self._limits.setdefault(name, LimitTrack(name, each.capacity))
            track.levels.append(Level(at, round(each.available, 3), each.waiting))

    # -- events -------------------------------------------------------------------------------------

    def sink(self, run: Run, event: Event) -> None:
        """Takes every event of the runtime."""
        take = self._takes.get(type(event))
        if take is not None:
            take(run, event)

    def _attempt(self, run: Run, event: e.AttemptEnded) -> None:
        tally = self._targets[event.target]
        tally.attempts += 1
        answered = event.kind == "ok"
        if not answered:
            tally.errors[event.kind] = tally.errors.get(event.kind, 0) + 1
        row = run.call.last
        cost = None if row is None else row.cost
        if cost is not None and tally.cost is not None:
            tally.cost += cost
        elif answered:
            tally.cost = None
        number = int((self._now() - event.elapsed + 1e-9) / self._width)
        if number < len(self._slices):
            good, bad = tally.by_slice[number]
            tally.by_slice[number] = (good + answered, bad + (not answered))

    def _breaker_changed(self, run: Run, event: e.BreakerChanged) -> None:
        assert self._pipeline is not None
        at = round(self._now(), 6)
        for name, figures in self._pipeline.breakers().items():
            track = self._breakers[name]
            if track[-1].state != figures.state:
                track.append(Point(at, figures.state))

    def _looked_up(self, run: Run, event: Event) -> None:
        """A stale answer that stands in for a failure was looked up, in vain, before."""
        if isinstance(event, e.CacheStale) and event.reason != "revalidate":
            return
        place = self._place(self._now())
        for each in (self._total, place):
            if each is not None:
                each.lookups += 1
                each.hits += not isinstance(event, e.CacheMissed)

    # -- runs ---------------------------------------------------------------------------------------

    def ended(self, at: float, result: Result | None, kind: str) -> None:
        """A run that came at `at` ended with `kind`, ok or an error kind; without a result it did not even begin."""
        place = self._place(at)
        counted = [each for each in (self._total, place) if each is not None]
        for each in counted:
            each.runs += 1
            each.ok += kind == "ok"
        if kind != "ok":
            self._errors[kind] = self._errors.get(kind, 0) + 1
        if result is None:
            return
        calls = len({(row.step, row.item) for row in result.attempts})
        for each in counted:
            each.attempts += len(result.attempts)
            each.calls += calls
            each.cost += sum(row.cost or 0.0 for row in result.attempts)
        if kind == "ok":
            self._answered(at, result)

    def _answered(self, at: float, result: Result) -> None:
        name = result.served_by
        source = next((step for step in result.steps.values() if name is not None and step.served_by == name), None)
        if source is None or name not in self._targets:
            self._unserved += 1
        elif source.cached or source.shared:
            self._cached += 1
        else:
            self._targets[name].served += 1
        number = int(at / self._width)
        if number < len(self._times):
            self._times[number].append(result.elapsed)
        first = [step.first_chunk for step in result.steps.values() if step.first_chunk is not None]
        if first:
            self._first.append(max(first))

    def figures(self, seed: int) -> SeedFigures:
        """Everything, once all runs have ended."""
        for place, times in zip(self._slices, self._times, strict=True):
            place.latency = times_of(sorted(times))
            place.cost = round(place.cost, 12)
        costs = [tally.cost for tally in self._targets.values()]
        total = self._total
        return SeedFigures(
            seed=seed,
            duration=self._duration,
            width=self._width,
            runs=total.runs,
            ok=total.ok,
            cached=self._cached,
            unserved=self._unserved,
            errors=dict(sorted(self._errors.items())),
            latency=times_of(sorted(each for times in self._times for each in times)),
            first_chunk=times_of(sorted(self._first)),
            attempts=total.attempts,
            calls=total.calls,
            cost=None if None in costs else round(sum(cost for cost in costs if cost is not None), 9),
            lookups=total.lookups,
            hits=total.hits,
            targets={name: _rounded(tally) for name, tally in self._targets.items()},
            slices=self._slices,
            breakers=self._breakers,
            limits=list(self._limits.values()),
        )


def _rounded(tally: TargetTally) -> TargetTally:
    cost = None if tally.cost is None else round(tally.cost, 9)
    return msgspec.structs.replace(tally, cost=cost, errors=dict(sorted(tally.errors.items())))
