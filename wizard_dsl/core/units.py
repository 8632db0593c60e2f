"""Quantities that carry their unit: durations, sizes, money, ratios and rates.

Each unit declares its pattern (for the JSON Schema), its parser and its printer once. Patterns are ASCII and
anchored; a bare number is refused where a unit is needed. Parsers raise ValueError with a sentence for people.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import msgspec

from wizard_dsl.core.regex import regex


class Unit(msgspec.Struct, frozen=True):
    """One kind of quantity. `parse(text)` and `show(value)` are inverse up to spelling."""

    name: str
    pattern: str
    example: str
    parse: Callable[[str], Any]
    show: Callable[[Any], str]


_DURATION: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE: Final = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_PER: Final = {
    "s": 1.0,
    "second": 1.0,
    "m": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
}

_DURATION_PART: Final = regex(r"([0-9]+(?:\.[0-9]+)?)(us|ms|s|m|h|d)")


def parse_duration(text: str) -> float:
    """Seconds of `500ms`, `30s`, `2m`, `1h30m`."""
    return _duration(text)


@lru_cache(maxsize=1024)
def _duration(text: str) -> float:
    """Read once: every node of every runtime asks again for what its config says."""
    if not re.fullmatch(DURATION.pattern, text):
        raise ValueError(f"{text!r} is not a duration; write a number with a unit, as in 500ms, 30s, 2m, 1h")
    return sum(float(number) * _DURATION[unit] for number, unit in _DURATION_PART.findall(text))


def show_duration(seconds: float) -> str:
    """The shortest exact spelling, as `90s` → `1m30s`, `0.5` → `500ms`."""
    if seconds == 0:
        return "0s"
    if seconds < 1:
        return f"{seconds * 1000:.6g}ms"
    out = ""
    for unit in ("d", "h", "m"):
        count, seconds = divmod(seconds, _DURATION[unit])
        out += f"{int(count)}{unit}" if count else ""
    return out + (f"{seconds:.6g}s" if seconds else "")


def parse_size(text: str) -> int:
    """Bytes of `64KiB`, `10MB`, `1GiB`."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(B|kB|MB|GB|KiB|MiB|GiB)", text)
    if not match:
        raise ValueError(f"{text!r} is not a size; write a number with a unit, as in 512B, 10MiB, 1GB")
    return int(float(match[1]) * _SIZE[match[2]])


def show_size(size: int) -> str:
    for unit in ("GiB", "MiB", "KiB"):
        if size >= _SIZE[unit] and size % _SIZE[unit] == 0:
            return f"{size // _SIZE[unit]}{unit}"
    return f"{size}B"


def parse_money(text: str) -> float:
    """US dollars of `$0.05`."""
    match = re.fullmatch(r"\$([0-9]+(?:\.[0-9]+)?)", text)
    if not match:
        raise ValueError(f"{text!r} is not an amount; write US dollars, as in $0.05 or $20")
    return float(match[1])


def show_money(usd: float) -> str:
    """Dollars with as many digits as small sums need: `$0.0021`."""
    if usd >= 1 or usd == 0:
        return f"${usd:.2f}"
    digits = 4 if usd >= 0.001 else 1 - math.floor(math.log10(usd))
    return f"${usd:.{digits}f}"


def parse_ratio(text: str) -> float:
    """A fraction of `20%`."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)%", text)
    if not match:
        raise ValueError(f"{text!r} is not a ratio; write a percentage, as in 20%")
    return float(match[1]) / 100


def show_ratio(ratio: float) -> str:
    return f"{ratio * 100:.6g}%"


class Rate(msgspec.Struct, frozen=True):
    """`amount` requests (or LLM tokens) in each `period` of seconds."""

    amount: float
    period: float
    tokens: bool = False

    @property
    def per_second(self) -> float:
        return self.amount / self.period


def parse_rate(text: str) -> Rate:
    """`10/s`, `60/minute`, `100000 tokens/minute`."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)( tokens)?/(s|second|m|minute|h|hour|d|day)", text)
    if not match or float(match[1]) == 0:
        raise ValueError(f"{text!r} is not a rate; write an amount and a period, as in 10/s or 60/minute")
    return Rate(float(match[1]), _PER[match[3]], bool(match[2]))


def show_rate(rate: Rate) -> str:
    period = {1.0: "s", 60.0: "minute", 3600.0: "hour", 86400.0: "day"}[rate.period]
    return f"{rate.amount:.6g}{' tokens' if rate.tokens else ''}/{period}"


DURATION: Final = Unit("duration", r"^(?:[0-9]+(?:\.[0-9]+)?(?:us|ms|s|m|h|d))+$", "30s", parse_duration, show_duration)
SIZE: Final = Unit("size", r"^[0-9]+(?:\.[0-9]+)?(?:B|kB|MB|GB|KiB|MiB|GiB)$", "10MiB", parse_size, show_size)
MONEY: Final = Unit("money", r"^\$[0-9]+(?:\.[0-9]+)?$", "$0.05", parse_money, show_money)
RATIO: Final = Unit("ratio", r"^[0-9]+(?:\.[0-9]+)?%$", "20%", parse_ratio, show_ratio)
RATE: Final = Unit(
    "rate",
    r"^(?!0+(?:\.0+)?[ /])[0-9]+(?:\.[0-9]+)?(?: tokens)?/(?:s|second|m|minute|h|hour|d|day)$",
    "10/s",
    parse_rate,
    show_rate,
)
UNITS: Final = (DURATION, SIZE, MONEY, RATIO, RATE)
