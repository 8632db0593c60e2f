"""Ordered strategies through whole files: weights, stickiness, priorities, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from compiler_kit import compile_text, found, program
from run_kit import play

from wizard_dsl.core.errors import WizardError
from wizard_dsl.lint.rules import lint
from wizard_dsl.runtime.pipeline import Pipeline

HEAD = """\
version: 1
inputs: {q: {type: string, default: hello}, customer: {default: null}}
providers: {a: {type: mock, model: m}, b: {type: mock, model: n}}
"""
STEPS = 'steps: {one: {prompt: {user: "{{ q }}"}}}\n'
FOREVER = [{"reply": "hello", "times": "forever"}]
STICKY = HEAD + "chains: {default: {strategy: {type: weighted, sticky: customer}, targets: [a, b]}}\n" + STEPS


def file(chain: str) -> str:
    return f"{HEAD}chains: {{default: {chain}}}\n{STEPS}"


async def served_to(pipeline: Pipeline, customers: list[Any]) -> list[str | None]:
    return [(await pipeline.run(customer=customer)).served_by for customer in customers]


def test_a_customer_always_meets_the_same_target(tmp_path: Path) -> None:
    customers = [{"id": number} for number in range(20)]

    async def work(pipeline: Pipeline) -> None:
        first = await served_to(pipeline, customers)
        assert set(first) == {"a", "b"}
        assert await served_to(pipeline, customers) == first

    play(STICKY, tmp_path, {"a": FOREVER, "b": FOREVER}, work)


def test_chance_decides_for_whom_the_value_is_null(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> list[str | None]:
        return await served_to(pipeline, [None] * 20)

    first, _ = play(STICKY, tmp_path, {"a": FOREVER, "b": FOREVER}, work)
    again, _ = play(STICKY, tmp_path, {"a": FOREVER, "b": FOREVER}, work)
    assert set(first) == {"a", "b"} and first == again


def test_the_target_of_a_streamed_run_is_drawn_alike(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        for number in range(6):
            async with pipeline.stream(customer=number) as stream:
                streamed = await stream.finish()
            assert streamed.served_by == (await pipeline.run(customer=number)).served_by

    play(STICKY, tmp_path, {"a": FOREVER, "b": FOREVER}, work)


def test_an_expression_that_does_not_fit_the_values_fails_its_step(tmp_path: Path) -> None:
    text = file("{strategy: {type: weighted, sticky: customer.id}, targets: [a, b]}")

    async def work(pipeline: Pipeline) -> None:
        with pytest.raises(WizardError, match="expression"):
            await pipeline.run(customer={})

    play(text, tmp_path, {"a": [], "b": []}, work)


def test_the_weights_of_a_file_count(tmp_path: Path) -> None:
    text = file("{strategy: weighted, targets: [{provider: a, weight: 0}, {provider: b, weight: 0.5}]}")

    async def work(pipeline: Pipeline) -> None:
        assert set(await served_to(pipeline, [None] * 10)) == {"b"}

    play(text, tmp_path, {"a": [], "b": FOREVER}, work)


def test_the_cache_asks_for_the_arm(tmp_path: Path) -> None:
    text = file("{strategy: {type: weighted, sticky: customer}, targets: [a, b], policies: {cache: 1h}}")

    async def work(pipeline: Pipeline) -> None:
        results = [await pipeline.run(customer=number) for number in range(10)]
        assert [result.served_by for result in results if not result.steps["one"].cached] in (["a", "b"], ["b", "a"])

    play(text, tmp_path, {"a": ["once"], "b": ["once"]}, work)


@pytest.mark.parametrize("strategy", ["sequential", "cheapest", "weighted"])
def test_a_lower_priority_number_is_tried_first_whatever_the_strategy(strategy: str, tmp_path: Path) -> None:
    text = file(
        f"{{strategy: {strategy}, targets: [{{provider: a, priority: 1}}, {{provider: b, priority: -1}}, a/x]}}"
    )

    async def work(pipeline: Pipeline) -> None:
        with pytest.raises(WizardError) as caught:
            await pipeline.run()
        assert [row.target for row in caught.value.result.attempts] == ["b", "a/x", "a"]  # type: ignore[union-attr]

    play(text, tmp_path, {"a": [402], "b": [402], "a/x": [402]}, work)


def test_the_key_of_the_cache_knows_whose_answer_is_asked_for(tmp_path: Path) -> None:
    asked = {
        strategy: program(file(f"{{strategy: {strategy}, targets: [a, b]}}"), tmp_path).chains["default"].fingerprint
        for strategy in ("sequential", "cheapest")
    }
    assert '"m"' in asked["sequential"] and '"n"' not in asked["sequential"]
    assert '"m"' in asked["cheapest"] and '"n"' in asked["cheapest"]


@pytest.mark.parametrize(
    ("chain", "finding"),
    [
        (
            "{strategy: {type: weighted, sticky: custmer}, targets: [a, b]}",
            "4:55 E051 'custmer' is not defined",
        ),
        (
            "{strategy: {type: weighted, sticky: '1 + 1'}, targets: [a, b]}",
            "4:55 E072 sticky looks at no input, so every call gets the same target",
        ),
        (
            "{strategy: weighted, targets: [{provider: a, weight: 0}, {provider: b, weight: 0}]}",
            "4:49 E072 all weights of chain 'default' are 0",
        ),
        (
            "{strategy: weighted, targets: [{provider: a, weight: 0}, {provider: b, enabled: false}]}",
            "4:49 E072 all weights of chain 'default' are 0",
        ),
        ("{strategy: weighted, targets: [{provider: a, weight: -1}, b]}", "E026"),
    ],
)
def test_what_cannot_be_drawn_is_found_before_the_run(chain: str, finding: str, tmp_path: Path) -> None:
    (only,) = found(file(chain), tmp_path)
    assert finding in only


def test_an_input_that_only_the_draw_uses_is_used(tmp_path: Path) -> None:
    assert lint(compile_text(STICKY, tmp_path)) == []
