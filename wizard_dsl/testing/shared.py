"""State shared by several "processes" of one test, in virtual time: each has a `SharedKeeper` over one `MemoryKeeper`.

    keeper = MemoryKeeper(LoopClock())
    mine, yours = keeper.member(), keeper.member()
    chains = [build_chain({"a": […]}, policies=[…], state=each) for each in (mine, yours)]
    keeper.away = True                                     # from now on each goes on alone

Decisions are made by their Python form, on the wall clock, as in a database on this machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from wizard_dsl.core.clock import Clock
from wizard_dsl.core.events import Event
from wizard_dsl.stores._state import Ask, SharedKeeper


class MemoryKeeper:
    """Implements `stores._state.Keeper` in memory. `delay` is how long a batch takes, `away` refuses it, `garbage`
    stands for every reply; `batches` counts, `rows` are the rows by key, `told` all events of outages."""

    name = "memory"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.rows: dict[str, tuple[bytes, float]] = {}
        self.members: dict[str, set[str]] = {}
        self.away = False
        self.delay = 0.0
        self.garbage: bytes | None = None
        self.batches: list[int] = []
        self.told: list[Event] = []

    def member(self) -> SharedKeeper:
        """The state as one more process sees it."""
        return SharedKeeper(self, self._clock, self.told.append)

    async def ask(self, batch: Sequence[Ask], /) -> list[bytes]:
        """See Keeper."""
        self.batches.append(len(batch))
        await self._clock.sleep(self.delay)
        if self.away:
            raise ConnectionError
        return [self.garbage or self._one(each) for each in batch]

    def _one(self, ask: Ask) -> bytes:
        now = self._clock.wall()
        members = self.members.setdefault(ask.key, set())
        if ask.member:
            members.add(ask.member)
        kept, until = self.rows.get(ask.key, (b"", 0.0))
        row = msgspec.msgpack.decode(kept) if until > now else None
        arguments: dict[str, Any] = msgspec.msgpack.decode(ask.arguments)
        row, reply, keep = ask.decision.apply(row, now, arguments)
        self.rows[ask.key] = (msgspec.msgpack.encode(row), now + keep if row is not None else 0.0)
        return msgspec.msgpack.encode((now, len(members), reply))

    async def leave(self, keys: Sequence[str], member: str, /) -> None:
        """See Keeper."""
        for key in keys:
            self.members.get(key, set()).discard(member)

    async def close(self) -> None:
        """There is nothing to close."""
