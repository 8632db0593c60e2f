"""Single-flight, as SEMANTICS "Cache" has it: before commit, after commit, and whoever leaves."""

from __future__ import annotations

import asyncio

import pytest
from cache_kit import ASK, SPEAKS, USAGE, Bench

from wizard_dsl.core.errors import (
    AllFallbacksFailed,
    DeadlineExceeded,
    RateLimited,
    RateLimitExceeded,
    ServerError,
    StreamBroken,
    WizardError,
)
from wizard_dsl.core.messages import Delta
from wizard_dsl.core.response import Response
from wizard_dsl.policies._flight import copied
from wizard_dsl.testing import virtual

both = pytest.mark.parametrize("commit", ["end", "content"])


async def settle() -> None:
    """Let all that is ready run, and no time pass."""
    for _ in range(10):
        await asyncio.sleep(0)


async def begin(bench: Bench, name: str, **options) -> asyncio.Task[str]:
    task = asyncio.ensure_future(bench.ask(run=bench.run(name, **options)))
    await settle()
    return task


async def cancelled(task: asyncio.Task[str]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def open_view(bench: Bench, name: str = "r", **options) -> Response:
    return await bench.cache.call(ASK, bench.run(name, commit="content", **options))


# -- before the commit point ------------------------------------------------------------------------------


@both
def test_equal_concurrent_calls_share_one_flight(commit):
    async def main():
        bench = Bench()
        runs = [bench.run(f"r{n}", commit=commit) for n in range(4)]
        results = await asyncio.gather(*(bench.ask_served(run=run) for run in runs))
        assert bench.calls == 1
        assert [text for _, text in results] == ["abc"] * 4
        assert [served.shared for served, _ in results] == [False, True, True, True]
        assert {served.target for served, _ in results} == {"scripted"}
        assert [len(run.transcript.attempts) for run in runs] == [1, 0, 0, 0]
        assert [bench.names(f"r{n}") for n in range(2)] == [["cache_miss", "cache_stored"], ["cache_shared"]]
        assert bench.open_flights == 0

    virtual.run(main())


def test_different_calls_do_not_wait_for_each_other():
    async def main():
        bench = Bench()
        await asyncio.gather(bench.ask(), bench.ask(ask_for("other")))
        assert bench.calls == 2
        assert bench.clock.now() == 3

    virtual.run(main())


def ask_for(text):
    from wizard_dsl.core.messages import Request, message

    return Request(messages=(message("user", text),))


@both
def test_errors_are_shared_once_and_not_stored(commit):
    async def main():
        bench = Bench(scripts=[[(1.0, ServerError("503"))], SPEAKS])
        tasks = [await begin(bench, f"r{n}", commit=commit) for n in range(3)]
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in errors] == [ServerError] * 3
        assert len({id(each) for each in errors}) == 3, "each run marks its own"
        assert bench.calls == 1
        assert await bench.ask(commit=commit) == "abc"
        assert bench.open_flights == 0

    virtual.run(main())


def test_a_bug_below_is_shared_too():
    async def main():
        bench = Bench()

        async def buggy(request, run):
            await bench.clock.sleep(1)
            raise KeyError("x")

        bench.cache._next = buggy
        errors = await asyncio.gather(bench.ask(), bench.ask(), return_exceptions=True)
        assert [type(each) for each in errors] == [KeyError] * 2

    virtual.run(main())


@both
def test_a_cancelled_leader_leaves_its_followers_together_in_one_new_flight(commit):
    async def main():
        bench = Bench()
        leader = await begin(bench, "leader", commit=commit)
        followers = [await begin(bench, f"f{n}", commit=commit) for n in range(3)]
        await bench.clock.sleep(0.5)
        await cancelled(leader)
        assert await asyncio.gather(*followers) == ["abc"] * 3
        assert bench.calls == 2
        assert bench.names("f0") == ["cache_shared", "cache_miss", "cache_stored"]
        assert bench.names("f1") == ["cache_shared", "cache_shared"]
        assert bench.open_flights == 0

    virtual.run(main())


@both
def test_after_a_second_flight_without_an_answer_each_goes_alone(commit):
    async def main():
        bench = Bench()
        tasks = [await begin(bench, f"r{n}", commit=commit) for n in range(4)]
        await cancelled(tasks[0])
        await settle()
        await cancelled(tasks[1])
        assert await asyncio.gather(*tasks[2:]) == ["abc"] * 2
        assert bench.calls == 4

    virtual.run(main())


