"""The worst case before and after: what one run can cost at most, and which part of it made the difference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from wizard_dsl.analysis._diff_view import View
from wizard_dsl.analysis.diff_changes import Change
from wizard_dsl.analysis.plan import FigureName, Plan, plan_of
from wizard_dsl.core.bound import Figure
from wizard_dsl.core.units import show_duration, show_money
from wizard_dsl.spec.diagnostics import DocPath, show_path

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import Program

#: In the order in which they are told, each with its name and how its values are written.
_FIGURES: Final[Mapping[FigureName, tuple[str, Callable[[float], str]]]] = {
    "attempts": ("worst-case attempts", lambda value: f"{value:,.0f}"),
    "latency": ("worst-case latency", lambda value: show_duration(float(f"{value:.4g}"))),
    "cost": ("worst-case cost", show_money),
    "tokens": ("worst-case tokens", lambda value: f"{value:,.0f}"),
    "in_flight": ("calls in flight at most", lambda value: f"{value:,.0f}"),
}


class Worst(msgspec.Struct, frozen=True):
    """One figure of the worst case; None on a side that does not have the pipeline."""

    figure: str
    before: str | None
    after: str | None


def worst_cases(old: Program | None, new: Program | None) -> tuple[Worst, ...]:
    """Every figure of the worst case, written for people."""
    plans = [None if program is None else plan_of(program).worst for program in (old, new)]
    return tuple(
        Worst(label, *(None if worst is None else _shown(getattr(worst, name), show) for worst in plans))
        for name, (label, show) in _FIGURES.items()
    )


def changes(old: View, new: View, told: Sequence[Change]) -> Iterator[Change]:
    """One change for each figure of the worst case that is another one. `told` are the changes that are known, one of
    which is the cause; where nothing changes only a file that runs as a step can be it."""
    if not told and all(step.subprogram is None for step in new.program.steps):
        return
    before, after = plan_of(old.program), plan_of(new.program)
    for name, (label, show) in _FIGURES.items():
        one, other = (_shown(getattr(plan.worst, name), show) for plan in (before, after))
        if one == other:
            continue
        cause, change = _because(_moved(name, before, after), new, told)
        path, file, line = (change.path, change.file, change.line) if change else _place(cause, new)
        yield Change(
            section="bounds",
            what=label,
            before=one,
            after=other,
            cause=_words(cause, change),
            path=path,
            file=file,
            line=line,
        )


def _words(cause: str, change: Change | None) -> str:
    """`from reply.retry`, or `as the prompt changes` where the change has no value to point at."""
    is_sentence = change is not None and change.what == cause and change.before is None and change.after is None
    return f"{'as' if is_sentence else 'from'} {cause}" if cause else ""


def _shown(figure: Figure, show: Callable[[float], str]) -> str:
    return show(figure.value) if figure.bounded else "unbounded"


def _moved(name: FigureName, before: Plan, after: Plan) -> list[str]:
    """The parts whose share of a figure moved as the figure did, the one that moved most first; steps come last."""
    up = getattr(after.worst, name).value > getattr(before.worst, name).value
    plans = (before, after)
    shares = [{each.name: each.share for each in plan.contributors[name]} for plan in plans]
    steps = [{step: getattr(each.worst, name).value for step, each in plan.steps.items()} for plan in plans]
    return [*_most(*shares, up=up), *_most(*steps, up=up)]


def _most(before: Mapping[str, float], after: Mapping[str, float], *, up: bool) -> list[str]:
    moved = {}
    for name in {**before, **after}:
        one, other = before.get(name, 0.0), after.get(name, 0.0)
        change = other - one if up else one - other
        if change > 0:  # and no NaN, as between two that nothing bounds
            moved[name] = change
    return sorted(moved, key=lambda name: (-moved[name], name))


def _because(moved: Sequence[str], new: View, told: Sequence[Change]) -> tuple[str, Change | None]:
    """What a figure moved for, and the change that is about it: the part that moved most of those that changed; else
    the only change there is; else the part that moved most, which then only multiplies what changed elsewhere."""
    for cause in moved:
        for each in told:
            if _is_about(each, cause, new):
                return cause, each
    if len(told) == 1:
        return told[0].what, told[0]
    return (moved[0] if moved else ""), None


def _is_about(change: Change, cause: str, new: View) -> bool:
    step, _, part = cause.partition(".")
    view = new.steps.get(step)
    if view is None or not part:
        return False
    about = {subject.partition(" (")[0] for subject in change.subjects}
    key = "output" if part == "contract" else part
    named = change.what.partition(".")[0].removeprefix("provider's ") == key
    target = change.what.startswith(f"target {part} ") or any(f"({part})" in each for each in change.subjects)
    return (named or target) and bool(about & {view.plan.chain, f"step {step}"})


def _place(cause: str, new: View) -> tuple[str, str, int]:
    """Where the step of a cause is written."""
    view = new.steps.get(cause.partition(".")[0])
    path: DocPath = view.at if view is not None else ()
    place = new.compiled.loaded.places.value_at(path)
    return show_path(path), place.file, place.line
