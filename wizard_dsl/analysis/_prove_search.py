"""The search: all sequences of outcomes, those with the fewest deviations from a plain answer first.

A sequence is where a run begins and what each of its attempts comes to; behind its end all answer plainly. Its depth
is how many of its outcomes are no plain answer. Each sequence is played once, in an order that depends on the file
alone: by depth, then start, then place, then class. So the first one that breaks an invariant is a smallest one, and
several processes find the same as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal

import msgspec

from wizard_dsl.analysis._prove_checks import Broken, Checks
from wizard_dsl.analysis._prove_play import Stage
from wizard_dsl.analysis._prove_starts import Starts
from wizard_dsl.core.clock import machine_time

#: Sequences that one process is given at a time.
BATCH: Final = 24


class Order(msgspec.Struct, frozen=True):
    """One sequence: the number of its start, and the class of each attempt up to the last that is no plain answer."""

    start: int
    choices: tuple[int, ...] = ()


class Judged(msgspec.Struct, frozen=True):
    """What came of it: how many classes each attempt had, which targets were asked, and what did not hold."""

    classes: tuple[int, ...]
    asked: tuple[str, ...]
    broken: tuple[Broken, ...]


#: Plays some sequences, and says what came of each, in their order.
Judge = Callable[[Sequence[Order]], Sequence[Judged]]
#: Told how many sequences have been played.
Progress = Callable[[int], None]
#: Asked now and then whether the search shall end.
Halted = Callable[[], bool]


class Limits(msgspec.Struct, frozen=True):
    """When the search ends: `depth` deviations, `runs` sequences, `seconds` of the machine's time."""

    depth: int = 3
    runs: int = 2000
    seconds: float | None = None


class Level(msgspec.Struct, frozen=True):
    """One depth: how many sequences there are, and how many of them were played."""

    depth: int
    played: int
    size: int


class First(msgspec.Struct, frozen=True):
    """The first sequence that breaks an invariant."""

    broken: Broken
    order: Order
    depth: int


class Found(msgspec.Struct, kw_only=True):
    """`stopped` is what ended the search; `all`: there is no sequence that was not played. `more` counts those of the
    next depth, where that is known."""

    levels: list[Level] = []
    firsts: dict[str, First] = {}
    asked: set[str] = set()
    stopped: Literal["all", "depth", "runs", "time", "interrupted", "broken"] = "all"
    more: int = 0

    @property
    def played(self) -> int:
        return sum(level.played for level in self.levels)


class Prepared:
    """A file, its start states and its invariants: what a search needs."""

    def __init__(self, stage: Stage, starts: Starts, checks: Checks) -> None:
        self.stage = stage
        self.starts = starts
        self.checks = checks

    def judge(self, orders: Sequence[Order]) -> list[Judged]:
        """Play them in this process."""
        return [self._one(order) for order in orders]

    def _one(self, order: Order) -> Judged:
        start = self.starts.all[order.start]
        seen = self.stage.play(start, order.choices)
        return Judged(
            classes=tuple(taken.classes for taken in seen.taken),
            asked=tuple(dict.fromkeys(taken.target for taken in seen.taken)),
            broken=tuple(self.checks.broken(start, seen)),
        )


def search(
    count: int,
    judge: Judge,
    limits: Limits,
    batch: int = BATCH,
    progress: Progress | None = None,
    halted: Halted | None = None,
) -> Found:
    """Search from `count` start states. Where an invariant breaks, the depth is played to its end, and no further."""
    return _Search(judge, limits, batch, progress, halted).run([Order(number) for number in range(count)])


class _Search:
    def __init__(
        self, judge: Judge, limits: Limits, batch: int, progress: Progress | None, halted: Halted | None
    ) -> None:
        self._judge = judge
        self._halted = halted
        self._limits = limits
        self._batch = batch
        self._progress = progress
        self._found = Found()
        self._until = None if limits.seconds is None else machine_time() + limits.seconds

    def run(self, first: list[Order]) -> Found:
        found, level, size, depth = self._found, first, len(first), 0
        while size:
            if depth > self._limits.depth:
                found.stopped, found.more = "depth", size
                break
            level, more, complete = self._level(level, size, depth)
            if found.firsts or not complete:
                found.stopped, found.more = ("broken" if found.firsts else found.stopped), more
                break
            size, depth = more, depth + 1
        else:
            found.stopped = "all"
        return found

    def _level(self, orders: list[Order], size: int, depth: int) -> tuple[list[Order], int, bool]:
        """Play one depth: the sequences of the next one (as many as may still be played), how many there are, and
        whether this one was played whole."""
        found, played = self._found, 0
        following: list[Order] = []
        more = 0
        for batch in self._batches(orders):
            for order, judged in zip(batch, self._judge(batch), strict=True):
                played += 1
                found.asked.update(judged.asked)
                for broken in judged.broken:
                    found.firsts.setdefault(broken.name, First(broken, order, depth))
                more += _count(order, judged)
                room = self._limits.runs - self._so_far(played) - len(following)
                following += _children(order, judged, room)
            if self._progress is not None:
                self._progress(self._so_far(played))
        found.levels.append(Level(depth, played, size))
        return following, more, played == size

    def _batches(self, orders: list[Order]) -> Iterator[list[Order]]:
        """As many as may be played; says in `stopped` why there are no more."""
        before = self._found.played
        for at in range(0, len(orders), self._batch):
            room = self._limits.runs - before - at
            if room <= 0:
                break
            if self._until is not None and machine_time() >= self._until:
                self._found.stopped = "time"
                return
            if self._halted is not None and self._halted():
                self._found.stopped = "interrupted"
                return
            yield orders[at : at + min(self._batch, room)]
        self._found.stopped = "runs"

    def _so_far(self, played: int) -> int:
        return self._found.played + played


def _count(order: Order, judged: Judged) -> int:
    return sum(classes - 1 for classes in judged.classes[len(order.choices) :])


def _children(order: Order, judged: Judged, room: int) -> Iterator[Order]:
    """The sequences that deviate once more, behind the last deviation of this one; at most `room`."""
    for at in range(len(order.choices), len(judged.classes)):
        plain = (0,) * (at - len(order.choices))
        for choice in range(1, judged.classes[at]):
            if room <= 0:
                return
            room -= 1
            yield Order(order.start, (*order.choices, *plain, choice))
