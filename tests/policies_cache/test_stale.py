"""Answers whose time is over: in place of a failure, and while they are refreshed."""

from __future__ import annotations

import asyncio

import pytest
from cache_kit import ASK, SPEAKS, USAGE, Bench

from wizard_dsl.core.errors import TABLE, ConnectError, InvalidRequest, ServerError, StreamBroken, WizardError
from wizard_dsl.core.events import CacheRefreshed, CacheStale
from wizard_dsl.core.messages import Usage
from wizard_dsl.core.run import Run
from wizard_dsl.policies.cache import CACHE
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.testing import virtual
from wizard_dsl.testing.chains import build_chain

both = pytest.mark.parametrize("commit", ["end", "content"])
DOWN = [(0.0, ServerError("down", status=503))]
OLD = {"ttl": "100s", "ttl_jitter": "0%"}


def failing(error: Exception) -> list:
    return [SPEAKS, [(0.0, error)]]


async def expired(bench: Bench, by: float, **options) -> None:
    """An answer that was stored, and is over for `by` seconds."""
    assert await bench.ask(**options) == "abc"
    await bench.clock.sleep(100 + by)


# -- in place of a failure ---------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("single_flight", [True, False])
def test_an_expired_answer_stands_in_for_a_failure_and_says_so(commit, single_flight):
    async def main():
        config = {**OLD, "stale_if_error": "1h", "single_flight": single_flight}
        bench = Bench(scripts=[SPEAKS, DOWN], config=config)
        await expired(bench, 20, commit=commit)
        run = bench.run("late", commit=commit)
        response = await bench.cache.call(ASK, run)
        completion = await response.read()
        assert (completion.text, completion.usage) == ("abc", Usage())
        served = response.served
        assert (served.cached, served.stale, served.age, served.saved) == (True, True, 120, USAGE)
        assert bench.names("late") == ["cache_miss", "cache_stale"]
        (event,) = [each for _, each in bench.events if type(each) is CacheStale]
        assert (event.age, event.expired, event.reason) == (120, 20, "server")
        assert [row.kind for row in run.transcript.attempts] == ["server"], "the attempt was made, and is booked"
        assert bench.calls == 2 and bench.open_flights == 0

    virtual.run(main())


@both
@pytest.mark.parametrize(("by", "text"), [(60, "abc"), (60.001, "")])
def test_it_stands_in_until_its_own_time_is_over(commit, by, text):
    async def main():
        bench = Bench(scripts=[SPEAKS, DOWN], config={**OLD, "stale_if_error": "60s"})
        await expired(bench, by, commit=commit)
        try:
            assert await bench.ask(commit=commit) == text
        except ServerError:
            assert text == ""

    virtual.run(main())


@both
def test_without_being_asked_for_a_failure_stays_a_failure(commit):
    async def main():
        bench = Bench(scripts=[SPEAKS, DOWN], config=OLD)
        await expired(bench, 0, commit=commit)
        with pytest.raises(ServerError):
            await bench.ask(commit=commit)

    virtual.run(main())


@pytest.mark.parametrize("kind", sorted(set(TABLE) - {"cancelled"}))
def test_the_table_of_errors_decides_what_it_stands_in_for(kind):
    async def main():
        bench = Bench(config={**OLD, "stale_if_error": "1h"})
        await expired(bench, 1)
        error = WizardError("no")
        error.kind = kind

        async def fail(request, run):
            raise error

        bench.cache._next = fail
        if TABLE[kind].stale_ok:
            assert await bench.ask() == "abc"
        else:
            with pytest.raises(WizardError) as caught:
                await bench.ask()
            assert caught.value is error

    virtual.run(main())


def test_after_the_commit_point_a_broken_stream_is_broken():
    async def main():
        broken = [(1.0, "a"), (1.0, ConnectError("gone"))]
        bench = Bench(scripts=[SPEAKS, broken], config={**OLD, "stale_if_error": "1h"})
        await expired(bench, 1)
        with pytest.raises(StreamBroken) as caught:
            await bench.ask(commit="content")
        assert caught.value.partial.text == "a"
        assert await bench.ask(commit="end") == "abc", "before it, the old answer stands in"

    virtual.run(main())


