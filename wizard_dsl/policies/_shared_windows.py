"""Sliding windows that many processes share, with the line before them. Small ones of requests keep the time of each.

Alone a process goes on from the counts that it was told last: of those, and of each window, it has its share, so many
of it as there were processes. What it counted alone it hands in with its first decision at the return, and to a
keeper that has forgotten it tells what was known before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wizard_dsl.core.state import Arguments, Decided, Decision, State, StateUnavailable
from wizard_dsl.core.units import show_rate
from wizard_dsl.policies._line import DUST, Level, Taken
from wizard_dsl.policies._shared_queue import LATE as KEPT
from wizard_dsl.policies._shared_queue import SharedQueue, place_of, still_waiting, without
from wizard_dsl.policies._window_log import is_exact, log_due
from wizard_dsl.policies._windows import LATE, window_wait

if TYPE_CHECKING:
    from wizard_dsl.core.node import BuildContext
    from wizard_dsl.core.units import Rate

_LUA: Final = Path(__file__).parent / "lua"

#: In the order of the windows: [number of the window since the epoch, count before it, count in it], or, of an exact
#: one, [time, requests] for each time, in their order.
Counts = list[list[Any]]
#: [seconds, limit, whether LLM tokens are counted, whether it is exact].
Windows = Sequence[Sequence[Any]]


def decide_windows(row: Any, now: float, arguments: Arguments) -> tuple[Any, Any, float]:
    """take: (taken, at), (wait, seconds) or (refused, seconds); leave the line; change what was counted at a time:
    (changed), or (unknown) where nothing was. The counts are told, too. One that takes may carry what was counted
    alone and, for a keeper that has forgotten it, what was known before."""
    windows: Windows = arguments["windows"]
    if row is None and arguments["event"] != "take":
        return None, ["unknown", 0, 0, []], 0.0
    queue = still_waiting(row, now)
    counts = slid(row["windows"] if row is not None else arguments["known"], windows, now)
    reply: list[Any] = ["", 0, 0, []]
    match arguments["event"]:
        case "take":
            add(counts, arguments["carry"], windows)
            _floor(counts, windows)
            queue, reply = _take(queue, counts, now, arguments)
        case "leave":
            queue = without(queue, arguments["id"])
        case _:
            change(counts, windows, arguments["at"], arguments["requests"], arguments["tokens"])
            _floor(counts, windows)
            reply = ["changed", 0, 0, counts]
    return {"queue": queue, "windows": counts}, reply, 2 * max(window[0] for window in windows) + 1


def slid(known: Counts, windows: Windows, now: float) -> Counts:
    """The counts at `now`; where nothing is known, nothing was counted."""
    known = known or [[] for _ in windows]
    return [
        [each for each in count if each[0] + period > now] if exact else _slid(count, int(now // period))
        for count, (period, _, _, exact) in zip(known, windows, strict=True)
    ]


def _slid(known: list[Any], number: int) -> list[Any]:
    if not known:
        return [number, 0, 0]
    if number <= known[0]:
        return list(known)
    return [number, known[2] if number == known[0] + 1 else 0, 0]


def change(counts: Counts, windows: Windows, at: float, requests: int, tokens: int) -> None:
    """Count so many more in the windows of `at`, where they still count."""
    for count, (period, _, counts_tokens, exact) in zip(counts, windows, strict=True):
        if exact:
            _note(count, at, requests)
        else:
            _add(count, int(at // period), tokens if counts_tokens else requests)


def add(counts: Counts, more: Counts, windows: Windows, sign: int = 1) -> None:
    """Add what was counted elsewhere."""
    for count, others, (_, _, _, exact) in zip(counts, more, windows, strict=False):
        if exact:
            for at, amount in others:
                _note(count, at, sign * amount)
        else:
            number, before, current = others
            _add(count, number - 1, sign * before)
            _add(count, number, sign * current)


def _add(count: list[Any], number: int, amount: int) -> None:
    if number >= count[0]:
        count[2] += amount
    elif number == count[0] - 1:
        count[1] += amount


def _note(log: list[Any], at: float, amount: int) -> None:
    """So many more requests at that time; below zero some are owed, which another log has."""
    index = bisect_left(log, at, key=itemgetter(0))
    known = log[index][1] if index < len(log) and log[index][0] == at else None
    amount += known or 0
    log[index : index + (known is not None)] = [[at, amount]] if amount else []


def _floor(counts: Counts, windows: Windows) -> None:
    counts[:] = [
        [each for each in count if each[1] > 0] if exact else [count[0], max(0, count[1]), max(0, count[2])]
        for count, (_, _, _, exact) in zip(counts, windows, strict=True)
    ]


def _times(log: list[Any]) -> list[float]:
    return [at for at, amount in log for _ in range(amount)]


def _take(
    queue: list[list[Any]], counts: Counts, now: float, arguments: Arguments
) -> tuple[list[list[Any]], list[Any]]:
    id, tokens = arguments["id"], arguments["tokens"]
    index = place_of(queue, id)
    ahead, wait = sum(each[2] for each in queue[:index]), 0.0
    for count, window in zip(counts, arguments["windows"], strict=True):
        others, own = (ahead, tokens) if window[2] else (index, 1)
        wait = max(wait, _wait(count, window, now, others, own))
    if wait == 0:
        change(counts, arguments["windows"], now, 1, tokens)
        return without(queue, id), ["taken", now, 0, counts]
    if wait > arguments["patience"] + DUST:
        return without(queue, id), ["refused", 0, wait, counts]
    queue[index : index + 1] = [[id, now + wait + arguments["hold"], tokens]]
    return queue, ["wait", 0, wait + LATE, counts]


def _wait(count: list[Any], window: Sequence[Any], now: float, ahead: int, own: int) -> float:
    period, limit, _, exact = window
    if exact:
        return log_due(_times(count), limit, period, now, ahead + 1) - now
    number, before, current = count
    left = period - (now - number * period)
    return window_wait((before, left, current, left + period), limit, period, ahead, own)


def left_in(count: list[Any], window: Sequence[Any], now: float) -> float:
    """How many more there is room for."""
    period, limit, _, exact = window
    if exact:
        return int(limit) - len(_times(count))
    number, before, current = count
    return float(limit - current - before * (period - (now - number * period)) / period)


WINDOWS: Final = Decision("windows", _LUA / "windows.lua", decide_windows, library=_LUA / "queue.lua")


def form_of(rates: Sequence[Rate]) -> int:
    """The form of a row: 1 where all windows are counted, as they were in all releases; 2 where one is exact."""
    return 2 if any(is_exact(_whole(rate), rate.tokens) for rate in rates) else 1


def windows_of(rates: Sequence[Rate]) -> list[list[Any]]:
    """The windows as the decisions have them."""
    return [
        [int(rate.period), limit, rate.tokens, is_exact(limit, rate.tokens)]
        for rate, limit in zip(rates, map(_whole, rates), strict=True)
    ]


def _whole(rate: Rate) -> int:
    return max(1, int(rate.amount))


def share_of(counts: Counts, own: Counts, windows: Windows, members: int) -> Counts:
    """What one of so many processes counts alone: its part of what was known, and its own."""
    shared = [
        [[at, 1] for at in sorted(_times(count)[::-1][::members])]
        if exact
        else [count[0], -(-count[1] // members), -(-count[2] // members)]
        for count, (_, _, _, exact) in zip(counts, windows, strict=True)
    ]
    add(shared, own, windows)
    _floor(shared, windows)
    return shared


class SharedWindows(SharedQueue):
    """Windows of all processes; see the module. All times are the keeper's."""

    def __init__(
        self, rates: Sequence[Rate], key: str, state: State, context: BuildContext, *, name: str, of: str
    ) -> None:
        full = [
            Level("tokens" if rate.tokens else "requests", show_rate(rate), int(rate.amount), int(rate.amount))
            for rate in rates
        ]
        super().__init__(WINDOWS, full, key, state, context, name=name, of=of)
        self._windows = windows_of(rates)
        self._offset = context.clock.wall() - context.clock.now()
        self._counts: Counts = []  # as told last
        self._own: Counts = []  # what no decision has handed in yet; empty where there was no outage
        self._waits: list[list[Any]] = []  # the line of the local form
        self._carries = False  # whether a decision that hands in is under way

    def is_idle(self, now: float) -> bool:
        """Its state is elsewhere, unless something is to be handed in."""
        owed = zip(self._owed(), self._windows, strict=True)
        return not any(count if exact else count[1] or count[2] for count, (_, _, _, exact) in owed)

    # -- taking and giving back ---------------------------------------------------------------------

    def give(self, taken: Taken) -> None:
        """Take a call out of the windows it still counts in; nobody waits for that."""
        self._spawn(self._changed(taken.at, -1, -taken.tokens))

    def settle(self, taken: Taken, used: int) -> None:
        """Count what was used in place of what was taken."""
        if used != taken.tokens:
            self._spawn(self._changed(taken.at, 0, used - taken.tokens))

    async def _changed(self, at: float, requests: int, tokens: int) -> None:
        arguments = {"event": "change", "at": at, "requests": requests, "tokens": tokens, "windows": self._windows}
        try:
            decided = await self._state.decide(WINDOWS, self._key, arguments)
        except StateUnavailable:
            self._owes(at, requests, tokens)
            return
        if decided.reply[0] == "unknown":
            self._owes(at, requests, tokens)
        else:
            self._counts = decided.reply[3]

    def _taken(self, id: str, at: float, tokens: int) -> Taken:
        return Taken(at, tokens)

    def _takes(self, id: str, tokens: int, patience: float) -> Arguments:
        carry = self._owed() if self._own and not self._carries else []
        self._carries = self._carries or bool(carry)
        return {
            "event": "take", "id": id, "tokens": tokens, "patience": patience, "hold": KEPT, "windows": self._windows,
            "carry": carry, "known": self._counts if carry else [],
        }  # fmt: skip

    def _leaves(self, id: str) -> Arguments:
        return {"event": "leave", "id": id, "windows": self._windows}

    # -- told, or alone -----------------------------------------------------------------------------

    def _now(self) -> float:
        return self._clock.now() + self._offset

    def _owed(self) -> Counts:
        return slid(self._own, self._windows, self._now())

    def _owes(self, at: float, requests: int, tokens: int) -> None:
        self._own = self._owed()
        change(self._own, self._windows, at, requests, tokens)

    def _told(self, decided: Decided, arguments: Arguments) -> Sequence[float]:
        """See SharedQueue; what was counted alone while the decision was under way is still owed."""
        self._offset = decided.now - self._clock.now()
        self._counts = decided.reply[3]
        if arguments["carry"]:
            self._carries = False
            self._own = self._owed()
            add(self._own, arguments["carry"], self._windows, -1)
            if self.is_idle(0.0):
                self._own, self._waits = [], []
        return [left_in(count, window, decided.now) for count, window in zip(self._counts, self._windows, strict=True)]

    def _untold(self, arguments: Arguments) -> None:
        """See SharedQueue; the next one carries it, once more perhaps: rather too much is counted than too little."""
        if arguments["carry"]:
            self._carries = False

    def _alone(self, id: str, tokens: int, patience: float) -> tuple[str, float, float]:
        """A part of a limit is at least one call, however many tokens that has."""
        share = [
            [period, max(limit // self._members, tokens if counts_tokens else 1), counts_tokens, exact]
            for period, limit, counts_tokens, exact in self._windows
        ]
        now = self._now()
        counts = share_of(slid(self._counts, self._windows, now), self._owed(), share, self._members)
        arguments = {
            "event": "take", "id": id, "tokens": tokens, "patience": patience, "hold": KEPT, "windows": share,
            "carry": [], "known": [],
        }  # fmt: skip
        row, (what, at, wait, _), _ = WINDOWS.apply({"queue": self._waits, "windows": counts}, now, arguments)
        self._waits = row["queue"]
        if what == "taken":
            self._owes(now, 1, tokens)
        return what, at, wait
