"""What a failure of one target does to its chain: whether the next target may be tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from wizard_dsl.core.errors import Unsupported, WindowTooSmall, WizardError
from wizard_dsl.core.kinds import override
from wizard_dsl.core.target import RateLimitRule

#: Kinds whose rule, wherever it applies, lets the next target be tried.
_BY_RULE: Final = frozenset({"budget", "context_length", "contract", "mid_stream"})


def moves_on(error: WizardError, fallback_on: Mapping[str, bool], rate_limit: RateLimitRule) -> bool:
    """Whether the next target may be tried after `error`: what the chain says of it, else the error table."""
    asked = override(error, fallback_on) if fallback_on else None
    if asked is not None:
        return asked
    if isinstance(error, (Unsupported, WindowTooSmall)):
        return True
    match error.row.fallback:
        case "yes":
            return True
        case "rule" if error.kind == "rate_limited":
            return rate_limit.then == "fallback"
        case "rule":
            return error.kind in _BY_RULE
    return False
