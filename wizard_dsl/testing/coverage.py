"""Policy coverage: which outcomes of a file's policies some test made happen, and which nobody has seen.

    possible(program)            what can happen in it: each node with its possible outcomes
    exercised(program, events)   what did, in the runs that left these events
    Observer                     both, for many runs; what it says can be sent between processes
    measure(observed)            all of it together: by file, by node, with the tests that covered what

Covered is what happened, told by the events of a run: a retry that is configured and never repeated anything is not.
Nodes that share one state (a breaker of a target that two chains use) are one node, named by its first place; the
limits of `budgets` are one, too. What a step of another file did belongs to that file, and does not count here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from math import floor
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from wizard_dsl.compiler.outcomes import sites
from wizard_dsl.core.events import StepEnded, StepStarted
from wizard_dsl.providers._instances import instance

if TYPE_CHECKING:
    from wizard_dsl.compiler.outcomes import Declared
    from wizard_dsl.compiler.program import Program, StepPlan
    from wizard_dsl.core.events import Event
    from wizard_dsl.core.outcomes import OutcomeType, Sign, Site
    from wizard_dsl.testing.cases import Case
    from wizard_dsl.testing.playing import Played

#: An entry of a transcript: seconds since the run began, the place that speaks, the event.
Entry = tuple[float, str, "Event"]


class Possible(msgspec.Struct, frozen=True):
    """One outcome that a node can have. `path` is the node's, `component` its kind. Of a node around a target, `target`
    is its name, `before` those of the targets that are asked before it; `followed` says whether others come after,
    `races` whether they may be asked at the same time, and `cached` whether equal calls of the chain share an answer.
    `answer` is what a script may reply to the step that it is about, `earlier` what it replies to the steps that ask
    the same chain before; None is any text.
    """

    path: str
    name: str
    summary: str
    target: str = ""
    component: str = ""
    strategy: bool = False
    before: tuple[str, ...] = ()
    followed: bool = False
    races: bool = False
    cached: bool = False
    answer: Any = None
    earlier: tuple[Any, ...] = ()


#: Strategies that ask several targets at once.
_RACES: Final = frozenset({"hedged", "parallel"})


class _Seen(NamedTuple):
    """An event, and the step that it is about; empty for the run as a whole."""

    step: str
    event: Event


def possible(program: Program) -> tuple[Possible, ...]:
    """Every outcome that can happen in a program, in the order of its chains and steps."""
    return _possible(program, sites(program))


def exercised(program: Program, events: Iterable[Entry]) -> frozenset[tuple[str, str]]:
    """The outcomes that happened, as pairs of a node's path and a name. `events` are those of one run or of several."""
    return _exercised(sites(program), events)


class Observed(msgspec.Struct, frozen=True):
    """What the runs of one test say of one file."""

    file: str
    test: str
    possible: tuple[Possible, ...]
    exercised: frozenset[tuple[str, str]]


class Observer:
    """Looks at the runs of programs, as `try_case` wants it of an observer; each program is walked over once."""

    #: Programs that are remembered; of `--watch`, each save makes a new one.
    _MOST = 64

    def __init__(self) -> None:
        self._known: dict[int, tuple[Program, tuple[Declared, ...], tuple[Possible, ...]]] = {}

    def __call__(self, case: Case, played: Played) -> Observed:
        """What a sample of a case did, in its runs and behind them."""
        events = [entry for ran in played.runs for entry in ran.transcript.events]
        events += [(0.0, place, event) for place, event in played.behind]
        return self.see(played.program, case.name, events)

    def see(self, program: Program, test: str, events: Iterable[Entry]) -> Observed:
        """What the runs of `test` that left `events` made happen in `program`."""
        if id(program) not in self._known:
            if len(self._known) >= self._MOST:
                self._known.clear()
            found = sites(program)
            self._known[id(program)] = program, found, _possible(program, found)
        _, found, outcomes = self._known[id(program)]
        return Observed(program.file, test, outcomes, _exercised(found, events))


@cache
def _observer() -> Observer:
    """That of this process."""
    return Observer()


def observe(case: Case, played: Played) -> Observed:
    """What looks at each sample where cases are tried in several processes, see suites.How."""
    return _observer()(case, played)


def _possible(program: Program, found: Sequence[Declared]) -> tuple[Possible, ...]:
    replies = _Replies(program)
    outcomes: dict[tuple[str, str], Possible] = {}
    for each in found:
        for kind in each.outcomes:
            if kind.possible(each.site):
                outcomes.setdefault((each.path, kind.name), replies.beside(_named(each, kind), each.site))
    return tuple(outcomes.values())


class _Replies:
    """What the steps of a program may be answered: of a schema, an instance."""

    def __init__(self, program: Program) -> None:
        self._of_chain: dict[str, list[Any]] = {}
        self._of_step: dict[str, tuple[Any, ...]] = {}
        for step in program.steps:
            if step.chain is not None:
                replies = self._of_chain.setdefault(step.chain, [])
                replies.append(_reply(step))
                self._of_step[step.name] = tuple(replies)

    def beside(self, outcome: Possible, site: Site) -> Possible:
        """The outcome with what the step is answered that it is about: its own, else the first that asks its chain."""
        replies = self._of_step.get(site.step) or (*self._of_chain.get(site.chain, ())[:1],)
        return msgspec.structs.replace(outcome, answer=replies[-1], earlier=replies[:-1]) if replies else outcome