def test_who_joined_only_the_second_flight_goes_on_in_a_third():
    async def main():
        bench = Bench()
        tasks = [await begin(bench, f"r{n}") for n in range(3)]
        await cancelled(tasks[0])
        await settle()
        late = [await begin(bench, f"late{n}") for n in range(2)]
        await cancelled(tasks[1])
        assert await asyncio.gather(tasks[2], *late) == ["abc"] * 3
        assert bench.calls == 4, "two that were cut, one alone, one for the two late"

    virtual.run(main())


@both
@pytest.mark.parametrize("kind", ["deadline", "local_limit", "budget", "mark"])
def test_a_leader_that_meets_its_own_limit_takes_nobody_with_it(kind, commit):
    async def main():
        bench = Bench()
        if kind == "deadline":
            leader = await begin(bench, "leader", deadline=0.5, commit=commit)
        else:
            error: WizardError = RateLimitExceeded("no token", limit="x")
            if kind == "mark":
                error = ServerError("503").mark("deadline")
            error.kind = {"budget": "budget"}.get(kind, error.kind)
            bench.scripts.insert(0, [(0.5, error)])
            leader = await begin(bench, "leader", commit=commit)
        follower = await begin(bench, "follower", commit=commit)
        with pytest.raises(WizardError) as caught:
            await leader
        assert caught.value.kind == {"mark": "server"}.get(kind, kind)
        assert await follower == "abc"
        assert bench.calls == 2

    virtual.run(main())


@both
def test_a_follower_waits_with_its_own_deadline(commit):
    async def main():
        bench = Bench()
        leader = await begin(bench, "leader", commit=commit)
        follower = await begin(bench, "follower", deadline=0.5, commit=commit)
        with pytest.raises(DeadlineExceeded) as caught:
            await follower
        assert "followed" in caught.value.message
        assert bench.clock.now() == 0.5
        assert await leader == "abc"
        assert bench.calls == 1

    virtual.run(main())


@both
def test_an_answer_on_the_instant_of_the_deadline_wins(commit):
    async def main():
        bench = Bench(scripts=[[(0.0, "a"), (1.0, None)] if commit == "end" else [(1.0, "a"), (0.0, None)]])
        leader = await begin(bench, "leader", commit=commit)
        follower = await begin(bench, "follower", deadline=1.0, commit=commit)
        assert await follower == "a"
        assert await leader == "a"

    virtual.run(main())


@both
@pytest.mark.parametrize("looks", range(6))
def test_a_follower_cancelled_on_any_instant_leaves_nothing(looks, commit):
    async def main():
        bench = Bench(scripts=[[(1.0, "a"), (1.0, "b"), (0.0, None)]])
        leader = await begin(bench, "leader", commit=commit)
        follower = await begin(bench, "follower", commit=commit)
        await asyncio.sleep(1.0)
        for _ in range(looks):
            await asyncio.sleep(0)
        await cancelled(follower)
        assert await leader == "ab"
        assert bench.open_flights == 0

    virtual.run(main())


def test_a_follower_cancelled_on_the_instant_of_the_commit_leaves_the_flight():
    async def main():
        bench = Bench()
        flight = bench.cache._flights.begin("k")
        follower = asyncio.ensure_future(flight.follow(100.0))
        await settle()
        inner = await bench.frame.call(ASK, bench.run(commit="content"))
        view = flight.commit(inner)
        await cancelled(follower)
        view.close()
        assert inner.outcome.kind == "abandoned", "nobody is left"

    virtual.run(main())


@pytest.mark.parametrize("end", [ServerError("503"), asyncio.CancelledError()])
@pytest.mark.parametrize("first", ["end", "cancel"])
def test_a_follower_cancelled_on_the_instant_its_flight_fails_is_cancelled(end, first):
    async def main():
        bench = Bench()
        flight = bench.cache._flights.begin("k")
        follower = asyncio.ensure_future(flight.follow(100.0))
        await settle()
        if first == "cancel":
            follower.cancel()
        flight.fail(end)
        await cancelled(follower)
        assert bench.open_flights == 0

    virtual.run(main())


