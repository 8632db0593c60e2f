"""Cache: what a key is made of, what is stored and for how long, and who shares a flight."""

from __future__ import annotations

import asyncio
import pickle
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from compiler_kit import compile_text
from run_kit import play
from semantics_kit import Commit, ask, failure, file, forever, refusal, refused, story

from wizard_dsl.core.errors import DeadlineExceeded, RateLimitExceeded, ServerError
from wizard_dsl.core.events import CacheStale, CacheStored, CacheUnavailable
from wizard_dsl.core.messages import Completion, Request, Tool, Usage, message
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Scope
from wizard_dsl.policies.cache import CACHE
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.concurrency import CONCURRENCY
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.testing import virtual
from wizard_dsl.testing.chains import Policy, ScriptedChain, build_chain

#: A cache whose times can be written down.
EXACT = {"ttl": "100s", "ttl_jitter": "0%", "fallback_ttl": "10s"}
SLOW = {"reply": "x", "delay": "2s", "times": "forever"}
#: Word by word, one each second.
WORDS = {"reply": "one two three", "first_chunk": "1s", "chunk_every": "1s"}


def cached(items: Sequence[Any], config: dict[str, Any] | None = None, *more: Policy) -> ScriptedChain:
    """A chain of one target under a cache."""
    return build_chain({"a": items}, [(CACHE, {**EXACT, **(config or {})}), *more])


def cache_file(cache: str = "1h", targets: str = "[a]", more: str = "") -> str:
    return file(f"{{targets: {targets}, {more}policies: {{use: none, cache: {cache}}}}}")


def key_of(text: str, folder: Path, commit: Commit, **options: Any) -> str:
    """Under which key the answer of one run is kept."""

    async def work(pipeline: Pipeline) -> str:
        await ask(pipeline, commit, **options)
        (entry,) = await pipeline.cache.entries()
        return entry.key

    return play(text, folder, {name: forever("{}") for name in ("a", "b", "a/m", "a/x", "b/n")}, work)[0]


async def serve(chain: ScriptedChain, run: Any) -> Response:
    """The answer to a run that was made before, read to its end."""
    async with await chain.handler(Request(messages=(message("user", "hello"),)), run) as response:
        await response.read()
        return response


async def calls(chain: ScriptedChain, count: int, commit: Commit, **options: Any) -> list[asyncio.Task[Completion]]:
    """So many equal calls, which have begun."""
    begun = [asyncio.ensure_future(chain.answer(commit=commit, **options)) for _ in range(count)]
    await asyncio.sleep(0)
    return begun


def test_c1_the_key_covers_what_can_change_the_answer_and_nothing_else(tmp_path: Path, commit: Commit) -> None:
    base = cache_file(targets="[a/m]")
    other = [
        base.replace("[a/m]", "[a/x]"),
        base.replace("[a/m]", "[{provider: a, model: m, params: {temperature: 0.5}}]"),
        base.replace("cache: 1h", "cache: {ttl: 1h, key_version: '2'}"),
        base.replace("{{ q }}", "say {{ q }}"),
        base.replace("one: {", "one: {output: {schema: {type: object}}, "),
    ]
    keys = [key_of(each, tmp_path, commit) for each in [base, *other]]
    assert len({*keys}) == 6 and key_of(base, tmp_path, commit, q="hi") not in keys
    more = base.replace("use: none,", "use: none, retry: 5, deadline: 9s, circuit_breaker: 3,")
    assert keys[0] == key_of(more, tmp_path, "end") == key_of(base, tmp_path, "content", deadline=7.0, principal="p")

    async def tools() -> None:
        chain = cached([*"ab"])
        asked = Request(messages=(message("user", "x"),))
        answers = [asked, msgspec.structs.replace(asked, tools=(Tool("t"),)), asked]
        assert [(await chain.answer(each, commit=commit)).text for each in answers] == ["a", "b", "a"]

    virtual.run(tools())


def test_c2_absent_differs_from_zero_and_an_unknown_parameter_never_collides(commit: Commit) -> None:
    params: list[dict[str, Any]] = [{}, {"temperature": 0}, {"temperature": None}, {"brand_new": 0}, {"brand_new": 1}]

    async def main() -> None:
        chain = cached([*"abcde"])
        for _ in range(2):
            found = [(await chain.answer(Request(params=each), commit=commit)).text for each in params]
            assert found == [*"abcde"]

    virtual.run(main())


