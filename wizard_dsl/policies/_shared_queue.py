"""Places that many processes share, and the line of those who wait, which stands before shared windows too.

One decision says whether there is room for a call, for those who wait before it are counted first; else it keeps its
place in the line, and asks again when its turn is due, or, where only a release can tell, after a moment that grows.
Who does not ask again in time has lost its place. A place that is taken is a lease: a timer renews those of a process
together, and those of one that died are free when they expire.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wizard_dsl.core.clock import idle
from wizard_dsl.core.figures import LimitFigures
from wizard_dsl.core.state import Arguments, Decided, Decision, State, StateUnavailable
from wizard_dsl.policies._line import Crossings, Level, Taken, figures_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wizard_dsl.core.clock import Timer
    from wizard_dsl.core.node import BuildContext

_LUA: Final = Path(__file__).parent / "lua"
#: Seconds that a waiting call keeps its place after it should have asked again.
LATE: Final = 1.0
#: Seconds between two questions of a call that waits for a release: at first, and at most.
_SOON: Final = 0.02
_SELDOM: Final = 0.25
#: Seconds for which a place is leased; it is renewed three times in that time.
LEASE: Final = 10.0


class Leased(Taken, frozen=True):
    """A place, by the name of its lease."""

    id: str = ""


def still_waiting(row: Any, now: float) -> list[list[Any]]:
    return [each for each in row["queue"] if each[1] > now] if row is not None else []


def place_of(queue: list[list[Any]], id: str) -> int:
    """The place in the line, from 0: its own, or behind the last."""
    return next((index for index, each in enumerate(queue) if each[0] == id), len(queue))


def without(rows: list[list[Any]], id: str) -> list[list[Any]]:
    return [each for each in rows if each[0] != id]


# -- places -----------------------------------------------------------------------------------------


def decide_places(row: Any, now: float, arguments: Arguments) -> tuple[Any, Any, float]:
    """take, with the same replies; give back a place, or one's place in the line; renew leases, lost ones too."""
    queue = still_waiting(row, now)
    leases = [each for each in row["leases"] if each[1] > now] if row is not None else []
    reply: list[Any] = ["", 0, 0, []]
    match arguments["event"]:
        case "take":
            id = arguments["id"]
            index = place_of(queue, id)
            if index < arguments["limit"] - len(leases):
                leases.append([id, now + arguments["hold"]])
                queue, reply = without(queue, id), ["taken", now, 0, [arguments["limit"] - len(leases)]]
            elif arguments["patience"] <= 0:
                queue, reply = without(queue, id), ["refused", 0, -1, [arguments["limit"] - len(leases)]]
            else:
                queue[index : index + 1] = [[id, now + arguments["kept"], 0]]
                reply = ["wait", 0, -1, [arguments["limit"] - len(leases)]]
        case "give":
            queue, leases = without(queue, arguments["id"]), without(leases, arguments["id"])
        case _:
            for id in arguments["ids"]:
                leases = [*without(leases, id), [id, now + arguments["hold"]]]
    return {"queue": queue, "leases": leases}, reply, arguments["hold"] + arguments["kept"]


PLACES: Final = Decision("places", _LUA / "places.lua", decide_places, library=_LUA / "queue.lua")


# -- the lines --------------------------------------------------------------------------------------


class SharedQueue(ABC):
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
            self._told(decided, arguments)
            if decided.reply[0] == "taken":
                self.give(self._taken(id, decided.reply[1], tokens))

        try:
            decided = await self._state.decide(self._decision, self._key, arguments, until=deadline, lost=lost)
        except StateUnavailable:
            self._untold(arguments)
            alone = self._alone(id, tokens, patience)
            if alone[0] == "refused":  # there may have been no time left to ask, and the line is not away
                self._spawn(self._tell(self._leaves(id)))
            return alone
        except BaseException:
            self._untold(arguments)
            raise
        self._members = decided.members
        left = zip(self._levels, self._told(decided, arguments), strict=True)
        self._levels = tuple(msgspec.structs.replace(level, available=available) for level, available in left)
        what, at, wait, _ = decided.reply
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
    def _told(self, decided: Decided, arguments: Arguments) -> Sequence[float]:
        """The keeper answered; what each level has left."""

    @abstractmethod
    def _untold(self, arguments: Arguments) -> None:
        """Whether the keeper got these is not known."""

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


class SharedPlaces(SharedQueue):
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
        return {"hold": LEASE, "kept": _SELDOM + LATE}

    def give(self, taken: Taken) -> None:
        """Free the place; nobody waits for that."""
        assert isinstance(taken, Leased)
        self._held.discard(taken.id)
        self._spawn(self._tell(self._leaves(taken.id)))

    def settle(self, taken: Taken, used: int) -> None:
        """A place is a place, whatever was used."""

    def _told(self, decided: Decided, arguments: Arguments) -> Sequence[float]:
        """See SharedQueue; what is held alone is told with the next renewal."""
        left: Sequence[float] = decided.reply[3]
        return left

    def _untold(self, arguments: Arguments) -> None:
        """A place that was taken, and nobody knows of, is free when its lease expires."""

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
