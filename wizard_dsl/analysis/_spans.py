"""What a scenario says about time and numbers, checked without its pipeline: spans, shares, spreads, rates."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from wizard_dsl.analysis._arrivals import end_of, start_of, stretches
from wizard_dsl.analysis.scenario import RatioBound, Spread, TokenSpread
from wizard_dsl.core.units import parse_duration, parse_money, parse_rate, parse_ratio, show_duration

if TYPE_CHECKING:
    from wizard_dsl.analysis.scenario import Phase, Scenario, TargetModel
    from wizard_dsl.compiler.report import Report
    from wizard_dsl.spec.diagnostics import DocPath

#: Ten minutes of work, more or less.
MOST_RUNS: Final = 1_000_000


def check_spans(scenario: Scenario, report: Report) -> None:
    """Report every span, share, spread and rate that makes no sense."""
    _Checker(scenario, report).check()


class _Checker:
    def __init__(self, scenario: Scenario, report: Report) -> None:
        self._scenario = scenario
        self._report = report
        self._end = parse_duration(scenario.load.duration)

    def check(self) -> None:
        self._load()
        for pattern, model in self._scenario.targets.items():
            self._model(model, ("targets", pattern))
        if self._scenario.expect is not None:
            self._expectations()

    # -- the load -----------------------------------------------------------------------------------

    def _load(self) -> None:
        load = self._scenario.load
        if self._end <= 0:
            self._report.add("E095", "a load lasts longer than 0s", ("load", "duration"), value=load.duration)
            return
        self._runs(load.rate, ("load", "rate"))
        self._share(load.repeats, ("load", "repeats"))
        before: tuple[float, int] | None = None
        for index, change in sorted(enumerate(load.shape), key=lambda pair: start_of(pair[1])):
            at: DocPath = ("load", "shape", index)
            self._runs(change.rate, (*at, "rate"))
            self._span(change, at)
            if before is not None and start_of(change) < before[0]:
                message = f"it begins before the change above ends, at {show_duration(before[0])}"
                other = (("load", "shape", before[1]), "that change")
                self._report.add("E095", message, (*at, "from"), related=(other,))
            before = max(before or (0.0, 0), (end_of(change, self._end), index))
        self._size()

    def _size(self) -> None:
        """A seed plays all its runs in one process."""
        runs = sum(each.arrivals for each in stretches(self._scenario.load))
        if runs > MOST_RUNS:
            message = f"these are {runs:,.0f} runs; a seed plays {MOST_RUNS:,} of them at most"
            self._report.add("E096", message, ("load",), key=True, suggestion="lower the rate, or shorten the load")

    def _runs(self, rate: str, path: DocPath) -> None:
        if parse_rate(rate).tokens:
            self._report.add("E096", "runs come at a rate such as 20/s, not tokens", path, value=rate)

    # -- targets ------------------------------------------------------------------------------------

    def _model(self, model: TargetModel, at: DocPath) -> None:
        self._spread(model.latency, (*at, "latency"))
        self._spread(model.input_tokens, (*at, "input_tokens"))
        self._spread(model.output_tokens, (*at, "output_tokens"))
        for index, phase in enumerate(model.phases):
            self._phase(phase, (*at, "phases", index))

    def _phase(self, phase: Phase, at: DocPath) -> None:
        self._span(phase, at)
        self._share(phase.share, (*at, "share"))
        self._spread(phase.latency, (*at, "latency"))
        faults = [name for name in ("status", "cut_after", "stall_after") if getattr(phase, name) is not None]
        faults += ["refuse"] if phase.refuse else []
        if len(faults) > 1:
            message = f"an attempt fails in one way, not by {' and '.join(faults)}"
            self._report.add("E097", message, (*at, faults[0]), key=True, suggestion="write a phase for each")
        elif not faults and phase.latency is None:
            hint = "add status, refuse, cut_after, stall_after or latency"
            self._report.add("E097", "nothing happens in this phase", at, suggestion=hint)
        if phase.status is None:
            self._of_a_status(phase, at)

    def _of_a_status(self, phase: Phase, at: DocPath) -> None:
        """What only a status can have."""
        for name, given in (("headers", phase.headers), ("retry_after", phase.retry_after), ("body", phase.body)):
            if given:
                message = f"{name} belongs to a failure with a status"
                self._report.add("E097", message, (*at, name), key=True, suggestion="add the status, such as 429")

    # -- what any of them has -----------------------------------------------------------------------

    def _span(self, span: Any, at: DocPath) -> None:
        start, stop = parse_duration(span.from_), self._end if span.to is None else parse_duration(span.to)
        if start >= self._end:
            message = f"it begins when the load is over, which lasts {self._scenario.load.duration}"
            self._report.add("E095", message, (*at, "from"), value=span.from_)
        elif start >= stop:
            message = f"it ends at {span.to}, before it begins at {span.from_}"
            self._report.add("E095", message, (*at, "to"), value=span.to)
        elif stop > self._end:
            message = f"it ends at {span.to}, after the load, which lasts {self._scenario.load.duration}"
            hint = "leave out `to` for a span that lasts until the end"
            self._report.add("E095", message, (*at, "to"), value=span.to, suggestion=hint)

    def _share(self, share: str, path: DocPath) -> None:
        if parse_ratio(share) > 1:
            self._report.add("E096", "a share is at most 100%", path, value=share)

    def _spread(self, spread: Any, path: DocPath) -> None:
        if not isinstance(spread, Spread | TokenSpread) or spread.p99 is None:
            return
        of: Callable[[Any], float] = parse_duration if isinstance(spread, Spread) else float
        if of(spread.median) <= 0:
            self._report.add("E096", "the median of a spread is above 0", (*path, "median"), value=str(spread.median))
        elif of(spread.p99) < of(spread.median):
            message = f"the p99 is below the median, {spread.median}"
            self._report.add("E096", message, (*path, "p99"), value=str(spread.p99))

    def _expectations(self) -> None:
        expect = self._scenario.expect
        for name in expect.__struct_fields__ if expect is not None else ():
            bounds = getattr(expect, name)
            least, most = getattr(bounds, "at_least", None), getattr(bounds, "at_most", None)
            if isinstance(bounds, RatioBound) and least is not None:
                self._share(least, ("expect", name, "at_least"))
            if least is not None and most is not None and _number(least) > _number(most):
                message = f"nothing is at least {least} and at most {most}"
                self._report.add("E085", message, ("expect", name, "at_least"))
        if expect is not None and not self._scenario.load.stream:
            for name in ("first_chunk_p50", "first_chunk_p99"):
                if getattr(expect, name) is not None:
                    hint = "add `stream: true` to the load"
                    message = "nobody reads the answers as they come, so no first chunk is measured"
                    self._report.add("E097", message, ("expect", name), key=True, suggestion=hint)


def _number(written: str | float) -> float:
    if not isinstance(written, str):
        return written
    if written.startswith("$"):
        return parse_money(written)
    return parse_ratio(written) if written.endswith("%") else parse_duration(written)