def test_a_hit_that_takes_time_is_shared_too():
    """A store that must be waited for is asked once for all equal calls."""

    async def main():
        bench = Bench()
        await bench.ask()
        store = bench.cache._store
        asked = []

        class Slow:
            def look(self, key):
                """Has nothing at hand."""

            async def get(self, key):
                asked.append(key)
                await bench.clock.sleep(1)
                return await store.get(key)

        bench.cache._store = Slow()
        results = await asyncio.gather(*(bench.ask_served() for _ in range(3)))
        assert [(served.cached, text) for served, text in results] == [(True, "abc")] * 3
        assert bench.calls == len(asked) == 1

    virtual.run(main())


@both
def test_a_cancel_at_every_await_leaves_no_flight_and_no_reader(commit):
    """Of three equal calls, any one is cancelled at any step of the loop: the others get their answer."""

    async def main(who, steps):
        bench = Bench()
        tasks = [asyncio.ensure_future(bench.ask(commit=commit)) for _ in range(3)]
        for _ in range(steps):
            await asyncio.sleep(0.25) if steps % 2 else await asyncio.sleep(0)
        tasks[who].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for index, result in enumerate(results):
            assert result == "abc" or (index == who and isinstance(result, asyncio.CancelledError))
        assert bench.open_flights == 0
        ended = [source for source in bench.sources if source.done or source.aborts]
        assert len(ended) == len(bench.sources)
        if steps:
            assert (await bench.ask_served())[0].cached

    for who in range(3):
        for steps in range(14):
            virtual.run(main(who, steps))


# -- after the commit point -------------------------------------------------------------------------------


def test_after_commit_all_read_the_same_stream_and_a_late_one_gets_all_of_it():
    async def main():
        bench = Bench()
        first = await open_view(bench, "first")
        second = await open_view(bench, "second")
        assert bench.clock.now() == 1 and bench.calls == 1

        async def texts(view):
            return [delta.text async for delta in view.deltas() if delta.text]

        early = asyncio.ensure_future(texts(first))
        await asyncio.sleep(1.5)
        late = await open_view(bench, "late")
        assert await asyncio.gather(early, texts(second), texts(late)) == [["a", "b", "c"]] * 3
        assert bench.clock.now() == 3
        assert [view.served.shared for view in (first, second, late)] == [False, True, True]
        for view in (first, second, late):
            assert view.outcome.completion.usage == USAGE
        assert bench.open_flights == 0
        assert len(bench.names()) - bench.names().count("cache_shared") == 2

    virtual.run(main())


def test_who_runs_dry_pulls_and_who_holds_back_holds_nobody_up():
    async def main():
        bench = Bench()
        slow = await open_view(bench, "leader")
        fast = await open_view(bench, "follower")
        assert (await fast.read()).text == "abc"
        assert slow.outcome is None
        assert (await slow.read()).text == "abc"
        assert bench.clock.now() == 3

    virtual.run(main())


def test_a_leader_that_leaves_after_commit_does_not_end_the_flight():
    async def main():
        bench = Bench()
        leader = await open_view(bench, "leader")
        follower = await open_view(bench, "follower")
        await leader.aclose()
        assert leader.outcome.kind == "abandoned"
        assert (await follower.read()).text == "abc"
        assert (await bench.ask_served())[0].cached, "and what it brought is stored"

    virtual.run(main())


def test_a_leader_that_leaves_on_the_instant_of_the_commit_leaves_the_flight_to_those_who_waited():
    async def main():
        bench = Bench()

        async def lead():
            (await open_view(bench, "leader")).close()

        leader = asyncio.ensure_future(lead())
        await settle()
        followers = [await begin(bench, f"f{n}", commit="content") for n in range(3)]
        await leader
        assert await asyncio.gather(*followers) == ["abc"] * 3
        assert bench.calls == 1

    virtual.run(main())


def test_the_flight_ends_when_the_last_one_leaves():
    async def main():
        bench = Bench()
        views = [await open_view(bench, f"r{n}") for n in range(3)]
        for view in views:
            assert bench.sources[0].aborts == []
            assert bench.open_flights == 1
            await view.aclose()
            await view.aclose()
        assert len(bench.sources[0].aborts) == 1
        assert bench.open_flights == 0

    virtual.run(main())


