"""Sliding windows and places that many processes share: a line of those who wait, and a gate.

One decision says whether there is room for a call, for those who wait before it are counted first; else it keeps its
place in the line, and asks again when its turn is due, or, where only a release can tell, after a moment that grows.
Who does not ask again in time has lost its place. A place that is taken is a lease: a timer renews those of a process
together, and those of one that died are free when they expire.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import ceil, inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wizard_dsl.core.clock import idle
from wizard_dsl.core.figures import LimitFigures
from wizard_dsl.core.state import Arguments, Decided, Decision, State, StateUnavailable
from wizard_dsl.core.units import show_rate
from wizard_dsl.policies._line import DUST, Crossings, Level, Taken, figures_of
from wizard_dsl.policies._windows import window_wait

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wizard_dsl.core.clock import Timer
    from wizard_dsl.core.node import BuildContext
    from wizard_dsl.core.units import Rate

_LUA: Final = Path(__file__).parent / "lua"
#: Seconds that a waiting call keeps its place after it should have asked again.
_LATE: Final = 1.0
#: Seconds between two questions of a call that waits for a release: at first, and at most.
_SOON: Final = 0.02
_SELDOM: Final = 0.25
#: Seconds for which a place is leased; it is renewed three times in that time.
LEASE: Final = 10.0


class Leased(Taken, frozen=True):
    """A place, by the name of its lease."""

    id: str = ""


def _line(row: Any, now: float) -> list[list[Any]]:
    return [each for each in row["queue"] if each[1] > now] if row is not None else []


def _place(queue: list[list[Any]], id: str) -> int:
    """The place in the line, from 0: its own, or behind the last."""
    return next((index for index, each in enumerate(queue) if each[0] == id), len(queue))


def _without(rows: list[list[Any]], id: str) -> list[list[Any]]:
    return [each for each in rows if each[0] != id]


# -- windows ----------------------------------------------------------------------------------------


def decide_windows(row: Any, now: float, arguments: Arguments) -> tuple[Any, Any, float]:
    """take: (taken, at), (wait, seconds) or (refused, seconds); leave the line; change what was counted at a time."""
    queue = _line(row, now)
    windows: Sequence[Sequence[Any]] = arguments["windows"]
    known = row["windows"] if row is not None else [None] * len(windows)
    counts = [_slid(each, int(now // window[0])) for each, window in zip(known, windows, strict=True)]
    reply: list[Any] = ["", 0, 0, []]
    match arguments["event"]:
        case "take":
            queue, reply = _take_windows(queue, counts, now, arguments)
        case "leave":
            queue = _without(queue, arguments["id"])
        case _:
            _change(counts, windows, arguments["at"], arguments["requests"], arguments["tokens"])
    return {"queue": queue, "windows": counts}, reply, 2 * max(window[0] for window in windows) + 1


def _slid(known: Any, number: int) -> list[Any]:
    if known is None:
        return [number, 0, 0]
    if number <= known[0]:
        return list(known)
    return [number, known[2] if number == known[0] + 1 else 0, 0]


def _take_windows(
    queue: list[list[Any]], counts: list[list[Any]], now: float, arguments: Arguments
) -> tuple[list[list[Any]], list[Any]]:
    id, tokens = arguments["id"], arguments["tokens"]
    index = _place(queue, id)
    ahead, wait = sum(each[2] for each in queue[:index]), 0.0
    for (number, before, current), (period, limit, counts_tokens) in zip(counts, arguments["windows"], strict=True):
        left = period - (now - number * period)
        others, own = (ahead, tokens) if counts_tokens else (index, 1)
        wait = max(wait, window_wait((before, left, current, left + period), limit, period, others, own))
    if wait == 0:
        _change(counts, arguments["windows"], now, 1, tokens)
        return _without(queue, id), ["taken", now, 0, _lefts(counts, arguments["windows"], now)]
    lefts = _lefts(counts, arguments["windows"], now)
    if wait > arguments["patience"] + DUST:
        return _without(queue, id), ["refused", 0, wait, lefts]
    queue[index : index + 1] = [[id, now + wait + arguments["hold"], tokens]]
    return queue, ["wait", 0, wait, lefts]


def _lefts(counts: list[list[Any]], windows: Sequence[Sequence[Any]], now: float) -> list[float]:
    """What each window has room for."""
    return [
        limit - current - before * (period - (now - number * period)) / period
        for (number, before, current), (period, limit, _) in zip(counts, windows, strict=True)
    ]


def _change(counts: list[list[Any]], windows: Sequence[Sequence[Any]], at: float, requests: int, tokens: int) -> None:
    for count, (period, _, counts_tokens) in zip(counts, windows, strict=True):
        amount, taken = tokens if counts_tokens else requests, int(at // period)
        if taken == count[0]:
            count[2] = max(0, count[2] + amount)
        elif taken == count[0] - 1:
            count[1] = max(0, count[1] + amount)


WINDOWS: Final = Decision("windows", _LUA / "windows.lua", decide_windows, library=_LUA / "queue.lua")


# -- places -----------------------------------------------------------------------------------------


def decide_places(row: Any, now: float, arguments: Arguments) -> tuple[Any, Any, float]:
    """take, with the same replies; give back a place, or one's place in the line; renew leases, lost ones too."""
    queue = _line(row, now)
    leases = [each for each in row["leases"] if each[1] > now] if row is not None else []
    reply: list[Any] = ["", 0, 0, []]
    match arguments["event"]:
        case "take":
            id = arguments["id"]
            index = _place(queue, id)
            if index < arguments["limit"] - len(leases):
                leases.append([id, now + arguments["hold"]])
                queue, reply = _without(queue, id), ["taken", now, 0, [arguments["limit"] - len(leases)]]
            elif arguments["patience"] <= 0:
                queue, reply = _without(queue, id), ["refused", 0, -1, [arguments["limit"] - len(leases)]]
            else:
                queue[index : index + 1] = [[id, now + arguments["kept"], 0]]
                reply = ["wait", 0, -1, [arguments["limit"] - len(leases)]]
        case "give":
            queue, leases = _without(queue, arguments["id"]), _without(leases, arguments["id"])
        case _:
            for id in arguments["ids"]:
                leases = [*_without(leases, id), [id, now + arguments["hold"]]]
    return {"queue": queue, "leases": leases}, reply, arguments["hold"] + arguments["kept"]


