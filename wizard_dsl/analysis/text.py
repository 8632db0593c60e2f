"""The report of a simulation in text: a table of measures, who served, what failed, and how it went over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from wizard_dsl.analysis import timeline
from wizard_dsl.analysis.report import Report, Side, seeds_of, signed, told
from wizard_dsl.analysis.summary import METRICS, counted, interval, shown
from wizard_dsl.core.units import show_duration

if TYPE_CHECKING:
    from wizard_dsl.analysis.figures import Point, SeedFigures, Slice
    from wizard_dsl.analysis.summary import Unit

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
#: The worst state first: it is the one a slice shows.
_STATES: Final = {"open": "█", "forced_open": "█", "half_open": "▒", "forced_closed": "·", "closed": "·"}


def render(report: Report) -> str:
    """The whole report, with a newline at the end."""
    parts = [_head(report), _measures(report), _served(report), _targets(report), _over_time(report)]
    if report.verdicts:
        parts.append(_verdicts(report))
    return "\n".join(part for part in parts if part)


def _head(report: Report) -> str:
    load, side = report.scenario.load, report.new
    against = "" if report.old is None else f", compared with {report.old.pipeline}"
    shape = ", shaped" if load.shape else ""
    return (
        f"{report.file}: {side.pipeline}{against}\n"
        f"{load.rate} for {load.duration}{shape}, {load.arrivals} arrivals, {seeds_of(report)}, {side.runs:,} runs\n"
    )


def _measures(report: Report) -> str:
    """The measures with their intervals; compared, those of both sides and the difference."""
    names = list(dict.fromkeys([*told(report.new), *(told(report.old) if report.old else ())]))
    if report.old is None:
        rows = [("", "mean", "95% interval" if len(report.new.seeds) > 1 else "")]
        for name in names:
            unit, each = METRICS[name].unit, report.new.measures[name]
            rows.append((METRICS[name].title, shown(each.mean, unit), interval(each, unit)))
        return table(rows)
    compared: list[tuple[str, ...]] = [
        ("", "old", "new", "difference", "95% interval of it" if len(report.new.seeds) > 1 else "")
    ]
    for name in names:
        unit, apart = METRICS[name].unit, report.differences[name]
        between = "" if apart.low is None else f"{signed(apart.low, unit)} to {signed(apart.high, unit)}"
        values = (shown(side.measures[name].mean, unit) for side in (report.old, report.new))
        compared.append((METRICS[name].title, *values, signed(apart.mean, unit), between))
    return table(compared)


def _served(report: Report) -> str:
    """Who answered how many of all runs, and what the others ended with."""
    rows = []
    for side in _sides(report):
        parts = [f"{name} {count / side.runs:.1%}" for name, count in side.served.items()]
        parts += [f"{kind} {count / side.runs:.2%}" for kind, count in side.errors.items()]
        rows.append((f"ended{_whose(report, side)}", ", ".join(parts)))
    return table(rows)


def _targets(report: Report) -> str:
    rows = [("target", "attempts", "answered", "cost", "errors")]
    for side in _sides(report):
        for name in side.seeds[0].targets:
            tallies = [seed.targets[name] for seed in side.seeds]
            attempts = sum(each.attempts for each in tallies)
            errors = counted([each.errors for each in tallies])
            share = f"{1 - sum(errors.values()) / attempts:.1%}" if attempts else "–"
            costs = [each.cost for each in tallies]
            cost = None if None in costs else sum(each for each in costs if each is not None) / len(costs)
            rows.append(
                (
                    f"{name}{_whose(report, side)}",
                    f"{attempts / len(side.seeds):,.0f}",
                    share,
                    shown(cost, "money"),
                    ", ".join(f"{kind} {count / len(side.seeds):,.0f}" for kind, count in errors.items()),
                )
            )
    return table(rows)


def _over_time(report: Report) -> str:
    """One character for every slice: how high a number is, or which state a breaker is in (of the first seed)."""
    first = report.new.seeds[0]
    width = len(first.slices)
    rows = [("0s".ljust(width - len(show_duration(first.duration))) + show_duration(first.duration), "")]
    names = [f"over time, {show_duration(first.width)} each"]
    for span in timeline.spans(report.scenario):
        names.append(span.label)
        rows.append((_mask(first, span.start, span.end), ""))
    for side in _sides(report):
        for title, of, unit in _SERIES:
            found = timeline.track(side.seeds, of).mean
            known = [each for each in found if each is not None]
            if known:
                names.append(f"{title}{_whose(report, side)}")
                rows.append((_spark(found), f"{shown(min(known), unit)} to {shown(max(known), unit)}"))
        for name, points in side.seeds[0].breakers.items():
            if len(points) > 1:
                names.append(f"breaker {name}{_whose(report, side)}")
                rows.append((_breaker(side.seeds[0], points), "█ open, ▒ half open"))
    return table([(name, *row) for name, row in zip(names, rows, strict=True)])


_SERIES: Final[tuple[tuple[str, Callable[[Slice], float | None], Unit], ...]] = (
    ("availability", timeline.availability, "ratio"),
    ("latency p50", timeline.latency("p50"), "duration"),
    ("latency p99", timeline.latency("p99"), "duration"),
    ("attempts per call", timeline.amplification, "number"),
)


def _mask(seed: SeedFigures, start: float, end: float) -> str:
    """The slices that a phase touches."""
    return "".join("▓" if place.start < end and place.start + seed.width > start else "·" for place in seed.slices)


def _spark(values: Sequence[float | None]) -> str:
    known = [each for each in values if each is not None]
    low, high = min(known), max(known)
    return "".join(_block(each, low, high) for each in values)


def _block(value: float | None, low: float, high: float) -> str:
    if value is None:
        return " "
    return _BLOCKS[round((value - low) / (high - low) * 7)] if high > low else _BLOCKS[-1]


def _breaker(seed: SeedFigures, points: Sequence[Point]) -> str:
    """The worst state of every slice."""
    drawn = []
    for place in seed.slices:
        end = place.start + seed.width
        states = [
            point.state
            for number, point in enumerate(points)
            if point.at < end and (number + 1 == len(points) or points[number + 1].at > place.start)
        ]
        drawn.append(next(mark for state, mark in _STATES.items() if state in states))
    return "".join(drawn)


def _verdicts(report: Report) -> str:
    return "".join(
        f"{'met   ' if each.met else 'MISSED'} {each.sentence(len(report.new.seeds))}\n" for each in report.verdicts
    )


def _sides(report: Report) -> Iterable[Side]:
    return [report.new] if report.old is None else [report.old, report.new]


def _whose(report: Report, side: Side) -> str:
    """Which side a row is of, where there are two."""
    return "" if report.old is None else " (old)" if side is report.old else " (new)"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned columns, two spaces apart, with a newline at the end of each."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return "".join(
        f"{'  '.join(text.ljust(width) for text, width in zip(row, widths, strict=True))}".rstrip() + "\n"
        for row in rows
    )