def test_a_reader_that_is_cancelled_hands_the_pull_on():
    async def main():
        bench = Bench()
        first, second = await open_view(bench, "r1"), await open_view(bench, "r2")
        one = asyncio.ensure_future(first.read())
        two = asyncio.ensure_future(second.read())
        await asyncio.sleep(0.5)
        await cancelled(one)
        assert (await two).text == "abc"
        assert first.outcome.kind == "cancelled"
        assert bench.clock.now() == 3

    virtual.run(main())


@pytest.mark.parametrize("who", ["leader", "follower"])
def test_a_deadline_after_commit_cuts_only_its_own_reader(who):
    async def main():
        bench = Bench()
        deadlines = {"leader": 600.0, "follower": 600.0, who: 1.5}
        views = {"leader": await open_view(bench, "leader", deadline=deadlines["leader"])}
        views["follower"] = await open_view(bench, "follower", deadline=deadlines["follower"] - (who == "follower"))
        short = asyncio.ensure_future(views.pop(who).read())
        await settle()
        (other,) = views.values()
        long = asyncio.ensure_future(other.read())
        with pytest.raises(DeadlineExceeded) as caught:
            await short
        assert bench.clock.now() == 1.5
        assert caught.value.partial.text == "a"
        assert (await long).text == "abc"
        assert bench.open_flights == 0

    virtual.run(main())


@pytest.mark.parametrize("reading", [True, False])
def test_a_deadline_of_the_last_reader_ends_the_flight_with_it(reading):
    async def main():
        bench = Bench()
        run = bench.run("leader", deadline=1.5, commit="content")
        view = await bench.cache.call(ASK, run)
        if reading:
            with pytest.raises(DeadlineExceeded):
                await view.read()
        else:
            await asyncio.sleep(5)
        assert isinstance(view.outcome.error, DeadlineExceeded)
        assert len(bench.sources[0].aborts) >= 1
        assert run.transcript.attempts[0].kind == "deadline"
        assert run.transcript.attempts[0].elapsed == 1.5

    virtual.run(main())


def test_a_reader_woken_by_its_own_leaving_stays_uncancelled():
    """The pending read of a view that is closed from elsewhere is woken by a cancel, which must be taken back."""

    async def main():
        bench = Bench()
        first, second = await open_view(bench, "r1"), await open_view(bench, "r2")

        async def read():
            assert await first._pull(), "what the flight kept"
            return await first._pull(), asyncio.current_task().cancelling()

        reader = asyncio.ensure_future(read())
        await asyncio.sleep(0.5)
        first.close()
        assert await reader == (False, 0)
        assert (await second.read()).text == "abc"

    virtual.run(main())


def test_a_cancel_from_elsewhere_on_the_same_instant_stays_one():
    async def main():
        bench = Bench()
        first, second = await open_view(bench, "r1"), await open_view(bench, "r2")
        reader = asyncio.ensure_future(first.read())
        await asyncio.sleep(0.5)
        first.close()
        await cancelled(reader)
        assert (await second.read()).text == "abc"

    virtual.run(main())


def test_a_stream_that_breaks_breaks_for_all_who_read_it():
    async def main():
        bench = Bench(scripts=[[(1.0, "a"), (1.0, ServerError("gone"))], SPEAKS])
        views = [await open_view(bench, f"r{n}") for n in range(3)]
        errors = await asyncio.gather(*(view.read() for view in views), return_exceptions=True)
        assert [type(each) for each in errors] == [StreamBroken] * 3
        assert len({id(each) for each in errors}) == 3
        assert [each.partial.text for each in errors] == ["a"] * 3
        assert all(isinstance(each.__cause__, ServerError) for each in errors)
        assert bench.calls == 1 and bench.open_flights == 0
        assert await bench.ask() == "abc", "and is not stored"

    virtual.run(main())


def test_a_late_reader_sees_all_there_was_before_it_sees_the_break():
    async def main():
        bench = Bench(scripts=[[(1.0, "a"), (1.0, "b"), (0.0, ServerError("gone"))]])
        fast, slow = await open_view(bench, "fast"), await open_view(bench, "slow")
        seen = []

        async def read_slowly():
            async for delta in slow.deltas():
                seen.append(delta.text)

        results = await asyncio.gather(read_slowly(), fast.read(), return_exceptions=True)
        assert [type(each) for each in results] == [StreamBroken] * 2
        assert seen == ["a", "b"]

    virtual.run(main())