def test_c3_asked_for_is_the_first_target_the_chosen_arm_or_all_targets(tmp_path: Path, commit: Commit) -> None:
    for strategy, same in (("sequential", True), ("{type: hedged, after: 9s}", True), ("parallel", False)):
        chain = f"strategy: {strategy}, "
        pair = [key_of(cache_file(targets=each, more=chain), tmp_path, commit) for each in ("[a/m, b/n]", "[a/m, a/x]")]
        assert (pair[0] == pair[1]) is same, strategy

    async def work(pipeline: Pipeline) -> None:
        seen = [(await ask(pipeline, commit)).text for _ in range(12)]
        assert {*seen} == {"of a", "of b"} and len(await pipeline.cache.entries()) == 2

    play(cache_file(targets="[a, b]", more="strategy: weighted, "), tmp_path, {"a": ["of a"], "b": ["of b"]}, work)


@pytest.mark.parametrize(("scope", "texts"), [("shared", "aaaa"), ("session", "abab"), ("principal", "aabb")])
def test_c4_scope_keeps_the_answers_of_sessions_or_keys_apart(scope: str, texts: str, commit: Commit) -> None:
    async def main() -> None:
        chain, seen = cached([*"ab"], {"scope": scope}), ""
        for principal in ("key-1", "key-2"):
            for session in ("s-1", "s-2"):
                whose = Scope("r", session=session, principal=principal, streams=commit == "content")
                seen += (await chain.answer(commit=commit, scope=whose)).text
        assert seen == texts

    virtual.run(main())


def test_c5_samples_of_different_repeat_share_no_answer(tmp_path: Path, commit: Commit) -> None:
    async def work(pipeline: Pipeline) -> None:
        assert "".join([(await ask(pipeline, commit, repeat=each)).text for each in (0, 1, 2, 1, 0, 2)]) == "abcbac"

    play(cache_file(), tmp_path, {"a": [*"abc"]}, work)


@pytest.mark.parametrize(
    ("finish", "asked"), [("stop", 1), ("tool_calls", 1), ("length", 2), ("content_filter", 2), ("other", 2)]
)
def test_c6_only_complete_answers_are_stored(finish: str, asked: int, commit: Commit) -> None:
    async def main() -> None:
        chain = cached([{"reply": "x", "finish_reason": finish}] * 2)
        for _ in range(2):
            await chain.answer(commit=commit)
        assert len(chain.scripts["a"].calls) == asked

    virtual.run(main())


def test_c7_an_answer_of_a_fallback_is_kept_for_its_own_time(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [503, "back"], "b": ["b"]}, [(CACHE, EXACT)])
        assert (await chain.answer(commit=commit)).text == "b"
        (stored,) = chain.events(CacheStored)
        assert isinstance(stored, CacheStored) and stored.ttl == 10
        for wait, text in ((9.999, "b"), (0.001, "back"), (99.999, "back")):
            await asyncio.sleep(wait)
            assert (await chain.answer(commit=commit)).text == text

    virtual.run(main())


def test_c8_expiry_is_spread_by_ten_percent_both_ways(commit: Commit) -> None:
    async def main() -> None:
        chain, spread = build_chain({"a": forever("x")}, [(CACHE, {"ttl": "100s"})]), []
        for number in range(200):
            await chain.answer(str(number), commit=commit)
            spread += [event.ttl for event in chain.events(CacheStored) if isinstance(event, CacheStored)]
        assert len(spread) == 200 and 90 <= min(spread) < 91 and 109 < max(spread) <= 110
        assert 98 < sum(spread) / 200 < 102
        await asyncio.sleep(spread[-1] - 0.001)
        await chain.answer("199", commit=commit)
        assert chain.attempts == []
        await asyncio.sleep(0.001)
        await chain.answer("199", commit=commit)
        assert len(chain.attempts) == 1

    virtual.run(main())


