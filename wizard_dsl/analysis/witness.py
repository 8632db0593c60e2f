"""How tight a plan is: faults under which a run makes as many attempts as its plan says it makes at most.

    found = witness(compiled, registry, plan)
    found.made, found.most       # 12, 12: the bound is reached
    found.outcomes               # what the attempts come to, in order

The executor runs against an adversary who spends: every attempt that may be repeated fails in a way that is repeated,
the last one on a target in a way that moves on, an answer is not as declared as long as that is repaired, and the last
attempt that a step has answers, so that the next step runs. Some ways to do that are tried; then the best of them is
changed, a few attempts at a time, as long as the bound is not reached. The run that makes most attempts is the witness.
It says that a bound is no smaller, never that it holds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wizard_dsl.analysis._prove_classes import Outcome
from wizard_dsl.analysis._prove_play import Seen, Stage, Start
from wizard_dsl.analysis._prove_values import input_sets
from wizard_dsl.analysis._witness_starts import emptied, others
from wizard_dsl.analysis._witness_ways import LEFT, REPEATED, Key, Place, Spender, Way, step_of
from wizard_dsl.analysis.plan import Plan, plan_of
from wizard_dsl.core.events import (
    CacheHit,
    CacheShared,
    DeadlineCut,
    Event,
    HedgeWithheld,
    LimitRefused,
    RetriesEnded,
    TargetSkipped,
)
from wizard_dsl.core.units import parse_duration

if TYPE_CHECKING:
    from wizard_dsl.compiler.compile import Compiled
    from wizard_dsl.compiler.program import Program
    from wizard_dsl.core.run import Attempt
    from wizard_dsl.registry import Registry

#: Seconds that each fault takes: what a retry budget refuses now it may allow later; and the longest that the time-outs
#: of the file allow, so many of them.
_PAUSES: Final = (0.0, 5.0, 60.0)
_NEAR: Final = 3
#: How long a changed attempt may take besides what the file sets; how often something is changed, from one start and
#: from each of the others.
_DRAWN_PAUSES: Final = (0.3, 2.0, 7.0, 70.0)
_LONGEST_PAUSE: Final = 600.0
_CHANGES: Final = 200
_FEWER_CHANGES: Final = 60
#: A chain whose last target has failed cannot be made to answer: so often is the last attempt looked for.
_ROUNDS: Final = 6


class Witness(msgspec.Struct, frozen=True):
    """A run that makes `made` attempts, of `most` that the plan allows; `outcomes` as `target: outcome`. `held_back` is
    what kept it from more, where it did not reach the bound, as its events name it: `deadline`, `rate_limit`, …;
    `whence` is what others did before the run or do beside it, where that matters."""

    made: int
    most: float
    outcomes: tuple[str, ...]
    held_back: tuple[str, ...] = ()
    whence: str = ""

    @property
    def reached(self) -> bool:
        """Whether the bound is the truth."""
        return self.made >= self.most

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**msgspec.structs.asdict(self), "outcomes": list(self.outcomes), "reached": self.reached}

    def told(self) -> list[tuple[str, str]]:
        """Rows for people: what was made of what the plan allows, then the outcomes, equal ones in a row as one."""
        most = f"{self.made} of {self.most:g} attempts"
        rows = [(most, "the bound is reached" if self.reached else "the most that was found")]
        held = [("held back by", ", ".join(self.held_back))] if self.held_back else []
        whence = [("where it begins", self.whence)] if self.whence else []
        groups = [(outcome, len(list(each))) for outcome, each in itertools.groupby(self.outcomes)]
        return [*rows, *held, *whence, *((outcome, f"×{count}" if count > 1 else "") for outcome, count in groups)]


def witness(compiled: Compiled, registry: Registry, plan: Plan) -> Witness | None:
    """The run with the most attempts that was found; None where the plan has no bound for them, or nothing is asked.
    `compiled` has a program, whose references need not be resolved."""
    most = plan.worst.attempts
    if not most.bounded or most.value == 0:
        return None
    search = _Search(Stage(compiled, registry), plan)
    for _ in search.tries():
        if len(search.best.taken) >= most.value:
            break
    return _told(search.best, most.value, search.whence)


def _told(seen: Seen, most: float, whence: str) -> Witness:
    outcomes = tuple(f"{each.target}: {each.outcome.name}" for each in seen.taken)
    held = _reasons(seen) if len(seen.taken) < most else ()
    return Witness(len(seen.taken), most, outcomes, held, whence)


def _reasons(seen: Seen) -> tuple[str, ...]:
    """What kept a run from more attempts, as its events name it."""
    events = [] if seen.transcript is None else [event for _, _, event in seen.transcript.events]
    return tuple(dict.fromkeys(filter(None, map(_held_back, events))))


def _held_back(event: Event) -> str:
    """What an event says of an attempt that was not made; nothing of most events."""
    if isinstance(event, TargetSkipped | HedgeWithheld):
        return event.reason
    if isinstance(event, RetriesEnded):
        return "" if event.reason == "attempts" else event.reason
    if isinstance(event, LimitRefused):
        return event.limit
    if isinstance(event, CacheHit | CacheShared):
        return "cache"
    return "deadline" if isinstance(event, DeadlineCut) else ""


class _Top(msgspec.Struct):
    """The best run from some starts: how many attempts it made, by execution, and how."""

    count: int = -1
    start: Start | None = None
    way: Way | None = None
    made: Mapping[Place, int] = {}


class _Search:
    """Looks for the run with the most attempts; `best` is the one that was found so far, `whence` where it begins."""

    def __init__(self, stage: Stage, plan: Plan) -> None:
        self._stage = stage
        self._most = dict(_most(stage.program, plan))
        near, late = _set_in(stage)
        pauses = (*_DRAWN_PAUSES, *near, *late)
        self._paces = (*_PAUSES, *near[-_NEAR:])
        self._plain = Way(REPEATED[0], LEFT[0], 0.0, (*(0.0,) * len(pauses), *pauses))
        self._top = _Top()
        self.best = Seen()
        self.whence = ""

    def tries(self) -> Iterator[None]:
        """All that is tried, one run after the other: alone, and then with others before or beside it."""
        stage = self._stage
        sets = input_sets(stage.program, stage.classes.named, {}, longest=True)
        alone = [Start("", each) for each in (*sets, *emptied(stage, sets[0]))]
        yield from self._climb(alone, itertools.product(self._paces, REPEATED, LEFT), _CHANGES)
        for start in others(stage, sets[0], _reasons(self.best)):
            yield from self._climb([start], itertools.product(self._paces, REPEATED, LEFT[:1]), _FEWER_CHANGES)

    def _climb(
        self, starts: Sequence[Start], ways: Iterable[tuple[float, Outcome, Outcome]], changes: int
    ) -> Iterator[None]:
        """Some ways from each start, and then the best of them, with changes."""
        top = self._top = _Top()
        for pause, repeated, left in ways:
            for start in starts:
                self._try(start, msgspec.structs.replace(self._plain, repeated=repeated, left=left, pause=pause))
                yield
        for number in range(changes if top.made else 0):
            assert top.start is not None and top.way is not None, "a run made attempts"
            self._try(top.start, top.way.change(str(number), top.made))
            yield

    def _try(self, start: Start, way: Way) -> None:
        """Where a step ended before its bound, its last attempt is made to answer; and what was not repeated, though it
        might have been, comes to what the last attempt on a target comes to."""
        most: dict[Any, float] = dict(self._most)
        ends = frozenset[Key]()
        for _ in range(_ROUNDS):
            spender = Spender(way, most, ends)
            seen = self._stage.play(start, (), spender.decide)
            if seen.result is None or seen.transcript is None:
                return
            self._keep(start, way, seen, spender)
            rows = dict(zip(spender.keys, seen.transcript.attempts, strict=False))
            left = _left(rows) & spender.hopeful
            short = {} if left or seen.result.ok else _short(spender.made, most, rows)
            if not short and not left:
                return
            most.update(short)
            ends |= left

    def _keep(self, start: Start, way: Way, seen: Seen, spender: Spender) -> None:
        """A way that is as good as the best from this start takes its place: from there others are within reach."""
        top, count = self._top, len(seen.taken)
        if count >= top.count:
            top.count, top.start, top.way, top.made = count, start, way, spender.made
        if self.best.transcript is None or count > len(self.best.taken):
            self.best, self.whence = seen, start.name


def _short(made: Mapping[Place, int], most: Mapping[Any, float], rows: Mapping[Key, Attempt]) -> dict[Place, int]:
    """Executions that failed before their bound, with the attempts that they made; what was only cancelled had more."""
    found = {}
    for place, count in made.items():
        row = rows.get((place, count))
        if row is not None and row.kind != "cancelled" and count < most.get(place, most.get(step_of(place[0]), 0)):
            found[place] = count
    return found


def _left(rows: Mapping[Key, Attempt]) -> frozenset[Key]:
    """Attempts that failed, and that nothing repeats."""
    repeated = {row.retry_of for row in rows.values()}
    return frozenset(
        key for key, row in rows.items() if row.number not in repeated and row.kind not in ("ok", "cancelled")
    )


def _set_in(stage: Stage) -> tuple[list[float], list[float]]:
    """Seconds a little shorter, and a little longer, than what the policies of the file set: windows, time-outs, times
    until a breaker is asked again."""
    found = set[float]()
    for chain in stage.all_chains:
        ladders = [policy for target in chain.targets for policy in target.ladder]
        configs = [chain.strategy_config, *(policy.config for policy in (*chain.shared, *chain.outer, *ladders))]
        texts = [each for config in configs for each in msgspec.to_builtins(config).values() if isinstance(each, str)]
        found |= {seconds for each in texts if (seconds := _seconds(each)) is not None}
    kept = sorted(each for each in found if 0 < each <= _LONGEST_PAUSE)
    return [each * 0.99 for each in kept], [each * 1.1 for each in kept]


def _seconds(text: str) -> float | None:
    try:
        return parse_duration(text)
    except ValueError:
        return None


def _most(program: Program, plan: Plan, prefix: str = "") -> Iterator[tuple[str, float]]:
    """The attempts of one execution of each step, by its name in the ledger."""
    for step in program.steps:
        planned = plan.steps[step.name]
        if step.subprogram is None:
            yield f"{prefix}{step.name}", planned.once.attempts.value
        else:
            yield from _most(step.subprogram, plan_of(step.subprogram), f"{prefix}{step.name}/")
