"""Plots as inline SVG, made by plain code: lines over time, bars, lanes. Nothing is loaded from anywhere.

Colours come from the page (CSS variables), so that a plot is readable in light, in dark and in print; lines also differ
by their dashes and areas by their hatching, never by colour alone. Every plot has a title and a description for those
who cannot see it, and a tooltip for each moment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Final

import msgspec

from wizard_dsl.core.units import show_duration

_WIDTH: Final = 960
_LEFT: Final = 70
_RIGHT: Final = 14
_TOP: Final = 10
_FOOT: Final = 22
_HEIGHT: Final = 150
#: A lane is its name and, below it, its blocks.
_LANE: Final = 36
_PLOT: Final = _WIDTH - _LEFT - _RIGHT
_TICKS: Final = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 43200, 86400)


class Line(msgspec.Struct, frozen=True):
    """Values at the starts of slices; None breaks the line. `style` is its colour and dash, 0 to 5; `low` and `high`
    are the borders of a band around it."""

    label: str
    values: Sequence[float | None]
    style: int = 0
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()


class Frame(msgspec.Struct, frozen=True):
    """What all plots of a page share: how long it took, the width of a slice, and the shaded spans, in seconds."""

    duration: float
    width: float
    shades: Sequence[tuple[float, float]] = ()


class Block(msgspec.Struct, frozen=True):
    """A piece of a lane, with its style (a class of the page) and what it says."""

    start: float
    end: float
    style: str
    text: str


def lines(
    frame: Frame,
    title: str,
    found: Sequence[Line],
    show: Callable[[float], str],
    *,
    most: float = 0.0,
) -> str:
    """Lines over time. The axis goes from 0 to at least `most`."""
    values = [each for line in found for row in (line.values, line.high) for each in row if each is not None]
    top = max([most, *values]) or 1.0
    place = _Scale(_nice(top) if not most or top > most else most)
    parts = [_shades(frame, _HEIGHT), *_grid(place, show), _time(frame, _HEIGHT)]
    parts += [_band(frame, line, place) for line in found if line.low]
    parts += [_polyline(frame, line, place) for line in found]
    parts.append(_tips(frame, found, show))
    return _figure(title, _told(found, show), _legend(found), "".join(parts), _HEIGHT)


def bars(frame: Frame, title: str, good: Sequence[float], bad: Sequence[float], show: Callable[[float], str]) -> str:
    """What went well, and on top of it what did not, in every slice."""
    place = _Scale(_nice(max((a + b for a, b in zip(good, bad, strict=True)), default=1.0) or 1.0))
    parts = [_shades(frame, _HEIGHT), *_grid(place, show), _time(frame, _HEIGHT)]
    for number, (well, ill) in enumerate(zip(good, bad, strict=True)):
        left, right = _x(frame, number * frame.width), _x(frame, (number + 1) * frame.width)
        size = f'x="{left:.1f}" width="{max(0.5, right - left - 0.6):.1f}"'
        for value, base, style in ((well, 0.0, "good"), (ill, well, "bad")):
            if value:
                y, foot = place.y(base + value), place.y(base)
                parts.append(f'<rect class="{style}" {size} y="{y:.1f}" height="{foot - y:.1f}"/>')
    found = [Line("answered", good, 0), Line("did not answer", bad, 1)]
    parts.append(_tips(frame, found, show))
    legend = '<li><i class="key good"></i>answered</li><li><i class="key bad"></i>did not answer</li>'
    return _figure(title, _told(found, show), f"<ul>{legend}</ul>", "".join(parts), _HEIGHT)


def lanes(frame: Frame, title: str, rows: Sequence[tuple[str, Sequence[Block]]], legend: str = "") -> str:
    """One row for each name, with blocks in it."""
    height = _TOP + _LANE * len(rows)
    parts = [_shades(frame, height), _time(frame, height)]
    for number, (name, blocks) in enumerate(rows):
        y = _TOP + number * _LANE
        parts.append(f'<text class="name" x="{_LEFT + 2}" y="{y + 12}">{escape(name)}</text>')
        for block in blocks:
            left, right = _x(frame, block.start), _x(frame, block.end)
            size = f'x="{left:.1f}" y="{y + 17}" width="{max(1.0, right - left):.1f}" height="{_LANE - 20}"'
            tip = f"{name}: {block.text}, {_span(block.start, block.end)}"
            parts.append(f'<rect class="{block.style}" {size}><title>{escape(tip)}</title></rect>')
    told = "; ".join(
        f"{name}: " + ", ".join(f"{block.text} {_span(block.start, block.end)}" for block in blocks)
        for name, blocks in rows
    )
    return _figure(title, told, legend, "".join(parts), height)


class _Scale(msgspec.Struct, frozen=True):
    """The vertical axis, from 0 to `high`."""

    high: float

    def y(self, value: float) -> float:
        return _TOP + (1 - min(1.0, max(0.0, value / self.high))) * (_HEIGHT - _TOP)


def _x(frame: Frame, at: float) -> float:
    return _LEFT + min(1.0, at / frame.duration) * _PLOT


def _figure(title: str, told: str, legend: str, body: str, height: float) -> str:
    """`told` is what a plot says, for those who do not see it."""
    box = f'viewBox="0 0 {_WIDTH} {height + _FOOT:g}"'
    described = f"<title>{escape(title)}</title><desc>{escape(told)}</desc>"
    return (
        f"<figure><figcaption><h3>{escape(title)}</h3>{legend}</figcaption>"
        f'<svg role="img" aria-label="{escape(title)}. {escape(told)}" {box}>{described}{body}</svg></figure>'
    )


def _legend(found: Sequence[Line]) -> str:
    if len(found) < 2:
        return ""
    keys = "".join(
        f'<li><svg class="key" viewBox="0 0 28 8" aria-hidden="true"><path class="line s{line.style}" d="M0 4H28"/>'
        f"</svg>{escape(line.label)}</li>"
        for line in found
    )
    return f"<ul>{keys}</ul>"


def _shades(frame: Frame, height: float) -> str:
    return "".join(
        f'<rect class="shade" x="{_x(frame, start):.1f}" y="{_TOP}" '
        f'width="{_x(frame, end) - _x(frame, start):.1f}" height="{height - _TOP:g}"/>'
        for start, end in frame.shades
    )


def _grid(place: _Scale, show: Callable[[float], str]) -> list[str]:
    parts = []
    for step in range(5):
        value = place.high * step / 4
        y = place.y(value)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}">{escape(show(value))}</text>')
    return parts


def _time(frame: Frame, height: float) -> str:
    step = next((each for each in _TICKS if frame.duration / each <= 12), frame.duration / 10)
    marks = [number * step for number in range(int(frame.duration / step + 1e-9) + 1)]
    return "".join(
        f'<text class="time" x="{_x(frame, at):.1f}" y="{height + 16:g}">{show_duration(at)}</text>' for at in marks
    )


def _polyline(frame: Frame, line: Line, place: _Scale) -> str:
    path, pen = [], "M"
    for number, value in enumerate(line.values):
        if value is None:
            pen = "M"
            continue
        path.append(f"{pen}{_x(frame, (number + 0.5) * frame.width):.1f} {place.y(value):.1f}")
        pen = "L"
    return f'<path class="line s{line.style}" d="{"".join(path)}"/>'


def _band(frame: Frame, line: Line, place: _Scale) -> str:
    """From the lowest to the highest value of each slice; where there is none the band closes on the line."""
    pairs = [
        (_x(frame, (number + 0.5) * frame.width), low, high)
        for number, (low, high) in enumerate(zip(line.low, line.high, strict=True))
        if low is not None and high is not None
    ]
    there = "L".join(f"{x:.1f} {place.y(high):.1f}" for x, _, high in pairs)
    back = "L".join(f"{x:.1f} {place.y(low):.1f}" for x, low, _ in reversed(pairs))
    return f'<path class="band s{line.style}" d="M{there}L{back}Z"/>' if pairs else ""


def _tips(frame: Frame, found: Sequence[Line], show: Callable[[float], str]) -> str:
    """An invisible column for each slice that says its values when pointed at."""
    parts = []
    for number in range(len(found[0].values) if found else 0):
        at = number * frame.width
        said = [f"{line.label} {_value(line.values[number], show)}" for line in found]
        left, right = _x(frame, at), _x(frame, at + frame.width)
        parts.append(
            f'<rect class="tip" x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" height="{_HEIGHT - _TOP}">'
            f"<title>{escape(f'from {show_duration(at)}: ' + ', '.join(said))}</title></rect>"
        )
    return "".join(parts)


def _told(found: Sequence[Line], show: Callable[[float], str]) -> str:
    """The range of every line, in words."""
    said = []
    for line in found:
        known = [each for each in line.values if each is not None]
        if known:
            said.append(f"{line.label} from {show(min(known))} to {show(max(known))}")
    return "; ".join(said) or "nothing was counted"


def _value(value: float | None, show: Callable[[float], str]) -> str:
    return "–" if value is None else show(value)


def _span(start: float, end: float) -> str:
    return f"{show_duration(round(start, 1))} to {show_duration(round(end, 1))}"


def _nice(top: float) -> float:
    """A round number from `top` on that four steps divide well."""
    size = 10.0 ** math.floor(math.log10(top))
    return next(each * size for each in (1, 2, 4, 6, 8, 10) if each * size >= top * 0.999)
