"""What all users of one cache share: its store, its flights, the refreshes that run, and what it counted.

Figures are counted in plain integers where the calls pass, and added to the store's own counters once in a while
and at the end: what lives on disk counts for all processes, what lives in memory for its runtime.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from wizard_dsl.core.component import seconds
from wizard_dsl.policies._entry import Entry, Label, decode, label
from wizard_dsl.policies._flight import Flights

if TYPE_CHECKING:
    from wizard_dsl.core.clock import Clock
    from wizard_dsl.core.messages import Usage
    from wizard_dsl.core.node import Store, Stores
    from wizard_dsl.policies.cache import CacheConfig

#: Seconds between two additions to the store's counters.
_BETWEEN = 1.0
#: So many entries that were given are kept as they were read.
_READ = 128


class CacheStats(msgspec.Struct, frozen=True):
    """Figures of one cache. A hit is a lookup that was answered at once; every other lookup is a miss.

    `negative_hits` and the answers given while they are refreshed are among the hits; `stale_served` counts these and
    the ones that stood in for a failure. `shared` calls followed an equal one in flight, and are neither.
    `ttl_utilisation` is the mean, over all hits, of the age of what was given by its time to live, 1 where it had
    passed: near 0 a shorter time would do, near 1 a longer one would save more. Rates are None before the first lookup.
    """

    cache: str
    store: str
    size: int
    capacity: int
    hits: int
    misses: int
    hit_rate: float | None
    miss_rate: float | None
    insertions: int
    evictions: int
    ttl_utilisation: float | None
    negative_hits: int
    stale_served: int
    shared: int

    def to_json(self) -> dict[str, Any]:
        """Plain data; keys never disappear."""
        return msgspec.structs.asdict(self)


class CacheEntry(msgspec.Struct, frozen=True):
    """One stored answer, without its content. `name` is `chain/target/key`, which globs match; `kind` is ok, or that
    of a remembered error, and `target` then where it was met. An entry is `stale` while it may still stand in, and
    `expired` where nobody is given it any more. Times are seconds since the Unix epoch."""

    cache: str
    name: str
    key: str
    target: str
    model: str | None
    kind: str
    state: Literal["fresh", "stale", "expired"]
    stored: float
    expires: float
    size: int
    usage: Usage | None

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


class Pick(msgspec.Struct, frozen=True):
    """Which entries are meant: those of which everything holds that is not None; all of them where nothing is."""

    prefix: str | None = None
    glob: str | None = None
    model: str | None = None
    expired: bool = False

    def takes(self, entry: CacheEntry, says: Label) -> bool:
        return (
            (self.prefix is None or entry.key.startswith(self.prefix))
            and (self.glob is None or fnmatchcase(entry.name, self.glob))
            and (self.model is None or says.is_of(self.model))
            and (not self.expired or entry.state == "expired")
        )


class Counters:
    """What was counted since it was last added to the store's counters."""

    __slots__ = ("hits", "insertions", "misses", "negative_hits", "shared", "stale_served", "used")

    def __init__(self) -> None:
        self.hits = self.misses = self.insertions = self.negative_hits = self.stale_served = self.shared = 0
        self.used = 0.0

    def take(self) -> dict[str, float]:
        """What is not zero; begins anew."""
        taken = {name: getattr(self, name) for name in self.__slots__ if getattr(self, name)}
        Counters.__init__(self)
        return taken


def after(text: str) -> float:
    """Seconds after its time in which an answer may still be given; below zero where it never may."""
    found = seconds(text)
    return -1.0 if found is None else found


class Shelf:
    """The cache at `path`, of chain `chain`."""

    def __init__(self, config: CacheConfig, path: str, chain: str, stores: Stores, clock: Clock) -> None:
        self.path = path
        self.store: Store = stores.open(config.store, path, max_entries=config.max_entries, eviction=config.eviction)
        self.flights = Flights(clock)
        self.counted = Counters()
        #: Keys that are being refreshed.
        self.refreshing: set[str] = set()
        self._read: dict[str, tuple[bytes, Entry]] = {}
        self._chain = chain
        self._kind = config.store if self.store.kind == "memory" else self.store.kind
        self._capacity = config.max_entries
        self._keeps = max(after(config.stale_if_error), after(config.stale_while_revalidate))
        self._clock = clock
        self._added = clock.now()

    def read(self, key: str, value: bytes) -> Entry | None:
        """The entry in `value`, which the store has at hand: read once, for as long as it is the same bytes. None where
        it cannot be read."""
        known = self._read.get(key)
        if known is not None and known[0] is value:
            return known[1]
        entry = decode(value)
        if entry is not None:
            if len(self._read) >= _READ:
                self._read.clear()
            self._read[key] = value, entry
        return entry

    def keeps(self, entry: Entry) -> float:
        """Seconds for which anybody may be given it, from when it is stored."""
        life = entry.expires - entry.stored
        return life if entry.refusal is not None or self._keeps < 0.0 else life + self._keeps

    def add_up(self) -> None:
        """Add to the store's counters, where that was not done just now."""
        now = self._clock.now()
        if now - self._added >= _BETWEEN:
            self._added = now
            self.store.count(**self.counted.take())

    async def aclose(self) -> None:
        """Leave what was counted with the store."""
        taken = self.counted.take()
        if taken:
            self.store.count(**taken)

    async def stats(self) -> CacheStats:
        """Raises StoreUnavailable, as what follows."""
        await self.aclose()
        counts = await self.store.counts()
        size = len(await self.store.keys())
        hits, misses = int(counts.get("hits", 0)), int(counts.get("misses", 0))
        looked = hits + misses
        return CacheStats(
            cache=self.path,
            store=self._kind,
            size=size,
            capacity=self._capacity,
            hits=hits,
            misses=misses,
            hit_rate=round(hits / looked, 6) if looked else None,
            miss_rate=round(misses / looked, 6) if looked else None,
            insertions=int(counts.get("insertions", 0)),
            evictions=int(counts.get("evictions", 0)),
            ttl_utilisation=round(counts.get("used", 0.0) / hits, 6) if hits else None,
            negative_hits=int(counts.get("negative_hits", 0)),
            stale_served=int(counts.get("stale_served", 0)),
            shared=int(counts.get("shared", 0)),
        )

    async def entries(self, pick: Pick | None = None) -> list[CacheEntry]:
        """The picked ones, the one that would be evicted first before the others."""
        wanted = pick or Pick()
        found = []
        for key, value in await self.store.items():
            says = label(value)
            entry = self._entry(key, value, says)
            if wanted.takes(entry, says):
                found.append(entry)
        return found

    async def clear(self, pick: Pick) -> int:
        """Remove the picked ones; returns how many."""
        keys = await self.store.keys() if pick == Pick() else [each.key for each in await self.entries(pick)]
        return await self.store.delete(*keys)

    def _entry(self, key: str, value: bytes, says: Label) -> CacheEntry:
        now = self._clock.wall()
        keeps = -1.0 if says.refusal is not None else self._keeps
        return CacheEntry(
            cache=self.path,
            name=f"{self._chain}/{says.target}/{key}",
            key=key,
            target=says.target,
            model=None if says.completion is None else says.completion.model,
            kind="ok" if says.refusal is None else says.refusal.kind,
            state="fresh" if says.expires > now else "stale" if now - says.expires <= keeps else "expired",
            stored=says.stored,
            expires=says.expires,
            size=len(value),
            usage=says.usage,
        )