def _reply(step: StepPlan) -> Any:
    """As the items of a script have it, where a text stands for itself."""
    schema = getattr(getattr(step.config, "output", None), "schema", None)
    if schema is None:
        return None
    value = instance(schema, "answer")
    return json.dumps(value) if value is None or isinstance(value, str) else value


def _named(declared: Declared, kind: OutcomeType) -> Possible:
    site = declared.site
    place = site.targets.index(site.target) if site.target else 0
    return Possible(
        path=declared.path,
        name=kind.name,
        summary=kind.summary,
        target=site.target,
        component=declared.component,
        strategy=declared.strategy,
        before=site.targets[:place],
        followed=place + 1 < len(site.targets),
        races=not site.kinds.isdisjoint(_RACES),
        cached="cache" in site.kinds,
    )


def _exercised(found: Sequence[Declared], events: Iterable[Entry]) -> frozenset[tuple[str, str]]:
    told: dict[type[Event], list[_Seen]] = {}
    for _, place, event in events:
        step = _own_step(place, event)
        if step is not None:
            told.setdefault(type(event), []).append(_Seen(step, event))
    return frozenset(_happened(found, told))


def _happened(declared: Sequence[Declared], told: dict[type[Event], list[_Seen]]) -> Iterator[tuple[str, str]]:
    for each in declared:
        for kind in each.outcomes:
            if any(_is_told(sign, each.site, told.get(sign.event, ())) for sign in kind.signs) and kind.possible(
                each.site
            ):
                yield each.path, kind.name


def _own_step(place: str, event: Event) -> str | None:
    """The step of this file that an event is about; None where it is of another file, which a step runs."""
    if "/" in place:
        return None
    if isinstance(event, StepStarted | StepEnded):
        return event.step if not place else None
    return place.partition("[")[0]


def _is_told(sign: Sign, site: Site, seen: Iterable[_Seen]) -> bool:
    return any(_is_about(sign, site, step, event) and sign.when(event, site) for step, event in seen)


def _is_about(sign: Sign, site: Site, step: str, event: Event) -> bool:
    if sign.about == "node":
        return event.path == site.path
    if sign.about == "step":
        return step == site.step
    chain = f"chains.{site.chain}"
    if isinstance(event, StepEnded):
        return event.chain == site.chain
    if sign.about == "chain":
        return event.path.startswith(f"{chain}.")
    return _below(event.path, site.target_path) or (
        event.path.startswith(f"{chain}.") and getattr(event, "target", None) == site.target
    )


def _below(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}.")


# -- all of it together -------------------------------------------------------------------------------


class Measured(msgspec.Struct, frozen=True):
    """One outcome of a node, and the tests that made it happen, in the order they ran."""

    kind: Possible
    tests: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.kind.name

    @property
    def summary(self) -> str:
        return self.kind.summary


class NodeCoverage(msgspec.Struct, frozen=True):
    """A node, and what can happen in it. `target` is the target it stands around, if any."""

    path: str
    target: str
    outcomes: tuple[Measured, ...]

    @property
    def missing(self) -> tuple[Measured, ...]:
        """What no test made happen."""
        return tuple(each for each in self.outcomes if not each.tests)


class FileCoverage(msgspec.Struct, frozen=True):
    """A pipeline file."""

    file: str
    nodes: tuple[NodeCoverage, ...]

    @property
    def share(self) -> Share:
        return Share(
            sum(len(node.outcomes) - len(node.missing) for node in self.nodes),
            sum(len(node.outcomes) for node in self.nodes),
        )


class Share(NamedTuple):
    """So many of so many."""

    covered: int
    possible: int

    @property
    def ratio(self) -> float:
        """From 0 to 1; of nothing, all is covered."""
        return self.covered / self.possible if self.possible else 1.0

    def __str__(self) -> str:
        """`41 of 48 outcomes (85.4%)`; rounded down, so that 100% means all."""
        return f"{self.covered} of {self.possible} outcomes ({floor(self.ratio * 1000) / 10:g}%)"


def measure(observed: Iterable[Observed]) -> tuple[FileCoverage, ...]:
    """The coverage of each file, in order of its first test. An outcome that some test's program can have counts, be it
    that an overlay or a setting of that test made it possible."""
    files: dict[str, dict[tuple[str, str], _Row]] = {}
    for each in observed:
        outcomes = files.setdefault(each.file, {})
        for kind in each.possible:
            row = outcomes.setdefault((kind.path, kind.name), _Row(kind, {}))
            if (kind.path, kind.name) in each.exercised:
                row.tests[each.test] = None
    return tuple(FileCoverage(file, _nodes(outcomes.values())) for file, outcomes in files.items())


class _Row(NamedTuple):
    """An outcome, and the tests that made it happen, as keys."""

    kind: Possible
    tests: dict[str, None]


def _nodes(rows: Iterable[_Row]) -> tuple[NodeCoverage, ...]:
    nodes: dict[str, tuple[str, list[Measured]]] = {}
    for kind, tests in rows:
        _, own = nodes.setdefault(kind.path, (kind.target, []))
        own.append(Measured(kind, tuple(tests)))
    return tuple(NodeCoverage(path, target, tuple(own)) for path, (target, own) in nodes.items())


def total(files: Iterable[FileCoverage]) -> Share:
    """The share of all files together."""
    shares = [each.share for each in files]
    return Share(sum(each.covered for each in shares), sum(each.possible for each in shares))
