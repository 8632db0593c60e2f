"""Chaos: faults of a scenario over targets that are alive."""

from __future__ import annotations

from typing import Any

import pytest
from simulation_kit import CHAIN, REGISTRY, compiled, scenario

from wizard_dsl.analysis.chaos import laid_over
from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.result import Result
from wizard_dsl.runtime.mocks import provide_mocks
from wizard_dsl.runtime.runtime import running
from wizard_dsl.testing import virtual

BARE = CHAIN.replace("targets: [one, two]", "policies: {use: none, timeout: 20s}\n    targets: [one, two]")


async def asked(folder, phases: list[dict[str, Any]], *, count=1, stream=False, text=BARE) -> list[Result]:
    """Runs one after the other, a second apart, with phases over target `one`; a mock is below."""
    under = scenario({"duration": "60s"}, targets={"one": {"latency": "9s", "phases": phases}})
    provide = laid_over(provide_mocks, under, seed=3)
    found = []
    async with running(compiled(folder, text), REGISTRY, seed=3, mock=True, provide=provide) as pipeline:
        for number in range(count):
            reader = (lambda delta: None) if stream else None
            try:
                found.append(await pipeline.run(question=f"q {number}", on_delta=reader))
            except WizardError as error:
                found.append(error.result)  # type: ignore[arg-type]
            await virtual_second()
    return found


async def virtual_second() -> None:
    import asyncio

    await asyncio.sleep(1)


def kinds(result: Result) -> list[tuple[str, str]]:
    return [(row.target, row.kind) for row in result.attempts]


def test_within_a_phase_attempts_fail_and_outside_they_reach_the_provider(tmp_path) -> None:
    found = virtual.run(asked(tmp_path, [{"from": "2s", "to": "4s", "status": 503}], count=6))
    assert [each.served_by for each in found] == ["one", "one", "two", "two", "one", "one"]
    assert kinds(found[2]) == [("one", "server"), ("two", "ok")]


def test_a_share_of_the_attempts_is_hit_the_same_for_the_same_seed(tmp_path) -> None:
    phases = [{"share": "30%", "refuse": True}]
    first, second = ([each.served_by for each in virtual.run(asked(tmp_path, phases, count=50))] for _ in range(2))
    assert first == second
    assert first.count("two") == pytest.approx(15, abs=8)


def test_a_slow_phase_delays_the_providers_answer(tmp_path) -> None:
    (result,) = virtual.run(asked(tmp_path, [{"latency": "3s"}]))
    assert (result.served_by, result.elapsed) == ("one", 3.0)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_cut_or_held_up_on_its_way(tmp_path, stream) -> None:
    for fault, kind in (({"cut_after": 3}, "server"), ({"stall_after": 3}, "timeout")):
        (result,) = virtual.run(asked(tmp_path, [fault], stream=stream))
        if stream:
            assert kinds(result) == [("one", "mid_stream")]
            assert result.partial and 3 <= len(result.text.split()) < 8
        else:
            assert kinds(result) == [("one", kind), ("two", "ok")]


@pytest.mark.parametrize("stream", [False, True])
def test_before_the_first_word_a_cut_or_a_stop_is_repeated_elsewhere(tmp_path, stream) -> None:
    for fault, kind in (({"cut_after": 0}, "server"), ({"stall_after": 0}, "timeout")):
        (result,) = virtual.run(asked(tmp_path, [fault], stream=stream))
        assert kinds(result) == [("one", kind), ("two", "ok")]


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_ends_before_the_cut_is_whole(tmp_path, stream) -> None:
    for fault in ({"cut_after": 400}, {"stall_after": 400}):
        (result,) = virtual.run(asked(tmp_path, [fault], stream=stream))
        assert (result.ok, result.served_by) == (True, "one")


def test_targets_without_a_phase_keep_their_own_node(tmp_path) -> None:
    made: list[str] = []

    def provide(plan, context):
        made.append(plan.name)
        return provide_mocks(plan, context)

    under = scenario(targets={"two": {"phases": [{"status": 500}]}, "t*": {"phases": [{"status": 501}]}})
    over = laid_over(provide, under, seed=0)

    async def both() -> None:
        async with running(compiled(tmp_path, BARE), REGISTRY, seed=0, mock=True, provide=over) as pipeline:
            assert (await pipeline.run(question="why")).served_by == "one"

    virtual.run(both())
    assert made == ["one", "two"]


def test_over_a_providers_own_node_too(tmp_path) -> None:
    """Where nothing takes the provider's place, the provider's own node is the one below."""
    under = scenario(targets={"one": {"phases": [{"to": "1s", "status": 503}]}})
    over = laid_over(lambda plan, context: None, under, seed=0)

    async def twice() -> list[str | None]:
        async with running(compiled(tmp_path, BARE), REGISTRY, seed=0, mock=True, provide=over) as pipeline:
            first = await pipeline.run(question="why")
            await virtual_second()
            return [first.served_by, (await pipeline.run(question="how")).served_by]

    assert virtual.run(twice()) == ["two", "one"]
