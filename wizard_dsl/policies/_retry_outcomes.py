"""What retry may do in a run."""

from __future__ import annotations

from typing import Any, Final

from wizard_dsl.core.errors import TABLE
from wizard_dsl.core.events import AttemptEnded, RetriesEnded, RetryScheduled
from wizard_dsl.core.outcomes import OutcomeType, Site, outcome, told

#: Kinds of which the error table does not say whether they are repeated: retry does, within its rules.
_BY_RULE: Final = ("rate_limited", "mid_stream")


def _repeats(site: Site) -> bool:
    return bool(site.config.max_attempts > 1)


def _not_repeated(event: Any, site: Site) -> bool:
    """Whether a failure is none that may be repeated; a status says more than a kind."""
    if event.kind in {"ok", "cancelled", "deadline", *_BY_RULE}:
        return False
    said = site.config.retry_on.get(str(event.status), site.config.retry_on.get(event.kind))
    return not (TABLE[event.kind].retry == "yes" if said is None else said)


def _waits(site: Site) -> bool:
    return _repeats(site) and site.rate_limit is not None and site.rate_limit.wait_up_to > 0


OUTCOMES: Final[tuple[OutcomeType, ...]] = (
    outcome("first_try", "the first attempt answered", told(AttemptEnded, "target", kind="ok", repeat=False)),
    outcome(
        "after_retry",
        "a repeat answered",
        told(AttemptEnded, "target", kind="ok", repeat=True),
        possible=_repeats,
    ),
    outcome(
        "not_repeated",
        "the failure was of a kind that is not repeated",
        told(AttemptEnded, "target", when=_not_repeated),
    ),
    outcome("gave_up", "no attempts were left", told(RetriesEnded, reason="attempts")),
    outcome(
        "waited",
        "a 429 was waited for, and the attempt repeated",
        told(RetryScheduled, kind="rate_limited"),
        possible=_waits,
    ),
    outcome(
        "too_long",
        "the provider asked to wait longer than is waited for in place",
        told(RetriesEnded, reason="rate_limit"),
        possible=_repeats,
    ),
    outcome(
        "deadline",
        "no repeat: it did not fit the deadline",
        told(RetriesEnded, reason="deadline"),
        possible=_repeats,
    ),
    outcome(
        "breaker_opened",
        "no repeat: the breaker had opened",
        told(RetriesEnded, reason="breaker_opened"),
        possible=lambda site: _repeats(site) and "circuit_breaker" in site.kinds,
    ),
    outcome(
        "budget_exhausted",
        "no repeat: the retry budget was used up",
        told(RetriesEnded, reason="retry_budget_exhausted"),
        possible=lambda site: _repeats(site) and "retry_budget" in site.kinds,
    ),
    outcome(
        "unpaid",
        "no repeat: nothing was left to spend on it",
        told(RetriesEnded, reason="budget"),
        possible=lambda site: _repeats(site) and "budget" in site.kinds,
    ),
    outcome(
        "unwanted",
        "no repeat: `when` said no",
        told(RetriesEnded, reason="when"),
        possible=lambda site: _repeats(site) and site.config.when is not None,
    ),
)
