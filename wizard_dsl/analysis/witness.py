"""How tight a plan is: faults under which a run makes as many attempts as its plan says it makes at most.

    found = witness(compiled, registry, plan)
    found.made, found.most       # 12, 12: the bound is reached
    found.outcomes               # what the attempts come to, in order

The executor runs against an adversary who spends: every attempt that may be repeated fails in a way that is repeated,
the last one on a target in a way that moves on, an answer is not as declared as long as that is repaired, and the last
attempt that a step has answers, so that the next step runs. Some ways to do that are tried, and the one that costs most
attempts is the witness. It says that a bound is no smaller, never that it holds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wizard_dsl.analysis._prove_classes import NOT_AS_DECLARED, Outcome, Spot, as_mapping
from wizard_dsl.analysis._prove_play import Seen, Stage, Start
from wizard_dsl.analysis._prove_values import ANSWER, input_sets, plain_answer
from wizard_dsl.analysis.plan import Plan, plan_of
from wizard_dsl.core.rng import uniform
from wizard_dsl.core.units import show_duration

if TYPE_CHECKING:
    from wizard_dsl.compiler.compile import Compiled
    from wizard_dsl.compiler.program import Program
    from wizard_dsl.core.run import Run
    from wizard_dsl.core.target import RateLimitRule
    from wizard_dsl.registry import Registry

#: Faults that are repeated in place, and such as move on to the next target, the likeliest to reach a bound first.
_REPEATED: Final = (
    Outcome("429 with retry-after 1ms", {"status": 429, "retry_after": "1ms"}),
    Outcome("503", 503),
    Outcome("connect", {"refuse": True}),
)
_LEFT: Final = (*_REPEATED, Outcome("402", {"status": 402, "body": '{"error": {"code": "insufficient_quota"}}'}))
#: Seconds that each fault takes: what a retry budget refuses now it may allow later.
_PAUSES: Final = (0.0, 5.0, 60.0)
#: What is drawn from where no single way reaches the bound, most often what no breaker counts; and how often.
_SILENT: Final = Outcome("no answer", {"reply": "an answer that never comes", "stall_after": 0})
_DRAWN: Final = (*_REPEATED[:1] * 4, *_REPEATED, _SILENT)
_DRAWN_PAUSES: Final = (0.0, 0.0, 0.3, 2.0, 7.0, 70.0)
_DRAWS: Final = 60
#: A chain whose last target has failed cannot be made to answer: so often is the last attempt looked for.
_ROUNDS: Final = 4
_REFUSED: Final = Outcome("an answer not as declared", NOT_AS_DECLARED)


class Witness(msgspec.Struct, frozen=True):
    """A run that makes `made` attempts, of `most` that the plan allows; `outcomes` as `target: outcome`."""

    made: int
    most: float
    outcomes: tuple[str, ...]

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
        groups = [(outcome, len(list(each))) for outcome, each in itertools.groupby(self.outcomes)]
        return [*rows, *((outcome, f"×{count}" if count > 1 else "") for outcome, count in groups)]


def witness(compiled: Compiled, registry: Registry, plan: Plan) -> Witness | None:
    """The run with the most attempts that was found; None where the plan has no bound for them, or nothing is asked.
    `compiled` has a program, whose references need not be resolved."""
    most = plan.worst.attempts
    if not most.bounded or most.value == 0:
        return None
    stage = Stage(compiled, registry)
    best: Seen | None = None
    for way in _ways():
        for inputs in input_sets(stage.program, stage.classes.named, {}, longest=True):
            seen = _spent(stage, plan, Start("closed", inputs), way)
            if best is None or len(seen.taken) > len(best.taken):
                best = seen
            if len(best.taken) >= most.value:
                return _told(best, most.value)
    assert best is not None
    return _told(best, most.value)


def _told(seen: Seen, most: float) -> Witness:
    outcomes = tuple(f"{each.target}: {each.outcome.name}" for each in seen.taken)
    return Witness(len(seen.taken), most, outcomes)


class _Way(msgspec.Struct, frozen=True):
    """How to spend: what is repeated, what moves on, and how long each takes; with `draws`, each of them is drawn."""

    repeated: Outcome
    left: Outcome
    pause: float
    draws: str = ""

    def outcome(self, number: int, rule: RateLimitRule, *, last: bool) -> Outcome:
        """What attempt `number` of the run comes to; `last`: nothing is repeated in place after it."""
        if not self.draws:
            return _slowly(self.left if last else self.repeated, self.pause)
        drawn = [uniform(f"{self.draws}/{number}/{what}") for what in ("kind", "pause")]
        pause = _DRAWN_PAUSES[int(drawn[1] * len(_DRAWN_PAUSES))]
        kinds = _LEFT if last else (*_DRAWN, *_asking(rule))
        return _slowly(kinds[int(drawn[0] * len(kinds))], pause)


def _ways() -> Iterator[_Way]:
    for pause, repeated, left in itertools.product(_PAUSES, _REPEATED, _LEFT):
        yield _Way(repeated, left, pause)
    for number in range(_DRAWS):
        yield _Way(_REPEATED[0], _LEFT[0], 0.0, f"witness/{number}")


def _spent(stage: Stage, plan: Plan, start: Start, way: _Way) -> Seen:
    """The run with the most attempts: where a step ended before its bound, its last attempt is made to answer."""
    most = dict(_most(stage.program, plan))
    best: Seen | None = None
    for _ in range(_ROUNDS):
        spender = _Spender(way, most)
        seen = stage.play(start, (), spender.decide)
        if best is None or len(seen.taken) > len(best.taken):
            best = seen
        short = {place: made for place, made in spender.made.items() if made < most.get(_step(place), 0)}
        if not short or seen.result is None or seen.result.ok:
            break
        most.update({_step(place): made for place, made in short.items()})
    assert best is not None
    return best


def _most(program: Program, plan: Plan, prefix: str = "") -> Iterator[tuple[str, float]]:
    """The attempts of one execution of each step, by its name in the ledger."""
    for step in program.steps:
        planned = plan.steps[step.name]
        if step.subprogram is None:
            yield f"{prefix}{step.name}", planned.once.attempts.value
        else:
            yield from _most(step.subprogram, plan_of(step.subprogram), f"{prefix}{step.name}/")


def _step(place: tuple[str, int | None]) -> str:
    """The step's name, without the items of the loops around it."""
    return "/".join(part.partition("[")[0] for part in place[0].split("/"))


class _Spender:
    """Decides as the module says. `made` counts the attempts of each execution of a step."""

    def __init__(self, way: _Way, most: Mapping[str, float]) -> None:
        self._way = way
        self._most = most
        self.made: dict[tuple[str, int | None], int] = {}

    def decide(self, spot: Spot, run: Run) -> Outcome:
        """What this attempt comes to."""
        place = run.scope.step, run.scope.item
        self.made[place] = number = self.made.get(place, 0) + 1
        if number >= self._most.get(_step(place), 1):
            return _answer(spot)
        last = run.used + 1 >= _attempts(spot)
        if last and _declares(spot):
            return _REFUSED
        return self._way.outcome(sum(self.made.values()), spot.chain.rate_limit, last=last)


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
    return 1 if retry is None else int(retry.max_attempts)


def _declares(spot: Spot) -> bool:
    output = None if spot.step is None else getattr(spot.step.config, "output", None)
    return output is not None and output.schema is not None
