"""Weighted: shares, stickiness, drawing again, and whose answer the cache keeps."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wizard_dsl.core.events import CacheStored
from wizard_dsl.core.messages import Request, message
from wizard_dsl.core.run import Run
from wizard_dsl.core.run import Scope as RunScope
from wizard_dsl.policies.cache import CACHE
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.strategies.weighted import WEIGHTED
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

Commit = Literal["end", "content"]
HELLO = Request(messages=(message("user", "hello"),))
FOREVER = {"reply": "hello", "times": "forever"}


@pytest.fixture(params=["end", "content"])
def commit(request: pytest.FixtureRequest) -> Commit:
    return request.param


def chain_of(weights: dict[str, float], scripts: dict[str, Any] | None = None, **options: Any) -> ScriptedChain:
    played = {name: (scripts or {}).get(name, [FOREVER]) for name in weights}
    fields = {name: {"weight": weight, "fingerprint": name} for name, weight in weights.items()}
    return build_chain(played, options.pop("policies", ()), strategy=WEIGHTED, fields=fields, **options)


async def served(chain: ScriptedChain, sticky: str | None = None, commit: Commit = "end") -> str:
    """Who answers one call."""
    asked = chain.run(commit=commit)
    response = await chain.handler(HELLO, asked.child(scope=_with(asked, sticky)))
    await response.read()
    return response.served.target


def _with(asked: Run, sticky: str | None) -> RunScope:
    scope = asked.scope
    return RunScope(run_id=scope.run_id, number=scope.number, streams=scope.streams, sticky=sticky)


async def arms(chain: ScriptedChain, count: int) -> list[str]:
    return [await served(chain) for _ in range(count)]


def test_calls_are_shared_by_weight() -> None:
    async def main() -> None:
        counts = Counter(await arms(chain_of({"a": 8, "b": 2}), 2000))
        assert 1540 < counts["a"] < 1660

    run(main())


def test_the_same_seed_draws_the_same_arms_and_another_seed_others() -> None:
    async def main(seed: int) -> list[str]:
        return await arms(chain_of({"a": 1, "b": 1}, seed=seed), 40)

    assert run(main(1)) == run(main(1)) != run(main(2))


def test_the_rest_is_drawn_again_by_weight_when_the_arm_fails(commit: Commit) -> None:
    async def main() -> None:
        down = {"status": 503, "times": "forever"}
        chain = chain_of({"a": 90, "b": 9, "c": 1}, {"a": [down]})
        counts = Counter([await served(chain, commit=commit) for _ in range(300)])
        assert counts["a"] == 0 and counts["b"] > 8 * counts["c"] > 0

    run(main())


def test_an_open_arm_is_left_to_the_others_until_it_is_well() -> None:
    async def main() -> None:
        policies = [(CIRCUIT_BREAKER, {"failure_threshold": 1})]
        chain = chain_of({"a": 99, "b": 1}, {"a": [503, FOREVER]}, policies=policies)
        assert await served(chain, sticky="a customer of a") == "b"
        assert await served(chain, sticky="a customer of a") == "b" and chain.story() == "b ok"
        await chain.clock.sleep(30)
        assert await served(chain, sticky="a customer of a") == "a"

    run(main())


def test_weight_zero_is_a_spare_that_is_tried_last() -> None:
    async def main() -> None:
        chain = chain_of({"spare": 0, "a": 1})
        assert set(await arms(chain, 200)) == {"a"}
        chain = chain_of({"spare": 0, "a": 1, "b": 1}, {"a": [503], "b": [503]})
        assert await served(chain) == "spare"

    run(main())


def test_equal_values_meet_the_same_arm_whatever_the_seed() -> None:
    async def main() -> None:
        for number in range(30):
            value = f"customer {number}"
            found = {await served(chain_of({"a": 1, "b": 1}, seed=seed), value) for seed in range(3)}
            assert len(found) == 1
        counts = Counter([await served(chain_of({"a": 3, "b": 1}), f"customer {number}") for number in range(400)])
        assert 260 < counts["a"] < 340

    run(main())


def test_two_experiments_do_not_divide_the_customers_alike() -> None:
    async def main() -> None:
        one, two = (chain_of({"a": 1, "b": 1}, name=name) for name in ("one", "two"))
        pairs = {(await served(one, str(each)), await served(two, str(each))) for each in range(40)}
        assert len(pairs) == 4

    run(main())


def test_a_larger_weight_moves_nobody_away_from_it() -> None:
    async def main() -> None:
        before, after = chain_of({"a": 1, "b": 1, "c": 1}), chain_of({"a": 1, "b": 2, "c": 1})
        moves = {(await served(before, str(each)), await served(after, str(each))) for each in range(300)}
        assert {now for was, now in moves if was != now} == {"b"}

    run(main())


@given(
    weights=st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=5),
    priorities=st.lists(st.integers(-2, 2), min_size=5, max_size=5),
    sticky=st.none() | st.text(max_size=3),
)
def test_every_draw_is_a_permutation_with_priorities_first(
    weights: list[float], priorities: list[int], sticky: str | None
) -> None:
    names = [f"t{index}" for index in range(len(weights))]
    fields = {
        name: {"weight": weight, "priority": priority}
        for name, weight, priority in zip(names, weights, priorities, strict=False)
    }

    async def main() -> None:
        chain = build_chain({name: [503] for name in names}, strategy=WEIGHTED, fields=fields)
        asked = chain.run()
        with pytest.raises(Exception, match="503"):
            await chain.handler(HELLO, asked.child(scope=_with(asked, sticky)))
        tried = [row.target for row in chain.attempts]
        assert sorted(tried) == names
        assert [fields[name]["priority"] for name in tried] == sorted(each["priority"] for each in fields.values())
        for priority in set(priorities):
            spares = [name for name in tried if fields[name] == {"weight": 0, "priority": priority}]
            assert spares == sorted(spares)

    run(main())


# -- the cache stands above the draw -------------------------------------------------------------------

CACHED = [(CACHE, {"ttl": "1h", "ttl_jitter": "0%", "fallback_ttl": "60s"})]


def test_the_cache_keeps_an_answer_for_each_arm(commit: Commit) -> None:
    async def main() -> None:
        chain = chain_of({"a": 1, "b": 1}, {"a": ["of a"], "b": ["of b"]}, policies=CACHED)
        found = [await served(chain, commit=commit) for _ in range(40)]
        assert set(found) == {"a", "b"}  # each script has one answer: all others are hits, of the arm that was drawn
        again = chain_of({"a": 1, "b": 1})
        assert found == await arms(again, 40)

    run(main())


def test_an_answer_of_the_arm_is_kept_long_and_one_that_stands_in_for_it_briefly(commit: Commit) -> None:
    async def main() -> None:
        chain = chain_of({"a": 1, "b": 0.0001}, {"a": ["first", 503]}, policies=CACHED)
        await served(chain, commit=commit)
        assert [event.ttl for event in chain.events(CacheStored)] == [3600.0]  # type: ignore[attr-defined]
        await chain.clock.sleep(3601)
        assert await served(chain, commit=commit) == "b"
        assert [event.ttl for event in chain.events(CacheStored)] == [60.0]  # type: ignore[attr-defined]

        behind = chain_of({"a": 0.0001, "b": 1}, policies=CACHED)
        assert await served(behind, commit=commit) == "b"
        assert [event.ttl for event in behind.events(CacheStored)] == [3600.0]  # type: ignore[attr-defined]

    run(main())
