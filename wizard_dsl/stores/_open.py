"""The stores of one runtime: opened on first use, by kind and name, and closed together."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from wizard_dsl.core.node import Store, StoreUnavailable
from wizard_dsl.stores._worker import Inline, Thread
from wizard_dsl.stores.memory import MEMORY

if TYPE_CHECKING:
    from pathlib import Path

    from wizard_dsl.core.clock import Clock
    from wizard_dsl.core.component import StoreType
    from wizard_dsl.stores._redis_line import RedisLine
    from wizard_dsl.stores._worker import Worker
    from wizard_dsl.stores.memory import Eviction


class StoreSet:
    """Implements `core.node.Stores`.

    Every store gets a folder below `folder`, named after it. Without a folder nothing is written anywhere, and every
    store is one in memory: for mocked and simulated runs, whose answers must never be taken for real ones. `threads`
    is False where the loop tolerates none, as in virtual time. With `server`, a URL of Redis, what others keep in
    memory lies there, under the name `family`, for all processes that use both. `types` are kinds besides the
    built-in ones.
    """

    def __init__(
        self,
        folder: Path | None,
        clock: Clock,
        *,
        threads: bool = True,
        types: Mapping[str, StoreType] = MappingProxyType({}),
        server: str = "",
        family: str = "",
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._worker: Callable[[], Worker] = Thread if threads else lambda: Inline(clock)
        self._line = _line_to(server, clock) if server else None
        self._types = types
        self._family = family
        self._open: dict[tuple[str, str], Store] = {}

    def open(self, kind: str, name: str, *, max_entries: int, eviction: str) -> Store:
        """The store of this kind and name; the first to open it decides its size. Does not touch the disk."""
        store = self._open.get((kind, name))
        if store is None and kind == "memory" and self._line is not None:
            from wizard_dsl.stores._redis import PREFIX
            from wizard_dsl.stores._redis_cache import RedisStore

            prefix = f"{PREFIX}cache:{{{self._family}/{name}}}:"
            store = RedisStore(self._line, prefix, max_entries, cast("Eviction", eviction), self._clock)
            self._open[kind, name] = store
        if store is None:
            made = (self._types.get(kind) or _built_in(kind)) if self._folder is not None else MEMORY
            store = self._open[kind, name] = made.open(
                folder=self._folder / folder_name(name) if self._folder is not None else None,
                max_entries=max_entries,
                eviction=eviction,
                clock=self._clock,
                worker=self._worker,
            )
        return store

    async def close(self) -> list[str]:
        """Close all. Returns a sentence for each store that failed and could not tell anybody."""
        untold = []
        while self._open:
            _, store = self._open.popitem()
            try:
                await store.close()
            except StoreUnavailable as error:
                untold.append(str(error))
        if self._line is not None:
            await self._line.close()
        return untold


def _built_in(kind: str) -> StoreType:
    if kind == MEMORY.name:
        return MEMORY
    from wizard_dsl.stores.disk import DISK

    return {DISK.name: DISK}[kind]


def _line_to(server: str, clock: Clock) -> RedisLine:
    from wizard_dsl.stores._redis_line import RedisLine

    return RedisLine(server, clock)


def folder_name(name: str) -> str:
    """`name` with everything that means something to a file system replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".") or "_"
