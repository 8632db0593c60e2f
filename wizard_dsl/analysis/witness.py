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
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from wizard_dsl.analysis._prove_classes import NOT_AS_DECLARED, Outcome, Spot, as_mapping
from wizard_dsl.analysis._prove_play import Seen, Stage, Start
from wizard_dsl.analysis._prove_values import ANSWER, input_sets, plain_answer
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
from wizard_dsl.core.rng import uniform
from wizard_dsl.core.units import parse_duration, show_duration
from wizard_dsl.policies._retry_when import most_attempts

if TYPE_CHECKING:
    from wizard_dsl.compiler.compile import Compiled
    from wizard_dsl.compiler.program import Program
    from wizard_dsl.core.run import Run
    from wizard_dsl.core.target import RateLimitRule
    from wizard_dsl.registry import Registry

_T = TypeVar("_T")

#: Faults that are repeated in place, and such as move on to the next target, the likeliest to reach a bound first.
_REPEATED: Final = (
    Outcome("429 with retry-after 1ms", {"status": 429, "retry_after": "1ms"}),
    Outcome("503", 503),
    Outcome("connect", {"refuse": True}),
)
_LEFT: Final = (*_REPEATED, Outcome("402", {"status": 402, "body": '{"error": {"code": "insufficient_quota"}}'}))
#: Seconds that each fault takes: what a retry budget refuses now it may allow later.
_PAUSES: Final = (0.0, 5.0, 60.0)
#: What a changed attempt may come to, most often what no breaker counts; how long it may take, besides what the file
#: itself sets; how often something is changed, and how many attempts at once (0: all of them, -1: a whole step alike).
_SILENT: Final = Outcome("no answer", {"reply": "an answer that never comes", "stall_after": 0})
_DRAWN: Final = (*_REPEATED[:1] * 4, *_REPEATED, _SILENT)
_DRAWN_PAUSES: Final = (0.3, 2.0, 7.0, 70.0)
_LONGEST_PAUSE: Final = 600.0
_CHANGES: Final = 200
_AT_ONCE: Final = (1, 1, 2, 4, 0, -1)
#: A chain whose last target has failed cannot be made to answer: so often is the last attempt looked for.
_ROUNDS: Final = 4
_REFUSED: Final = Outcome("an answer not as declared", NOT_AS_DECLARED)


class Witness(msgspec.Struct, frozen=True):
    """A run that makes `made` attempts, of `most` that the plan allows; `outcomes` as `target: outcome`. `held_back` is
    what kept it from more, where it did not reach the bound, as its events name it: `deadline`, `rate_limit`, …"""

    made: int
    most: float
    outcomes: tuple[str, ...]
    held_back: tuple[str, ...] = ()

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
        groups = [(outcome, len(list(each))) for outcome, each in itertools.groupby(self.outcomes)]
        return [*rows, *held, *((outcome, f"×{count}" if count > 1 else "") for outcome, count in groups)]


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
    return _told(search.best, most.value)


def _told(seen: Seen, most: float) -> Witness:
    outcomes = tuple(f"{each.target}: {each.outcome.name}" for each in seen.taken)
    events = [] if seen.transcript is None else [event for _, _, event in seen.transcript.events]
    held = dict.fromkeys(filter(None, map(_held_back, events))) if len(seen.taken) < most else {}
    return Witness(len(seen.taken), most, outcomes, tuple(held))


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


#: An execution of a step: its name in the ledger, and the item; and the number of an attempt there, 0 for all.
_Place = tuple[str, int | None]
_Key = tuple[_Place, int]


class _Way(msgspec.Struct, frozen=True):
    """How to spend: what is repeated, what moves on, and how long each takes. `changed` are attempts that come to
    something else and take another of the `pauses`: both drawn, from 0 to 1."""

    repeated: Outcome
    left: Outcome
    pause: float
    pauses: Sequence[float]
    changed: Mapping[_Key, tuple[float, float]] = {}

    def outcome(self, key: _Key, spot: Spot, *, last: bool) -> Outcome:
        """What an attempt comes to; `last`: nothing is repeated in place after it."""
        refuses = last and _declares(spot)
        drawn = self._drawn(key)
        if drawn is None:
            return _REFUSED if refuses else _slowly(self.left if last else self.repeated, self.pause)
        kinds = _LEFT if last else (*_DRAWN, *_asking(spot.chain.rate_limit))
        return self.slowly(_drawn((*(_REFUSED,) * 4 * len(kinds), *kinds) if refuses else kinds, drawn[0]), key)

    def slowly(self, outcome: Outcome, key: _Key) -> Outcome:
        """As late as that attempt is said to be."""
        drawn = self._drawn(key)
        return outcome if drawn is None else _slowly(outcome, _drawn(self.pauses, drawn[1]))

    def _drawn(self, key: _Key) -> tuple[float, float] | None:
        (name, _), _ = key
        return self.changed.get(key) or self.changed.get(((_step(name), None), 0))

    def change(self, name: str, made: Mapping[_Place, int]) -> _Way:
        """Another way, in which some of the attempts that were made, or would come next, are drawn anew."""

        def draw(what: object) -> float:
            return uniform(f"witness/{name}/{what}")

        keys: list[_Key] = [(place, number) for place, count in made.items() for number in range(1, count + 2)]
        count = _drawn(_AT_ONCE, draw("count"))
        if count > 0:
            keys = [_drawn(keys, draw(each)) for each in range(count)]
        elif count < 0:
            keys = [((_step(_drawn(keys, draw("step"))[0][0]), None), 0)]
        fresh = {each: (draw(f"{each}/kind"), draw(f"{each}/pause")) for each in keys}
        return msgspec.structs.replace(self, changed={**self.changed, **fresh})


