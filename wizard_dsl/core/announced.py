"""What a provider announces in headers: how long to wait, and what is left of its limits.

There are many ways to say the first: milliseconds come first, then `retry-after`, then the reset of the dimension that
is exhausted. What is not a number, not positive, above an hour or in the past is not believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from wizard_dsl.core.regex import regex

#: What a limit counts: calls, or LLM tokens.
Counted = Literal["requests", "tokens"]

#: Longer announcements are not believed, in seconds.
LIMIT = 3600.0
_NUMBER = regex(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_GO_PART = regex(r"([0-9]+(?:\.[0-9]*)?)(ns|us|µs|ms|s|m|h)")
_GO_UNIT = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_LIMIT_HEADER = regex(
    r"(?:x-)?ratelimit-(?P<key>limit|remaining|reset)(?:-(?P<what>.+))?"
    r"|anthropic-ratelimit-(?P<what2>.+)-(?P<key2>limit|remaining|reset)"
)
_REMAINING = regex(r"(.*ratelimit)-remaining(.*)|(anthropic-ratelimit-.*)-remaining()")


def believed(seconds: float | None) -> float | None:
    """`seconds` where it is positive and at most an hour."""
    return seconds if seconds is not None and 0 < seconds <= LIMIT else None


def announced(headers: Mapping[str, str], wall: float, *, limits: bool) -> float | None:
    """Seconds to wait as the headers say; with `limits`, the reset of an exhausted limit counts too.

    Header names are lower case. `wall` is our time, used where the answer has no date of its own.
    """
    now = _date(headers.get("date", "")) or wall
    for name, scale in (("retry-after-ms", 1e-3), ("x-ms-retry-after-ms", 1e-3), ("retry-after", 1.0)):
        found = believed(_seconds(headers.get(name, ""), scale, now))
        if found is not None:
            return found
    return _exhausted(headers, now) if limits else None


class Remaining(msgspec.Struct, frozen=True):
    """What is left of a provider's limit, `what` by its own name (`requests`, `input-tokens`, …): so many of `limit`,
    where that is told, until it resets in `reset` seconds. `counts` is None for what is neither all requests nor all
    tokens."""

    what: str
    counts: Counted | None
    remaining: int
    limit: int | None
    reset: float | None

    @property
    def used(self) -> float | None:
        """The used share; None where it is not known."""
        return None if not self.limit else max(0.0, 1 - self.remaining / self.limit)


def remaining(headers: Mapping[str, str], wall: float) -> list[Remaining]:
    """Every limit of which the headers say what remains. A reset that is not believed is None."""
    told: dict[str, dict[str, str]] = {}
    for name, value in headers.items():
        match = _LIMIT_HEADER.fullmatch(name)
        if match is not None:
            what = match["what"] or match["what2"] or "requests"
            told.setdefault(what, {})[match["key"] or match["key2"]] = value.strip()
    now = _date(headers.get("date", "")) or wall
    return [
        Remaining(
            what,
            _counts(what),
            int(float(each["remaining"])),
            int(float(each["limit"])) if _NUMBER.fullmatch(each.get("limit", "")) else None,
            believed(reset_in(each.get("reset", ""), now)),
        )
        for what, each in told.items()
        if _NUMBER.fullmatch(each.get("remaining", ""))
    ]


def _counts(what: str) -> Counted | None:
    """`tokens`, also per span of time (`tokens-minute`); input and output tokens alone are another thing."""
    first = what.partition("-")[0]
    return "requests" if first == "requests" else "tokens" if first == "tokens" else None


def _seconds(text: str, scale: float, now: float) -> float | None:
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text) * scale
    at = _date(text) if scale == 1.0 else None
    return at - now if at is not None else None


def _exhausted(headers: Mapping[str, str], now: float) -> float | None:
    """The longest reset among the limits of which nothing remains."""
    waits = []
    for name, value in headers.items():
        match = _REMAINING.fullmatch(name)
        if match is None or not _NUMBER.fullmatch(value.strip()) or float(value) > 0:
            continue
        reset = f"{match[3]}-reset" if match[3] else f"{match[1]}-reset{match[2]}"
        wait = believed(reset_in(headers.get(reset, ""), now))
        if wait is not None:
            waits.append(wait)
    return max(waits, default=None)


def reset_in(text: str, now: float) -> float | None:
    """Seconds until a reset written as `1m30s`, `6ms`, seconds, epoch (also in milliseconds) or RFC 3339."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        number = float(text)
        if number >= 1e11:
            number /= 1000
        return number - now if number >= 1e8 else number
    if text and not _GO_PART.sub("", text):
        return sum(float(count) * _GO_UNIT[unit] for count, unit in _GO_PART.findall(text))
    at = _date(text)
    return at - now if at is not None else None


def _date(text: str) -> float | None:
    """Epoch seconds of an HTTP date or an RFC 3339 one; None of anything else."""
    if not text:
        return None
    from email.utils import parsedate_to_datetime  # imports sockets, which only a running program needs

    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            at = parse(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    return None
