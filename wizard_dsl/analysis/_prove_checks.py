"""What must hold after every sequence: the invariants that every file has, and those that it states."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wizard_dsl.analysis._prove_play import Seen, Stage, Start
from wizard_dsl.core.errors import StepFailed
from wizard_dsl.observe.facts import facts
from wizard_dsl.prompts.template import bind
from wizard_dsl.spec.diagnostics import show_value

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import ChainPlan
    from wizard_dsl.core.figures import LimitFigures
    from wizard_dsl.core.result import AttemptRow, ErrorRow, Result, StepRow

#: Rounding of times, in seconds.
_DUST: Final = 1e-3
_FULL: Final = 1e-6


class Broken(msgspec.Struct, frozen=True):
    """An invariant that does not hold, and how that shows. `expected` is an expression that a test can ask for."""

    name: str
    sentence: str
    expected: str = ""


#: Attempts after which there is nothing to wait for but a turn: that may end with the deadline.
_NO_FAULT: Final = frozenset({"ok", "cancelled"})
#: Strategies that ask several targets at once: what begins on the same instant is none that follows.
_RACES: Final = frozenset({"hedged", "parallel"})

#: Each built-in invariant, by the name it has in a report.
BUILT_IN: Final[Mapping[str, str]] = {
    "ends_by_deadline": "a run ends by its deadline, with an answer or an error kind",
    "no_sleep_past_deadline": "no wait is begun that the deadline ends",
    "attempts_within_plan": "a run makes no more attempts than `wizard plan` says",
    "no_hidden_auth": "an auth error is never hidden by another target, unless the file asks for it",
    "no_call_while_open": "no target is called while its breaker is open",
    "all_given_back": "places, leases, tokens and money that were reserved are given back",
    "cancel_stops_all": "a cancelled run ends at once, and leaves nothing running",
}


class Checks:
    """The invariants of one stage. `most` is how many attempts the plan of the file allows, where that has a bound."""

    def __init__(self, stage: Stage, most: float | None) -> None:
        self._stage = stage
        self._most = most
        self.names = (*BUILT_IN, *stage.program.invariants)

    def broken(self, start: Start, seen: Seen) -> list[Broken]:
        """All that does not hold after this sequence."""
        return [*self._built_in(seen), *self._stated(start, seen)]

    # -- those that every file has ----------------------------------------------------------------------

    def _built_in(self, seen: Seen) -> Iterator[Broken]:
        if seen.bug:
            yield Broken("ends_by_deadline", f"the run does not end as a run ends: {seen.bug}")
            return
        assert seen.result is not None
        yield from self._deadline(seen.result)
        yield from self._attempts(seen.result)
        yield from self._auth(seen.result)
        if seen.open_calls:
            yield Broken("no_call_while_open", f"{seen.open_calls[0]} was called while its breaker was open")
        yield from self._held(seen)
        yield from self._cancelled(seen)

    def _deadline(self, result: Result) -> Iterator[Broken]:
        limit = self._stage.classes.deadline
        if result.elapsed > limit + _DUST:
            told = f"the run lasted {result.elapsed:g} s, and its deadline is {limit:g} s"
            yield Broken("ends_by_deadline", told, f"elapsed <= {limit:g}")
        error = result.error
        if error is None or error.kind != "deadline" or result.elapsed < limit - _DUST:
            return
        for name, step in result.steps.items():
            last = next((rows[-1] for rows in _ended_by_the_deadline(step)), None)
            if last is not None and last.kind not in _NO_FAULT and _ended(last) < limit - _DUST:
                told = (
                    f"the deadline ended a wait of step {name}: its last attempt, which came to {last.kind}, was over "
                    f"after {_ended(last):g} s of {limit:g} s"
                )
                yield Broken("no_sleep_past_deadline", told, "not error or error.kind != 'deadline'")

    def _attempts(self, result: Result) -> Iterator[Broken]:
        made = len(result.attempts)
        if self._most is not None and made > self._most + _FULL:
            told = f"the run made {made} attempts, and its plan says {self._most:g} at most"
            yield Broken("attempts_within_plan", told, f"attempts | length <= {self._most:g}")

    def _auth(self, result: Result) -> Iterator[Broken]:
        for index, row in enumerate(result.attempts):
            chains = self._chains(row.step)
            if row.kind == "auth" and not _asked_for(row, chains):
                least = _DUST if any(chain.strategy.name in _RACES for chain in chains) else -_FULL
                after = result.attempts[index + 1 :]
                later = next((each for each in after if _follows(each, row, least)), None)
                if later is not None:
                    told = (
                        f"{row.target} refused the key, and {later.target} was asked instead: nobody learns that the "
                        "key is dead"
                    )
                    hidden = "not (attempts | selectattr('kind', 'eq', 'auth') | list and served_by)"
                    yield Broken("no_hidden_auth", told, hidden)
                    return

    def _chains(self, name: str) -> list[ChainPlan]:
        """The chain that a step of the ledger asks, of whichever file."""
        step = self._stage.step_of(name)
        return [chain for chain in self._stage.all_chains if step is not None and chain.name == step.chain]

    def _held(self, seen: Seen) -> Iterator[Broken]:
        told = next(filter(None, (_kept(each, behind=seen.tasks > 0) for each in seen.limits)), "")
        taken = max(seen.tokens.values(), default=0.0)
        if not told and taken > seen.attempts + _DUST:
            told = f"{taken:g} tokens of a rate_limit are taken, for {seen.attempts} attempts"
        if not told and seen.leases:
            told = f"{seen.leases} lease of a half-open breaker is held" if seen.leases == 1 else "leases are held"
        if not told and seen.reserved:
            told = f"${seen.reserved / 1e9:.6f} of the run's budget is reserved"
        if told:
            yield Broken("all_given_back", f"after the run has ended, {told}")

    def _cancelled(self, seen: Seen) -> Iterator[Broken]:
        if seen.cancelled is None or seen.result is None:
            return
        at, told = seen.cancelled, ""
        later = [row for row in seen.result.attempts if row.started > at + _DUST / 2]
        if later:
            told = f"{later[0].target} was called {later[0].started - at:g} s after the caller had gone"
        elif seen.lasted > _DUST:
            told = f"the run went on for {seen.lasted:g} s after the caller had gone"
        elif seen.result.error is None or seen.result.error.kind != "cancelled":
            kind = "an answer" if seen.result.error is None else seen.result.error.kind
            told = f"the caller had gone, and the run ended with {kind} instead of cancelled"
        elif seen.tasks:
            told = f"{seen.tasks} task runs on" if seen.tasks == 1 else f"{seen.tasks} tasks run on"
        if told:
            yield Broken("cancel_stops_all", told, "error.kind == 'cancelled'")

    # -- those that the file states ---------------------------------------------------------------------

    def _stated(self, start: Start, seen: Seen) -> Iterator[Broken]:
        invariants = self._stage.program.invariants
        if not invariants or seen.result is None:
            return
        scope = bind({**self._values(start), **facts(seen.result, seen.breakers)})
        for name, expression in invariants.items():
            text = " ".join(expression.source.split())
            try:
                value = expression.evaluate(scope)
            except StepFailed as error:
                yield Broken(name, f"it has no value here: {error.message}", text)
                continue
            if not value:
                yield Broken(name, f"{text} is {show_value(value)}", text)

    def _values(self, start: Start) -> dict[str, Any]:
        return self._stage.inputs.check(start.inputs)


def _ended_by_the_deadline(step: StepRow) -> Iterator[list[AttemptRow]]:
    """The attempts of each execution of a step that the deadline ended after some attempt."""
    if step.items is None:
        errors: dict[int | None, ErrorRow | None] = {None: step.error}
    else:
        errors = {index: item.error for index, item in enumerate(step.items)}
    for item, error in errors.items():
        rows = [row for row in step.attempts if row.item == item]
        if rows and error is not None and error.kind == "deadline":
            yield sorted(rows, key=_ended)


def _ended(row: AttemptRow) -> float:
    return row.started + row.elapsed


def _asked_for(row: AttemptRow, chains: Iterable[ChainPlan]) -> bool:
    """Whether the file says that a refused key moves on."""
    return any(each.fallback_on.get(str(row.status), each.fallback_on.get("auth", False)) for each in chains)


def _follows(later: AttemptRow, row: AttemptRow, least: float) -> bool:
    """Whether `later` is another target's attempt of the same call, begun at `least` that long after `row` had
    ended."""
    same = later.step == row.step and later.item == row.item
    return same and later.target != row.target and later.started - _ended(row) >= least


def _kept(limit: LimitFigures, *, behind: bool) -> str:
    """What of a limit is not given back, in words; empty where nothing is kept. With `behind`, something is still under
    way in the background, such as a refresh of the cache, and may well wait."""
    taken = limit.capacity - limit.available
    if limit.waiting and not behind:
        return f"somebody waits for {limit.name} of {limit.of}"
    if limit.counts == "places" and taken > _FULL:
        return f"{taken:g} of {limit.capacity:g} places of {limit.name} ({limit.of}) are held"
    return ""
