"""The limits of a runtime, as they are looked at from outside."""

from __future__ import annotations

from wizard_dsl.core.figures import LimitFigures
from wizard_dsl.runtime.services import SharedState

#: Kinds of shared state that hold one line a key, in the order of the ladder.
_LINES = ("admission", "rate_limit", "concurrency")


def figures(shared: SharedState, now: float) -> list[LimitFigures]:
    """Every limit at `now`; those of sessions come last, then the limits of plug-ins: what they share under a kind of
    theirs, and has a method `figures(now)`."""
    lines = [line for kind in _LINES for line in shared.of(kind).values()]
    sessions = (line for each in shared.of("admission_sessions").values() for line in each)
    foreign = (each for each in shared.of_plugins() if hasattr(each, "figures"))
    return [each for line in (*lines, *sessions, *foreign) for each in line.figures(now)]
