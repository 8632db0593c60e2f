"""What a sentence of a story looks up: the transcript indexed by attempt, place and target, and what came before."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import msgspec

from wizard_dsl.core import events as e
from wizard_dsl.observe.transcript import place_of

if TYPE_CHECKING:
    from wizard_dsl.core.result import AttemptRow, Result
    from wizard_dsl.core.run import Transcript

E = TypeVar("E", bound=e.Event)


class Past(msgspec.Struct, frozen=True):
    """What earlier runs of the same project left behind, as sentences. `opened` and `blocked` by target: when and in
    which run its breaker opened, or it was refused; `stored` by cache key: when its answer was stored; `other` by
    place: that an earlier run asked under another key."""

    opened: dict[str, str] = {}
    blocked: dict[str, str] = {}
    stored: dict[str, str] = {}
    other: dict[str, str] = {}


class Scene:
    """One run, indexed. Positions are those of `transcript.events`; attempts count from 0."""

    def __init__(self, result: Result, transcript: Transcript, past: Past) -> None:
        self.result = result
        self.events = transcript.events
        self.past = past
        self.told = transcript.attempts
        begun = [at for at, (_, _, event) in enumerate(self.events) if isinstance(event, e.AttemptStarted)]
        self.number_at = {position: number for number, position in enumerate(begun)}
        self._begun = begun
        self._ended = attempts_ended(transcript)

    def row(self, number: int) -> AttemptRow | None:
        """None where the transcript knows more than the result, which was taken before."""
        return self.result.attempts[number] if number < len(self.result.attempts) else None

    def place(self, row: AttemptRow) -> str:
        return row.step if row.item is None else f"{row.step}[{row.item}]"

    def place_at(self, position: int) -> str:
        _, speaker, event = self.events[position]
        return place_of(speaker, event)

    def before(self, position: int, kind: type[E], which: Callable[[E], bool]) -> tuple[int, E] | None:
        """The last event of a kind before a position, anywhere in the run, for which `which` holds."""
        for at in range(position - 1, -1, -1):
            event = self.events[at][2]
            if isinstance(event, kind) and which(event):
                return at, event
        return None

    def since_attempt(self, position: int) -> list[e.Event]:
        """What the same place said between its last attempt's beginning and this one, oldest first."""
        place, found = self.place_at(position), []
        for at in range(position - 1, -1, -1):
            if self.place_at(at) != place:
                continue
            event = self.events[at][2]
            if isinstance(event, e.AttemptStarted):
                break
            found.append(event)
        return found[::-1]

    def next_attempt(self, position: int, target: str) -> int | None:
        """The attempt on a target that follows at the same place."""
        place = self.place_at(position)
        for at in self._begun:
            if at > position and self.place_at(at) == place and getattr(self.events[at][2], "target", "") == target:
                return self.number_at[at]
        return None

    def skipped_after(self, position: int, target: str) -> bool:
        """Whether the same place says later why it does not ask a target."""
        place = self.place_at(position)
        later = [self.events[at][2] for at in range(position, len(self.events)) if self.place_at(at) == place]
        return any(isinstance(event, e.TargetSkipped) and event.target == target for event in later)

    def last_attempt(self, position: int, target: str) -> int | None:
        """The attempt on a target that ended last before a position, at any place."""
        for at in range(position - 1, -1, -1):
            number = self._ended.get(at)
            if number is not None and getattr(self.events[at][2], "target", "") == target:
                return number
        return None

    def cut(self, number: int) -> e.BranchCancelled | None:
        """Why an attempt was given up for another one."""
        row = self.row(number)
        if row is None or row.kind != "cancelled":
            return None
        for at, _, event in self.events:
            if isinstance(event, e.BranchCancelled) and event.target == row.target and abs(at - _end(row)) < 1e-3:
                return event
        return None

    def ended(self, place: str) -> e.StepEnded | None:
        for at, (_, _, event) in enumerate(self.events):
            if isinstance(event, e.StepEnded) and self.place_at(at) == place:
                return event
        return None


def attempts_ended(transcript: Transcript) -> dict[int, int]:
    """Which attempt, counted from 0, ended with the event at a position: the oldest under way on its target, at its
    place."""
    under_way: dict[tuple[str, str], list[int]] = {}
    ended: dict[int, int] = {}
    count = 0
    for position, (_, place, event) in enumerate(transcript.events):
        if isinstance(event, e.AttemptStarted):
            under_way.setdefault((place, event.target), []).append(count)
            count += 1
        elif isinstance(event, e.AttemptEnded) and under_way.get((place, event.target)):
            ended[position] = under_way[place, event.target].pop(0)
    return ended


def _end(row: AttemptRow) -> float:
    return row.started + row.elapsed