def _drawn(values: Sequence[_T], share: float) -> _T:
    return values[int(share * len(values))]


class _Search:
    """Looks for the run with the most attempts; `best` is the one that was found so far, in the way `_way`."""

    def __init__(self, stage: Stage, plan: Plan) -> None:
        self._stage = stage
        self._most = dict(_most(stage.program, plan))
        pauses = (*_DRAWN_PAUSES, *_set_in(stage))
        self._way = _Way(_REPEATED[0], _LEFT[0], 0.0, (*(0.0,) * len(pauses), *pauses))
        self._start = Start("closed", {})
        self._made: Mapping[_Place, int] = {}
        self.best = Seen()

    def tries(self) -> Iterator[None]:
        """All that is tried, one run after the other."""
        stage, plain = self._stage, self._way
        starts = [Start("closed", each) for each in input_sets(stage.program, stage.classes.named, {}, longest=True)]
        for pause, repeated, left in itertools.product(_PAUSES, _REPEATED, _LEFT):
            for start in starts:
                self._try(start, msgspec.structs.replace(plain, repeated=repeated, left=left, pause=pause))
                yield
        for number in range(_CHANGES if self._made else 0):
            self._try(self._start, self._way.change(str(number), self._made))
            yield

    def _try(self, start: Start, way: _Way) -> None:
        """Where a step ended before its bound, its last attempt is made to answer. A way that is as good as the best
        takes its place: from there others are within reach."""
        most = dict(self._most)
        for _ in range(_ROUNDS):
            spender = _Spender(way, most)
            seen = self._stage.play(start, (), spender.decide)
            if seen.transcript is not None and len(seen.taken) >= len(self.best.taken):
                self._way, self._start, self._made = way, start, spender.made
                self.best = (
                    seen if self.best.transcript is None or len(seen.taken) > len(self.best.taken) else self.best
                )
            short = {place: made for place, made in spender.made.items() if made < most.get(_step(place[0]), 0)}
            if not short or seen.result is None or seen.result.ok:
                break
            most.update({_step(place[0]): made for place, made in short.items()})


def _set_in(stage: Stage) -> list[float]:
    """Seconds a little longer than what the policies of the file set: windows, time-outs, times until a breaker is
    asked again."""
    found = set[float]()
    for chain in stage.all_chains:
        ladders = [policy for target in chain.targets for policy in target.ladder]
        configs = [chain.strategy_config, *(policy.config for policy in (*chain.shared, *chain.outer, *ladders))]
        texts = [each for config in configs for each in msgspec.to_builtins(config).values() if isinstance(each, str)]
        found |= {seconds * 1.1 for each in texts if (seconds := _seconds(each)) is not None}
    return sorted(each for each in found if 0 < each <= _LONGEST_PAUSE)


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


def _step(name: str) -> str:
    """The step's name, without the items of the loops around it."""
    return "/".join(part.partition("[")[0] for part in name.split("/"))


class _Spender:
    """Decides as the module says. `made` counts the attempts of each execution of a step."""

    def __init__(self, way: _Way, most: Mapping[str, float]) -> None:
        self._way = way
        self._most = most
        self.made: dict[_Place, int] = {}

    def decide(self, spot: Spot, run: Run) -> Outcome:
        """What this attempt comes to."""
        place = run.scope.step, run.scope.item
        self.made[place] = number = self.made.get(place, 0) + 1
        if number >= self._most.get(_step(place[0]), 1):
            return self._way.slowly(_answer(spot), (place, number))
        return self._way.outcome((place, number), spot, last=run.used + 1 >= _attempts(spot))


def _answer(spot: Spot) -> Outcome:
    """An answer that no cache keeps: it was cut."""
    said: Any = ANSWER if spot.step is None else plain_answer(spot.step)
    return Outcome("an answer", {"reply": said, "finish_reason": "length"})


def _asking(rule: RateLimitRule) -> Iterator[Outcome]:
    """Refusals that ask for as much patience as a chain has: meanwhile there is room in limits again."""
    for most in sorted({min(rule.wait_up_to, rule.max_retry_after), rule.max_retry_after} - {0.0}):
        wait = show_duration(most)
        yield Outcome(f"429 with retry-after {wait}", {"status": 429, "retry_after": wait})


def _slowly(outcome: Outcome, pause: float) -> Outcome:
    if not pause:
        return outcome
    item = {**as_mapping(outcome.item), "delay": show_duration(pause)}
    return Outcome(f"{outcome.name} after {show_duration(pause)}", item)


def _attempts(spot: Spot) -> int:
    retry: Any = next((each.config for each in spot.target.ladder if each.type.name == "retry"), None)
    return 1 if retry is None else most_attempts(retry.when, retry.max_attempts)


def _declares(spot: Spot) -> bool:
    output = None if spot.step is None else getattr(spot.step.config, "output", None)
    return output is not None and output.schema is not None