def test_c9_equal_calls_share_a_flight_and_each_keeps_its_own_deadline(commit: Commit) -> None:
    async def main() -> None:
        chain = cached([SLOW])
        three = await calls(chain, 3, commit)
        assert isinstance(await failure(chain, commit=commit, deadline=0.5), DeadlineExceeded)
        assert chain.clock.now() == 0.5
        assert [each.text for each in await asyncio.gather(*three)] == ["x"] * 3
        assert chain.clock.now() == 2 and len(chain.scripts["a"].calls) == 1
        other = await calls(chain, 1, commit) + [asyncio.ensure_future(chain.answer("other", commit=commit))]
        await asyncio.gather(*other)
        assert len(chain.scripts["a"].calls) == 2  # what differs is asked besides

    virtual.run(main())


CUT_OFF = {"cancelled": asyncio.CancelledError, "deadline": DeadlineExceeded, "limit": RateLimitExceeded}


@pytest.mark.parametrize("why", CUT_OFF)
def test_c10_followers_of_a_leader_cut_off_go_on_in_one_new_flight_and_after_that_each_alone(
    why: str, commit: Commit
) -> None:
    """A place of `concurrency` is held for 2.5 s, and the leaders wait for it."""

    async def main() -> None:
        limit = {"limit": 1, **({"max_wait": "1s"} if why == "limit" else {})}
        chain = cached([{"reply": "held", "delay": "2.5s"}, *forever("x")], None, (CONCURRENCY, limit))
        holder = asyncio.ensure_future(chain.answer("something else", commit=commit))
        await asyncio.sleep(0)
        first = await calls(chain, 1, commit, deadline=1.0 if why == "deadline" else 600.0)
        second = await calls(chain, 1, commit, deadline=2.0 if why == "deadline" else 600.0)
        rest = await calls(chain, 2, commit)
        for leader, second_of in ((first[0], 1), (second[0], 2)):
            if why == "cancelled":
                await asyncio.sleep(1)
                leader.cancel()
            (error,) = await asyncio.gather(leader, return_exceptions=True)
            assert isinstance(error, CUT_OFF[why])
            assert chain.clock.now() == second_of and len(chain.scripts["a"].calls) == 1
        assert [each.text for each in await asyncio.gather(*rest)] == ["x"] * 2
        assert (await holder).text == "held" and len(chain.scripts["a"].calls) == 3  # each of the rest alone

    virtual.run(main())


def test_c11_another_error_is_shared_once_and_not_stored(commit: Commit) -> None:
    async def main() -> None:
        chain = cached([{"status": 503, "delay": "1s"}, "x"])
        errors = await asyncio.gather(*await calls(chain, 3, commit), return_exceptions=True)
        assert [type(each) for each in errors] == [ServerError] * 3 and len({id(each) for each in errors}) == 3
        assert len(chain.scripts["a"].calls) == 1
        assert (await chain.answer(commit=commit)).text == "x"

    virtual.run(main())


def test_c12_after_the_first_content_a_flight_belongs_to_all_who_read_until_the_last_one_leaves() -> None:
    async def main() -> None:
        chain = cached([WORDS, WORDS])
        leader = await chain.ask(commit="content")
        follower = await chain.ask(commit="content")
        await leader.aclose()
        half = asyncio.ensure_future(follower.read())
        await asyncio.sleep(1.5)
        late = await chain.ask(commit="content")
        assert chain.clock.now() == 2.5 and late.so_far.text == ""
        assert [(await half).text, (await late.read()).text] == ["one two three"] * 2
        assert chain.clock.now() == 3 and len(chain.scripts["a"].calls) == 1
        views = [await chain.ask("again", commit="content") for _ in range(3)]
        row = chain.scripts["a"].calls[1][1].transcript.attempts[0]
        for view in views:
            assert row.kind is None
            await view.aclose()
        assert row.kind is not None and row.elapsed == 1
        assert len(chain.scripts["a"].calls) == 2

    virtual.run(main())


def test_c13_an_attempt_is_booked_on_the_run_that_made_it_and_the_others_show_shared(
    tmp_path: Path, commit: Commit
) -> None:
    async def work(pipeline: Pipeline) -> None:
        results = await asyncio.gather(*(ask(pipeline, commit) for _ in range(3)))
        assert [story(each) for each in results] == ["a ok", "", ""]
        assert [each.steps["one"].shared for each in results] == [False, True, True]
        assert [each.usage.output_tokens > 0 for each in results] == [True, False, False]
        assert [each.served_by for each in results] == ["a"] * 3

    play(cache_file(), tmp_path, {"a": [SLOW]}, work)


