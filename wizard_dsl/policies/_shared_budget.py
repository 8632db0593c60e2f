"""A retry budget that many processes share.

First attempts are counted here and handed in together, with the next repeat that is asked for, or after a moment; a
repeat is one decision. Alone each process goes by its own attempts, with its share of the floor.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wizard_dsl.core.state import Arguments, Decided, Decision, State, StateUnavailable
from wizard_dsl.core.target import RetryAllowance
from wizard_dsl.policies._counts import Counts

if TYPE_CHECKING:
    from wizard_dsl.core.clock import Clock, Timer
    from wizard_dsl.core.node import Spawn

_LUA: Final = Path(__file__).parent / "lua"
#: First attempts are handed in at the latest so many seconds after they were made.
_BEHIND: Final = 0.1
_DUST: Final = 1e-9


def decide(row: Any, now: float, arguments: Arguments) -> tuple[Any, Any, float]:
    """Count `deposits` first attempts, take back the repeats that were counted `unused` seconds ago, one for each
    number, and, with `withdraw`, count one, if the window allows it: the reply."""
    counts = Counts(arguments["window"])
    if row is not None:
        counts.restore(row)
    for _ in range(arguments["deposits"]):
        counts.add_first(now)
    for age in arguments["unused"]:
        counts.remove_second(now, now - age)
    granted = False
    if arguments["withdraw"]:
        counts.advance(now)
        granted = _allowed(counts, arguments["ratio"], arguments["floor"])
        if granted:
            counts.add_second(now)
    return counts.row(), granted, arguments["window"] * 1.2


def _allowed(counts: Counts, ratio: float, floor: float) -> bool:
    return counts.second + 1 <= max(ratio * counts.first, floor) + _DUST


DECIDE: Final = Decision("retry_budget", _LUA / "budget.lua", decide, library=_LUA / "counts.lua")


class SharedRetryBudget(RetryAllowance):
    """The allowance of one chain in all processes. `ratio`, `floor` and `window` are those of the policy, the floor as
    repeats in a window."""

    def __init__(
        self, *, ratio: float, floor: float, window: float, key: str, state: State, clock: Clock, spawn: Spawn
    ) -> None:
        self._settings = {"ratio": ratio, "floor": floor, "window": window}
        self._key = key
        self._state = state
        self._clock = clock
        self._spawn = spawn
        self._own = Counts(window)
        self._members = 1
        self._deposits = 0
        self._unused: list[float] = []  # when each was granted, a loop time
        self._timer: Timer | None = None

    def deposit(self, now: float) -> None:
        self._own.add_first(now)
        self._deposits += 1
        self._soon(now)

    def give_back(self, now: float, taken: float) -> None:
        self._own.remove_second(now, taken)
        self._unused.append(taken)
        self._soon(now)

    def _soon(self, now: float) -> None:
        """Hand in what was counted here, after a moment."""
        if self._timer is None:
            self._timer = self._clock.call_at(now + _BEHIND, self._due)

    async def withdraw(self, now: float) -> bool:
        """One repeat; asking takes no longer than the state is waited for."""
        granted = await self._asked(withdraw=True)
        if granted:
            self._own.add_second(now)
        return granted

    async def _asked(self, *, withdraw: bool) -> bool:
        deposits, self._deposits = self._deposits, 0
        unused, self._unused = self._unused, []
        now = self._clock.now()
        ages = [now - taken for taken in unused]
        arguments = {**self._settings, "deposits": deposits, "unused": ages, "withdraw": withdraw}
        try:
            decided = await self._state.decide(DECIDE, self._key, arguments, lost=self._lost)
        except StateUnavailable:
            return withdraw and self._alone()
        self._members = decided.members
        return bool(decided.reply)

    def _lost(self, decided: Decided) -> None:
        """A repeat that was allowed when nobody waited for it any more."""
        if decided.reply:
            now = self._clock.now()
            self._unused.append(now)
            self._soon(now)

    def _alone(self) -> bool:
        self._own.advance(self._clock.now())
        return _allowed(self._own, self._settings["ratio"], self._settings["floor"] / self._members)

    def _due(self) -> None:
        self._timer = None
        if self._deposits or self._unused:
            self._spawn(self._hand_in())

    async def _hand_in(self) -> None:
        await self._asked(withdraw=False)

    async def aclose(self) -> None:
        """Hand in what is left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._deposits or self._unused:
            await self._hand_in()
