"""What stores keep to, each in a folder of its own that is gone afterwards."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.component import StoreType
from wizard_dsl.core.node import Store
from wizard_dsl.stores._open import StoreSet
from wizard_dsl.testing import virtual
from wizard_dsl.testing._conformance_case import Case, expect, same

_MOST: Final = 3
#: Rule → which of a, b, c and d are kept where three fit, and b, b, c, a, a were read before d came.
_KEPT: Final = {"lru": "acd", "fifo": "bcd", "lfu": "abd"}

Test = Callable[[Store], Awaitable[None]]


def store_cases(type: StoreType, *, threads: bool = False) -> Iterator[Case]:
    """`threads` gives it a thread for what blocks, and real time; without, the work is done inline."""

    def case(rule: str, what: str, test: Test, by: str = "lru") -> Case:
        return Case(type.name, rule, what, lambda: _run(type, threads, test, by))

    yield case("kept", "", _kept)
    yield case("at-hand", "", _at_hand)
    yield case("deleted", "", _deleted)
    for by, kept in _KEPT.items():
        yield case("full", by, partial(_full, kept), by)
        yield case("looking", by, _looking, by)
    yield case("counted", "", _counted)
    yield Case(type.name, "declaration", "", lambda: expect(type.summary != "", "it has no summary"))
    yield Case(type.name, "apart", "", lambda: _apart(type, threads))


def _run(type: StoreType, threads: bool, test: Test, by: str) -> None:
    async def main(folder: str) -> None:
        stores = StoreSet(Path(folder), LoopClock(), threads=threads, types={type.name: type})
        try:
            await test(stores.open(type.name, "s", max_entries=_MOST, eviction=by))
        finally:
            untold = await stores.close()
        same("what it says when it is closed", untold, [])

    _in_folder(main, threads)


def _in_folder(main: Callable[[str], Awaitable[None]], threads: bool) -> None:
    async def work(folder: str) -> None:
        await main(folder)

    with TemporaryDirectory() as folder:
        if threads:
            asyncio.run(work(folder))
        else:
            virtual.run(work(folder))


async def _kept(store: Store) -> None:
    same("a key that was never put", await store.get("k"), None)
    for value in (b"1", b"\x00\xff", b""):
        store.put("k", value)
        same(f"after {value!r} was put", await store.get("k"), value)
    for key in ("a/b", "ünï", "x" * 300, " "):
        store.put(key, key.encode())
        same(f"under the key {key[:9]!r}", await store.get(key), key.encode())
    same("the keys", len(await store.keys()), _MOST)


async def _at_hand(store: Store) -> None:
    same("before anything was put, at hand", store.look("k"), None)
    store.put("k", b"1")
    same("at hand after it was put", store.look("k"), b"1")
    await store.delete("k")
    same("at hand after it was deleted", store.look("k"), None)


async def _deleted(store: Store) -> None:
    for key in "abc":
        store.put(key, key.encode())
    same("deleted of a, c and one that is not there", await store.delete("a", "c", "never"), 2)
    same("deleted of none", await store.delete(), 0)
    same("the keys that are left", await store.keys(), ["b"])
    same("what was deleted", await store.get("a"), None)


async def _full(kept: str, store: Store) -> None:
    for key in "abc":
        store.put(key, key.encode())
    for key in "bbcaa":
        same(f"the value of {key}", await store.get(key), key.encode())
    await store.keys()  # what was used is written behind
    store.put("d", b"d")
    same("the keys that are kept", sorted(await store.keys()), list(kept))


async def _looking(store: Store) -> None:
    for key in "abc":
        store.put(key, key.encode())
    before = await store.keys()
    same("the items", await store.items(), [(key, key.encode()) for key in before])
    same("the keys after looking", await store.keys(), before)


async def _counted(store: Store) -> None:
    same("the counters of a new store", await store.counts(), {})
    store.count(hits=2, used=0.25)
    store.count(hits=1)
    same("the counters", await store.counts(), {"hits": 3, "used": 0.25})
    for key in "abcde":
        store.put(key, b"v")
    store.put("e", b"w")
    await store.delete("e")
    same("the counters after five keys in a store of three", (await store.counts()).get("evictions"), 2)


def _apart(type: StoreType, threads: bool) -> None:
    async def main(folder: str) -> None:
        stores = StoreSet(Path(folder), LoopClock(), threads=threads, types={type.name: type})
        one, other = (stores.open(type.name, name, max_entries=_MOST, eviction="lru") for name in ("one", "other"))
        same("what opening it wrote", os.listdir(folder), [])
        one.put("k", b"1")
        same("in the other store", await other.get("k"), None)
        other.put("k", b"2")
        same("in the first store", await one.get("k"), b"1")
        same("what it says when it is closed", await stores.close(), [])

    _in_folder(main, threads)