PLACES: Final = Decision("places", _LUA / "places.lua", decide_places, library=_LUA / "queue.lua")


# -- the lines --------------------------------------------------------------------------------------


class _SharedQueue(ABC):
    """What both have in common: a call stands in the line until it is told to go."""

    def __init__(
        self,
        decision: Decision,
        full: Sequence[Level],
        key: str,
        state: State,
        context: BuildContext,
        *,
        name: str,
        of: str,
    ) -> None:
        self.name = name
        self.of = of
        self.crossings = Crossings()
        self._levels = tuple(full)  # as told last
        self._decision = decision
        self._key = key
        self._state = state
        self._clock = context.clock
        self._spawn = context.spawn
        self._members = 1
        self._asked = 0
        self._wait: float | None = None

    def take(self, now: float, tokens: int = 0) -> Taken | None:
        """Nobody knows here whether there is room."""
        return None

    def wait(self, now: float, tokens: int = 0) -> float | None:
        """Seconds that were told to the one who was refused last."""
        return self._wait

    def levels(self, now: float) -> Sequence[Level]:
        """What is left, by what was told last."""
        return self._levels

    def figures(self, now: float) -> list[LimitFigures]:
        """What is shown of it; who waits elsewhere is not known."""
        return figures_of(self.name, self.of, self._levels, waiting=0, wait=self._wait)

    def is_idle(self, now: float) -> bool:
        """Its state is elsewhere: it can be made anew."""
        return True

    async def stand(self, until: float, tokens: int = 0, deadline: float = inf) -> Taken | None:
        """Wait for a turn; what was taken, or None where there is none by `until`. Asking takes no longer than until
        `deadline`. A cancelled wait leaves the line."""
        self._asked += 1
        id, pause = f"{id_of(self)}.{self._clock.wall():.6f}.{self._asked}", _SOON
        try:
            while True:
                patience = until - self._clock.now()
                what, at, wait = await self._ask(id, tokens, patience, deadline)
                if what == "taken":
                    return self._taken(id, at, tokens)
                if what == "refused":
                    self._wait = None if wait < 0 else wait
                    return None
                await self._clock.sleep(wait if wait >= 0 else max(0.0, min(pause, patience)))
                pause = min(_SELDOM, pause * 1.5)
        except BaseException:
            self._spawn(self._tell(self._leaves(id)))
            raise

    async def _ask(self, id: str, tokens: int, patience: float, deadline: float) -> tuple[str, float, float]:
        arguments = self._takes(id, tokens, patience)

        def lost(decided: Decided) -> None:
            if decided.reply[0] == "taken":
                self.give(self._taken(id, decided.reply[1], tokens))

        try:
            decided = await self._state.decide(self._decision, self._key, arguments, until=deadline, lost=lost)
        except StateUnavailable:
            return self._alone(id, tokens, patience)
        self._members = decided.members
        self._told()
        what, at, wait, lefts = decided.reply
        left = zip(self._levels, lefts, strict=True)
        self._levels = tuple(msgspec.structs.replace(level, available=available) for level, available in left)
        return what, at, wait

    async def _tell(self, arguments: Arguments) -> None:
        try:
            await self._state.decide(self._decision, self._key, arguments)
        except StateUnavailable:
            return  # it expires, or slides out, by itself

    @abstractmethod
    def give(self, taken: Taken) -> None:
        """Give back what was taken; nobody waits for that."""

    @abstractmethod
    def _told(self) -> None:
        """The keeper answered: the local form is over."""

    @abstractmethod
    def _taken(self, id: str, at: float, tokens: int) -> Taken:
        """What was taken, as a call knows it."""

    @abstractmethod
    def _takes(self, id: str, tokens: int, patience: float) -> Arguments:
        """The arguments of a decision that takes."""

    @abstractmethod
    def _leaves(self, id: str) -> Arguments:
        """The arguments of one that leaves the line."""

    @abstractmethod
    def _alone(self, id: str, tokens: int, patience: float) -> tuple[str, float, float]:
        """The reply of the local form."""


