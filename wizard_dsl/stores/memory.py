"""Memory: keyed bytes in this process, with an entry limit and a choice of who leaves first."""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from typing import Any, Literal

from wizard_dsl.core.component import StoreType

Eviction = Literal["lru", "lfu", "fifo"]


class MemoryStore:
    """At most `max_entries` values. Full, it drops the least recently used (lru), the least often used (lfu; of
    equals the least recently used), or the first stored (fifo; storing again counts as new)."""

    kind = "memory"

    def __init__(self, max_entries: int, eviction: Eviction) -> None:
        self._limit = max_entries
        self._recency = eviction == "lru"
        self._uses = _Uses() if eviction == "lfu" else None
        self._values: OrderedDict[str, bytes] = OrderedDict()
        self._counts: dict[str, float] = {}

    def look(self, key: str) -> bytes | None:
        """As `get`: all is at hand."""
        value = self._values.get(key)
        if value is not None:
            if self._recency:
                self._values.move_to_end(key)
            elif self._uses is not None:
                self._uses.count(key)
        return value

    async def get(self, key: str) -> bytes | None:
        return self.look(key)

    def put(self, key: str, value: bytes, keep: float = inf) -> None:
        self.drop(key)
        if len(self._values) >= self._limit:
            self.drop(next(iter(self._values)) if self._uses is None else self._uses.least())
            self.count(evictions=1)
        self._values[key] = value
        if self._uses is not None:
            self._uses.count(key)

    def drop(self, key: str) -> bool:
        """As `delete` of one key, for those who need not await."""
        if self._values.pop(key, None) is None:
            return False
        if self._uses is not None:
            self._uses.forget(key)
        return True

    async def delete(self, *keys: str) -> int:
        return sum(self.drop(key) for key in keys)

    async def keys(self) -> list[str]:
        return list(self._values) if self._uses is None else self._uses.ordered()

    async def items(self) -> list[tuple[str, bytes]]:
        return [(key, self._values[key]) for key in await self.keys()]

    def count(self, **added: float) -> None:
        for name, number in added.items():
            self._counts[name] = self._counts.get(name, 0) + number

    async def counts(self) -> dict[str, float]:
        return dict(self._counts)

    async def close(self) -> None:
        """Forgets everything."""
        for key in list(self._values):
            self.drop(key)


class _Uses:
    """How often each key was used, in constant time for each use: keys stand in one queue per count."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._queues: dict[int, OrderedDict[str, None]] = {}
        self._least = 0

    def count(self, key: str) -> None:
        """One more use; a new key begins with one."""
        uses = self._counts.get(key, 0)
        if uses == 0:
            self._least = 1
        elif self._leave(key, uses) and self._least == uses:
            self._least = uses + 1
        self._counts[key] = uses + 1
        self._queues.setdefault(uses + 1, OrderedDict())[key] = None

    def forget(self, key: str) -> None:
        uses = self._counts.pop(key)
        if self._leave(key, uses) and self._least == uses:
            self._least = min(self._queues, default=0)

    def _leave(self, key: str, uses: int) -> bool:
        """Take `key` out of its queue. True where the queue is empty now, and gone."""
        queue = self._queues[uses]
        del queue[key]
        if queue:
            return False
        del self._queues[uses]
        return True

    def least(self) -> str:
        """The least often used; of equals the one whose last use is longest ago."""
        return next(iter(self._queues[self._least]))

    def ordered(self) -> list[str]:
        return [key for uses in sorted(self._queues) for key in self._queues[uses]]


def open_memory(*, max_entries: int, eviction: Eviction, **elsewhere: Any) -> MemoryStore:
    """A store of this process alone; folder, clock and worker are for others."""
    return MemoryStore(max_entries, eviction)


MEMORY = StoreType(name="memory", summary="In this process; gone when it ends.", open=open_memory)
