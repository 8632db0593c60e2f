"""Fastest and adaptive: what has been measured decides who is asked first."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wizard_dsl.core.component import StrategyType
from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.messages import Request, Tool, message
from wizard_dsl.core.target import Facts, Prices
from wizard_dsl.strategies.adaptive import ADAPTIVE, grade
from wizard_dsl.strategies.cheapest import CHEAPEST
from wizard_dsl.strategies.fastest import FASTEST
from wizard_dsl.strategies.weighted import WEIGHTED
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

Commit = Literal["end", "content"]
ORDERS = [ADAPTIVE, CHEAPEST, FASTEST, WEIGHTED]
DOWN = {"status": 503, "times": "forever"}


@pytest.fixture(params=["end", "content"])
def commit(request: pytest.FixtureRequest) -> Commit:
    return request.param


def after(seconds: float) -> dict[str, Any]:
    return {"reply": "hello", "first_chunk": f"{seconds}s", "times": "forever"}


async def served(chain: ScriptedChain, count: int, commit: Commit = "end") -> list[str]:
    found = []
    for _ in range(count):
        response = await chain.ask(commit=commit)
        await response.read()
        found.append(response.served.target)
    return found


# -- fastest ------------------------------------------------------------------------------------------


def test_each_is_measured_and_then_the_fastest_is_asked(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"slow": [after(3)], "fast": [after(1)], "mid": [after(2)]}, strategy=FASTEST)
        assert await served(chain, 5, commit) == ["slow", "fast", "mid", "fast", "fast"]

    run(main())


def test_a_streamed_call_goes_by_the_first_content_and_an_unstreamed_one_by_the_end() -> None:
    long = {"reply": "a b c d e", "first_chunk": "1s", "chunk_every": "5s", "times": "forever"}

    async def main() -> None:
        chain = build_chain({"early": [long], "done": [after(3)]}, strategy=FASTEST)
        await served(chain, 2, "content")
        await served(chain, 2, "end")
        assert await served(chain, 1, "content") == ["early"]
        assert await served(chain, 1, "end") == ["done"]

    run(main())


def test_a_target_that_only_fails_is_known_for_it(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"down": [DOWN], "slow": [after(9)]}, strategy=FASTEST)
        await served(chain, 1, commit)
        assert chain.story() == "down 503 → slow ok"
        await served(chain, 1, commit)
        assert chain.story() == "slow ok"

    run(main())


def test_a_slow_target_is_measured_again_once_its_time_is_old() -> None:
    async def main() -> None:
        chain = build_chain(
            {"a": [{"reply": "x", "first_chunk": "9s"}, after(1)], "b": [after(2)]},
            strategy=FASTEST,
            strategy_config={"window": "1m"},
        )
        assert await served(chain, 3) == ["a", "b", "b"]
        await chain.clock.sleep(58)
        assert await served(chain, 2) == ["a", "a"]

    run(main())


# -- adaptive -----------------------------------------------------------------------------------------


def test_one_failure_moves_nothing_and_two_do_until_they_are_old(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [503, 503, after(0)], "b": [after(0)]}, strategy=ADAPTIVE)
        assert await served(chain, 2, commit) == ["b", "b"]
        assert chain.story() == "a 503 → b ok"  # the first failure left it in its place
        assert await served(chain, 1, commit) == ["b"] and chain.story() == "b ok"
        await chain.clock.sleep(601)
        assert await served(chain, 1, commit) == ["a"]

    run(main())


def test_a_target_that_fell_behind_still_stands_in(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [503, 503, after(0)], "b": [after(0), after(0)]}, strategy=ADAPTIVE)
        await served(chain, 2, commit)
        chain.targets["b"].gates.append(lambda now: 5.0)
        assert await served(chain, 1, commit) == ["a"]

    run(main())


def test_a_stream_that_breaks_is_no_success() -> None:
    cut = {"reply": "a b c", "cut_after": 1}

    async def main() -> None:
        chain = build_chain({"a": [cut, cut], "b": [after(0)]}, strategy=ADAPTIVE)
        for _ in range(2):
            with pytest.raises(WizardError):
                await chain.answer(commit="content")
        assert await served(chain, 1, "content") == ["b"]

    run(main())


@given(answered=st.integers(0, 300), failed=st.integers(0, 300))
def test_a_grade_falls_with_failures_and_rises_with_answers(answered: int, failed: int) -> None:
    assert 0 <= grade(answered, failed + 1) <= grade(answered, failed) <= grade(answered + 1, failed) <= 10
    assert grade(answered, 0) == 10


def test_the_numbers_of_the_description() -> None:
    assert [grade(0, failed) for failed in (0, 1, 2)] == [10, 10, 9]
    assert [grade(9600, 400), grade(9400, 600)] == [10, 9]


# -- every order --------------------------------------------------------------------------------------


@given(order=st.sampled_from(ORDERS), seed=st.integers(0, 5), data=st.data())
def test_every_order_is_a_permutation_and_ties_go_by_declaration(
    order: StrategyType, seed: int, data: st.DataObject
) -> None:
    names = [f"t{index}" for index in range(data.draw(st.integers(1, 5)))]
    price = st.none() | st.sampled_from([1.0, 2.0])
    prices = [data.draw(price) for _ in names]
    facts = {n: Facts(prices=None if p is None else Prices(p, p)) for n, p in zip(names, prices, strict=True)}
    fields = {name: {"weight": data.draw(st.sampled_from([0.0, 1.0, 5.0]))} for name in names}

    async def main() -> None:
        chain = build_chain({n: [503] for n in names}, strategy=order, facts=facts, fields=fields, seed=seed)
        with pytest.raises(WizardError):
            await chain.answer()
        tried = [row.target for row in chain.attempts]
        assert sorted(tried) == names
        if order in (FASTEST, ADAPTIVE):
            assert tried == names  # nothing is measured yet
        if order is CHEAPEST:
            ranks = {n: (float("inf") if p is None else p, n) for n, p in zip(names, prices, strict=True)}
            assert tried == sorted(names, key=ranks.__getitem__)

    run(main())


@pytest.mark.parametrize("order", ORDERS, ids=lambda each: each.name)
def test_what_a_target_cannot_do_is_checked_under_every_order(order: StrategyType, commit: Commit) -> None:
    """The one that would be first lacks tools, the next loses them with leave, the last one's window is too small."""
    facts = {
        "none": Facts(tools=False, prices=Prices(1, 1)),
        "small": Facts(context=1, prices=Prices(1, 1)),
        "able": Facts(tools=True, prices=Prices(9, 9)),
    }
    asked = Request(messages=(message("user", "hello there, how are you?"),), tools=(Tool("look"),))

    async def main() -> None:
        chain = build_chain({"none": [], "small": [], "able": ["hello"]}, strategy=order, facts=facts)
        response = await chain.ask(asked, commit=commit)
        await response.read()
        assert (response.served.target, response.served.losses) == ("able", ())

        lossy = build_chain({"none": ["x"], "small": []}, strategy=order, facts=facts, allow_loss=["tools"])
        response = await lossy.ask(asked, commit=commit)
        await response.read()
        assert (response.served.target, response.served.losses) == ("none", ("tools",))
        assert lossy.scripts["none"].calls[0][0].tools == ()

    run(main())


@pytest.mark.parametrize("order", ORDERS, ids=lambda each: each.name)
def test_a_call_keeps_its_order_when_it_is_entered_again(order: StrategyType) -> None:
    """A repair, or a restarted stream, enters the same logical call: what was measured meanwhile waits for the next."""

    async def main() -> None:
        chain = build_chain({"a": [503, 503], "b": [503, 503]}, strategy=order, fields={"a": {"weight": 2}})
        asked = chain.run()
        for _ in range(2):
            with pytest.raises(WizardError):
                await chain.handler(Request(), asked)
        tried = [row.target for row in chain.attempts]
        assert tried[:2] == tried[2:]

    run(main())
