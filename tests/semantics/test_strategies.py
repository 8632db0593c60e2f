"""Strategies: in which order targets are asked, which of them at once, and what a loser leaves behind."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from compiler_kit import compile_text, program
from run_kit import play
from semantics_kit import CALM, Commit, ask, failure, file, forever, starts, story

from wizard_dsl.core.component import StrategyType
from wizard_dsl.core.events import BranchCancelled, HedgeWithheld, LossAccepted, PrimaryRecovered, TargetSkipped
from wizard_dsl.core.messages import Image, Message, Request, Text, Tool, message
from wizard_dsl.core.run import Scope
from wizard_dsl.core.target import Facts, Prices
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.rate_limit import RATE_LIMIT
from wizard_dsl.policies.retry_budget import RETRY_BUDGET
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.strategies.adaptive import ADAPTIVE
from wizard_dsl.strategies.cheapest import CHEAPEST
from wizard_dsl.strategies.fastest import FASTEST
from wizard_dsl.strategies.hedged import HEDGED
from wizard_dsl.strategies.parallel import PARALLEL
from wizard_dsl.strategies.sequential import SEQUENTIAL
from wizard_dsl.strategies.weighted import WEIGHTED
from wizard_dsl.testing import virtual
from wizard_dsl.testing.chains import Policy, ScriptedChain, build_chain

HELLO = Request(messages=(message("user", "hello"),))


def slow(seconds: float, reply: Any = "x", **more: Any) -> dict[str, Any]:
    """An answer, or with `status` a failure, after so many seconds."""
    return {"reply": reply, "delay": f"{seconds}s", **more}


def hedged(scripts: Mapping[str, Sequence[Any]], policies: Sequence[Policy] = (), **more: Any) -> ScriptedChain:
    """A race in which the next begins three seconds after the newest."""
    return build_chain(scripts, policies, strategy=HEDGED, strategy_config={"after": "3s"}, **more)


async def served(chain: ScriptedChain, commit: Commit, asked: Request = HELLO, **options: Any) -> str:
    async with await chain.ask(asked, commit=commit, **options) as response:
        await response.read()
        return response.served.target


def skips(chain: ScriptedChain) -> list[tuple[str, str]]:
    return [(event.target, event.reason) for event in chain.events(TargetSkipped) if isinstance(event, TargetSkipped)]


def test_s1_sequential_asks_in_order_and_checks_each_target_before_it_is_asked(commit: Commit) -> None:
    async def main() -> None:
        facts = {"a": Facts(context=100), "c": Facts(tools=False), "d": Facts(context=2000, tools=True)}
        chain = build_chain({"a": ["a"], "b": [503], "c": ["c"], "d": ["d"]}, facts=facts)
        long = Request(messages=(message("user", "word " * 500),), tools=(Tool("t"),))
        assert await served(chain, commit, long) == "d"
        assert chain.story() == "b 503 → d ok"
        assert skips(chain) == [("a", "context_length"), ("c", "tools")]
        assert await served(chain, commit) == "a"

    virtual.run(main())


ASKED = {
    "tools": Request(messages=(message("user", "x"),), tools=(Tool("t"),)),
    "images": Request(messages=(Message("user", (Image("https://example.com/a.png"), Text("x"))),)),
    "system": Request(messages=(message("system", "s"), message("user", "x"))),
}


@pytest.mark.parametrize("what", ASKED)
def test_s2_what_would_be_lost_must_be_allowed_and_is_reported(what: str, commit: Commit) -> None:
    async def main() -> None:
        facts = {"a": Facts(**{what: False})}
        chain = build_chain({"a": ["never"]}, facts=facts)
        error = await failure(chain, ASKED[what], commit=commit)
        assert (error.kind, chain.attempts) == ("unsupported", [])
        chain = build_chain({"a": ["x"]}, facts=facts, allow_loss=[what])
        async with await chain.ask(ASKED[what], commit=commit) as response:
            await response.read()
        assert response.served.losses == (what,)
        assert [event.lost for event in chain.events(LossAccepted) if isinstance(event, LossAccepted)] == [(what,)]
        asked = chain.scripts["a"].calls[0][0]
        assert not asked.tools and not asked.has_images and all(each.role != "system" for each in asked.messages)
        schema = build_chain({"a": ["{}"]}, facts={"a": Facts(json_schema=False)})
        assert await served(schema, commit, Request(messages=HELLO.messages, schema={"type": "object"})) == "a"
        assert not schema.events(LossAccepted)
        small = build_chain({"a": ["never"]}, facts={"a": Facts(context=1)}, allow_loss=["context", what])
        assert (await failure(small, commit=commit)).kind == "context_length" and small.attempts == []

    virtual.run(main())


def test_s3_a_hedge_starts_after_its_time_counted_from_the_newest_and_there_is_one_at_most(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [slow(3)], "b": ["never"]})
        assert await served(chain, commit) == "a" and starts(chain) == [0]  # in time, on the instant
        chain = hedged({"a": [slow(100)], "b": [slow(20)], "c": ["never"]})
        assert await served(chain, commit) == "b" and chain.clock.now() == 3 + 3 + 20
        assert starts(chain) == [0, 3] and [row.hedge for row in chain.attempts] == [False, True]
        chain = hedged({"a": [slow(1, status=503)], "b": [slow(100)], "c": ["c"]})
        assert await served(chain, commit) == "c" and starts(chain) == [0, 1, 4]

    virtual.run(main())


def test_s4_a_failed_branch_is_dropped_while_another_runs_else_the_next_starts_at_once(commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [slow(5.5, status=503)], "b": [slow(1, status=503)], "c": [slow(1)]})
        assert await served(chain, commit) == "c"
        assert starts(chain) == [0, 3, 5.5] and chain.clock.now() == 6.5
        chain = hedged({"a": [slow(9)], "b": [slow(1, status=503)]})
        assert await served(chain, commit) == "a" and chain.clock.now() == 6.5 + 9

    virtual.run(main())


@pytest.mark.parametrize(("first", "second"), [(slow(100), slow(1, status=401)), (slow(4, status=401), slow(100))])
def test_s5_an_error_that_does_not_move_on_ends_every_branch(first: Any, second: Any, commit: Commit) -> None:
    async def main() -> None:
        chain = hedged({"a": [first], "b": [second], "c": ["never"]})
        error = await failure(chain, commit=commit)
        assert error.kind == "auth" and chain.clock.now() == 4
        assert sorted(row.kind or "" for row in chain.attempts) == ["auth", "cancelled"]
        assert len(asyncio.all_tasks()) == 1

    virtual.run(main())


def test_s6_a_hedge_takes_a_token_and_from_the_retry_budget_and_without_them_there_is_none(commit: Commit) -> None:
    async def main() -> None:
        scripts = {"a": forever(slow(9)), "b": forever("b")}
        none_left = {"a": [], "b": [(RATE_LIMIT, {"rate": "1/hour", "burst": 1, "max_wait": "0s"})]}
        chain = hedged(scripts, overrides=none_left)
        assert [await served(chain, commit) for _ in range(2)] == ["b", "a"]
        assert len(chain.scripts["b"].calls) == 1 and chain.clock.now() == 3 + 9
        chain = hedged(scripts, [(RETRY_BUDGET, {"ratio": "0%", "floor": "0.1/s"})])  # one in ten seconds
        assert [await served(chain, commit) for _ in range(2)] == ["b", "a"]
        assert [event.reason for event in chain.events(HedgeWithheld)] == ["retry_budget_exhausted"]
        assert [await served(chain, commit) for _ in range(2)] == ["b", "a"]  # from second 24 on

    virtual.run(main())


@pytest.mark.parametrize("strategy", ["hedged", "parallel"])
def test_s7_the_loser_is_cancelled_and_its_cost_recorded(strategy: str, commit: Commit) -> None:
    async def main() -> None:
        facts = dict.fromkeys("ab", Facts(prices=Prices(1, 1)))
        options = {"strategy": HEDGED if strategy == "hedged" else PARALLEL, "facts": facts}
        config = {"strategy_config": {"after": "3s"}} if strategy == "hedged" else {}
        chain = build_chain({"a": [slow(100)], "b": [slow(5)]}, **options, **config)
        assert await served(chain, commit) == "b"
        lost, won = chain.attempts
        took = 8 if strategy == "hedged" else 5
        assert (lost.target, lost.kind, lost.elapsed, lost.confidence) == ("a", "cancelled", took, "unknown")
        assert (
            lost.cost is None and lost.usage is None
        )  # it said nothing: nobody knows, and the worst case stays booked
        assert (won.kind, won.confidence, won.cost) == ("ok", "reported", 3e-6)
        (event,) = chain.events(BranchCancelled)
        assert isinstance(event, BranchCancelled) and (event.target, event.by) == ("a", "b")
        assert len(asyncio.all_tasks()) == 1 and chain.clock.now() == took

    virtual.run(main())


def test_s8_parallel_starts_n_at_once_the_first_commit_wins_and_where_all_fail_the_next_n_start(commit: Commit) -> None:
    async def main() -> None:
        scripts = {
            "a": [slow(1, status=503)], "b": [slow(3, status=503)], "c": [slow(4)], "d": [slow(2)], "e": ["never"],
        }  # fmt: skip
        chain = build_chain(scripts, strategy=PARALLEL, strategy_config={"n": 2})
        assert await served(chain, commit) == "d" and chain.clock.now() == 5
        assert [(row.target, row.started, row.kind) for row in chain.attempts] == [
            ("a", 0, "server"), ("b", 0, "server"), ("c", 3, "cancelled"), ("d", 3, "ok"),
        ]  # fmt: skip

    virtual.run(main())


def test_s9_cheapest_goes_by_the_price_of_this_request(commit: Commit) -> None:
    async def main() -> None:
        facts = {"b": Facts(prices=Prices(10, 1)), "c": Facts(prices=Prices(1, 10))}
        chain = build_chain({name: forever(name) for name in "abc"}, strategy=CHEAPEST, facts=facts)
        for words, answer, cheapest in ((1, 1000, "b"), (500, 10, "c")):
            asked = Request(messages=(message("user", "word " * words),), params={"max_tokens": answer})
            assert await served(chain, commit, asked) == cheapest
        scripts = {"a": ["a"], "b": [503], "c": [503]}
        chain = build_chain(scripts, strategy=CHEAPEST, facts=facts)
        assert await served(chain, commit) == "a" and chain.story() == "b 503 → c 503 → a ok"  # no price: last

    virtual.run(main())


def test_s10_fastest_goes_by_the_measured_time_to_the_first_content() -> None:
    async def main() -> None:
        scripts = {
            "a": forever({"reply": "x y", "first_chunk": "2s"}),
            "b": forever({"reply": "x y", "first_chunk": "1s", "chunk_every": "9s"}),
        }
        for commit, fastest in (("content", "b"), ("end", "a")):  # until the first content, or until the end
            chain = build_chain(scripts, strategy=FASTEST)
            found = [await served(chain, commit) for _ in range(6)]
            assert found == ["a", "b"] + [fastest] * 4  # who was not measured yet comes first

    virtual.run(main())


def test_s11_adaptive_puts_who_failed_too_often_behind_the_others(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [503, 503, "back"], "b": forever("b")}, strategy=ADAPTIVE)
        stories = []
        for _ in range(4):
            await served(chain, commit)
            stories.append(chain.story())
        assert stories == ["a 503 → b ok", "a 503 → b ok", "b ok", "b ok"]
        await asyncio.sleep(700)  # the failures have left the window
        assert await served(chain, commit) == "a"

    virtual.run(main())


def test_s12_weighted_draws_by_weight_and_again_among_the_untried_and_sticky_keeps_an_arm(commit: Commit) -> None:
    fields = {"a": {"weight": 6.0}, "b": {"weight": 3.0}, "c": {"weight": 1.0}}

    async def main() -> None:
        chain = build_chain({name: forever("x") for name in "abc"}, strategy=WEIGHTED, fields=fields)
        counts = Counter([await served(chain, commit) for _ in range(1000)])
        assert 550 < counts["a"] < 650 and 250 < counts["b"] < 350 and 70 < counts["c"] < 130
        for key in ("ann", "bob", "cid"):
            scope = Scope("r", sticky=key, streams=commit == "content")
            assert len({await served(chain, commit, scope=scope) for _ in range(20)}) == 1
        keys = [Scope("r", sticky=str(number)) for number in range(300)]
        assert {await served(chain, commit, scope=each) for each in keys} == {"a", "b", "c"}
        down = {"a": forever(503), "b": forever("b"), "c": forever("c")}
        chain = build_chain(down, strategy=WEIGHTED, fields=fields)
        counts = Counter([await served(chain, commit) for _ in range(400)])
        assert counts["a"] == 0 and 260 < counts["b"] < 340 and counts["c"] == 400 - counts["b"]

    virtual.run(main())


ONE_BY_ONE = [SEQUENTIAL, CHEAPEST, FASTEST, ADAPTIVE]


@pytest.mark.parametrize("strategy", [*ONE_BY_ONE, HEDGED, PARALLEL], ids=lambda each: each.name)
def test_s13_ties_are_broken_by_declaration(strategy: StrategyType, commit: Commit) -> None:
    async def main() -> None:
        prices = {name: Facts(prices=Prices(1, 1)) for name in "zma"}
        scripts = {name: [slow(1, status=503)] for name in "zma"}
        chain = build_chain(scripts, strategy=strategy, facts=prices)
        await failure(chain, commit=commit)
        assert [row.target for row in chain.attempts] == [*"zma"]
        if strategy is PARALLEL:  # two that commit on one instant
            chain = build_chain({name: [slow(1, "one two")] for name in "zma"}, strategy=strategy)
            assert await served(chain, commit) == "z"

    virtual.run(main())


@pytest.mark.parametrize("strategy", Registry(plugins=False).names("strategies"))
def test_s14_a_target_listed_twice_is_an_error_under_any_strategy_but_hedged(strategy: str, tmp_path: Path) -> None:
    text = file(f"{{targets: [a, a], strategy: {strategy}}}")
    codes = [each.code for each in compile_text(text, tmp_path).diagnostics if each.severity == "error"]
    assert codes == ([] if strategy == "hedged" else ["E063"])
    program(text.replace("[a, a]", "[a, b]"), tmp_path)
    if strategy == "hedged":
        text = text.replace("strategy: hedged", "strategy: {type: hedged, after: 3s}")
        result, _ = play(text, tmp_path, {"a": [slow(9), "second"]}, lambda pipeline: ask(pipeline, "end"))
        assert (result.text, story(result)) == ("second", "a cancelled → a ok")


def test_s15_a_target_is_taken_out_and_put_back_at_run_time_and_priorities_are_tried_in_their_order(
    tmp_path: Path, commit: Commit
) -> None:
    text = file("{targets: [{provider: a, priority: 1}, b], policies: {use: none}}")

    async def work(pipeline: Pipeline) -> None:
        assert (await ask(pipeline, commit)).served_by == "b"
        pipeline.enable("b", False)
        assert pipeline.targets() == {"b": False, "a": True}
        assert story(await ask(pipeline, commit)) == "a ok"
        pipeline.enable("b")
        assert story(await ask(pipeline, commit)) == "b 503 → a ok"

    play(text, tmp_path, {"a": forever("a"), "b": ["b", 503]}, work)

    async def main() -> None:
        fields = {"a": {"priority": 1}, "b": {"priority": 1}}
        facts = {name: Facts(prices=Prices(price, price)) for name, price in zip("abc", (2, 1, 9), strict=True)}
        chain = build_chain({"c": [503], "a": ["a"], "b": [503]}, strategy=CHEAPEST, fields=fields, facts=facts)
        assert await served(chain, commit) == "a" and chain.story() == "c 503 → b 503 → a ok"

    virtual.run(main())


def test_s16_that_the_first_target_is_back_is_told_once(commit: Commit) -> None:
    async def main() -> None:
        policies = [*CALM, (CIRCUIT_BREAKER, {"failure_threshold": 3, "reset_timeout": "30s"})]
        chain = build_chain({"a": ["a", 503, 503, 503, *forever("back")], "b": forever("b")}, policies)
        told = []
        for wait in (0, 0, 10, 30, 1):
            await asyncio.sleep(wait)
            await served(chain, commit)
            told.append([(each.target, each.calls, each.away) for each in chain.events(PrimaryRecovered)])
        assert told == [[], [], [], [("a", 2, 40)], []]

    virtual.run(main())
