"""What every walk over the targets of a chain may do in a run, and what a race adds."""

from __future__ import annotations

from typing import Any, Final

from wizard_dsl.core.errors import TABLE
from wizard_dsl.core.events import (
    DeadlineCut,
    FallbackTriggered,
    LossAccepted,
    OutageProbed,
    PrimaryRecovered,
    RateLimitWaited,
    StepEnded,
)
from wizard_dsl.core.outcomes import OutcomeType, Site, outcome, told

#: How a call may end that is no failure of a target.
_NOT_FAILED: Final = frozenset({"ok", "skipped", "cancelled", "deadline", "circuit_open", "safety", "input", "spec"})


def _has_choice(site: Site) -> bool:
    return site.has_choice


def _stays(event: Any, site: Site) -> bool:
    """Whether a failure is of a kind that does not move on to the next target."""
    said = site.fallback_on.get(event.kind)
    row = TABLE.get(event.kind)
    if event.kind in _NOT_FAILED or row is None:
        return False
    return row.fallback == "no" if said is None else not said


#: Who answers, where the order of the file is kept.
IN_ORDER: Final[tuple[OutcomeType, ...]] = (
    outcome("primary", "the first target answered", told(StepEnded, "chain", kind="ok", position=0)),
    outcome(
        "fallback",
        "another target answered",
        told(StepEnded, "chain", kind="ok", when=lambda event, site: bool(event.position)),
        possible=_has_choice,
    ),
)

#: Who answers, where the strategy chooses.
CHOSEN: Final[tuple[OutcomeType, ...]] = (
    outcome(
        "answered",
        "a target answered",
        told(StepEnded, "chain", kind="ok", when=lambda event, site: event.position is not None),
    ),
    outcome("moved_on", "a target failed, and another was asked", told(FallbackTriggered), possible=_has_choice),
)

WALK: Final[tuple[OutcomeType, ...]] = (
    outcome(
        "failed",
        "no target answered: the call failed",
        told(StepEnded, "chain", when=lambda event, site: event.kind not in _NOT_FAILED),
    ),
    outcome(
        "stopped",
        "the call failed with an error that does not move on",
        told(StepEnded, "chain", when=_stays),
        possible=_has_choice,
    ),
    outcome("closed", "no target could be called now", told(StepEnded, "chain", kind="circuit_open")),
    outcome("waited", "no other target was left: a blocked one was waited for", told(RateLimitWaited)),
    outcome("no_time", "a target or a wait did not fit the deadline", told(DeadlineCut)),
    outcome(
        "without",
        "a target was used that lacks something, which `allow_loss` allows",
        told(LossAccepted),
        possible=lambda site: bool(site.allow_loss),
    ),
    outcome("recovered", "the first target answered again", told(PrimaryRecovered), possible=_has_choice),
    outcome(
        "probed",
        "all breakers were open, and a target was asked all the same",
        told(OutageProbed),
        possible=lambda site: site.when_all_open == "probe_first" and "circuit_breaker" in site.kinds,
    ),
)