def id_of(it: object) -> str:
    """Tells two lines of one process apart; the wall clock tells processes apart."""
    return f"{id(it):x}"


class SharedWindows(_SharedQueue):
    """Windows of all processes. Alone, each counts from nothing against its share of them."""

    def __init__(
        self, rates: Sequence[Rate], key: str, state: State, context: BuildContext, *, name: str, of: str
    ) -> None:
        full = [
            Level("tokens" if rate.tokens else "requests", show_rate(rate), int(rate.amount), int(rate.amount))
            for rate in rates
        ]
        super().__init__(WINDOWS, full, key, state, context, name=name, of=of)
        self._windows = [[int(rate.period), max(1, int(rate.amount)), rate.tokens] for rate in rates]
        self._row: Any = None  # of the local form

    def _taken(self, id: str, at: float, tokens: int) -> Taken:
        return Taken(at, tokens)

    def _takes(self, id: str, tokens: int, patience: float) -> Arguments:
        return {
            "event": "take", "id": id, "tokens": tokens, "patience": patience, "hold": _LATE, "windows": self._windows,
        }  # fmt: skip

    def _leaves(self, id: str) -> Arguments:
        return {"event": "leave", "id": id, "windows": self._windows}

    def give(self, taken: Taken) -> None:
        """Take a call out of the windows it still counts in; nobody waits for that."""
        self._changed(taken.at, -1, -taken.tokens)

    def settle(self, taken: Taken, used: int) -> None:
        """Count what was used in place of what was taken."""
        if used != taken.tokens:
            self._changed(taken.at, 0, used - taken.tokens)

    def _changed(self, at: float, requests: int, tokens: int) -> None:
        change = {"event": "change", "at": at, "requests": requests, "tokens": tokens, "windows": self._windows}
        if self._row is not None:
            self._row = WINDOWS.apply(self._row, self._clock.wall(), change)[0]
        self._spawn(self._tell(change))

    def _told(self) -> None:
        self._row = None

    def _alone(self, id: str, tokens: int, patience: float) -> tuple[str, float, float]:
        share = [
            [period, max(ceil(limit / self._members), tokens if counts_tokens else 1), counts_tokens]
            for period, limit, counts_tokens in self._windows
        ]
        arguments = {**self._takes(id, tokens, patience), "windows": share}
        self._row, (what, at, wait, _), _ = WINDOWS.apply(self._row, self._clock.wall(), arguments)
        return what, at, wait


class SharedPlaces(_SharedQueue):
    """Places of all processes. Alone, each has its share of them; those it holds are told at the return."""

    def __init__(self, limit: int, key: str, state: State, context: BuildContext, *, name: str, of: str) -> None:
        super().__init__(
            PLACES, [Level("places", f"{limit} at once", limit, limit)], key, state, context, name=name, of=of
        )
        self._limit = limit
        self._held: set[str] = set()
        self._timer: Timer | None = None

    def _taken(self, id: str, at: float, tokens: int) -> Taken:
        self._held.add(id)
        if self._timer is None:
            self._timer = self._clock.call_at(self._clock.now() + LEASE / 3, self._due)
        return Leased(at, tokens, id)

    def _takes(self, id: str, tokens: int, patience: float) -> Arguments:
        return {"event": "take", "id": id, "patience": patience, "limit": self._limit, **self._times()}

    def _leaves(self, id: str) -> Arguments:
        return {"event": "give", "id": id, **self._times()}

    def _times(self) -> dict[str, float]:
        return {"hold": LEASE, "kept": _SELDOM + _LATE}

    def give(self, taken: Taken) -> None:
        """Free the place; nobody waits for that."""
        assert isinstance(taken, Leased)
        self._held.discard(taken.id)
        self._spawn(self._tell(self._leaves(taken.id)))

    def settle(self, taken: Taken, used: int) -> None:
        """A place is a place, whatever was used."""

    def _told(self) -> None:
        """What is held alone is told with the next renewal."""

    def _alone(self, id: str, tokens: int, patience: float) -> tuple[str, float, float]:
        if len(self._held) < max(1, self._limit // self._members):
            return "taken", self._clock.wall(), 0.0
        return ("wait" if patience > 0 else "refused"), 0.0, -1.0

    @idle
    def _due(self) -> None:
        self._timer = None
        if self._held:
            self._timer = self._clock.call_at(self._clock.now() + LEASE / 3, self._due)
            self._spawn(self._tell({"event": "renew", "ids": sorted(self._held), **self._times()}))

    async def aclose(self) -> None:
        """Nothing is renewed any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
