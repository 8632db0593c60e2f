"""The causal story of a run: why each attempt happened, what was waited for, who answered, what it cost.

    run 7f3a1b2c of triage: answered by claude after 4.4 s, 3 attempts, $0.0021

    reply (chain writer): 3 attempts, $0.0021
       0.000  Attempt 1 asked openai/gpt-4o first: 503 server after 120 ms (overloaded).
       0.120  Waited 1.0 s, because a server failure is repeated after a back-off.
       1.160  Attempt 2 asked openai/gpt-4o again, because attempt 1 failed with server: 503 server after 110 ms.
       1.270  openai/gpt-4o was given up after 2 attempts: no attempts are left.
       1.270  Attempt 3 asked claude instead, because openai/gpt-4o failed with server: answered after 3.1 s.

Where the transcript tells what happened when, the story groups it by step and says because of what. It depends on the
result and the transcript alone. Each attempt and each wait is told once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import msgspec

from wizard_dsl.core import events as e
from wizard_dsl.core.errors import TABLE
from wizard_dsl.core.units import show_money
from wizard_dsl.observe import story_lines as lines
from wizard_dsl.observe.redact import redact
from wizard_dsl.observe.story_scene import Past, Scene
from wizard_dsl.observe.summary import show_time
from wizard_dsl.observe.transcript import place_of

if TYPE_CHECKING:
    from wizard_dsl.core.result import Result
    from wizard_dsl.core.run import Transcript

What = Literal["attempt", "wait", "note"]


class Line(msgspec.Struct, frozen=True):
    """One sentence. `at` is seconds since the run began, `attempt` its number in the run, from 1."""

    at: float
    what: What
    text: str
    attempt: int | None = None


class Chapter(msgspec.Struct, frozen=True):
    """What one step, or one item of it, did; `place` is empty for the run as a whole."""

    place: str
    title: str
    lines: tuple[Line, ...]


class Story(msgspec.Struct, frozen=True):
    """`head` says how the run ended, `sums` where time and money went, `advice` what to do, or where to read on."""

    head: str
    chapters: tuple[Chapter, ...]
    sums: tuple[str, ...]
    advice: tuple[str, ...]
    failed: bool

    def render(self) -> str:
        """As text, without a newline at its end."""
        parts = [self.head]
        for chapter in self.chapters:
            told = "\n".join(f"{line.at:8.3f}  {line.text}" for line in chapter.lines)
            parts.append(f"{chapter.title}\n{told}" if chapter.title else told)
        if self.sums:
            parts.append("\n".join(self.sums))
        if self.advice:
            parts.append(
                "\n".join(["What to do" if self.failed else "See also", *(f"  {each}" for each in self.advice)])
            )
        return "\n\n".join(parts)


def story(result: Result, transcript: Transcript, past: Past | None = None) -> str:
    """The story as text; `past` knows what earlier runs left behind, where that is recorded."""
    return tell(result, transcript, past).render()


def tell(result: Result, transcript: Transcript, past: Past | None = None) -> Story:
    """The story as data. Nothing of it holds a key."""
    scene = Scene(result, transcript, past or Past())
    places: dict[str, list[Line]] = {}
    for position, (at, speaker, event) in enumerate(transcript.events):
        place = place_of(speaker, event)
        for what, text, attempt in _told(scene, position, event):
            sentence = redact(" ".join(text.split()))
            places.setdefault(place, []).append(Line(round(at, 6), what, sentence, attempt))
    chapters = tuple(Chapter(place, _title(scene, place), tuple(told)) for place, told in places.items())
    return Story(
        redact(_head(result)),
        chapters,
        tuple(_sums(result)),
        tuple(map(redact, _advice(result))),
        result.error is not None,
    )


def _told(scene: Scene, position: int, event: e.Event) -> Iterator[tuple[What, str, int | None]]:
    """The sentences of one event: none for one that another tells along."""
    if isinstance(event, e.AttemptStarted):
        number = scene.number_at[position]
        yield "attempt", lines.attempt(scene, position, number), number + 1
    elif isinstance(event, lines.WAITS):
        yield "wait", lines.wait(scene, position, event), None
    else:
        sentence = lines.note(scene, position, event)
        if sentence:
            yield "note", sentence, None


def _head(result: Result) -> str:
    attempts = _count(len(result.attempts), "attempt")
    cost = f", {show_money(result.cost.usd)}" if result.cost.usd else ""
    head = f"run {result.run_id} of {result.pipeline.name}"
    if result.error is None:
        by = f" by {result.served_by}" if result.served_by else ""
        return f"{head}: answered{by} after {show_time(result.elapsed)}, {attempts}{cost}"
    if result.error.kind == "cancelled":
        return f"{head}: cancelled after {show_time(result.elapsed)}, {attempts}{cost}"
    why = f": {result.error.message}" if result.error.message else ""
    return f"{head}: failed with {result.error.kind} after {show_time(result.elapsed)}, {attempts}{cost}{why}"


def _title(scene: Scene, place: str) -> str:
    """The step, its chain, and what all of it took."""
    if not place:
        return ""
    rows = [row for row in scene.result.attempts if scene.place(row) == place]
    ended = scene.ended(place)
    chain = f" (chain {ended.chain})" if ended is not None and ended.chain else ""
    parts = [_count(len(rows), "attempt") if rows else "no attempts"]
    cost = sum(row.cost or 0.0 for row in rows)
    if cost:
        parts.append(show_money(cost))
    return f"{place}{chain}: {', '.join(parts)}"


def _sums(result: Result) -> Iterator[str]:
    """Where the time went, in calls and in waits; where the money went, by target."""
    busy = sum(row.elapsed for row in result.attempts)
    waited = sum(row.waited for row in result.attempts)
    if waited:
        yield f"Of {show_time(result.elapsed)}, attempts took {show_time(busy)} and waits {show_time(waited)}."
    costs: dict[str, float] = {}
    for row in result.attempts:
        if row.cost:
            costs[row.target] = costs.get(row.target, 0.0) + row.cost
    if len(costs) > 1:
        told = ", ".join(f"{show_money(usd)} to {target}" for target, usd in costs.items())
        yield f"Paid: {told}."
    unknown = [row.target for row in result.attempts if row.cost is None]
    if unknown:
        yield f"What {_list(dict.fromkeys(unknown))} cost is not known."


def _advice(result: Result) -> Iterator[str]:
    error = result.error
    if error is not None and error.suggestion:
        yield error.suggestion
    if error is not None and error.retry_after is not None:
        yield f"try again after {show_time(error.retry_after)}"
    kinds = dict.fromkeys(_kinds(result))
    if kinds:
        yield f"read {_list(f'`wizard explain {kind}`' for kind in kinds)}"


def _kinds(result: Result) -> Iterator[str]:
    """The error kinds of the run that have a page, the run's own first."""
    met = ([] if result.error is None else [result.error.kind]) + [row.kind for row in result.attempts]
    yield from (kind for kind in met if kind in TABLE and kind != "cancelled")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _list(words: Iterator[str] | dict[str, None]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
