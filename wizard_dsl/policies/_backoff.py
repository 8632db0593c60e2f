"""How long to wait before a repeat: pure arithmetic, seconds in and out."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Mode = Literal["exponential", "linear", "immediate", "none"]
Jitter = float | Literal["full", "equal", "decorrelated", "none"]

#: What SEMANTICS gives to kinds that are not exponential.
MODES: Final[dict[str, Mode]] = {"connect": "immediate", "rate_limited": "linear"}

#: A sleep that ends at the deadline fits it, whatever rounding makes of the sum.
DUST: Final = 1e-9


class Backoff(msgspec.Struct, frozen=True):
    """`jitter` is a factor (0.25: ± 25 %) or a method; durations are seconds."""

    base: float = 1.0
    multiplier: float = 2.0
    max_delay: float = 30.0
    jitter: Jitter = 0.25


def plain(backoff: Backoff, mode: Mode, k: int) -> float:
    """The delay before the k-th repeat (k from 1), without jitter: clamped to max_delay."""
    if mode == "none" or (mode == "immediate" and k == 1):
        return 0.0
    if mode == "linear":
        return min(backoff.max_delay, backoff.base * k)
    try:
        return min(backoff.max_delay, backoff.base * backoff.multiplier ** (k - 1))
    except OverflowError:
        return backoff.max_delay


def jittered(backoff: Backoff, delay: float, draw: float, previous: float) -> float:
    """`delay` spread by `draw`, uniform in [0, 1), and clamped again.

    `decorrelated` replaces it: uniform between base and three times the `previous` delay. A delay of 0 stays 0.
    """
    if delay == 0:
        return 0.0
    match backoff.jitter:
        case "none":
            spread = delay
        case "full":
            spread = draw * delay
        case "equal":
            spread = delay / 2 + draw * delay / 2
        case "decorrelated":
            spread = backoff.base + draw * max(0.0, 3 * previous - backoff.base)
        case factor:
            spread = delay * (1 + factor * (2 * draw - 1))
    return min(backoff.max_delay, spread)


def largest(backoff: Backoff, mode: Mode, k: int) -> float:
    """The longest delay that the k-th repeat can have."""
    delay = plain(backoff, mode, k)
    if delay == 0:
        return 0.0
    if backoff.jitter == "decorrelated":
        return backoff.max_delay
    return delay if isinstance(backoff.jitter, str) else min(backoff.max_delay, delay * (1 + backoff.jitter))


def usual(backoff: Backoff, mode: Mode, k: int) -> float:
    """The delay of the k-th repeat in the middle of its spread."""
    return jittered(backoff, plain(backoff, mode, k), 0.5, backoff.base)
