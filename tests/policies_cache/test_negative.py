"""Remembered errors, and the repeat index."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from cache_kit import SPEAKS, Bench
from test_cache import ASK, RUN, key

from wizard_dsl.core import errors
from wizard_dsl.core.errors import (
    TABLE,
    AllFallbacksFailed,
    AttemptTimeout,
    ContextLength,
    InvalidRequest,
    MaxRetriesExceeded,
    NotFound,
    RateLimitExceeded,
    ServerError,
    WindowTooSmall,
    WizardError,
)
from wizard_dsl.core.events import CacheHit, CacheStored
from wizard_dsl.core.messages import Completion
from wizard_dsl.core.run import Scope
from wizard_dsl.policies._entry import VERSION, Entry, Refusal, decode, encode
from wizard_dsl.policies.cache import CACHE, CacheConfig
from wizard_dsl.stores.memory import MemoryStore
from wizard_dsl.testing import virtual
from wizard_dsl.testing.chains import build_chain

both = pytest.mark.parametrize("commit", ["end", "content"])


def refused() -> InvalidRequest:
    return InvalidRequest("bad tool", where="a/m", status=400, body="secret", request_id="q", headers={"x": "y"})


@both
@pytest.mark.parametrize("single_flight", [True, False])
def test_a_refusal_is_given_again_without_a_call_until_its_time_is_over(commit, single_flight):
    async def main():
        config = {"negative": "10s", "single_flight": single_flight}
        bench = Bench(scripts=[[(0.0, refused())], SPEAKS], config=config)
        with pytest.raises(InvalidRequest) as first:
            await bench.ask(commit=commit)
        assert first.value.marks == ()
        await bench.clock.sleep(9.999)
        run = bench.run("again", commit=commit)
        with pytest.raises(InvalidRequest) as again:
            await bench.ask(run=run)
        error = again.value
        assert error is not first.value
        assert (error.message, error.status, error.request_id, error.marks) == ("bad tool", 400, "q", ("cached",))
        assert (error.body, error.headers, error.attempt, error.partial) == ("", {}, None, None)
        assert run.transcript.attempts == [] and bench.calls == 1 and bench.open_flights == 0
        (hit,) = [each for _, each in bench.events if type(each) is CacheHit]
        assert (hit.kind, round(hit.age, 3)) == ("invalid_request", 9.999)
        await bench.clock.sleep(0.001)
        assert await bench.ask(commit=commit) == "abc"

    virtual.run(main())


@pytest.mark.parametrize("kind", sorted(set(TABLE) - {"cancelled"}))
def test_the_table_of_errors_decides_what_is_remembered(kind):
    async def main():
        bench = Bench(config={"negative": "30s"})
        calls = 0

        async def fail(request, run):
            nonlocal calls
            calls += 1
            error = WizardError("no")
            error.kind = kind
            raise error

        bench.cache._next = fail
        for _ in range(2):
            with pytest.raises(WizardError):
                await bench.ask()
        assert calls == (1 if TABLE[kind].negative else 2)

    virtual.run(main())


def test_without_being_asked_for_nothing_is_remembered():
    async def main():
        bench = Bench(scripts=[[(0.0, refused())]])
        for _ in range(2):
            with pytest.raises(InvalidRequest):
                await bench.ask()
        assert bench.calls == 2 and "cache_stored" not in bench.names()

    virtual.run(main())


def test_an_error_about_this_caller_alone_is_not_remembered():
    async def main():
        bench = Bench(scripts=[[(0.0, NotFound("gone").mark("deadline"))]], config={"negative": "30s"})
        for _ in range(2):
            with pytest.raises(NotFound):
                await bench.ask()
        assert bench.calls == 2

    virtual.run(main())


def test_a_refusal_is_never_remembered_longer_than_an_answer():
    async def main():
        bench = Bench(scripts=[[(0.0, refused())]], config={"negative": "30s", "ttl": "5s"})
        with pytest.raises(InvalidRequest):
            await bench.ask()
        assert [each.ttl for _, each in bench.events if type(each) is CacheStored] == [5]

    virtual.run(main())


def test_those_who_follow_a_flight_share_the_refusal_and_so_do_those_who_come_later():
    async def main():
        bench = Bench(scripts=[[(2.0, refused())]], config={"negative": "30s"})
        ends = await asyncio.gather(*(bench.ask() for _ in range(3)), return_exceptions=True)
        with pytest.raises(InvalidRequest) as later:
            await bench.ask()
        assert [each.marks for each in ends] == [(), (), ()] and later.value.marks == ("cached",)
        assert bench.calls == 1

    virtual.run(main())


@both
def test_the_final_error_of_a_chain_comes_back_as_it_left(commit):
    async def main():
        chain = build_chain({"a": [503], "b": [404]}, [(CACHE, {"negative": "30s"})])
        with pytest.raises(AllFallbacksFailed) as first:
            await chain.answer(commit=commit)
        with pytest.raises(AllFallbacksFailed) as again:
            await chain.answer(commit=commit)
        assert chain.attempts == []
        assert again.value.to_json() == {**first.value.to_json(), "marks": ["cached"]}
        assert [type(each) for each in again.value.exceptions] == [ServerError, NotFound]
        assert [each.status for each in again.value.exceptions] == [503, 404]

    virtual.run(main())


# -- the entry ------------------------------------------------------------------------------------------

EXAMPLES = [
    refused(),
    ContextLength("long", retry_after=2.5, sent=None),
    WindowTooSmall("small", where="a/m"),
    MaxRetriesExceeded(NotFound("gone", where="a/m", status=404), attempts=2),
    AllFallbacksFailed([AttemptTimeout("slow", phase="total"), MaxRetriesExceeded(refused(), attempts=3)], refused()),
    AllFallbacksFailed([RateLimitExceeded("busy", limit="calls"), NotFound("gone", suggestion="do")], NotFound("gone")),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_says_the_same_after_it_was_stored(error):
    refusal = Refusal.of(error)
    entry = decode(encode(Entry(VERSION, 2.0, 1.0, "a", refusal=refusal)))
    again = entry.refusal.error()
    assert type(again) is type(error)
    assert str(again) == str(error) and again.to_json() == error.to_json()
    assert "secret" not in str(encode(entry))


def test_every_class_of_ours_can_be_remembered_or_is_known_not_to_be():
    """Errors that need more than a sentence are rebuilt without their constructor."""
    plain = WizardError("x")
    for each in vars(errors).values():
        if not (isinstance(each, type) and issubclass(each, WizardError)) or each is AllFallbacksFailed:
            continue
        made = Exception.__new__(each, "x")
        vars(made).update(vars(plain))
        if each is not MaxRetriesExceeded:
            assert type(Refusal.of(made).error()) is each


def test_an_error_of_somebody_elses_class_is_not_remembered():
    class Own(InvalidRequest):
        pass

    assert Refusal.of(Own("x")) is None
    assert Refusal.of(AllFallbacksFailed([Own("x")], Own("x"))) is None


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal("Nothing", "not_found", {"message": "x"}),
        Refusal("NotFound", "not_found", {}),
        Refusal("ServerError", "server", {"message": "x"}),
        Refusal("AllFallbacksFailed", "not_found", {}),
        Refusal("MaxRetriesExceeded", "not_found", {}),
        Refusal("NotFound", "not_found", {"message": "x", "kind": "odd"}),
        Refusal("NotFound", "not_found", {"message": "x", "marks": "odd"}),
    ],
)
def test_a_refusal_that_is_not_ours_is_a_miss(refusal):
    async def main():
        store = MemoryStore(10, "lru")
        bench = Bench(store=store)
        await bench.ask()
        (only,) = await store.keys()
        store.put(only, encode(Entry(VERSION, 9e9, 0.0, "", refusal=refusal)))
        assert await bench.ask() == "abc"
        assert bench.calls == 2

    virtual.run(main())


def test_an_entry_of_nothing_is_a_miss_and_one_without_a_life_is_used_up():
    assert decode(encode(Entry(VERSION, 9e9, 0.0, "a"))) is None
    assert Entry(VERSION, 5.0, 5.0, "a", completion=Completion()).used(0.0) == 1.0


@pytest.mark.parametrize("value", ["off", "0s", "30s", "30.0s", "29.9s", "500ms", "30000ms", "1.5s"])
def test_half_a_minute_is_allowed(value):
    assert msgspec.convert({"negative": value}, CacheConfig).negative == value


@pytest.mark.parametrize("value", ["31s", "30.5s", "1m", "0.5m", "30001ms", "45000ms", "10", "on", "1h"])
def test_more_than_half_a_minute_is_refused(value):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"negative": value}, CacheConfig)


# -- the repeat index -----------------------------------------------------------------------------------


def test_a_repeat_index_keeps_samples_apart_and_0_is_none():
    keys = [key(ASK, run=RUN.child(scope=Scope("r", repeat=index))) for index in (0, 1, 2)]
    assert len(set(keys)) == 3 and keys[0] == key(ASK)


def test_each_sample_is_stored_once():
    async def main():
        bench = Bench()
        for repeat in (0, 1, 2, 0, 1, 2):
            await bench.ask(repeat=repeat)
        assert bench.calls == 3

    virtual.run(main())


def test_an_error_of_a_plug_in_is_told_each_time():
    class Own(InvalidRequest):
        pass

    async def main():
        bench = Bench(scripts=[[(0.0, Own("no"))]], config={"negative": "30s"})
        for _ in range(2):
            with pytest.raises(Own):
                await bench.ask()
        assert bench.calls == 2

    virtual.run(main())
