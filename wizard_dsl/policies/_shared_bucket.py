"""A token bucket for many processes: tokens are booked ahead.

One decision gives a call its token, or the time at which it will be there: the level goes below zero by what is
booked, so calls pass in the order of their bookings, whoever waits, and nobody asks twice. A booking that is given
back raises the level again; nobody who waits moves up, and the bucket is never exceeded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from wizard_dsl.core.state import Arguments, Decision

#: As in _bucket: a token that is due at t must be there at t.
_DUST: Final = 1e-9
#: Seconds for which a full bucket is still remembered.
_KEEP: Final = 60.0


def decide(row: Any, now: float, arguments: Arguments) -> tuple[Any, Any, float]:
    """Book `amount` tokens (give back, where it is negative) if they are there within `patience` seconds; the reply
    is (granted, wait, level). `carry` is −1, or, at the return from an outage, what was booked in the meantime: then
    no burst is left."""
    rate, burst, amount = arguments["rate"], arguments["burst"], arguments["amount"]
    level, at = burst, now
    if row is not None:
        at = max(row[1], now)
        level = min(burst, row[0] + (at - row[1]) * rate)
    if arguments["carry"] >= 0:
        level = min(level, 0) - arguments["carry"]
    wait = max(0, (amount - level) / rate) if amount > 0 else 0
    granted = wait <= arguments["patience"] + _DUST
    if granted:
        level = min(burst, level - amount)
    return [level, at], [granted, wait, level], (burst - level) / rate + _KEEP


BOOK: Final = Decision("bucket", Path(__file__).parent / "lua" / "bucket.lua", decide)
