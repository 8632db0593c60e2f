"""What the cache stores and gives: keys, expiry, hits."""

from __future__ import annotations

import msgspec
import pytest
from cache_kit import ASK, SPEAKS, USAGE, Bench
from hypothesis import given
from hypothesis import strategies as st

from wizard_dsl.core.bound import Bound, BoundFacts, Figure
from wizard_dsl.core.errors import ServerError, StreamBroken
from wizard_dsl.core.events import CacheHit, CacheStored, CacheUnavailable
from wizard_dsl.core.messages import Completion, Request, Tool, ToolCall, Usage, message
from wizard_dsl.core.node import StoreUnavailable
from wizard_dsl.core.run import Call, Run, Scope, Transcript
from wizard_dsl.policies._entry import Entry, cache_key, encode
from wizard_dsl.policies.cache import CACHE, CacheConfig, check
from wizard_dsl.stores.memory import MemoryStore
from wizard_dsl.testing import virtual

RUN = Run(Scope("r"), 1.0, Transcript(0.0), Call())
both = pytest.mark.parametrize("commit", ["end", "content"])


def key(request: Request, run: Run = RUN, asked: tuple[str, str] = ("m", ""), scope: str = "shared") -> str:
    return cache_key(request, run, asked, scope)


# -- the key --------------------------------------------------------------------------------------------

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def turned(value):
    """The same value with every mapping in another order."""
    if isinstance(value, dict):
        return {name: turned(value[name]) for name in reversed(value)}
    return [turned(each) for each in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text(max_size=4), values, max_size=5))
def test_the_order_of_mappings_does_not_matter(params):
    there = Request(params=params, schema=params, tools=(Tool("t", parameters=params),))
    back = Request(params=turned(params), schema=turned(params), tools=(Tool("t", parameters=turned(params)),))
    assert key(there) == key(back)


@given(st.dictionaries(st.text(max_size=4), values, max_size=5), st.text(max_size=4), values)
def test_a_parameter_that_is_absent_differs_from_any_value_of_it(params, name, value):
    without = {each: params[each] for each in params if each != name}
    assert key(Request(params=without)) != key(Request(params={**without, name: value}))


def test_everything_that_can_change_the_answer_changes_the_key():
    base = Request(messages=(message("user", "x"),))
    variants = [
        base,
        Request(messages=(message("system", "x"),)),
        Request(messages=(message("user", "x"), message("user", ""))),
        msgspec.structs.replace(base, params={"temperature": 0}),
        msgspec.structs.replace(base, params={"temperature": None}),
        msgspec.structs.replace(base, params={"temperature": 1}),
        msgspec.structs.replace(base, schema={}),
        msgspec.structs.replace(base, tools=(Tool("t"),)),
        msgspec.structs.replace(base, kind="embed"),
        msgspec.structs.replace(base, texts=("x",)),
    ]
    keys = [key(each) for each in variants]
    keys += [key(base, asked=("other", "")), key(base, asked=("m", "2"))]
    keys += [key(base, run=RUN.child(allow_empty=True))]
    assert len(set(keys)) == len(keys)


def test_every_field_of_a_request_is_part_of_the_key():
    """A field that is added to Request is covered without anybody thinking of it."""
    fields = {each.name for each in msgspec.structs.fields(Request)}
    assert fields == set(msgspec.to_builtins(Request()))


def test_who_asks_and_until_when_is_no_part_of_the_key():
    other = Run(Scope("r2", number=9, step="s", session="a", principal="b"), 99.0, Transcript(5.0), Call(), "content")
    assert key(ASK) == key(ASK, run=other)


@pytest.mark.parametrize("scope", ["session", "principal"])
def test_the_scope_keeps_answers_apart(scope):
    owners = [RUN, *(RUN.child(scope=Scope("r", **{scope: name})) for name in "ab")]
    keys = [key(ASK, run=owner, scope=scope) for owner in owners]
    assert len({*keys, key(ASK)}) == 4
    assert key(ASK, run=RUN.child(scope=Scope("r2", **{scope: "a"})), scope=scope) == keys[1]


def test_the_key_is_pinned():
    """A change of this value leaves every stored answer of every user behind: think twice."""
    assert key(ASK) == "7e21e0e8f234d338ff813261db9515845da3281c6d2e433f994eaabf5bd6e7ff"


