"""Ways to spend: what the attempts of a run come to, so that it makes many of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from wizard_dsl.analysis._prove_classes import NOT_AS_DECLARED, Outcome, Spot, as_mapping
from wizard_dsl.analysis._prove_values import ANSWER, plain_answer
from wizard_dsl.core.rng import uniform
from wizard_dsl.core.units import show_duration
from wizard_dsl.policies._retry_when import most_attempts

if TYPE_CHECKING:
    from wizard_dsl.core.run import Run
    from wizard_dsl.core.target import RateLimitRule

_T = TypeVar("_T")

#: Faults that are repeated in place, and such as move on to the next target, the likeliest to reach a bound first.
REPEATED: Final = (
    Outcome("429 with retry-after 1ms", {"status": 429, "retry_after": "1ms"}),
    Outcome("503", 503),
    Outcome("connect", {"refuse": True}),
)
LEFT: Final = (*REPEATED, Outcome("402", {"status": 402, "body": '{"error": {"code": "insufficient_quota"}}'}))
#: What a changed attempt may come to, most often what no breaker counts.
_SILENT: Final = Outcome("no answer", {"reply": "an answer that never comes", "stall_after": 0})
_TOO_LONG: Final = Outcome("413", {"status": 413, "body": '{"error": {"code": "context_length_exceeded"}}'})
_DRAWN: Final = (*REPEATED[:1] * 4, *REPEATED, _SILENT)
#: An answer that nobody bills leaves a budget as it was.
_FREE: Final = {"input_tokens": 0, "output_tokens": 0}
_REFUSED: Final = Outcome("an answer not as declared", {"reply": NOT_AS_DECLARED, "usage": _FREE})
#: How often something is changed: an attempt, some of them, all of them (0), or a whole step alike (-1).
_AT_ONCE: Final = (1, 1, 2, 4, 0, -1)

#: An execution of a step: its name in the ledger, and the item; and the number of an attempt there, 0 for all.
Place = tuple[str, int | None]
Key = tuple[Place, int]


class Way(msgspec.Struct, frozen=True):
    """How to spend: what is repeated, what moves on, and how long each takes. `changed` are attempts that come to
    something else and take another of the `pauses`: both drawn, from 0 to 1."""

    repeated: Outcome
    left: Outcome
    pause: float
    pauses: Sequence[float]
    changed: Mapping[Key, tuple[float, float]] = {}

    def outcome(self, key: Key, spot: Spot, *, last: bool) -> Outcome:
        """What an attempt comes to; `last`: nothing is repeated in place after it."""
        refuses, drawn = _declares(spot), self._drawn(key)
        if drawn is None:
            return _REFUSED if refuses and last else _slowly(self.left if last else self.repeated, self.pause)
        kinds = (*LEFT, _TOO_LONG) if last else (*_DRAWN, *_asking(spot.chain.rate_limit))
        often = len(kinds) if last else 1
        return self.slowly(drawn_of((*(_REFUSED,) * often, *kinds) if refuses else kinds, drawn[0]), key)

    def slowly(self, outcome: Outcome, key: Key) -> Outcome:
        """As late as that attempt is said to be."""
        drawn = self._drawn(key)
        return outcome if drawn is None else _slowly(outcome, drawn_of(self.pauses, drawn[1]))

    def _drawn(self, key: Key) -> tuple[float, float] | None:
        (name, _), _ = key
        return self.changed.get(key) or self.changed.get(((step_of(name), None), 0))

    def change(self, name: str, made: Mapping[Place, int]) -> Way:
        """Another way, in which some of the attempts that were made, or would come next, are drawn anew."""

        def draw(what: object) -> float:
            return uniform(f"witness/{name}/{what}")

        keys: list[Key] = [(place, number) for place, count in made.items() for number in range(1, count + 2)]
        count = drawn_of(_AT_ONCE, draw("count"))
        if count > 0:
            keys = [drawn_of(keys, draw(each)) for each in range(count)]
        elif count < 0:
            keys = [((step_of(drawn_of(keys, draw("step"))[0][0]), None), 0)]
        fresh = {each: (draw(f"{each}/kind"), draw(f"{each}/pause")) for each in keys}
        return msgspec.structs.replace(self, changed={**self.changed, **fresh})


def drawn_of(values: Sequence[_T], share: float) -> _T:
    """One of them, by a share from 0 to 1."""
    return values[int(share * len(values))]


def step_of(name: str) -> str:
    """The step's name, without the items of the loops around it."""
    return "/".join(part.partition("[")[0] for part in name.split("/"))


class Spender:
    """Decides as a way says. `made` counts the attempts of each execution of a step, `most` is how many of them there
    may be, by step or by execution: the last one answers. After those in `ends` nothing is repeated in place; `hopeful`
    are those after which something should be, and which could be repaired instead."""

    def __init__(self, way: Way, most: Mapping[Any, float], ends: frozenset[Key]) -> None:
        self._way = way
        self._most = most
        self._ends = ends
        self.made: dict[Place, int] = {}
        self.keys: list[Key] = []
        self.hopeful: set[Key] = set()

    def decide(self, spot: Spot, run: Run) -> Outcome:
        """What this attempt comes to."""
        place = run.scope.step, run.scope.item
        self.made[place] = number = self.made.get(place, 0) + 1
        key = place, number
        self.keys.append(key)
        if number >= self._most.get(place, self._most.get(step_of(place[0]), 1)):
            return self._way.slowly(_answer(spot), key)
        last = key in self._ends or run.used + 1 >= _attempts(spot)
        if not last and _declares(spot):
            self.hopeful.add(key)
        return self._way.outcome(key, spot, last=last)


def _answer(spot: Spot) -> Outcome:
    """An answer that no cache keeps: it was cut."""
    said: Any = ANSWER if spot.step is None else plain_answer(spot.step)
    return Outcome("an answer", {"reply": said, "finish_reason": "length", "usage": _FREE})


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