LONG = {"status": 400, "body": '{"error": {"code": "context_length_exceeded", "message": "too long"}}'}
QUOTA = {"status": 429, "body": '{"error": {"code": "insufficient_quota", "message": "no money"}}'}
FILTERED = {"status": 400, "body": '{"error": {"code": "content_filter", "message": "no"}}'}


@pytest.mark.parametrize(
    ("item", "kind", "kept"),
    [
        (400, "invalid_request", True),
        (404, "not_found", True),
        (LONG, "context_length", True),
        (401, "auth", False),
        (FILTERED, "content_filter", False),
        (QUOTA, "quota_exhausted", False),
        (503, "server", False),
        ({"refuse": True}, "connect", False),
    ],
)
def test_c14_negative_entries_keep_three_kinds_for_half_a_minute_at_most(
    item: Any, kind: str, kept: bool, tmp_path: Path, commit: Commit
) -> None:
    async def main() -> None:
        chain = cached([item, *forever("x")], {"negative": "30s"})
        assert (await failure(chain, commit=commit)).kind == kind
        await asyncio.sleep(29.999)
        if kept:
            again = await failure(chain, commit=commit)
            assert (again.kind, again.marks, chain.attempts) == (kind, ("cached",), [])
            await asyncio.sleep(0.001)
        elif kind == "quota_exhausted":  # that block is the target's
            assert (await failure(chain, commit=commit)).marks == ()
            await asyncio.sleep(3600)
        assert (await chain.answer(commit=commit)).text == "x"

    virtual.run(main())
    (error,) = compile_text(cache_file("{ttl: 1h, negative: 31s}"), tmp_path).diagnostics
    assert "30s" in error.message


@pytest.mark.parametrize(
    ("item", "kind", "stands_in"),
    [
        ({"refuse": True}, "connect", True),
        (408, "timeout", True),
        (500, "server", True),
        (refused("10m"), "rate_limited", True),
        (QUOTA, "quota_exhausted", True),
        ("", "malformed_response", True),
        (401, "auth", False),
        (404, "not_found", False),
        (400, "invalid_request", False),
        (FILTERED, "content_filter", False),
        (LONG, "context_length", False),
    ],
)
def test_c15_an_expired_answer_stands_in_for_the_kinds_that_say_nothing_about_the_question(
    item: Any, kind: str, stands_in: bool, commit: Commit
) -> None:
    async def main() -> None:
        policies = [(CACHE, {**EXACT, "stale_if_error": "50s"}), (CIRCUIT_BREAKER, {"failure_threshold": 1})]
        chain = build_chain({"a": ["old", item, *forever(503)]}, policies)
        await chain.answer(commit=commit)
        await asyncio.sleep(100)
        if not stands_in:
            assert (await failure(chain, commit=commit)).kind == kind
            return
        for reason in (kind, "circuit_open" if kind in {"connect", "timeout", "server", "malformed_response"} else ""):
            assert (await chain.answer(commit=commit)).text == "old"
            (event,) = chain.events(CacheStale)
            assert isinstance(event, CacheStale) and event.reason == (reason or event.reason)
        await asyncio.sleep(50.001)
        await failure(chain, commit=commit)

    virtual.run(main())


@pytest.mark.parametrize(("takes", "then"), [("10s", "new"), ("10.001s", "old")])
def test_c16_an_expired_answer_is_given_at_once_and_refreshed_once_with_a_deadline_of_its_own(
    takes: str, then: str, commit: Commit
) -> None:
    async def main() -> None:
        chain = cached(["old", {"reply": "new", "delay": takes}], {"stale_while_revalidate": "60s"})
        await chain.answer(commit=commit)
        await asyncio.sleep(100)
        runs = [chain.run(deadline=10, commit=commit) for _ in range(3)]
        await asyncio.sleep(5)  # the refresh has ten seconds, not the five that are left
        for run in runs:
            response = await serve(chain, run)
            assert response.outcome is not None and response.outcome.completion.text == "old"
            assert response.served.stale and response.served.age == 105 and chain.clock.now() == 105
        await asyncio.sleep(9.999)
        assert (await chain.answer(commit=commit)).text == "old" and len(chain.scripts["a"].calls) == 2
        await asyncio.sleep(0.001)
        if then == "new":
            assert (await chain.answer(commit=commit)).text == "new" and chain.attempts == []
        await asyncio.sleep(0.001)
        ((_, first), (_, refresh)) = chain.scripts["a"].calls
        assert [row.kind for row in refresh.transcript.attempts] == ["ok" if then == "new" else "deadline"]
        assert first.transcript is not refresh.transcript and runs[0].transcript.attempts == []

    virtual.run(main())


