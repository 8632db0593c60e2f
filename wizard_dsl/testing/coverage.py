"""Policy coverage: which outcomes of a file's policies some test made happen, and which nobody has seen.

    nodes(program)               what can happen in it: each node with its possible outcomes
    exercised(program, events)   what did, in the runs that left these events
    Coverage                     both, over many runs of many files

Covered is what happened, told by the events of a run: a retry that is configured and never repeated anything is not.
Nodes that share one state (a breaker of a target that two chains use) are one node, named by its first place; the
limits of `budgets` are one, too. What a step of another file did belongs to that file, and does not count here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from wizard_dsl.compiler.outcomes import sites
from wizard_dsl.core.events import StepEnded, StepStarted

if TYPE_CHECKING:
    from wizard_dsl.compiler.outcomes import Declared
    from wizard_dsl.compiler.program import Program
    from wizard_dsl.core.events import Event
    from wizard_dsl.core.outcomes import Sign, Site

#: An entry of a transcript: seconds since the run began, the place that speaks, the event.
Entry = tuple[float, str, "Event"]


class Possible(msgspec.Struct, frozen=True):
    """One outcome that a node can have. `path` is the node's."""

    path: str
    name: str
    summary: str
    target: str = ""


class _Seen(NamedTuple):
    """An event, and the step that it is about; empty for the run as a whole."""

    step: str
    event: Event


def possible(program: Program) -> tuple[Possible, ...]:
    """Every outcome that can happen in a program, in the order of its chains and steps."""
    found = {
        (each.path, kind.name): Possible(each.path, kind.name, kind.summary, each.site.target)
        for each in sites(program)
        for kind in each.outcomes
        if kind.possible(each.site)
    }
    return tuple(found.values())


def exercised(program: Program, events: Iterable[Entry]) -> frozenset[tuple[str, str]]:
    """The outcomes that happened, as pairs of a node's path and a name. `events` are those of one run or of several."""
    told: dict[type[Event], list[_Seen]] = {}
    for _, place, event in events:
        step = _own_step(place, event)
        if step is not None:
            told.setdefault(type(event), []).append(_Seen(step, event))
    return frozenset(_happened(sites(program), told))


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
