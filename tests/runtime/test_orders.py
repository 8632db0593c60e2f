"""Ordered strategies through whole files: weights, stickiness, priorities, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from compiler_kit import compile_text, found, program
from msgspec import Meta
from run_kit import play

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.core.component import PolicyConfig, StrategyType
from wizard_dsl.core.errors import InputInvalid, WizardError
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.target import Branch
from wizard_dsl.lint.rules import lint
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.runtime.runtime import running
from wizard_dsl.spec.schema import pipeline_schema
from wizard_dsl.strategies._walk import Walk, bound_walk
from wizard_dsl.testing import virtual
from wizard_dsl.testing.scripted import Script, Scripted

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


# -- outages, by hand and otherwise --------------------------------------------------------------------


def test_a_target_is_switched_off_and_on_while_the_pipeline_runs(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> None:
        assert pipeline.targets() == {"a": True, "b": True}
        pipeline.enable("a", False)
        assert pipeline.targets() == {"a": False, "b": True}
        assert (await pipeline.run()).served_by == "b"
        async with pipeline.stream() as stream:
            assert (await stream.finish()).served_by == "b"
        pipeline.enable("a")
        assert (await pipeline.run()).served_by == "a"
        with pytest.raises(InputInvalid) as caught:
            pipeline.enable("c")
        assert caught.value.suggestion == "one of: a, b"

    play(file("{targets: [a, b]}"), tmp_path, {"a": FOREVER, "b": FOREVER}, work)


def test_a_chain_whose_breakers_are_all_open_probes_where_its_file_says_so(tmp_path: Path) -> None:
    text = file("{when_all_open: probe_first, targets: [a, b], policies: {circuit_breaker: 1, retry: off}}")

    async def work(pipeline: Pipeline) -> None:
        with pytest.raises(WizardError):
            await pipeline.run()
        assert (await pipeline.run()).served_by == "a"

    play(text, tmp_path, {"a": [503, "hello"], "b": [503]}, work)


# -- strategies of others ------------------------------------------------------------------------------


class BackwardsConfig(PolicyConfig, frozen=True):
    """The keys of acme.backwards."""

    skip: Annotated[int, Meta(ge=0, description="how many of the last ones")] = 0


def backwards(config: BackwardsConfig, branches: Sequence[Branch], context: BuildContext) -> Walk:
    return Walk(branches, context, lambda request, run: branches[::-1][config.skip :])


BACKWARDS = StrategyType(
    name="acme.backwards",
    summary="The last one first.",
    config=BackwardsConfig,
    build=backwards,
    bound=lambda config, branches, facts: bound_walk(branches, facts),
)


def of_acme() -> Registry:
    announced = SimpleNamespace(name="acme.backwards", dist=None, load=lambda: BACKWARDS)
    return Registry(scan=lambda group: [announced] if group == "strategies" else [])


def test_a_strategy_of_a_plug_in_is_named_in_a_file_and_configured_there(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    path.write_text(file("{strategy: {type: acme.backwards, skip: 1}, targets: [a, b, a/x]}"))
    made = {"a": Script("a", []), "b": Script("b", ["hello"]), "a/x": Script("a/x", [])}

    async def main() -> str | None:
        found = compile_file(path, of_acme(), Sources(env={}))
        async with running(
            found, of_acme(), seed=1, provide=lambda plan, context: Scripted(made[plan.name], context.clock)
        ) as pipeline:
            return (await pipeline.run()).served_by

    assert virtual.run(main()) == "b"


def test_the_keys_of_a_strategy_of_a_plug_in_are_checked_and_in_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    path.write_text(file("{strategy: {type: acme.backwards, skipp: 1}, targets: [a, b]}"))
    (only,) = compile_file(path, of_acme(), Sources(env={})).diagnostics
    assert (only.code, only.suggestion) == ("E021", "did you mean 'skip'?")
    defs = pipeline_schema(of_acme(), plugins=True)["$defs"]
    assert "skip" in defs["strategy.acme.backwards"]["properties"]
