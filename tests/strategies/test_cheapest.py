"""Cheapest: what a request costs where, and what is tried then."""

from __future__ import annotations

from typing import Literal

import pytest

from wizard_dsl.core.messages import Request, message
from wizard_dsl.core.target import Facts, Prices, Target, TargetState
from wizard_dsl.strategies.cheapest import CHEAPEST, USUAL_ANSWER, price
from wizard_dsl.testing.chains import build_chain
from wizard_dsl.testing.virtual import run

Commit = Literal["end", "content"]
READER = Facts(prices=Prices(input=0.1, output=10.0))
WRITER = Facts(prices=Prices(input=5.0, output=1.0))


@pytest.fixture(params=["end", "content"])
def commit(request: pytest.FixtureRequest) -> Commit:
    return request.param


def target(facts: Facts, **fields: object) -> Target:
    return Target("t", 0, TargetState("t"), facts, **fields)  # type: ignore[arg-type]


def asked(text: str = "hello", **params: object) -> Request:
    return Request(messages=(message("user", text),), params=params)


def test_the_target_that_is_cheapest_for_this_request_is_asked_first(commit: Commit) -> None:
    """A long prompt with a short answer goes where reading is cheap, a short prompt with a long answer elsewhere."""

    async def main() -> None:
        chain = build_chain(
            {"writer": ["w"], "reader": ["r"]}, strategy=CHEAPEST, facts={"writer": WRITER, "reader": READER}
        )
        long = await chain.answer(asked("word " * 4000, max_tokens=10), commit=commit)
        short = await chain.answer(asked("word", max_tokens=4000), commit=commit)
        assert (long.text, short.text) == ("r", "w")

    run(main())


def test_the_next_dearer_one_stands_in(commit: Commit) -> None:
    facts = {name: Facts(prices=Prices(cost, cost)) for name, cost in {"a": 3.0, "b": 1.0, "c": 2.0}.items()}

    async def main() -> None:
        chain = build_chain({"a": ["a"], "b": [503], "c": [503]}, strategy=CHEAPEST, facts=facts)
        response = await chain.ask(commit=commit)
        await response.read()
        assert chain.story() == "b 503 → c 503 → a ok"
        assert (response.served.position, response.served.fallback) == (0, True)

    run(main())


def test_unknown_prices_are_tried_last_in_order() -> None:
    async def main() -> None:
        chain = build_chain(
            {"x": [503], "y": ["y"], "known": [503]}, strategy=CHEAPEST, facts={"known": Facts(prices=Prices(99, 99))}
        )
        assert (await chain.answer()).text == "y"
        assert chain.story() == "known 503 → x 503 → y ok"

    run(main())


def test_a_lower_priority_number_comes_before_a_lower_price() -> None:
    facts = {"dear": Facts(prices=Prices(9, 9)), "cheap": Facts(prices=Prices(1, 1))}

    async def main() -> None:
        chain = build_chain(
            {"dear": [503], "cheap": ["c"]}, strategy=CHEAPEST, facts=facts, fields={"cheap": {"priority": 1}}
        )
        await chain.answer()
        assert chain.story() == "dear 503 → cheap ok"

    run(main())


def test_the_answer_is_as_long_as_somebody_says() -> None:
    facts = Facts(prices=Prices(input=0.0, output=1e6))
    assert price(target(facts), asked(), 0) == USUAL_ANSWER
    assert price(target(facts), asked(max_tokens=7), 0) == 7
    assert price(target(facts, params={"max_tokens": 3}), asked(max_tokens=7), 0) == 3
    assert price(target(Facts(prices=facts.prices, max_output=500)), asked(), 0) == 500
    assert price(target(facts), Request(kind="embed", texts=("a",)), 0) == 0
    assert price(target(Facts()), asked(), 0) == float("inf")
