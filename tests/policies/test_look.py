"""How policies stand, read from rows that decisions wrote."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from wizard_dsl.core.component import PolicyConfig
from wizard_dsl.core.units import parse_rate
from wizard_dsl.policies import _shared_breaker as shared
from wizard_dsl.policies._look import Look, Seen, look_of
from wizard_dsl.policies._shared_bucket import BOOK
from wizard_dsl.policies._shared_queue import PLACES
from wizard_dsl.policies._shared_windows import WINDOWS, windows_of
from wizard_dsl.policies.circuit_breaker import CircuitBreakerConfig, limits
from wizard_dsl.policies.concurrency import AdaptiveConfig, ConcurrencyConfig
from wizard_dsl.policies.rate_limit import RateLimitConfig
from wizard_dsl.policies.retry import RetryConfig


def look(config: PolicyConfig) -> Look:
    found = look_of(config, "here")
    assert found is not None
    return found


def broken(config: CircuitBreakerConfig, *events: tuple[str, float], lease: float = 5.0) -> Any:
    """The row after events of one call each, at their times."""
    own = {name: shared._or_false(each) for name, each in msgspec.structs.asdict(limits(config)).items()}
    row: Any = None
    for number, (event, at) in enumerate(events):
        arguments = {
            "limits": own, "keep": shared._KEEP, "late": False, "forced": False, "lease": lease, "known": False,
        }  # fmt: skip
        ticket = shared.SharedTicket(f"t{number}").row()
        names = ["admit", event] if event in {"success", "failure"} else [event]
        for name in names:
            row, (_, admitted), _ = shared.decide(row, at, {**arguments, "event": name, "ticket": ticket})
            ticket = admitted or ticket
    return row


@pytest.mark.parametrize(
    ("events", "now", "seen"),
    [
        ([], 0.0, Seen("closed, 0 of 2 failures")),
        ([("success", 1.0), ("failure", 2.0)], 3.0, Seen("closed, 1 of 2 failures")),
        ([("failure", 2.0)], 100.0, Seen("closed, 0 of 2 failures")),
        ([("failure", 1.0), ("failure", 2.0)], 10.5, Seen("open for 22s more", closed=True)),
        ([("failure", 1.0), ("failure", 2.0)], 32.0, Seen("open, the next call tries")),
        ([("failure", 1.0), ("failure", 2.0), ("admit", 33.0)], 34.0, Seen("half-open, 1 of 1 calls under way")),
        ([("failure", 1.0), ("failure", 2.0), ("admit", 33.0)], 39.0, Seen("half-open, 0 of 1 calls under way")),
        ([("force_open", 1.0)], 2.0, Seen("held open by hand", closed=True)),
        ([("force_close", 1.0)], 2.0, Seen("held closed by hand")),
    ],
)
def test_a_breaker_says_its_state_and_what_it_counts(events: list[tuple[str, float]], now: float, seen: Seen) -> None:
    config = CircuitBreakerConfig(failure_threshold=2)
    assert look(config).seen(broken(config, *events) if events else None, now) == seen


def test_a_breaker_without_a_threshold_says_its_share() -> None:
    config = CircuitBreakerConfig(failure_threshold="off", failure_ratio="50%")
    row = broken(config, ("success", 1.0), ("failure", 1.0))
    assert look(config).seen(row, 2.0) == Seen("closed, 1 of 2 failed")


def test_a_bucket_says_what_is_left_and_what_is_booked_ahead() -> None:
    config = RateLimitConfig(rate="2/s", burst=4)
    row: Any = None
    for amount in (1, 1, 1):
        arguments = {"rate": 2.0, "burst": 4, "amount": amount, "patience": 9.0, "carry": -1}
        row, _, _ = BOOK.apply(row, 10.0, arguments)
    assert look(config).seen(None, 10.0).text == "4 of 4 requests left"
    assert look(config).seen(row, 10.0).text == "1 of 4 requests left"
    assert look(config).seen(row, 10.6).text == "2 of 4 requests left"
    for _ in range(3):
        row, _, _ = BOOK.apply(row, 10.0, arguments)
    assert look(config).seen(row, 10.0).text == "0 of 4 requests left, 2 wait"
    assert look(config).seen(row, 10.5).text == "0 of 4 requests left, 1 waits"


def test_windows_say_what_is_left_in_each_and_who_waits() -> None:
    config = RateLimitConfig(windows=["3/s", "1000 tokens/minute"])
    windows = windows_of([parse_rate(text) for text in config.windows])
    row: Any = None
    for number in range(4):
        arguments = {
            "event": "take", "id": f"c{number}", "tokens": 100, "patience": 9.0, "hold": 1.0, "windows": windows,
            "carry": [], "known": [],
        }  # fmt: skip
        row, _, _ = WINDOWS.apply(row, 60.1, arguments)
    assert look(config).seen(None, 60.1).text == "3 of 3/s and 1000 of 1000 tokens/minute left"
    assert look(config).seen(row, 60.2).text == "0 of 3/s and 700 of 1000 tokens/minute left, 1 waits"
    assert look(config).seen(row, 70.0).text == "3 of 3/s and 700 of 1000 tokens/minute left"


def test_places_say_how_many_are_taken_and_who_waits() -> None:
    config = ConcurrencyConfig(limit=2)
    row: Any = None
    for number in range(3):
        arguments = {"event": "take", "id": f"c{number}", "patience": 9.0, "limit": 2, "hold": 10.0, "kept": 1.0}
        row, _, _ = PLACES.apply(row, 5.0, arguments)
    assert look(config).seen(None, 5.0).text == "0 of 2 places taken"
    assert look(config).seen(row, 5.5).text == "2 of 2 places taken, 1 waits"
    assert look(config).seen(row, 16.0).text == "0 of 2 places taken"


def test_what_each_process_has_for_itself_cannot_be_looked_at() -> None:
    assert look_of(ConcurrencyConfig(adaptive=AdaptiveConfig()), "here") is None
    assert look_of(RetryConfig(), "here") is None
