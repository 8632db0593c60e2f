"""The token bucket: pure state, no clock of its own."""

from __future__ import annotations

from typing import Final

from wizard_dsl.policies._line import Level, Taken

#: Floating-point dust: a token that is due at t must be there at t.
_DUST: Final = 1e-9


class Bucket:
    """Holds at most `burst` tokens and gains `rate` a second; one token a request. Full at the start.

    The level is never below 0 and never above `burst`.
    """

    __slots__ = ("_at", "_burst", "_level", "_rate", "_rule")

    def __init__(self, rate: float, burst: int, rule: str = "") -> None:
        self._rule = rule or f"{rate:g}/s"
        self._rate = rate
        self._burst = float(burst)
        self._level = float(burst)
        self._at: float | None = None

    def level(self, now: float) -> float:
        """Tokens at `now`."""
        at = self._at
        if at is None:
            self._at = now
        elif now > at:
            self._level = min(self._burst, self._level + (now - at) * self._rate)
            self._at = now
        return self._level

    def take(self, now: float, tokens: int = 0) -> Taken | None:
        """Take one token, if there is one. It counts requests: LLM tokens are none of its business."""
        level = self.level(now)
        if level < 1.0 - _DUST:
            return None
        self._level = max(0.0, level - 1.0)
        return Taken(now, tokens)

    def give(self, taken: Taken, now: float) -> None:
        """Put a token back."""
        self._level = min(self._burst, self.level(now) + 1.0)

    def settle(self, taken: Taken, used: int, now: float) -> None:
        """A request is a request, whatever it used."""

    def wait(self, now: float, place: int, ahead: int = 0, tokens: int = 0) -> float:
        """Seconds until the one at `place` (from 1) of a queue has its token."""
        return max(0.0, (place - self.level(now)) / self._rate)

    def levels(self, now: float) -> tuple[Level]:
        """What it holds."""
        return (Level("requests", self._rule, self._burst, self.level(now)),)
