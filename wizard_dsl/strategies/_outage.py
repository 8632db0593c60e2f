"""What an outage looks like from a chain: who is out, and whom to probe when all are. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final

from wizard_dsl.core.errors import Unsupported, WindowTooSmall, WizardError
from wizard_dsl.core.events import PrimaryRecovered
from wizard_dsl.core.run import Failure
from wizard_dsl.core.target import Branch, Primary, Target

#: Besides failures in the breaker's sense: what says that the target, not the request, is at fault.
_OUT: Final = frozenset({"rate_limited", "quota_exhausted", "circuit_open", "auth", "not_found"})


def is_out(error: WizardError) -> bool:
    """Whether `error` speaks of the target, and not of this one request."""
    return error.kind in _OUT or error.row.verdict == "failure"


def note(
    primary: Primary, target: Target, failures: Sequence[Failure], now: float, path: str
) -> PrimaryRecovered | None:
    """`target` answers after `failures`: note whether the first one is out, and tell, once, that it is back."""
    if target.position == 0:
        away = primary.answered(now)
        return None if away is None else PrimaryRecovered(path=path, target=target.name, away=away[0], calls=away[1])
    for each in failures:
        if each.position == 0 and is_out(each.error):
            primary.missed(now)
            break
    return None


def to_probe(branches: Sequence[Branch], failures: Sequence[Failure], now: float) -> Branch | None:
    """The first target in the order of this call that only a breaker keeps closed, where no target was called and none
    is closed for anything that time alone cures, such as a 429; None where there is none."""
    found = None
    for each in failures:
        if isinstance(each.error, (Unsupported, WindowTooSmall)):
            continue
        if each.called or each.error.kind != "circuit_open":
            return None
        if found is None and _only_by_a_breaker(branches[each.position].target, now):
            found = branches[each.position]
    return found


def _only_by_a_breaker(target: Target, now: float) -> bool:
    """One that was opened, or a target that was switched off, by hand is closed for ever, and not probed."""
    blocked = target.state.blocked
    return target.closed_for(now) != inf and (blocked is None or blocked.until <= now)