def test_a_request_that_json_cannot_say_is_not_cached():
    async def main():
        bench = Bench()
        odd = Request(params={"stop": object()})
        assert [await bench.ask(odd), await bench.ask(odd)] == ["abc", "abc"]
        assert bench.calls == 2
        assert bench.names() == ["cache_unavailable"] * 2
        assert "object" in bench.events[0][1].reason

    virtual.run(main())


# -- hits -----------------------------------------------------------------------------------------------


@both
def test_a_hit_calls_nobody_and_reports_usage_zero_and_what_was_saved(commit):
    async def main():
        bench = Bench()
        await bench.ask(commit=commit)
        run = bench.run("again", commit=commit)
        before = bench.clock.now()
        response = await bench.cache.call(ASK, run)
        completion = await response.read()
        assert (completion.text, completion.finish_reason, completion.usage) == ("abc", "stop", Usage())
        served = response.served
        assert (served.target, served.cached, served.shared, served.saved) == ("scripted", True, False, USAGE)
        assert bench.calls == 1 and bench.clock.now() == before
        assert run.transcript.attempts == [] and not run.call.deposited
        assert bench.names("again") == ["cache_hit"]
        assert bench.open_flights == 0

    virtual.run(main())


def test_an_answer_at_hand_is_given_though_an_equal_call_is_in_flight():
    """Another process may have stored it meanwhile, or a refresh."""
    import asyncio

    async def main():
        bench = Bench(scripts=[SPEAKS, [(60.0, "late"), (0.0, None)]])
        await bench.ask()
        (key,) = await bench.cache._store.keys()
        value = bench.cache._store.look(key)
        await bench.cache._store.delete(key)
        first = asyncio.ensure_future(bench.ask())
        await bench.clock.sleep(1)
        bench.cache._store.put(key, value)
        before = bench.clock.now()
        assert await bench.ask() == "abc"
        assert bench.clock.now() == before
        assert await first == "late"

    virtual.run(main())


def test_a_miss_is_told_and_then_what_was_stored():
    async def main():
        bench = Bench()
        await bench.ask()
        assert bench.names() == ["cache_miss", "cache_stored"]

    virtual.run(main())


@both
@pytest.mark.parametrize("single_flight", [True, False])
def test_a_hit_lasts_until_the_jittered_ttl_and_not_longer(commit, single_flight):
    async def main():
        bench = Bench(config={"ttl": "100s", "single_flight": single_flight})
        await bench.ask(commit=commit)
        (ttl,) = [event.ttl for _, event in bench.events if type(event) is CacheStored]
        assert 90 <= ttl <= 110 and ttl != 100
        await bench.clock.sleep(ttl - 0.001)
        await bench.ask(commit=commit)
        assert bench.calls == 1
        assert [round(event.age, 3) for _, event in bench.events if type(event) is CacheHit] == [round(ttl - 0.001, 3)]
        await bench.clock.sleep(0.001)
        await bench.ask(commit=commit)
        assert bench.calls == 2

    virtual.run(main())


def test_jitter_differs_by_run_and_not_by_chance():
    async def main():
        async def ttls():
            bench = Bench()
            for number in range(5):
                run = bench.run()
                run = run.child(scope=Scope("r", number=number))
                await bench.ask(Request(params={"n": number}), run)
            return [event.ttl for _, event in bench.events if type(event) is CacheStored]

        first = await ttls()
        assert len(set(first)) == 5
        assert first == await ttls()

    virtual.run(main())


@both
@pytest.mark.parametrize(("fallback_ttl", "expected"), [("60s", 60.0), ("2h", 3600.0)])
def test_an_answer_of_a_fallback_target_is_used_for_a_shorter_time(commit, fallback_ttl, expected):
    async def main():
        bench = Bench(position=1, config={"ttl_jitter": "0%", "fallback_ttl": fallback_ttl})
        await bench.ask(commit=commit)
        served, _ = await bench.ask_served(commit=commit)
        assert (served.cached, served.position) == (True, 1)
        assert [event.ttl for _, event in bench.events if type(event) is CacheStored] == [expected]

    virtual.run(main())


def test_a_ttl_of_zero_stores_nothing():
    async def main():
        bench = Bench(config={"ttl": "0s"})
        await bench.ask()
        await bench.ask()
        assert bench.calls == 2
        assert "cache_stored" not in bench.names()

    virtual.run(main())