def test_those_who_follow_get_the_old_answer_too():
    async def main():
        down = [(5.0, ServerError("down"))]
        bench = Bench(scripts=[SPEAKS, down], config={**OLD, "stale_if_error": "1h"})
        await expired(bench, 1)
        served = await asyncio.gather(*(bench.ask_served() for _ in range(3)))
        assert [(each.stale, each.shared, text) for each, text in served] == [
            (True, False, "abc"),
            (True, True, "abc"),
            (True, True, "abc"),
        ]
        assert bench.calls == 2

    virtual.run(main())


def test_an_old_answer_is_replaced_as_soon_as_there_is_a_new_one():
    async def main():
        bench = Bench(scripts=[SPEAKS, DOWN, [(0.0, "new"), (0.0, None)]], config={**OLD, "stale_if_error": "1h"})
        await expired(bench, 1)
        assert [await bench.ask(), await bench.ask()] == ["abc", "new"]
        served, text = await bench.ask_served()
        assert (served.cached, served.stale, served.age, text) == (True, False, 0, "new")

    virtual.run(main())


@both
def test_under_all_policies_the_order_is_cache_live_fallback_old_answer(commit):
    async def main():
        policies = [
            (CACHE, {"ttl": "60s", "ttl_jitter": "0%", "fallback_ttl": "30s", "stale_if_error": "1h"}),
            (RETRY, {"max_attempts": 2}),
            (CIRCUIT_BREAKER, {"failure_threshold": 2}),
        ]
        chain = build_chain({"a": ["live", *[503] * 9], "b": ["second", *[503] * 9]}, policies)
        told = []
        for wait in (0, 0, 61, 31, 1):
            await chain.clock.sleep(wait)
            completion = await chain.answer(commit=commit)
            told.append((completion.text, chain.story()))
        assert told == [
            ("live", "a ok"),
            ("live", ""),
            ("second", "a 503 → a 503 → b ok"),
            ("second", "a 503 → b 503 → b 503"),
            ("second", ""),
        ]
        (last,) = chain.events(CacheStale)
        assert last.reason == "circuit_open"

    virtual.run(main())


# -- while it is refreshed ---------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("single_flight", [True, False])
def test_an_expired_answer_is_given_at_once_and_refreshed_behind_the_call(commit, single_flight):
    async def main():
        fresh = [(30.0, "new"), (0.0, None)]
        config = {**OLD, "stale_while_revalidate": "60s", "single_flight": single_flight}
        bench = Bench(scripts=[SPEAKS, fresh], config=config)
        await expired(bench, 60, commit=commit)
        before = bench.clock.now()
        run = bench.run("late", commit=commit)
        response = await bench.cache.call(ASK, run)
        assert (await response.read()).text == "abc"
        assert (response.served.cached, response.served.stale, response.served.age) == (True, True, 160)
        assert bench.clock.now() == before and run.transcript.attempts == []
        assert bench.names("late") == ["cache_stale"]
        await asyncio.gather(*bench.background)
        served, text = await bench.ask_served(commit=commit)
        assert (text, served.cached, served.stale) == ("new", True, False)
        assert bench.calls == 2
        assert bench.names("late-refresh") == ["cache_stored", "cache_refreshed"]

    virtual.run(main())


@both
def test_beyond_its_time_the_call_waits_for_a_new_answer(commit):
    async def main():
        bench = Bench(scripts=[SPEAKS, [(3.0, "new"), (0.0, None)]], config={**OLD, "stale_while_revalidate": "60s"})
        await expired(bench, 60.001, commit=commit)
        assert await bench.ask(commit=commit) == "new"
        assert bench.background == []

    virtual.run(main())


