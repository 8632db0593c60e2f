"""The report of a simulation as one HTML file: no script, no network, readable in light, dark and print."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Final

from wizard_dsl.analysis import timeline
from wizard_dsl.analysis._page import document
from wizard_dsl.analysis._plots import Block, Frame, Line, bars, lanes, lines
from wizard_dsl.analysis.report import Report, Side, seeds_of, signed, told
from wizard_dsl.analysis.summary import METRICS, Unit, interval, shown
from wizard_dsl.core.units import show_duration

if TYPE_CHECKING:
    from wizard_dsl.analysis.figures import LimitTrack, Point, Slice

_STATES: Final = {"closed": "shut", "open": "open", "half_open": "half", "forced_open": "open", "forced_closed": "shut"}
_GATES: Final = (
    '<ul><li><i class="key shut"></i>closed: calls pass</li><li><i class="key half"></i>half open: a trial call</li>'
    '<li><i class="key open"></i>open: not called</li></ul>'
)


def page(report: Report) -> str:
    """The whole document."""
    title = f"{report.file}: {report.new.pipeline}"
    body = "".join([_head(report, title), _verdicts(report), _measures(report), _plots(report), _details(report)])
    return document(title, body)


def _head(report: Report, title: str) -> str:
    load = report.scenario.load
    said = f"{load.rate} for {load.duration}{', shaped' if load.shape else ''}, {load.arrivals} arrivals"
    against = "" if report.old is None else f" Compared with {escape(report.old.pipeline)}: its lines are dotted."
    note = f"<p>{escape(report.scenario.description)}</p>" if report.scenario.description else ""
    return (
        f"<h1>{escape(title)}</h1>{note}<p>{escape(said)}, {seeds_of(report)}, {report.new.runs:,} runs of the "
        f"real executor in virtual time.{against}</p>"
    )


def _verdicts(report: Report) -> str:
    if not report.verdicts:
        return ""
    rows = "".join(
        f'<li class="{"met" if each.met else "missed"}"><b>{"met" if each.met else "missed"}</b> '
        f"{escape(each.sentence(len(report.new.seeds)))}</li>"
        for each in report.verdicts
    )
    return f'<section><h2>Expectations</h2><ul class="verdicts">{rows}</ul></section>'


def _measures(report: Report) -> str:
    several = len(report.new.seeds) > 1
    head = ["measure", *(["old", "new", "difference"] if report.old else ["mean"])]
    if several:
        head.append("95% interval of the difference" if report.old else "95% interval")
    rows = []
    for name in dict.fromkeys([*told(report.new), *(told(report.old) if report.old else ())]):
        unit, measure = METRICS[name].unit, report.new.measures[name]
        row = [METRICS[name].title]
        if report.old is None:
            row += [shown(measure.mean, unit), *([interval(measure, unit)] if several else [])]
        else:
            apart = report.differences[name]
            row += [shown(report.old.measures[name].mean, unit), shown(measure.mean, unit), signed(apart.mean, unit)]
            known = apart.low is not None
            row += [f"{signed(apart.low, unit)} to {signed(apart.high, unit)}" if known else ""] if several else []
        rows.append(row)
    return f"<section><h2>Measures</h2>{_table(head, rows)}</section>"


def _plots(report: Report) -> str:
    first = report.new.seeds[0]
    spans = timeline.spans(report.scenario)
    frame = Frame(first.duration, first.width, [(span.start, span.end) for span in spans])
    parts = [_phases(frame, spans), *_measured(report, frame), _gates(report, frame), *_limits(report, frame)]
    parts += _traffic(report, frame)
    return f"<section><h2>Over time</h2>{''.join(parts)}</section>"


def _phases(frame: Frame, spans: Sequence[timeline.Span]) -> str:
    if not spans:
        return ""
    rows = [(span.label, [Block(span.start, span.end, "fault", span.fault)]) for span in spans]
    return lanes(frame, "What goes wrong", rows, '<ul><li><i class="key fault"></i>fault phase, shaded below</li></ul>')


def _measured(report: Report, frame: Frame) -> list[str]:
    """The lines of the whole pipeline, each of the old one beside them."""
    draw = partial(_drawn, report, frame)
    parts = [
        draw("Availability", [("availability", timeline.availability)], "ratio", most=1.0),
        draw(
            "Latency of runs that ended well",
            [(name, timeline.latency(name)) for name in ("p50", "p90", "p99")],
            "duration",
        ),
        draw("Attempts per call", [("attempts per call", timeline.amplification)], "number", most=2.0),
    ]
    if report.new.measures["cost"].mean:
        parts.append(draw("Cost per run", [("cost per run", timeline.cost_per_run)], "money"))
    if report.new.measures["cache_share"].mean is not None:
        parts.append(draw("Cache share", [("cache share", timeline.cache_share)], "ratio", most=1.0))
    return parts


def _drawn(
    report: Report,
    frame: Frame,
    title: str,
    series: Sequence[tuple[str, Callable[[Slice], float | None]]],
    unit: Unit,
    *,
    most: float = 0.0,
) -> str:
    found = []
    for number, (label, of) in enumerate(series):
        track = timeline.track(report.new.seeds, of)
        several = len(report.new.seeds) > 1 and len(series) == 1 and report.old is None
        found.append(Line(label, track.mean, number, *((track.low, track.high) if several else ((), ()))))
        if report.old is not None:
            found.append(Line(f"{label}, old", timeline.track(report.old.seeds, of).mean, number + 3))
    return lines(frame, title, found, lambda value: shown(value, unit), most=most)


def _gates(report: Report, frame: Frame) -> str:
    """The breakers of the first seed; those that never change are of no interest."""
    rows = []
    for side in (report.new, report.old):
        for name, points in side.seeds[0].breakers.items() if side is not None else ():
            if len(points) > 1:
                rows.append((f"{name}{_whose(report, side)}", _blocks(points, frame.duration)))
    return lanes(frame, "Circuit breakers (first seed)", rows, _GATES) if rows else ""


def _blocks(points: Sequence[Point], duration: float) -> list[Block]:
    ends = [point.at for point in points[1:]] + [duration]
    return [
        Block(point.at, min(end, duration), _STATES[point.state], point.state.replace("_", " "))
        for point, end in zip(points, ends, strict=True)
        if point.at < duration
    ]


def _limits(report: Report, frame: Frame) -> list[str]:
    """Our own limits in the first seed: what was left of each, and how many calls stood in line."""
    return [
        lines(
            frame,
            f"Limit: {track.name}{_whose(report, side)} (first seed)",
            [
                Line("left", _levels(track, frame, "available"), 0),
                Line("calls in line", _levels(track, frame, "waiting"), 1),
            ],
            lambda value: shown(value, "number"),
            most=track.capacity,
        )
        for side in (report.new, report.old)
        if side is not None
        for track in side.seeds[0].limits
    ]


def _levels(track: LimitTrack, frame: Frame, name: str) -> list[float | None]:
    """As they stood at the end of each slice."""
    count = round(frame.duration / frame.width + 0.499999)
    values: list[float | None] = [max(0.0, float(getattr(each, name))) for each in track.levels[1:]]
    return [*values, *([None] * (count - len(values)))][:count]


def _traffic(report: Report, frame: Frame) -> list[str]:
    """What every target that was asked got."""
    return [
        bars(
            frame,
            f"Attempts a second: {name}{_whose(report, side)}",
            *timeline.traffic(side.seeds, name),
            lambda value: f"{shown(value, 'number')}/s",
        )
        for side in (report.new, report.old)
        if side is not None
        for name, tally in side.seeds[0].targets.items()
        if tally.attempts
    ]


def _details(report: Report) -> str:
    """The figures behind the plots, and how every run ended."""
    parts = []
    for side in (report.new, report.old):
        if side is None:
            continue
        served = [[name, f"{count / side.runs:.2%}"] for name, count in side.served.items()]
        failed = [[f"failed: {kind}", f"{count / side.runs:.2%}"] for kind, count in side.errors.items()]
        ended = _table(["runs ended with", "share"], [*served, *failed])
        parts.append(f"<h3>{escape(side.pipeline)}</h3>{ended}{_slices(side)}")
    return f"<section><h2>Figures</h2>{''.join(parts)}</section>"


def _slices(side: Side) -> str:
    columns: list[tuple[str, Callable[[Slice], float | None], Unit]] = [
        ("availability", timeline.availability, "ratio"),
        *((name, timeline.latency(name), "duration") for name in ("p50", "p90", "p99")),
        ("attempts per call", timeline.amplification, "number"),
        ("cost per run", timeline.cost_per_run, "money"),
    ]
    tracks = [timeline.track(side.seeds, of).mean for _, of, _ in columns]
    rows = [
        [
            show_duration(place.start),
            f"{sum(seed.slices[number].runs for seed in side.seeds):,}",
            *(
                "–" if track[number] is None else shown(track[number], unit)
                for track, (_, _, unit) in zip(tracks, columns, strict=True)
            ),
        ]
        for number, place in enumerate(side.seeds[0].slices)
    ]
    table = _table(["from", "runs", *(name for name, _, _ in columns)], rows)
    return f"<details><summary>By time</summary>{table}</details>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    titles = "".join(f'<th scope="col">{escape(each)}</th>' for each in head)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(each)}</td>" for each in row[1:])}</tr>'
        for row in rows
    )
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"


def _whose(report: Report, side: Side | None) -> str:
    return "" if report.old is None else " (old)" if side is report.old else " (new)"
