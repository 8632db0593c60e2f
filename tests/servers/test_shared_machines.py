"""Each decision in Lua is its Python form: random sequences through both, on the server's time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wizard_dsl.core.state import Decision
from wizard_dsl.policies import _shared_breaker, _shared_budget, _shared_queue, _shared_windows
from wizard_dsl.policies._lease_state import LEASE
from wizard_dsl.policies._shared_breaker import SharedTicket
from wizard_dsl.policies._shared_bucket import BOOK
from wizard_dsl.stores._redis import RedisKeeper
from wizard_dsl.stores._state import Ask

pytestmark = pytest.mark.server

#: Arguments of one step, made of the reply before it; and seconds to wait first.
Step = tuple[float, Callable[[Any], dict[str, Any]]]


@pytest.fixture(scope="module")
def url(valkey: Any) -> str:
    address: str = valkey.connection_url
    return address


_numbers = iter(range(10**6))


def same_in_both(url: str, decision: Decision, steps: list[Step]) -> None:
    """Every reply of the server is what the Python form says, given the time that the server tells."""

    async def main() -> None:
        keeper = RedisKeeper(url, "test:")  # which has all the time it needs
        row, reply, key = None, None, f"k{next(_numbers)}"
        try:
            for index, (pause, make) in enumerate(steps):
                await asyncio.sleep(pause)
                arguments = make(reply)
                (raw,) = await keeper.ask([Ask(decision, key, msgspec.msgpack.encode(arguments), "")])
                now, _, decided = msgspec.msgpack.decode(raw)
                row, reply, _ = decision.apply(row, now, arguments)
                assert rounded(decided) == rounded(reply), f"step {index}: {arguments}"
        finally:
            await keeper.close()

    asyncio.run(main())


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return value if isinstance(value, bool | str) else round(value, 4)


def plain(arguments: dict[str, Any]) -> Step:
    return 0.0, lambda reply: arguments


bookings = st.fixed_dictionaries(
    {
        "rate": st.sampled_from([0.5, 10.0, 3000.0]),
        "burst": st.sampled_from([1, 5, 2.5]),
        "amount": st.one_of(st.integers(-3, 6), st.floats(0.1, 4.0)),
        "patience": st.sampled_from([0.0, 0.3, 1e12]),
        "carry": st.sampled_from([-1.0, -1.0, -1.0, 0.0, 2.5]),
    }
)


@settings(max_examples=40)
@given(st.lists(bookings, max_size=12))
def test_the_bucket(url: str, steps: list[dict[str, Any]]) -> None:
    same_in_both(url, BOOK, [plain(each) for each in steps])


spendings = st.fixed_dictionaries(
    {
        "deposits": st.integers(0, 4),
        "unused": st.lists(st.sampled_from([0.0, 0.0, 0.003, 7.0]), max_size=2),
        "withdraw": st.booleans(),
    }
)


@settings(max_examples=30)
@given(
    st.sampled_from([0.01, 60.0]),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from([0.5, 3.0]),
    st.lists(st.tuples(spendings, st.sampled_from([0.0, 0.0, 0.002])), max_size=30),
)
def test_the_retry_budget(
    url: str, window: float, ratio: float, floor: float, steps: list[tuple[dict[str, Any], float]]
) -> None:
    settings = {"window": window, "ratio": ratio, "floor": floor}
    same_in_both(url, _shared_budget.DECIDE, [(pause, plain({**each, **settings})[1]) for each, pause in steps])


#: What was counted elsewhere: windows from this one, or half the length of an exact one, and counts.
carried = st.one_of(
    st.just([]),
    st.lists(st.tuples(st.integers(-2, 1), st.integers(-3, 9), st.integers(-3, 9)), min_size=2, max_size=2),
)
windows_events = st.one_of(
    st.fixed_dictionaries(
        {
            "event": st.just("take"), "id": st.sampled_from("abcd"), "tokens": st.integers(0, 9),
            "patience": st.sampled_from([0.0, 0.5, 1e9]), "hold": st.sampled_from([0.0, 1.0]), "carry": carried,
            "known": st.just([]),
        }
    ),
    st.fixed_dictionaries({"event": st.just("leave"), "id": st.sampled_from("abcd")}),
    st.fixed_dictionaries(
        {
            "event": st.just("change"), "requests": st.sampled_from([-1, 0, 25]), "tokens": st.integers(-9, 40),
            "before": st.booleans(),
        }
    ),
)  # fmt: skip


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from([1, 60]), st.integers(10, 30), st.booleans(), st.booleans()).map(list),
        min_size=1,
        max_size=2,
    ),
    carried,
    st.lists(windows_events, max_size=30),
)
def test_windows(url: str, windows: list[list[Any]], known: Any, events: list[dict[str, Any]]) -> None:
    first = {"event": "take", "id": "z", "tokens": 1, "patience": 0.0, "hold": 0.0, "carry": [], "known": known}
    change = {"event": "change", "requests": 12, "tokens": 12, "before": True}
    events = [change, first, change, *events]
    last = [time.time()]

    def numbered(counts: Any) -> list[list[Any]]:
        return [counted(window, *each) for window, each in zip(windows, counts, strict=False)]

    def counted(window: list[Any], before: int, first: int, second: int) -> list[Any]:
        if window[3]:
            return sorted([[last[0] + before * window[0] / 2, first], [last[0] + 0.1, second]])
        return [int(last[0] // window[0]) + before, first, second]

    def step(event: dict[str, Any]) -> Callable[[Any], dict[str, Any]]:
        def make(reply: Any) -> dict[str, Any]:
            if reply is not None and reply[0] == "taken":
                last[0] = reply[1]
            at = last[0] - windows[0][0] if event.get("before") else last[0]
            counts = {name: numbered(event[name]) for name in ("carry", "known") if name in event}
            return {**event, **counts, "windows": windows, "at": at}

        return make

    same_in_both(url, _shared_windows.WINDOWS, [(0.0, step(each)) for each in events])


places_events = st.one_of(
    st.fixed_dictionaries(
        {"event": st.just("take"), "id": st.sampled_from("abcde"), "patience": st.sampled_from([0.0, 1.0])}
    ),
    st.fixed_dictionaries({"event": st.just("give"), "id": st.sampled_from("abcde")}),
    st.fixed_dictionaries({"event": st.just("renew"), "ids": st.lists(st.sampled_from("abcde"), unique=True)}),
)


@settings(max_examples=40)
@given(
    st.integers(1, 3),
    st.sampled_from([0.002, 10.0]),
    st.lists(st.tuples(places_events, st.sampled_from([0.0, 0.0, 0.001])), max_size=30),
)
def test_places(url: str, limit: int, hold: float, events: list[tuple[dict[str, Any], float]]) -> None:
    always = {"limit": limit, "hold": hold, "kept": hold}
    same_in_both(url, _shared_queue.PLACES, [(pause, plain({**each, **always})[1]) for each, pause in events])


EVENTS = ("admit", "success", "failure", "overtaken", "neutral", "look", "force_open", "force_close", "reset")
limits = st.fixed_dictionaries(
    {
        "failure_threshold": st.sampled_from([1, 2, 5, False]),
        "failure_ratio": st.sampled_from([False, 0.5, 1.0]),
        "slow_ratio": st.sampled_from([0.5, 0.9]),
        "minimum_calls": st.sampled_from([1, 4]),
        "window": st.sampled_from([0.01, 60.0]),
        "reset_timeout": st.sampled_from([0.002, 30.0]),
        "max_reset_timeout": st.sampled_from([0.003, 300.0]),
        "half_open_max_calls": st.integers(1, 2),
        "success_threshold": st.integers(1, 2),
    }
)
happenings = st.lists(
    st.tuples(
        st.sampled_from(EVENTS[:5] * 4 + EVENTS),
        st.sampled_from([0.0, 0.0, 0.0, 0.001, 0.003]),
        st.integers(0, 5),
        st.booleans(),
    ),
    min_size=5,
    max_size=60,
)


@settings(max_examples=80)
@given(limits, st.sampled_from(["closed", "half_open"]), happenings)
def test_the_breaker(
    url: str, limits: dict[str, Any], begin: str, happenings: list[tuple[str, float, int, bool]]
) -> None:
    tickets: list[dict[str, Any]] = []

    def step(number: int, event: str, which: int, flag: bool) -> Callable[[Any], dict[str, Any]]:
        def make(reply: Any) -> dict[str, Any]:
            if reply is not None and reply[1]:
                tickets[:] = [each for each in tickets if each["id"] != reply[1]["id"]]
                tickets.insert(0, reply[1])
            known = tickets[which % len(tickets)] if tickets and event != "admit" else SharedTicket(f"t{number}").row()
            return {
                "event": event, "ticket": known, "limits": limits, "lease": 0.002 if flag else 10.0, "late": flag,
                "forced": flag and which == 0, "known": False, "keep": _shared_breaker._KEEP,
            }  # fmt: skip

        return make

    if begin == "half_open":
        happenings = [
            ("admit", 0.0, 0, False),
            *[("failure", 0.0, 0, False)] * 5,
            ("admit", 0.004, 0, False),
            *happenings,
        ]
    steps = [(pause, step(number, event, which, flag)) for number, (event, pause, which, flag) in enumerate(happenings)]
    same_in_both(url, _shared_breaker.DECIDE, steps)


leases = st.fixed_dictionaries(
    {
        "what": st.sampled_from(["take", "take", "renew", "end"]),
        "owner": st.sampled_from(["a", "b", "c"]),
        "following": st.sampled_from(["", "a", "b"]),
        "lasts": st.sampled_from([0.002, 30.0]),
        "kind": st.sampled_from(["", "answer", "error", "alone"]),
        "value": st.sampled_from(["", "{}", "ü" * 40_000]),
    }
)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.0, 0.003]), leases), max_size=25))
def test_the_lease(url: str, steps: list[tuple[float, dict[str, Any]]]) -> None:
    def made(arguments: dict[str, Any]) -> Callable[[Any], dict[str, Any]]:
        return lambda reply: arguments

    same_in_both(url, LEASE, [(pause, made(arguments)) for pause, arguments in steps])