@pytest.mark.parametrize("single_flight", [True, False])
def test_one_refresh_a_key_runs_at_a_time(single_flight):
    async def main():
        fresh = [(10.0, "new"), (0.0, None)]
        config = {**OLD, "stale_while_revalidate": "1h", "single_flight": single_flight}
        bench = Bench(scripts=[SPEAKS, fresh], config=config)
        await expired(bench, 1)
        assert await asyncio.gather(*(bench.ask() for _ in range(5))) == ["abc"] * 5
        await bench.clock.sleep(5)
        assert await bench.ask() == "abc"
        assert len(bench.background) == 1
        await bench.clock.sleep(6)
        assert await bench.ask() == "new"
        await bench.clock.sleep(101)
        assert await bench.ask() == "new"
        await asyncio.gather(*bench.background)
        assert len(bench.background) == 2, "and the next one when it is over"

    virtual.run(main())


def test_a_refresh_is_a_run_of_its_own():
    async def main():
        bench = Bench(scripts=[SPEAKS, [(1000.0, "late")]], config={**OLD, "stale_while_revalidate": "1h"})
        await expired(bench, 1, allow_empty=True)
        seen: list[Run] = []
        serve = bench.cache._next

        async def watch(request, run):
            seen.append(run)
            return await serve(request, run)

        bench.cache._next = watch
        run = bench.run("r", deadline=20.0, commit="content", session="s", allow_empty=True)
        await bench.clock.sleep(5)
        await bench.ask(run=run)
        started = bench.clock.now()
        await asyncio.gather(*bench.background)
        (behind,) = seen
        assert (behind.scope.run_id, behind.scope.session, behind.commit) == ("r-refresh", "s", "end")
        assert not behind.scope.streams and behind.allow_empty
        assert bench.clock.now() == started + 20, "it has as much time as the run had, not what that one left"
        assert [row.kind for row in behind.transcript.attempts] == ["deadline"]
        assert run.transcript.attempts == []
        assert [each.kind for _, each in bench.events if type(each) is CacheRefreshed] == ["deadline"]

    virtual.run(main())


@pytest.mark.parametrize("error", [ServerError("down"), InvalidRequest("no"), RuntimeError("bug")])
def test_a_refresh_that_fails_leaves_the_answer(error):
    async def main():
        config = {**OLD, "stale_while_revalidate": "1h", "negative": "30s"}
        bench = Bench(config=config)
        await expired(bench, 1)

        async def fail(request, run):
            raise error

        bench.cache._next = fail
        assert await bench.ask() == "abc"
        await asyncio.gather(*bench.background)
        kinds = [each.kind for _, each in bench.events if type(each) is CacheRefreshed]
        assert kinds == [getattr(error, "kind", "bug")]
        assert await bench.ask() == "abc"

    virtual.run(main())


def test_a_refresh_that_is_cancelled_leaves_the_key_free():
    async def main():
        bench = Bench(scripts=[SPEAKS, [(50.0, "new")]], config={**OLD, "stale_while_revalidate": "1h"})
        await expired(bench, 1)
        await bench.ask()
        await bench.clock.sleep(1)
        bench.background[0].cancel()
        await asyncio.gather(*bench.background, return_exceptions=True)
        assert [each.kind for _, each in bench.events if type(each) is CacheRefreshed] == ["cancelled"]
        await bench.ask()
        assert len(bench.background) == 2
        bench.background[1].cancel()
        await asyncio.gather(*bench.background, return_exceptions=True)

    virtual.run(main())


def test_both_together_give_the_old_answer_at_once_and_later_only_for_a_failure():
    async def main():
        config = {**OLD, "stale_while_revalidate": "10s", "stale_if_error": "1h"}
        bench = Bench(scripts=[SPEAKS, DOWN], config=config)
        await expired(bench, 1)
        await bench.ask()
        await asyncio.gather(*bench.background)
        await bench.clock.sleep(60)
        assert await bench.ask() == "abc"
        assert [each.reason for _, each in bench.events if type(each) is CacheStale] == ["revalidate", "server"]

    virtual.run(main())
