"""What is looked at from outside, without changing it."""

from __future__ import annotations

from typing import Literal

import msgspec


class LimitFigures(msgspec.Struct, frozen=True):
    """One limit, now: `name` is that of its policy (`rate_limit`, `admission.global`, …), `of` whose calls it limits,
    and `rule` how a file writes it.

    `available` of `capacity` requests, LLM tokens or places could be taken at once; below zero where calls used more
    tokens than they had reserved. `waiting` calls stand in line. `retry_after` is how many seconds a small call that
    comes now would wait at least: 0 where it would pass, None where only the end of another call can tell.
    """

    name: str
    of: str
    counts: Literal["requests", "tokens", "places"]
    rule: str
    capacity: float
    available: float
    waiting: int
    retry_after: float | None