@pytest.mark.parametrize("finish", ["length", "content_filter", "other"])
@both
def test_an_answer_that_is_not_complete_is_not_stored(finish, commit):
    async def main():
        bench = Bench(finish=finish)
        await bench.ask(commit=commit)
        await bench.ask(commit=commit)
        assert bench.calls == 2

    virtual.run(main())


def test_a_partial_is_never_stored():
    async def main():
        bench = Bench(scripts=[[(1.0, "a"), (1.0, ServerError("gone"))], SPEAKS])
        with pytest.raises(StreamBroken):
            await bench.ask(commit="content")
        response = await bench.cache.call(ASK, bench.run(commit="content"))
        await response.aclose()
        assert await bench.ask() == "abc"
        assert bench.calls == 3

    virtual.run(main())


def test_a_stream_left_after_its_last_content_but_before_its_end_is_not_stored():
    async def main():
        bench = Bench()
        response = await bench.cache.call(ASK, bench.run(commit="content"))
        for index in range(3):
            await response._pull()
            assert response.so_far.text == "abc"[: index + 1]
        await response.aclose()
        assert response.outcome.kind == "abandoned"
        assert "cache_stored" not in bench.names()

    virtual.run(main())


@pytest.mark.parametrize(
    "answer",
    [
        Completion(embeddings=((0.5, -1.25), (1e-9, 0.0)), usage=USAGE),
        Completion(tool_calls=(ToolCall("1", "f", '{"x":1}'),), finish_reason="tool_calls", usage=USAGE, model="m"),
        Completion(text="ä\U0001f600", reasoning="why", finish_reason="stop", request_id="q1"),
    ],
)
def test_embeddings_tools_and_texts_come_back_as_they_were(answer):
    async def main():
        bench = Bench(answer=msgspec.structs.replace(answer, headers={"set-cookie": "secret"}))
        await bench.ask()
        response = await bench.cache.call(ASK, bench.run())
        assert await response.read() == msgspec.structs.replace(answer, usage=Usage())
        assert response.served.cached and response.served.saved == answer.usage
        assert bench.calls == 1

    virtual.run(main())


def test_what_a_target_could_not_do_is_told_with_every_hit():
    async def main():
        bench = Bench()
        serve = bench.serve

        async def lossy(request, run):
            response = await serve(request, run)
            response.served.losses = ("tools",)
            return response

        bench.cache._next = lossy
        await bench.ask()
        served, _ = await bench.ask_served()
        assert served.losses == ("tools",)

    virtual.run(main())


@both
def test_without_single_flight_equal_calls_go_side_by_side(commit):
    import asyncio

    async def main():
        bench = Bench(config={"single_flight": False})
        texts = await asyncio.gather(*(bench.ask(commit=commit) for _ in range(3)))
        assert texts == ["abc"] * 3
        assert bench.calls == 3
        assert (await bench.ask_served())[0].cached

    virtual.run(main())


# -- the store ------------------------------------------------------------------------------------------


class Broken:
    kind = "memory"

    def __init__(self):
        self.puts = 0

    def look(self, key):
        """Has nothing at hand."""

    async def get(self, key):
        raise StoreUnavailable("locked")

    def put(self, key, value, keep):
        self.puts += 1

    def count(self, **added):
        """Counts nothing."""


@both
def test_a_store_that_cannot_be_used_is_a_warning_and_the_run_goes_on(commit):
    async def main():
        bench = Bench(store=Broken())
        assert await bench.ask(commit=commit) == "abc"
        assert bench.names() == ["cache_unavailable", "cache_miss", "cache_stored"]
        assert bench.events[0][1] == CacheUnavailable(path="chains.main.cache", reason="locked")

    virtual.run(main())


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"null",
        b'{"version":2,"expires":9e9}',
        b'{"version":1,"expires":9e99,"stored":0}',
    ],
)
def test_an_entry_that_cannot_be_read_is_a_miss(value):
    async def main():
        store = MemoryStore(10, "lru")
        bench = Bench(store=store)
        await bench.ask()
        (only,) = await store.keys()
        store.put(only, value)
        assert await bench.ask() == "abc"
        assert bench.calls == 2
        await bench.ask()
        assert bench.calls == 2, "and it is replaced"

    virtual.run(main())


