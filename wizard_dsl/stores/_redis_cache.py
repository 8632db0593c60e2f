"""A cache on a Redis or Valkey server: values as they are, with an expiry, and a sorted set of who leaves first.

Everything is one script, atomic among all processes. The limit is approximate: a value whose time is over counts
until its turn comes. In front lies a small level in this process, whose values are at hand for seconds only, so what
another process wrote or removed is seen soon. While the server is away the cache is what lies in front.
"""

from __future__ import annotations

from collections import OrderedDict
from math import ceil, inf
from typing import TYPE_CHECKING, Any, Final

from wizard_dsl.core.node import StoreUnavailable
from wizard_dsl.core.state import StateUnavailable
from wizard_dsl.stores._redis_line import RedisLine, script_file

if TYPE_CHECKING:
    from wizard_dsl.core.clock import Clock
    from wizard_dsl.stores.memory import Eviction

_SCRIPT: Final = script_file("cache.lua")
#: Entries of the level in front, and for how many seconds they are at hand.
_FRONT: Final = 256
_AT_HAND: Final = 5.0
#: Calls that may wait for a batch under way; beyond it answers are not stored.
_BEHIND: Final = 256
#: Seconds for which an unused cache is remembered, and the longest that a value is kept.
_REMEMBER: Final = 30 * 86_400
#: Keys in one call, where there may be many.
_MANY: Final = 100


class RedisStore:
    """Implements `core.node.Store`. Hits of the level in front do not count as uses on the server."""

    kind = "redis"

    def __init__(self, line: RedisLine, prefix: str, max_entries: int, eviction: Eviction, clock: Clock) -> None:
        self._line = line
        self._keys = (f"{prefix}order", f"{prefix}counts", f"{prefix}value:")
        self._limit = max_entries
        self._rule = eviction
        self._front = _Front(min(max_entries, _FRONT), clock)
        self._told = line.outages

    def look(self, key: str) -> bytes | None:
        return self._front.look(key, _AT_HAND)

    async def get(self, key: str) -> bytes | None:
        """Raises StoreUnavailable once for each outage; cancelling it leaves nothing behind."""
        try:
            value = await self._call("get", key)
        except StateUnavailable:
            self._tell()
            return self._front.look(key, inf)
        if not isinstance(value, bytes):
            self._front.drop(key)
            return None
        self._front.put(key, value)
        return value

    def put(self, key: str, value: bytes, keep: float = inf) -> None:
        self._front.put(key, value)
        milliseconds = max(1, ceil(min(keep, _REMEMBER) * 1000))
        self._behind("put", key, value, milliseconds, self._limit)

    async def delete(self, *keys: str) -> int:
        for key in keys:
            self._front.drop(key)
        gone = 0
        for first in range(0, len(keys), _MANY):
            gone += int(await self._demand("delete", *keys[first : first + _MANY]))
        return gone

    async def keys(self) -> list[str]:
        return [key.decode() for key in await self._demand("keys")]

    async def items(self) -> list[tuple[str, bytes]]:
        keys = await self.keys()
        found: list[tuple[str, bytes]] = []
        for first in range(0, len(keys), _MANY):
            some = keys[first : first + _MANY]
            values = await self._demand("peek", *some)
            found += [(key, value) for key, value in zip(some, values, strict=True) if isinstance(value, bytes)]
        return found

    def count(self, **added: float) -> None:
        if added:
            self._behind("count", *(part for name, number in added.items() for part in (name, repr(number))))

    async def counts(self) -> dict[str, float]:
        flat = await self._demand("counts")
        return {name.decode(): float(number) for name, number in zip(flat[::2], flat[1::2], strict=True) if name}

    async def close(self) -> None:
        """Wait until what was put is written, or given up. Raises StoreUnavailable where an outage was not told yet."""
        await self._line.drained()
        self._tell()

    async def _call(self, what: str, *arguments: str | bytes | float) -> Any:
        return await self._line.call(_SCRIPT(), self._keys, what, self._rule, _REMEMBER, *arguments)

    async def _demand(self, what: str, *arguments: str) -> Any:
        """What the server says; raises StoreUnavailable each time it cannot be asked."""
        try:
            return await self._call(what, *arguments)
        except StateUnavailable:
            self._told = self._line.outages
            raise StoreUnavailable(self._line.reason) from None

    def _behind(self, what: str, *arguments: str | bytes | float) -> None:
        if self._line.waiting < _BEHIND:
            try:
                self._line.call(_SCRIPT(), self._keys, what, self._rule, _REMEMBER, *arguments)
            except StateUnavailable:
                return

    def _tell(self) -> None:
        if self._told < self._line.outages:
            self._told = self._line.outages
            raise StoreUnavailable(f"the cache on {self._line.reason}")


class _Front:
    """The last values that were read or written here, and when."""

    def __init__(self, limit: int, clock: Clock) -> None:
        self._limit = limit
        self._now = clock.now
        self._values: OrderedDict[str, tuple[bytes, float]] = OrderedDict()

    def look(self, key: str, young: float) -> bytes | None:
        found = self._values.get(key)
        return None if found is None or self._now() - found[1] > young else found[0]

    def put(self, key: str, value: bytes) -> None:
        self._values[key] = (value, self._now())
        self._values.move_to_end(key)
        if len(self._values) > self._limit:
            self._values.popitem(last=False)

    def drop(self, key: str) -> None:
        self._values.pop(key, None)
