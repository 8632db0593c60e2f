"""A plan for people and machines: text, Markdown, plain data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isinf
from typing import Any

from wizard_dsl.analysis.bounds import SHOWN, Verdict
from wizard_dsl.analysis.plan import FIGURES, Expected, Plan
from wizard_dsl.compiler.compile import Compiled
from wizard_dsl.core.bound import Bound, Figure, Path

#: Says where a path of the document is written: `triage.yaml:6:3`.
Where = Callable[[Path], str]
_OPEN = "unbounded"
_NONE = "–"
_MOST = 4
Table = list[tuple[str, ...]]


def as_data(plan: Plan, verdicts: Sequence[Verdict], where: Where) -> dict[str, Any]:
    """The plan as plain data; what is unbounded is null, with its reason and place."""
    return {
        "worst": bound_data(plan.worst, where),
        "unlimited": bound_data(plan.unlimited, where),
        "typical": _expected(plan.typical, where),
        "expected": None if plan.expected is None else _expected(plan.expected, where),
        "targets": {name: _figure(each, where) for name, each in plan.targets.items()},
        "contributors": {
            name: [{"name": each.name, "share": each.share} for each in found]
            for name, found in plan.contributors.items()
        },
        "steps": {
            name: {
                "executions": _figure(step.executions, where),
                "once": bound_data(step.once, where),
                "worst": bound_data(step.worst, where),
                "targets": {target: bound_data(share, where) for target, share in step.targets.items()},
            }
            for name, step in plan.steps.items()
        },
        "bounds": [
            {"name": each.name, "bound": each.written, "holds": each.holds, "worst": _figure(each.figure, where)}
            for each in verdicts
        ],
    }


def _figure(figure: Figure, where: Where) -> dict[str, Any]:
    if figure.bounded:
        return {"value": figure.value, "reason": None, "where": None}
    return {"value": None, "reason": figure.reason, "where": where(figure.at) if figure.at else None}


def places_in(compiled: Compiled) -> Where:
    """The places of a compiled file."""

    def where(path: Path) -> str:
        place = compiled.loaded.places.value_at(path)
        return f"{place.file}:{place.line}:{place.column}"

    return where


def one_line(bound: Bound) -> str:
    """`9 attempts, 10m, $0.31, 18,972 tokens`; what is unbounded with its reason."""
    parts = []
    for name, words in (("attempts", "{} attempts"), ("latency", "{}"), ("cost", "{}"), ("tokens", "{} tokens")):
        figure: Figure = getattr(bound, name)
        parts.append(words.format(SHOWN[name](figure.value)) if figure.bounded else f"any {name} ({figure.reason})")
    return ", ".join(parts)


def bound_data(bound: Bound, where: Where) -> dict[str, Any]:
    """A bound as plain data."""
    return {name: _figure(getattr(bound, name), where) for name in FIGURES}


def _expected(expected: Expected, where: Where) -> dict[str, Any]:
    figures = {name: _figure(getattr(expected, name), where) for name in ("attempts", "waits", "cost", "tokens")}
    return {**figures, "failed": expected.failed}


# -- tables -----------------------------------------------------------------------------------------------


def figures(plan: Plan) -> Table:
    """The figures of a run: worst case, typical and expected."""
    titles = ("", "worst case", "typical", *(() if plan.expected is None else ("expected",)))
    rows: Table = [titles]
    others = [plan.typical, *([] if plan.expected is None else [plan.expected])]
    for name in FIGURES:
        means = [_shown(name, getattr(each, name, None)) for each in others]
        rows.append((_title(name), _shown(name, getattr(plan.worst, name)), *means))
    rows.append(("waits", _NONE, *(_shown("waits", each.waits) for each in others)))
    if plan.expected is not None:
        rows.append(("no answer", _NONE, "0%", f"{plan.expected.failed:.2g}" if plan.expected.failed else "0%"))
    return rows


def largest(plan: Plan) -> Table:
    """What adds most to each figure."""
    rows: Table = []
    for name in FIGURES:
        worst, unlimited = getattr(plan.worst, name), getattr(plan.unlimited, name)
        parts = ", ".join(f"{each.name} {SHOWN[name](each.share)}" for each in plan.contributors[name][:_MOST])
        if worst.value < unlimited.value:
            without = f"limited by {worst.reason}, {_shown(name, unlimited)} without it"
            parts = f"{without}; of that {parts}" if parts else without
        if parts:
            rows.append((_title(name), parts))
    return rows


def steps(plan: Plan) -> Table:
    """The worst case of each step, and how often each target is asked in it."""
    rows: Table = [("step", "executions", "attempts", "latency", "cost", "tokens", "asks")]
    for name, step in plan.steps.items():
        asks = ", ".join(f"{target} {_shown('attempts', share.attempts)}" for target, share in step.targets.items())
        shown = [_shown(each, getattr(step.worst, each)) for each in ("attempts", "latency", "cost", "tokens")]
        rows.append((name, _shown("attempts", step.executions), *shown, asks))
    return rows


def left_open(plan: Plan, where: Where) -> Table:
    """Why figures are unbounded, each with the place that would bound it."""
    found: dict[tuple[str, str], list[str]] = {}
    for name in FIGURES:
        for figure in (getattr(plan.worst, name), getattr(plan.unlimited, name)):
            if not figure.bounded:
                place = where(figure.at) if figure.at else ""
                names = found.setdefault((figure.reason, place), [])
                names += [] if _title(name) in names else [_title(name)]
    return [(", ".join(names), reason, place) for (reason, place), names in found.items()]


def kept(verdicts: Sequence[Verdict]) -> Table:
    """The file's own bounds."""
    rows: Table = []
    for each in verdicts:
        says = "holds" if each.holds else f"does not hold: {_shown(each.name, each.figure)}"
        rows.append((each.name, f"at most {each.written}", says))
    return rows


def _title(name: str) -> str:
    return name.replace("_", " ")


def _shown(name: str, figure: Figure | None) -> str:
    if figure is None:
        return _NONE
    return _OPEN if isinf(figure.value) else SHOWN[name](figure.value)


def markdown(title: str, plan: Plan, verdicts: Sequence[Verdict], where: Where) -> str:
    """For a comment on a change."""
    parts = [f"### Plan of {title}", _table(figures(plan))]
    for heading, rows in (("Most of it", largest(plan)), ("Open", left_open(plan, where)), ("Bounds", kept(verdicts))):
        if rows:
            parts += [f"**{heading}**", "\n".join(f"- {': '.join(each for each in row if each)}" for row in rows)]
    return "\n\n".join([*parts, _table(steps(plan))]) + "\n"


def _table(rows: Table) -> str:
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    lines.insert(1, f"| {' | '.join('---' for _ in rows[0])} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
