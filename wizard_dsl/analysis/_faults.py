"""Faults by the clock: which phase of a scenario hits an attempt, and what that attempt then meets."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import TYPE_CHECKING

from wizard_dsl.analysis._draws import Draws, Lognormal, durations
from wizard_dsl.core.errors import ConnectError, WizardError
from wizard_dsl.core.units import parse_duration, parse_ratio
from wizard_dsl.providers._errors import refused

if TYPE_CHECKING:
    from wizard_dsl.analysis.scenario import Phase
    from wizard_dsl.core.clock import Clock


class Fault:
    """A phase, ready to play. Times are seconds; `start` and `end` since the start of the scenario."""

    def __init__(self, phase: Phase, number: int, end: float) -> None:
        self.start = parse_duration(phase.from_)
        self.end = end if phase.to is None else parse_duration(phase.to)
        self.delay = parse_duration(phase.delay)
        self.latency: Lognormal | None = None if phase.latency is None else durations(phase.latency)
        self.cut_after = phase.cut_after
        self.stall_after = phase.stall_after
        self._phase = phase
        self._share = parse_ratio(phase.share)
        self._name = f"phase/{number}"
        self._headers = {name.lower(): value for name, value in phase.headers.items()}
        if phase.retry_after is not None:
            self._headers["retry-after-ms"] = str(round(parse_duration(phase.retry_after) * 1000))

    def hits(self, since: float, draws: Draws) -> bool:
        """Whether an attempt that begins `since` the start is one of its share."""
        return self.start <= since < self.end and (self._share >= 1 or draws.named(self._name) < self._share)

    @property
    def refuses(self) -> bool:
        """Whether it leaves no answer at all."""
        return self._phase.refuse or self._phase.status is not None

    def error(self, clock: Clock) -> WizardError:
        """What an attempt that it refuses ends with, as a real provider would be told."""
        phase = self._phase
        if phase.refuse:
            return ConnectError("connection refused", sent=False)
        assert phase.status is not None
        return refused(phase.status, self._headers, phase.body.encode(), wall=clock.wall(), secrets=())


def faults(phases: Iterable[Phase], end: float = inf) -> list[Fault]:
    """The phases of one target in their order; those without an end last until `end`."""
    return [Fault(phase, number, end) for number, phase in enumerate(phases)]


def hit(found: Iterable[Fault], since: float, draws: Draws) -> Fault | None:
    """The first one that hits an attempt."""
    return next((fault for fault in found if fault.hits(since, draws)), None)
