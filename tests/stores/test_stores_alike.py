"""What holds for every store."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.stores._open import StoreSet, folder_name
from wizard_dsl.stores.memory import MemoryStore
from wizard_dsl.testing import virtual


class Kind:
    """How a store is opened and its loop run."""

    def __init__(self, kind: str, threads: bool, folder, server: str = "") -> None:
        self.kind, self.threads, self.folder, self.server = kind, threads, folder, server

    def run(self, test, **options):
        async def main():
            stores = StoreSet(self.folder, LoopClock(), threads=self.threads, server=self.server)
            store = stores.open(self.kind, "s", max_entries=options.get("most", 3), eviction=options.get("by", "lru"))
            await test(store)
            assert await stores.close() == []

        asyncio.run(main()) if self.threads or self.server else virtual.run(main())


@pytest.fixture(params=["memory", "disk", "disk-thread", pytest.param("redis", marks=pytest.mark.server)])
def kind(request, tmp_path):
    if request.param == "redis":
        return Kind("memory", False, tmp_path / "cache", request.getfixturevalue("redis").connection_url)
    return Kind(request.param.split("-")[0], request.param.endswith("thread"), tmp_path / "cache")


@pytest.mark.parametrize(
    ("by", "kept"),
    [("lru", "acd"), ("fifo", "bcd"), ("lfu", "abd")],
)
def test_a_full_store_drops_by_its_rule(kind, by, kept):
    async def test(store):
        for key in "abc":
            store.put(key, key.encode())
        for key in "bbcaa":
            if not isinstance(store, MemoryStore):
                store._front.drop(key)  # so that it is the disk, or the server, that is used
            assert await store.get(key) == key.encode()
        store.put("d", b"d")
        assert sorted(await store.keys()) == list(kept)

    kind.run(test, by=by)


OPERATIONS = st.lists(st.tuples(st.sampled_from(["get", "put", "delete"]), st.sampled_from("abcdef")), max_size=60)


@given(OPERATIONS, st.integers(1, 4), st.sampled_from(["lru", "lfu", "fifo"]))
@settings(max_examples=300)
def test_memory_evicts_as_a_plain_model_does(operations, most, by):
    store = MemoryStore(most, by)
    stored: dict[str, int] = {}
    used: dict[str, int] = {}
    uses: Counter[str] = Counter()
    rank = {
        "lru": lambda key: used[key],
        "lfu": lambda key: (uses[key], used[key]),
        "fifo": lambda key: stored[key],
    }[by]
    for now, (what, key) in enumerate(operations):
        if what == "get":
            assert (store.look(key) is not None) == (key in stored)
            if key in stored:
                used[key] = now
                uses[key] += 1
            continue
        store.drop(key) if what == "delete" else store.put(key, b"v")
        stored.pop(key, None)
        uses.pop(key, None)
        if what == "put":
            if len(stored) == most:
                stored.pop(min(stored, key=rank))
            stored[key] = used[key] = now
            uses[key] = 1
        assert virtual.run(store.keys()) == sorted(stored, key=rank)


def test_a_set_opens_each_store_once_and_each_name_apart(tmp_path):
    async def main():
        stores = StoreSet(tmp_path, LoopClock(), threads=False)
        options = {"max_entries": 5, "eviction": "lru"}
        one = stores.open("disk", "chains.a.cache", **options)
        assert stores.open("disk", "chains.a.cache", **options) is one
        other = stores.open("disk", "chains.b.cache", **options)
        assert list(tmp_path.iterdir()) == [], "nothing is made before it is used"
        one.put("k", b"1")
        other.put("k", b"2")
        assert await stores.close() == []
        assert {each.name for each in tmp_path.iterdir()} == {"chains.a.cache", "chains.b.cache"}

    virtual.run(main())


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    async def main():
        stores = StoreSet(None, LoopClock(), threads=False)
        store = stores.open("disk", "x", max_entries=5, eviction="lru")
        assert isinstance(store, MemoryStore)
        store.put("k", b"1")
        assert await stores.close() == []

    monkeypatch.chdir(tmp_path)
    virtual.run(main())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "folder"),
    [("chains.a.cache", "chains.a.cache"), ("../../etc", "_.._etc"), ("a/b\\c:d", "a_b_c_d"), ("..", "_"), ("", "_")],
)
def test_a_name_never_leaves_its_folder(name, folder):
    assert folder_name(name) == folder


# -- looking at a store from outside ---------------------------------------------------------------------


@pytest.mark.parametrize("by", ["lru", "lfu", "fifo"])
def test_looking_at_all_entries_is_no_use_of_them(kind, by):
    async def test(store):
        for key in "abc":
            store.put(key, key.encode())
        before = await store.keys()
        assert await store.items() == [(key, key.encode()) for key in before]
        assert await store.keys() == before

    kind.run(test, by=by)


def test_counters_add_up_and_what_a_full_store_drops_is_one_of_them(kind):
    async def test(store):
        assert await store.counts() == {}
        store.count(hits=2, used=0.25)
        store.count(hits=1)
        assert await store.counts() == {"hits": 3, "used": 0.25}
        for key in "abcde":
            store.put(key, b"v")
        store.put("e", b"w")
        await store.delete("e")
        assert await store.counts() == {"hits": 3, "used": 0.25, "evictions": 2}

    kind.run(test)
