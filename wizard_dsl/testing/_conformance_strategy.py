"""What strategies keep to besides: which targets are entered, and what leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from wizard_dsl.core.errors import AllFallbacksFailed, CircuitOpen, WizardError
from wizard_dsl.core.response import Served
from wizard_dsl.core.run import Failure
from wizard_dsl.testing import virtual
from wizard_dsl.testing._conformance_case import Case, expect, same
from wizard_dsl.testing._conformance_stage import Commit, Stage, Trace

Play = Callable[[str], Sequence[Any]]


def choosing_cases(stage: Stage) -> Iterator[Case]:
    """The rules of choosing, on a stage of three targets without policies."""

    def case(rule: str, what: str, test: Callable[[], None]) -> Case:
        return Case(stage.component.name, rule, f"{stage.title}, {what}", test)

    for position, name in enumerate(stage.targets):
        yield case("excluded", f"but {name}", partial(_excluded, stage, {position}))
        yield case("excluded", f"all but {name}", partial(_excluded, stage, _others(stage, position)))
        yield case("only", name, partial(_only, stage, position, stage.forever()))
        yield case("only", f"{name}, 503", partial(_only, stage, position, stage.forever(status=503)))
        yield case("served", f"{name} answers", partial(_served, stage, {position}))
    yield case("served", "all answer", lambda: _served(stage, {*range(len(stage.targets))}))
    yield case("errors", "all fail", lambda: _errors(stage))
    for status in (400, 401):
        yield case("moving", f"all {status}", partial(_moving, stage, status))


class _Told:
    """What one call left: who answered, or how it failed."""

    def __init__(self, trace: Trace, served: Served | None, text: str, error: WizardError | None) -> None:
        self.trace, self.served, self.text, self.error = trace, served, text, error


def _ask(stage: Stage, play: Play, commit: Commit, **options: Any) -> _Told:
    async def main() -> _Told:
        trace = Trace()
        chain = stage.build(play, trace)
        try:
            response = await chain.handler(stage.request("hello"), chain.run(commit=commit, **options))
            completion = await response.read()
        except WizardError as error:
            return _Told(trace, None, "", error)
        return _Told(trace, response.served, completion.text, None)

    return virtual.run(main())


def _others(stage: Stage, position: int) -> set[int]:
    return {each for each in range(len(stage.targets)) if each != position}


def _excluded(stage: Stage, positions: set[int]) -> None:
    """Targets that were given up before, as a repair of the contract leaves them."""
    for commit in _COMMITS:
        names = stage.targets
        closed = [(each, names[each], CircuitOpen("closed before", where=names[each])) for each in sorted(positions)]
        failures = tuple(Failure(position, name, error, called=False) for position, name, error in closed)
        told = _ask(stage, stage.forever(), commit, failures=failures)
        entered = {*told.trace.entered}
        expect(not entered & positions, f"positions {sorted(positions)} were excluded, {sorted(entered)} entered")
        expect(told.error is None, f"the targets that are left answer, and it raised {told.error!r}")
        assert told.served is not None
        left_out = {failure.position for failure in told.served.failures}
        expect(positions <= left_out, f"`served.failures` names {sorted(left_out)}, {sorted(positions)} were given up")


_COMMITS: tuple[Commit, ...] = ("end", "content")


def _only(stage: Stage, position: int, play: Play) -> None:
    for commit in _COMMITS:
        told = _ask(stage, play, commit, only=position)
        same("the positions entered", {*told.trace.entered}, {position})
        if told.served is not None:
            same("served.position", told.served.position, position)
        else:
            failed = isinstance(told.error, AllFallbacksFailed)
            expect(not failed, "one target was asked, and the error speaks of several")


def _served(stage: Stage, answering: set[int]) -> None:
    names = stage.targets
    good = {names[each] for each in answering}

    def play(name: str) -> Sequence[Any]:
        return stage.forever(reply=f"this is {name}")(name) if name in good else stage.forever(status=503)(name)

    for commit in _COMMITS:
        told = _ask(stage, play, commit)
        expect(told.served is not None, f"{sorted(good)} would have answered, and it raised {told.error!r}")
        assert told.served is not None
        who = told.text.removeprefix("this is ")
        same("served.target", told.served.target, who)
        same("served.position", told.served.position, names.index(who))
        failed = [position for position, error in told.trace.steps if error is not None]
        booked = [each.position for each in told.served.failures]
        same("those of served.failures that failed", [each for each in booked if each in failed], failed)
        expect(names.index(who) not in booked, f"served.failures names {who}, which answered")


def _errors(stage: Stage) -> None:
    for commit in _COMMITS:
        told = _ask(stage, stage.forever(status=503), commit)
        expect(isinstance(told.error, AllFallbacksFailed), f"every target failed, and it raised {told.error!r}")
        assert isinstance(told.error, AllFallbacksFailed)
        failed = [stage.targets[position] for position, error in told.trace.steps if error is not None]
        same("the targets that were tried", sorted(failed), sorted(stage.targets))
        same("the errors, in order", [getattr(each, "where", "") for each in told.error.exceptions], failed)
        same("the kind", told.error.kind, "server")


def _moving(stage: Stage, status: int) -> None:
    for commit in _COMMITS:
        told = _ask(stage, stage.forever(status=status), commit)
        expect(told.error is not None, "every target refuses, and there is an answer")
        steps = told.trace.steps
        first = next(index for index, (_, error) in enumerate(steps) if error is not None)
        later = [stage.targets[position] for position, error in steps[first:] if error is None]
        expect(not later, f"after a {status}, which does not move on, it entered {later}")
