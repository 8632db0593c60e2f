"""The book of all who share a Redis or Valkey server.

What is reserved on several accounts is one script, on the server's time, so what many processes reserve at once never
exceeds a limit together. A process that is killed leaves its reservations behind; they count until their time is
over, and then they are spent.

While the server is away a reservation on an account with a limit is refused: what others spend is not known. One on
accounts without any is noted here under its id, and what it came to is booked when the server is back, once an id.
Warnings go by what was known last. A process that ends meanwhile takes its notes with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from wizard_dsl.core.budget import BookUnavailable, Ceiling, Entry, Refused, Reserved, Told
from wizard_dsl.core.clock import settle
from wizard_dsl.core.state import StateUnavailable
from wizard_dsl.stores._redis import PREFIX
from wizard_dsl.stores._redis_line import RedisLine, script_file

if TYPE_CHECKING:
    from asyncio import Future

    from wizard_dsl.core.clock import Clock

_SCRIPT: Final = script_file("book.lua")
#: Seconds after which an account that nobody touched is forgotten.
_KEPT: Final = 400 * 86_400
#: Accounts whose sums are remembered for an outage.
_REMEMBERED: Final = 1_000


class _Note(NamedTuple):
    """A reservation made while the server was away."""

    amount: int
    accounts: tuple[str, ...]


class _Word(NamedTuple):
    """What is still to be said to the server, and who hears which warnings became due with it."""

    call: tuple[str | int, ...]
    told: Told | None


class RedisBook:
    """Implements `core.budget.Book`. Connects with the first reservation."""

    def __init__(self, url: str, clock: Clock, prefix: str = f"{PREFIX}{{book}}:") -> None:
        self._line = RedisLine(url, clock)
        self._clock = clock
        self._keys = tuple(f"{prefix}{each}" for each in ("account:", "hold:", "expiring", "touched"))
        self._name = os.urandom(8).hex()
        self._made = 0
        self._told = 0
        self._notes: dict[str, _Note] = {}
        self._sums: dict[str, int] = {}
        self._warned: set[str] = set()
        self._warnings: dict[str, tuple[str | int, ...]] = {}
        self._unwritten: dict[str, _Word] = {}
        self._handed: set[str] = set()
        self._closed = False

    async def reserve(
        self, amount: int, ceilings: Sequence[Ceiling], *, lasts: float, within: float
    ) -> Reserved | Refused:
        self._made += 1
        id = f"{self._name}-{self._made}"
        self._write()
        flat = [part for each in ceilings for part in (each.account, _text(each.limit), _text(each.warn))]
        try:
            reply = await self._patiently(self._call("reserve", id, amount, lasts, *flat), within)
            return self._read(id, reply, ceilings)
        except StateUnavailable as error:
            self._behind(id, None, "settle", id, 0)  # it may have been made all the same
            if all(each.limit is None for each in ceilings):
                return self._note(f"{id}-away", amount, ceilings)
            raise self._unavailable(error) from None
        except BaseException:
            self._behind(id, None, "settle", id, 0)
            raise

    def settle(self, id: str, amount: int | None, told: Told | None = None) -> None:
        note, warnings = self._notes.pop(id, None), self._warnings.pop(id, ())
        due = () if told is None else warnings
        if note is None:
            self._behind(id, told, "settle", id, _text(amount), *due)
            return
        spent = note.amount if amount is None else amount
        for account in note.accounts:
            self._sums[account] = self._sums.get(account, 0) + spent - note.amount
        self._behind(id, told, "spend", id, spent, len(note.accounts), *note.accounts, *due)

    async def entries(self, prefix: str = "") -> Mapping[str, Entry]:
        self._write()
        try:
            rows = await self._call("entries", prefix)
        except StateUnavailable as error:
            raise self._unavailable(error) from None
        return {name.decode(): Entry(int(spent), int(reserved)) for name, spent, reserved in sorted(rows)}

    async def aclose(self) -> None:
        """Wait, for a moment at most, until what was settled is written; what is not stays reserved."""
        if not self._closed:
            for id in list(self._notes):
                self.settle(id, None)
            self._write()
            self._closed = True
            await self._line.close()

    # -- the server -----------------------------------------------------------------------------------

    def _call(self, what: str, *arguments: str | int | float) -> Future[Any]:
        if self._closed:
            raise StateUnavailable("it is closed")
        return self._line.call(_SCRIPT(), self._keys, what, _KEPT, *arguments)

    async def _patiently(self, reply: Future[Any], within: float) -> Any:
        timer = self._clock.call_at(self._clock.now() + within, settle, self._clock, partial(_late, reply, within))
        try:
            return await reply
        finally:
            timer.cancel()

    def _read(self, id: str, reply: Any, ceilings: Sequence[Ceiling]) -> Reserved | Refused:
        if reply[0] == b"refused":
            return Refused(reply[1].decode(), int(reply[2]), int(reply[3]))
        warned = tuple(name.decode() for name in reply[1])
        if len(self._sums) > _REMEMBERED:
            self._sums.clear()
        for each, total in zip(ceilings, reply[2], strict=True):
            self._sums[each.account] = int(total)
        self._warnings[id] = _marks(ceilings)
        return Reserved(id, warned)

    def _behind(self, id: str, told: Told | None, *call: str | int) -> None:
        """Say it as soon as it can be said, and until it was heard. Only the first word counts."""
        self._unwritten.setdefault(id, _Word(call, told))
        self._write()

    def _write(self) -> None:
        """Hand to the server what was settled and is not with it yet."""
        for id, (call, _) in list(self._unwritten.items()):
            if id not in self._handed:
                try:
                    turn = self._call(str(call[0]), *call[1:])
                except StateUnavailable:
                    return
                self._handed.add(id)
                turn.add_done_callback(partial(self._written, id))

    def _written(self, id: str, turn: Future[Any]) -> None:
        self._handed.discard(id)
        if turn.exception() is not None:
            return
        word = self._unwritten.pop(id)
        due = tuple(name for each in turn.result() if (name := each.decode()) not in self._warned)
        if word.told is not None and due:
            word.told(due)

    # -- outages --------------------------------------------------------------------------------------

    def _note(self, id: str, amount: int, ceilings: Sequence[Ceiling]) -> Reserved:
        self._notes[id] = _Note(amount, tuple(each.account for each in ceilings))
        due = []
        for each in ceilings:
            total = self._sums.get(each.account, 0)
            if each.warn is not None and total >= each.warn and each.account not in self._warned:
                due.append(each.account)
            self._sums[each.account] = total + amount
        self._warned.update(due)
        self._warnings[id] = _marks(ceilings)
        return Reserved(id, tuple(due), f"{self._reason()}; what it comes to is booked later" if self._first() else "")

    def _reason(self) -> str:
        return f"the budget book on {self._line.reason} cannot be used"

    def _first(self) -> bool:
        first = self._told < self._line.outages
        self._told = self._line.outages
        return first

    def _unavailable(self, error: StateUnavailable) -> BookUnavailable:
        if self._closed or not self._line.outages:
            return BookUnavailable(f"the budget book cannot be used: {error}", first=True)
        return BookUnavailable(self._reason(), first=self._first())


def _marks(ceilings: Sequence[Ceiling]) -> tuple[str | int, ...]:
    """The accounts that have a warning, each with its sum."""
    return tuple(part for each in ceilings if each.warn is not None for part in (each.account, each.warn))


def _text(amount: int | None) -> str:
    return "" if amount is None else str(amount)


def _late(reply: Future[Any], within: float) -> None:
    if not reply.done():
        reply.set_exception(StateUnavailable(f"it did not answer within {within:.3g} s"))
