"""Prompts, as they are put together: files read, names resolved, front matter apart. What changes is shown as lines."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, Final

from wizard_dsl.analysis._diff_names import Pairs
from wizard_dsl.analysis._diff_view import StepView, View
from wizard_dsl.analysis.diff_changes import Change
from wizard_dsl.spec.diagnostics import Place, show_path

_LINES: Final = 40
_LENGTH: Final = 160


def changes(old: View, new: View, pairs: Pairs) -> Iterator[Change]:
    """One change for each prompt that differs, however many steps use it."""
    told: dict[tuple[Any, Any], list[str]] = {}
    first: dict[tuple[Any, Any], tuple[StepView, StepView]] = {}
    for one, other in pairs.steps:
        was, now = old.steps[one], new.steps[other]
        if was.messages != now.messages:
            key = (was.messages, now.messages)
            told.setdefault(key, []).append(f"step {other}")
            first.setdefault(key, (was, now))
    for key, steps in told.items():
        was, now = first[key]
        place = _place(was, now, new)
        yield Change(
            section="prompts",
            what="the prompt changes",
            subjects=tuple(steps),
            path=show_path(now.prompt_at),
            file=place.file,
            line=place.line,
            detail=tuple(_lines(was, now)),
        )


def _lines(was: StepView, now: StepView) -> Iterator[str]:
    """The lines that differ, with two around them, each message under its role."""
    made = list(difflib.unified_diff(_written(was), _written(now), lineterm="", n=2))[2:]
    for line in made[:_LINES]:
        if not line.startswith("@@"):
            yield line if len(line) <= _LENGTH else f"{line[: _LENGTH - 1]}…"
    if len(made) > _LINES:
        yield f"… {len(made) - _LINES} lines more"


def _written(step: StepView) -> list[str]:
    return [line for role, text in step.texts for line in (f"[{role}]", *text.split("\n"))]


def _place(was: StepView, now: StepView, new: View) -> Place:
    """Where the first line that differs is written on the new side."""
    places, loaded = new.compiled.loaded.places, new.compiled.loaded
    index = next((i for i, pair in enumerate(zip(was.messages, now.messages, strict=False)) if pair[0] != pair[1]), -1)
    sources = () if now.plan.prompt is None else now.plan.prompt.sources
    if index < 0 or not sources:
        return places.value_at(now.prompt_at)
    part = sources[index].parts[0]
    before = was.texts[index][1].split("\n") if index < len(was.texts) else []
    after = now.texts[index][1].split("\n")
    line = next((i for i, text in enumerate(after) if i >= len(before) or before[i] != text), len(after) - 1)
    if now.prompt_at in loaded.files:
        return Place(loaded.files[now.prompt_at][0], part.first_line + line, 1)
    if len(sources[index].parts) > 1:
        return places.value_at((*now.prompt_at, *part.path[:-2]))
    return places.text_at((*now.prompt_at, *part.path), line + 1, 1)