def test_c17_a_hit_takes_no_token_touches_no_breaker_and_reports_what_was_saved(tmp_path: Path, commit: Commit) -> None:
    own = "cache: 1h, rate_limit: {rate: 1/hour, burst: 2}, circuit_breaker: {failure_threshold: 1}"
    text = file(f"{{targets: [a], policies: {{use: none, {own}}}}}")

    async def work(pipeline: Pipeline) -> None:
        await ask(pipeline, commit)
        for closed in (True, False):
            before = (pipeline.breakers(), pipeline.limits())
            for _ in range(3):
                hit = await ask(pipeline, commit)
                step = hit.steps["one"]
                assert (hit.attempts, hit.usage.input_tokens, hit.usage.output_tokens, hit.cost.usd) == ([], 0, 0, 0)
                assert step.cached and step.saved is not None
                assert (step.saved.input_tokens, step.saved.output_tokens) == (7, 3)
            assert (pipeline.breakers(), pipeline.limits()) == before
            if closed:  # the second token opens the breaker
                assert (await refusal(pipeline, commit, q="other")).kind == "server"
        assert (await refusal(pipeline, commit, q="third")).kind == "circuit_open"

    async def main() -> None:
        chain = cached(["x"])
        used = [(await chain.answer(commit=commit)).usage for _ in range(2)]
        assert used[0] is not None and used[0].output_tokens > 0 and used[1] == Usage()

    virtual.run(main())
    usage = {"input_tokens": 7, "output_tokens": 3}
    play(text, tmp_path, {"a": [{"reply": "x", "usage": usage}, 503]}, work)


@pytest.mark.parametrize("second", ["end", "content"])
def test_c18_streamed_and_unary_calls_share_their_entries(second: Commit, tmp_path: Path, commit: Commit) -> None:
    async def work(pipeline: Pipeline) -> None:
        first = await ask(pipeline, commit)
        hit = await ask(pipeline, second)
        assert hit.text == first.text == "one two three" and hit.steps["one"].cached and hit.attempts == []
        async with pipeline.stream() as stream:
            assert "".join([delta.text async for delta in stream]) == "one two three"

    play(cache_file(), tmp_path, {"a": [WORDS]}, work)


class Planted:
    """What would write a file if it were unpickled."""

    def __init__(self, where: Path) -> None:
        self.where = where

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.where, "unpickled"))


def test_c19_what_lies_on_the_disk_is_never_unpickled(tmp_path: Path, commit: Commit) -> None:
    text, trap = cache_file("{ttl: 1h, store: disk}"), tmp_path / "trap"
    play(text, tmp_path, {"a": ["x"]}, lambda pipeline: ask(pipeline, commit))
    (database,) = tmp_path.rglob("cache.db")
    with sqlite3.connect(database) as connection:
        columns = {row[1] for row in connection.execute("PRAGMA table_info(Cache)")}
        assert {"key", "value", "mode"} <= columns
        for mode in range(1, 5):  # 4 is diskcache's mark of a pickle
            connection.execute("UPDATE Cache SET value = ?, mode = ?", (pickle.dumps(Planted(trap)), mode))
            connection.commit()
            result, _ = play(text, tmp_path, {"a": ["asked again"]}, lambda pipeline: ask(pipeline, commit))
            assert result.text == "asked again" and not trap.exists()
    connection.close()


def test_c20_a_store_that_cannot_be_used_is_a_warning_and_never_costs_a_run(tmp_path: Path, commit: Commit) -> None:
    async def work(pipeline: Pipeline) -> None:
        for number in range(2):
            async with pipeline.stream() if commit == "content" else pipeline.start() as run:
                assert (await run.finish()).text == "x"
            told = [event for _, _, event in run.transcript.events if isinstance(event, CacheUnavailable)]
            assert len(told) == (1 if number == 0 else 0)
            assert [each.path for each in told] in ([], ["chains.default.cache"])

    (tmp_path / ".wizard").write_text("a file where a folder must be")
    play(cache_file("{ttl: 1h, store: disk}"), tmp_path, {"a": forever("x")}, work)