def test_a_cursor_leaves_its_flight_once():
    async def main():
        bench = Bench()
        first, second = await open_view(bench, "r1"), await open_view(bench, "r2")
        cursor = first._source
        cursor.abort(None)
        cursor.abort(None)
        assert (await second.read()).text == "abc"

    virtual.run(main())


def test_a_stream_without_a_deadline_is_shared_as_well():
    async def main():
        bench = Bench()
        bench.cache._next = bench.provide
        first, second = await open_view(bench, "r1"), await open_view(bench, "r2", deadline=0.5)
        assert (await first.read()).text == "abc"
        with pytest.raises(DeadlineExceeded):
            await second.read()

    virtual.run(main())


# -- whole answers and streams in one flight ----------------------------------------------------------------


def test_a_caller_that_wants_the_whole_answer_follows_a_stream_to_its_end():
    async def main():
        bench = Bench()
        leader = await open_view(bench, "leader")
        response = await bench.cache.call(ASK, bench.run("whole"))
        assert response.outcome.completion.text == "abc"
        assert response.served.shared
        assert bench.clock.now() == 3
        assert (await leader.read()).text == "abc"
        assert bench.calls == 1

    virtual.run(main())


def test_a_caller_that_streams_gets_the_whole_answer_of_a_unary_flight_in_one_piece():
    async def main():
        bench = Bench()
        leader = await begin(bench, "leader")
        view = await open_view(bench, "follower")
        batches = [batch async for batch in view.batches()]
        assert batches == [[Delta(text="abc"), Delta(finish_reason="stop", usage=USAGE)]]
        assert view.served.shared and await leader == "abc"

    virtual.run(main())


def test_a_break_that_a_unary_caller_follows_is_before_its_commit_point():
    """It asks again, together with the others of its kind; the one who streamed has the broken stream."""

    async def main():
        bench = Bench(scripts=[[(1.0, "a"), (1.0, ServerError("gone"))], SPEAKS])
        stream = await open_view(bench, "stream")
        whole = [await begin(bench, f"whole{n}") for n in range(2)]
        with pytest.raises(StreamBroken):
            await stream.read()
        assert await asyncio.gather(*whole) == ["abc"] * 2
        assert bench.calls == 2

    virtual.run(main())


def test_a_unary_follower_that_is_cancelled_while_it_drains_leaves_the_stream_to_the_leader():
    async def main():
        bench = Bench()
        leader = await open_view(bench, "leader")
        follower = await begin(bench, "whole")
        await cancelled(follower)
        assert (await leader.read()).text == "abc"
        assert bench.calls == 1

    virtual.run(main())


def test_a_unary_follower_meets_its_own_deadline_while_it_drains():
    async def main():
        bench = Bench()
        leader = await open_view(bench, "leader")
        with pytest.raises(DeadlineExceeded):
            await bench.ask(deadline=0.5)
        assert bench.clock.now() == 1.5
        assert (await leader.read()).text == "abc"

    virtual.run(main())


def test_an_observer_that_raises_is_reported_and_changes_nothing():
    async def main():
        bench = Bench()
        view = await open_view(bench, "leader")
        view.on_delta(lambda batch: 1 / 0)
        assert (await view.read()).text == "abc"
        assert any(event.name == "observer_failed" for _, event in bench.events)

    virtual.run(main())


# -- copies of errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        ServerError("boom", status=503, retry_after=2.0, where="t"),
        RateLimitExceeded("no", limit="x", retry_after=1.0),
        AllFallbacksFailed([ServerError("a"), RateLimited("b")], RateLimited("b")),
    ],
)
def test_a_copied_error_says_the_same_and_is_another(error):
    error.mark("breaker_opened")
    error.__cause__ = KeyError("why")
    copy = copied(error)
    assert copy is not error and type(copy) is type(error)
    assert copy.__dict__ == error.__dict__
    assert copy.to_json() == error.to_json() and str(copy) == str(error) and copy.__cause__ is error.__cause__
    copy.mark("mine")
    assert "mine" not in error.marks
