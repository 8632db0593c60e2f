"""What leaves a chain when no target answered."""

from __future__ import annotations

from collections.abc import Sequence

from wizard_dsl.core.errors import (
    AllFallbacksFailed,
    BudgetExceeded,
    CircuitOpen,
    TargetBlocked,
    Unsupported,
    WindowTooSmall,
    WizardError,
    root,
)
from wizard_dsl.core.run import Failure

#: Of several refusals, the one that says most: what time cures comes before what only a change cures.
_WORTH = (TargetBlocked, CircuitOpen)


def leaving(failures: Sequence[Failure], where: str) -> WizardError:
    """The error of a chain: of one target called, its own; of several, all of them; where none was called, or what
    was left could not be paid, why."""
    called = [each.error for each in failures if each.called]
    if called and (unpaid := refused_money(failures[-1].error)) is not None:
        unpaid.__cause__ = root(called[-1])
        return unpaid
    if len(called) == 1:
        error: WizardError = called[0]
        return error
    if called:
        return AllFallbacksFailed([each.error for each in failures], called[-1], where=where)
    return _refusal([each.error for each in failures], where)


def refused_money(last: WizardError) -> BudgetExceeded | None:
    """Why the last move of a call, a first attempt or a repeat, could not be paid; None where money was no reason."""
    if isinstance(last, BudgetExceeded):
        return last
    unpaid, last.unpaid = last.unpaid, None
    return unpaid


def _refusal(errors: Sequence[WizardError], where: str) -> WizardError:
    """All were skipped: rate_limited if any block came from a 429, else circuit_open, with the smallest time."""
    if len(errors) == 1:
        return errors[0]
    after = min((each.retry_after for each in errors if each.retry_after is not None), default=None)
    reasons = "; ".join(each.message for each in errors)
    for kind in _WORTH:
        if any(isinstance(each, kind) for each in errors):
            return kind(f"no target can be called now: {reasons}", where=where, retry_after=after)
    if all(isinstance(each, WindowTooSmall) for each in errors):
        return WindowTooSmall(f"the prompt fits no target: {reasons}", where=where)
    if all(isinstance(each, (Unsupported, WindowTooSmall)) for each in errors):
        lost = dict.fromkeys(lost for each in errors if isinstance(each, Unsupported) for lost in each.lost)
        return Unsupported(f"no target can do what is asked: {reasons}", lost=tuple(lost), where=where)
    error = next(each for each in errors if not isinstance(each, (Unsupported, WindowTooSmall)))
    error.retry_after = after
    return error
