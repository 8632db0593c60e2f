"""`pipeline.cache`: figures, entries, clearing and warming, over whole pipelines in virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from run_kit import HEAD, compiled, play

from wizard_dsl.core.errors import InputInvalid, NotFound, SpecError
from wizard_dsl.core.events import AttemptEnded, AttemptStarted, CacheRefreshed, Event
from wizard_dsl.core.node import StoreUnavailable
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.caches import Caches, Warmed, WarmFailure
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.runtime.runtime import running
from wizard_dsl.testing import virtual
from wizard_dsl.testing.scripted import Script, Scripted

STEPS = 'steps: {answer: {prompt: {user: "{{ q }}"}}}\n'


def file(cache: str, targets: str = "[a]") -> str:
    return f"{HEAD}chains: {{default: {{targets: {targets}, policies: {{use: none, cache: {cache}}}}}}}\n{STEPS}"


PLAIN = file("{ttl: 100s, ttl_jitter: 0%, max_entries: 3}")


async def ask(pipeline: Pipeline, *questions: str, **options: Any) -> list[str]:
    return [(await pipeline.run(q=each, **options)).text for each in questions]


def test_figures_say_how_the_cache_does(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        (none,) = await pipeline.cache.stats()
        assert (none.size, none.capacity, none.hit_rate, none.miss_rate, none.ttl_utilisation) == (
            0,
            3,
            None,
            None,
            None,
        )
        await ask(pipeline, "1", "2")
        await asyncio.sleep(50)
        await ask(pipeline, "1")
        await asyncio.sleep(40)
        await ask(pipeline, "1", "3", "4")
        (found,) = await pipeline.cache.stats()
        assert found.to_json() == {
            "cache": "chains.default.cache",
            "store": "memory",
            "size": 3,
            "capacity": 3,
            "hits": 2,
            "misses": 4,
            "hit_rate": 0.333333,
            "miss_rate": 0.666667,
            "insertions": 4,
            "evictions": 1,
            "ttl_utilisation": 0.7,
            "negative_hits": 0,
            "stale_served": 0,
            "shared": 0,
        }

    play(PLAIN, tmp_path, {"a": ["x"] * 9}, work)


def test_followers_refusals_and_old_answers_have_figures_of_their_own(tmp_path: Path) -> None:
    text = file("{ttl: 10s, ttl_jitter: 0%, negative: 5s, stale_if_error: 1h}")

    async def work(pipeline: Pipeline) -> None:
        await asyncio.gather(ask(pipeline, "1"), ask(pipeline, "1"), ask(pipeline, "1"))
        for _ in range(2):
            with pytest.raises(NotFound):
                await pipeline.run(q="2")
        await asyncio.sleep(11)
        assert (await pipeline.run(q="1")).steps["answer"].stale
        (found,) = await pipeline.cache.stats()
        assert (found.shared, found.negative_hits, found.hits, found.misses) == (2, 1, 1, 3)
        assert (found.stale_served, found.insertions) == (1, 2)

    play(text, tmp_path, {"a": [{"reply": "x", "delay": "1s"}, 404, 503]}, work)


def test_entries_tell_what_is_stored_without_its_content(tmp_path: Path) -> None:
    text = file("{ttl: 100s, ttl_jitter: 0%, negative: 5s, stale_if_error: 20s}", "[a/m]")

    async def work(pipeline: Pipeline) -> None:
        await ask(pipeline, "1")
        with pytest.raises(NotFound):
            await pipeline.run(q="2")
        first, second = await pipeline.cache.entries()
        assert (first.cache, first.target, first.kind, first.state) == ("chains.default.cache", "a/m", "ok", "fresh")
        assert first.name == f"default/a/m/{first.key}" and len(first.key) == 64
        assert first.expires - first.stored == 100 and first.size > 0 and first.usage is not None
        assert (second.kind, second.state, second.target, second.usage) == ("not_found", "fresh", "a/m", None)
        assert "secret words" not in str([first.to_json(), second.to_json()])
        await asyncio.sleep(101)
        assert [each.state for each in await pipeline.cache.entries()] == ["stale", "expired"]
        await asyncio.sleep(20)
        assert [each.state for each in await pipeline.cache.entries()] == ["expired", "expired"]

    play(text, tmp_path, {"a/m": ["secret words", 404]}, work)


def test_entries_are_cleared_by_prefix_glob_model_and_age_and_what_is_cleared_is_asked_again(tmp_path: Path) -> None:
    text = file("{ttl: 100s, ttl_jitter: 0%, fallback_ttl: 10s, max_entries: 9}", "[a/m, b/n]")

    async def work(pipeline: Pipeline) -> None:
        cache = pipeline.cache
        await ask(pipeline, "1", "2", "3", "4")
        assert [each.target for each in await cache.entries()] == ["a/m", "a/m", "b/n", "b/n"]
        one, two, three, four = await cache.entries()
        assert (
            await cache.clear(prefix="none") == await cache.clear(model="a") == await cache.clear(glob="other/*") == 0
        )
        assert await cache.clear(expired=True) == 0
        assert await cache.clear(prefix=one.key[:12]) == 1
        assert await cache.entries(model="n") == [three, four]
        assert await cache.clear(model="b/n", glob=f"*/{three.key}") == 1
        await asyncio.sleep(10)
        assert await cache.entries(expired=True) == [each for each in await cache.entries() if each.state == "expired"]
        assert await cache.clear(expired=True) == 1
        assert [each.key for each in await cache.entries()] == [two.key]
        assert await cache.clear(glob="default/a/*") == 1
        await ask(pipeline, "5", "6")
        assert await cache.clear() == 2
        assert await ask(pipeline, "5") == ["again"]

    play(text, tmp_path, {"a/m": ["x", "x", 500, 500, "x", "x", "again"], "b/n": ["y"] * 2}, work)


def test_what_cannot_be_read_is_expired(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        await ask(pipeline, "1")
        (shelf,) = pipeline._runtime.shared.of("cache").values()
        shelf.store.put("odd", b"\xff{")
        assert [each.state for each in await pipeline.cache.entries()] == ["fresh", "expired"]
        assert await pipeline.cache.clear(expired=True) == 1

    play(PLAIN, tmp_path, {"a": ["x"]}, work)


# -- warming --------------------------------------------------------------------------------------------


def test_warming_asks_for_what_is_missing_and_tells_what_failed(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        await ask(pipeline, "1")
        warmed = await pipeline.cache.warm([{"q": "1"}, {"q": "2"}, {"x": "3"}, {"q": "4"}, {"q": "2"}], concurrency=1)
        assert (warmed.inputs, warmed.asked, warmed.present) == (5, 1, 2)
        assert [(each.index, each.kind) for each in warmed.failed] == [(2, "input"), (3, "auth")]
        assert warmed.to_json()["failed"][1]["index"] == 3
        assert (await pipeline.run(q="2")).steps["answer"].cached

    play(PLAIN, tmp_path, {"a": ["x", "y", 401]}, work)


@pytest.mark.parametrize(("concurrency", "took"), [(1, 6), (2, 3), (4, 2), (99, 1)])
def test_so_many_runs_go_at_once(tmp_path: Path, concurrency: int, took: int) -> None:
    async def work(pipeline: Pipeline) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time()
        inputs = [{"q": str(number)} for number in range(6)]
        assert await pipeline.cache.warm(inputs, concurrency=concurrency) == Warmed(6, 6, 0, [])
        assert loop.time() - before == took

    play(PLAIN, tmp_path, {"a": [{"reply": "x", "delay": "1s"}] * 6}, work)


def test_warming_without_a_cache_or_hands_is_refused(tmp_path: Path) -> None:
    async def bare(pipeline: Pipeline) -> None:
        with pytest.raises(SpecError, match="no chain of this pipeline has a cache"):
            await pipeline.cache.warm([{"q": "1"}])
        assert await pipeline.cache.stats() == [] and await pipeline.cache.clear() == 0

    async def work(pipeline: Pipeline) -> None:
        with pytest.raises(InputInvalid, match="1 or more"):
            await pipeline.cache.warm([], concurrency=0)
        assert await pipeline.cache.warm([]) == Warmed(0, 0, 0, [])

    play(f"{HEAD}chains: {{default: {{targets: [a]}}}}\n{STEPS}", tmp_path, {"a": []}, bare)
    play(PLAIN, tmp_path, {"a": []}, work)


def test_a_failure_is_plain_data() -> None:
    told = Warmed(1, 0, 0, [WarmFailure(0, "server", "down")]).to_json()
    assert told == {
        "inputs": 1,
        "asked": 0,
        "present": 0,
        "failed": [{"index": 0, "kind": "server", "message": "down"}],
    }


def test_a_store_that_cannot_be_used_is_an_error_for_who_looks_from_outside(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        (shelf,) = pipeline._runtime.shared.of("cache").values()

        async def locked(*keys: str) -> Any:
            raise StoreUnavailable("locked")

        for name in ("keys", "items", "counts", "delete"):
            setattr(shelf.store, name, locked)
        for look in (pipeline.cache.stats(), pipeline.cache.entries(), pipeline.cache.clear()):
            with pytest.raises(SpecError, match="locked") as caught:
                await look
            assert caught.value.where == "chains.default.cache" and caught.value.exit_code == 3

    play(PLAIN, tmp_path, {"a": []}, work)


# -- runs -----------------------------------------------------------------------------------------------


def test_a_repeat_index_asks_again_and_finds_its_own_sample(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        said = [(await ask(pipeline, "1", repeat=repeat))[0] for repeat in (0, 1, 2, 1, 0)]
        assert said == ["x", "y", "z", "y", "x"]
        async with pipeline.stream(q="1", repeat=2) as stream:
            assert "".join([delta.text async for delta in stream]) == "z"
        async with pipeline.start(q="1", repeat=1) as begun:
            assert (await begun.finish()).text == "y"
        with pytest.raises(InputInvalid, match="0 or more"):
            await pipeline.run(q="1", repeat=-1)

    play(PLAIN, tmp_path, {"a": ["x", "y", "z"]}, work)


def test_a_refresh_has_a_ledger_of_its_own_and_is_awaited_for_a_second_at_the_end(tmp_path: Path) -> None:
    text = file("{ttl: 10s, ttl_jitter: 0%, stale_while_revalidate: 1h}")
    slow = {"reply": "new", "delay": "50s"}

    told: list[tuple[str, float, Event]] = []

    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with running(
            compiled(text, tmp_path),
            Registry(plugins=False),
            seed=1,
            provide=lambda plan, context: Scripted(script, context.clock),
            sinks=[lambda run, event: told.append((run.scope.run_id, loop.time(), event))],
        ) as pipeline:
            await ask(pipeline, "1")
            await asyncio.sleep(11)
            result = await pipeline.run(q="1")
            assert (result.text, result.attempts, result.cost.usd) == ("old", [], 0)
            assert (result.steps["answer"].stale, result.steps["answer"].age) == (True, 11)
            name = result.run_id
        behind = [(at, event) for who, at, event in told if who == f"{name}-refresh"]
        assert [type(event) for _, event in behind] == [AttemptStarted, AttemptEnded, CacheRefreshed]
        assert [event.kind for _, event in behind[1:]] == ["cancelled", "cancelled"]
        assert not any(who == name and isinstance(event, AttemptStarted) for who, _, event in told)
        return loop.time()

    script = Script("a", ["old", slow])
    assert virtual.run(main()) == 12


def test_a_cache_inside_another_file_is_found_as_well(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text(PLAIN)
    outer = "version: 1\nsteps: {a: {type: pipeline, file: inner.yaml, inputs: {q: one}}}\n"

    async def work(pipeline: Pipeline) -> None:
        assert len(await pipeline.cache.stats()) == 1
        assert isinstance(pipeline.cache, Caches)

    play(outer, tmp_path, {"a": ["x"]}, work)