def test_caches_of_one_chain_share_their_flights_and_their_store():
    async def main():
        bench = Bench()
        context = bench.stores
        assert context.open("memory", "x", max_entries=1, eviction="lru") is context.open(
            "memory", "x", max_entries=1, eviction="lru"
        )

    virtual.run(main())


# -- the declaration ------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", CACHE.examples, ids=lambda each: each.title)
def test_every_example_is_a_config(example):
    import yaml

    value = yaml.safe_load(example.yaml)["cache"]
    config = msgspec.convert({CACHE.scalar: value} if isinstance(value, str) else value, CacheConfig)
    assert check(config) == []


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"ttl": "0s"}, "ttl is 0s"),
        ({"ttl": "1m", "fallback_ttl": "2m"}, "fallback_ttl"),
        ({"ttl_jitter": "100%"}, "ttl_jitter"),
    ],
)
def test_a_config_that_makes_no_sense_is_told(config, word):
    (sentence,) = check(msgspec.convert(config, CacheConfig))
    assert word in sentence


@pytest.mark.parametrize(
    "config",
    [{"ttl": 60}, {"ttl": "60"}, {"store": "redis"}, {"max_entries": 0}, {"ttl_jitter": 0.1}, {"negative": "31s"}],
)
def test_a_wrong_config_is_refused(config):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(config, CacheConfig)


def test_the_bound_of_the_latency_is_two_flights_without_an_answer_and_a_call_alone():
    inner = Bound(attempts=Figure(3), latency=Figure(10), cost=Figure(2), tokens=Figure(5))
    bounded = CACHE.bound(CacheConfig(), inner, BoundFacts())
    assert bounded.latency.value == 30 and bounded.attempts.value == 3
    assert CACHE.bound(CacheConfig(single_flight=False), inner, BoundFacts()) == inner
    shared = CACHE.bound(CacheConfig(), inner, BoundFacts(shared=True))
    assert shared.latency.value == 3 * (3 * inner.latency.value + 2 * 3.25), "two of each process, and their leases"


# -- figures --------------------------------------------------------------------------------------------


def test_figures_reach_the_store_with_an_answer_and_at_most_once_a_second():
    """So that another process sees them while this one runs."""

    async def main():
        bench = Bench()
        store = bench.cache._store
        for number, wait in enumerate([0, 0.5, 0.5]):
            bench.answer = Completion(text="x", finish_reason="stop")
            await bench.clock.sleep(wait)
            before = await store.counts()
            await bench.ask(Request(params={"n": number}))
            if wait == 0:
                assert await store.counts() == before == {}, "it began just now"
        assert await store.counts() == {"misses": 3, "insertions": 3}
        await bench.ask(Request(params={"n": 0}))
        await bench.cache._shelf.aclose()
        assert await store.counts() == {
            "misses": 3,
            "insertions": 3,
            "hits": 1,
            "used": pytest.approx(1 / 3600, rel=0.2),
        }
        await bench.cache._shelf.aclose()
        assert (await store.counts())["hits"] == 1

    virtual.run(main())


# -- what was read --------------------------------------------------------------------------------------


def entry_of(text: str) -> bytes:
    return encode(Entry(1, 9e9, 1.0, "t", completion=Completion(text=text, finish_reason="stop")))


def test_an_entry_is_read_once_for_as_long_as_the_store_gives_the_same_bytes() -> None:
    async def main() -> None:
        shelf = Bench().cache._shelf
        value = entry_of("one")
        first = shelf.read("k", value)
        assert first is not None and shelf.read("k", value) is first
        other = shelf.read("k", entry_of("two"))
        assert other is not None and other.completion == Completion(text="two", finish_reason="stop")
        assert shelf.read("k", b"{}") is None and shelf.read("k", b"{}") is None

    virtual.run(main())


def test_only_so_many_entries_are_kept_as_they_were_read() -> None:
    async def main() -> None:
        shelf = Bench().cache._shelf
        values = {str(number): entry_of(str(number)) for number in range(1000)}
        for name, value in values.items():
            shelf.read(name, value)
        assert len(shelf._read) <= 128
        assert all(shelf.read(name, value).completion.text == name for name, value in values.items())

    virtual.run(main())
