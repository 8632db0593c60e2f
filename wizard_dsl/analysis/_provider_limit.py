"""A provider's own rate limit: buckets that refill all the time, one for each rate. Pure: the time is an
argument."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from wizard_dsl.core.units import Rate, parse_duration, parse_rate

if TYPE_CHECKING:
    from wizard_dsl.analysis.scenario import ProviderLimit


class _Bucket:
    """Holds as much as its rate grants in a period, and is full at the start."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._level = rate.amount
        self._at = 0.0

    def level(self, now: float) -> float:
        self._level = min(self.rate.amount, self._level + (now - self._at) * self.rate.per_second)
        self._at = now
        return self._level

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` is there; more than the bucket holds waits for a full one."""
        missing = min(amount, self.rate.amount) - self.level(now)
        return max(0.0, missing / self.rate.per_second)

    def take(self, amount: float) -> None:
        self._level -= amount


class Granted:
    """One key's limit. `admit` takes a request with its tokens, or says how long there is no room."""

    def __init__(self, spec: ProviderLimit) -> None:
        self._buckets = [_Bucket(parse_rate(rate)) for rate in spec.rates]
        self._announce = spec.retry_after
        self._tells = spec.headers

    def admit(self, tokens: int, now: float) -> float | None:
        """None where the request is admitted, and taken from every bucket; else seconds until it would be."""
        wait = max(bucket.wait(_amount(bucket, tokens), now) for bucket in self._buckets)
        if wait > 1e-9:
            return wait
        for bucket in self._buckets:
            bucket.take(_amount(bucket, tokens))
        return None

    def headers(self, now: float, wait: float | None = None) -> dict[str, str]:
        """What an answer tells, or, with `wait`, a refusal."""
        told: dict[str, str] = {}
        if wait is not None and self._announce != "none":
            seconds = wait if self._announce == "exact" else parse_duration(self._announce)
            told["retry-after-ms"] = str(ceil(seconds * 1000))
        for bucket in self._buckets if self._tells else ():
            what = "tokens" if bucket.rate.tokens else "requests"
            level = bucket.level(now)
            reset = (bucket.rate.amount - level) / bucket.rate.per_second
            told[f"x-ratelimit-limit-{what}"] = f"{bucket.rate.amount:.0f}"
            told[f"x-ratelimit-remaining-{what}"] = str(max(0, int(level)))
            told[f"x-ratelimit-reset-{what}"] = f"{reset:.3f}s"
        return told


def _amount(bucket: _Bucket, tokens: int) -> float:
    return tokens if bucket.rate.tokens else 1.0
