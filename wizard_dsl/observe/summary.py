"""One line for the terminal after a run: `openai 503 ×2 → waited 1.4 s → anthropic 3.1 s · $0.0021`."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wizard_dsl.core.result import AttemptRow, Cost, Result, StepRow

#: More steps than this are counted, not told.
_TOLD: Final = 3
#: Seconds of waiting that are worth a word.
_NOTICED: Final = 0.05


class _Group(msgspec.Struct):
    """Attempts on one target that went the same way. `word` is empty for answers, which show their time."""

    target: str
    word: str
    count: int = 0
    elapsed: float = 0.0
    waited: float = 0.0


def summary(result: Result) -> str:
    """Who was asked, how it went, how long it took, what it cost; deterministic, without a newline."""
    names = short_names([row.target for row in result.attempts])
    told = [(name, story) for name, step in result.steps.items() if (story := _story(step, names))]
    if len(told) > _TOLD:
        body = _counted(result)
    elif len(told) > 1:
        body = " | ".join(f"{name}: {story}" for name, story in told)
    else:
        body = told[0][1] if told else f"no calls · {show_time(result.elapsed)}"
    parts = [body, _failure(result), _cost(result.cost)]
    return " · ".join(part for part in parts if part)


def _story(step: StepRow, names: dict[str, str]) -> str:
    """What became of a step; empty where it called nobody."""
    if step.skipped:
        return "skipped"
    if not step.attempts:
        word = _kept(step) if step.cached else "shared" if step.shared else ""
        return f"{word} · {show_time(step.elapsed)}" if word else ""
    groups = _grouped(step.attempts, apart=step.items is None)
    if step.items is not None:
        _take_time(groups, step.elapsed)
    parts = []
    for group in groups:
        if group.waited >= _NOTICED:
            parts.append(f"waited {show_time(group.waited)}")
        times = f" ×{group.count}" if group.count > 1 else ""
        parts.append(f"{names[group.target]}{group.word and ' ' + group.word}{times}{_took(group)}")
    return " → ".join(parts)


def _kept(step: StepRow) -> str:
    return "stale cache hit" if step.stale else "cache hit"


def _took(group: _Group) -> str:
    return "" if group.word else f" {show_time(group.elapsed)}"


def _grouped(rows: Sequence[AttemptRow], *, apart: bool) -> list[_Group]:
    """Neighbours that went the same way as one, or, where items mix (not `apart`), all that did. What was waited
    for within a group is told before the next one, after all of it."""
    groups: list[_Group] = []
    for row in rows:
        word = "" if row.kind == "ok" else _word(row)
        near = groups[-1:] if apart else groups
        group = next((each for each in near if (each.target, each.word) == (row.target, word)), None)
        if group is None:
            group = _Group(row.target, word, waited=row.waited)
            groups.append(group)
        else:
            group.waited += row.waited
        group.count += 1
        group.elapsed += row.elapsed
    return _waits_after(groups) if apart else groups


def _waits_after(groups: list[_Group]) -> list[_Group]:
    """Move the waits among failures behind them, where the line reads like the story: fail, wait, answer."""
    for group, following in pairwise(groups):
        if group.count > 1:
            following.waited += group.waited
            group.waited = 0.0
    return groups


def _take_time(groups: list[_Group], elapsed: float) -> None:
    """Items run at once: their own times do not add up, the step's does."""
    for group in groups:
        group.elapsed = elapsed


def _word(row: AttemptRow) -> str:
    return str(row.status) if row.status is not None and row.status >= 400 else row.kind.replace("_", " ")


def _counted(result: Result) -> str:
    failed = sum(row.kind != "ok" for row in result.attempts)
    kept = sum(step.cached for step in result.steps.values())
    parts = [f"{len(result.steps)} steps", f"{len(result.attempts)} attempts{f', {failed} failed' if failed else ''}"]
    if kept:
        parts.append(f"{kept} from the cache")
    return " · ".join([*parts, show_time(result.elapsed)])


def _failure(result: Result) -> str:
    return "" if result.error is None else f"failed: {result.error.kind.replace('_', ' ')}"


def _cost(cost: Cost) -> str:
    """US dollars to two significant digits or the cent; nothing where it is unknown or nothing."""
    if not cost.usd:
        return ""
    about = "" if cost.confidence == "reported" else "~"
    return f"{about}${cost.usd:.2f}" if cost.usd >= 1 else f"{about}${_significant(cost.usd)}"


def _significant(usd: float) -> str:
    text = f"{usd:.2g}"
    return f"{float(text):.12f}".rstrip("0") if "e" in text else text


def short_names(targets: Sequence[str]) -> dict[str, str]:
    """Targets by the name of their provider, where it alone tells them apart."""
    known = dict.fromkeys(targets)
    heads = [name.partition("/")[0] for name in known]
    return {name: head if heads.count(head) == 1 else name for name, head in zip(known, heads, strict=True)}


def show_time(seconds: float) -> str:
    """`0.4 ms`, `120 ms`, `3.1 s`."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"
