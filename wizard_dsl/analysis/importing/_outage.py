"""Who fails in the outage that shows a difference."""

from __future__ import annotations

from collections.abc import Sequence

#: Of the attempts on a target that has nobody beside it.
_ALONE = 0.6


def outage(tiers: Sequence[Sequence[str]]) -> tuple[list[str], float]:
    """The targets that fail, and for which share of their attempts: all that are tried first, where others come after
    them; else the first of several; else the only one, now and then."""
    if len(tiers) > 1:
        return list(tiers[0]), 1.0
    return [tiers[0][0]], 1.0 if len(tiers[0]) > 1 else _ALONE
