"""Adaptive concurrency in a ladder."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wizard_dsl.core.errors import WizardError
from wizard_dsl.policies.concurrency import CONCURRENCY, ConcurrencyConfig
from wizard_dsl.policies.timeout import TIMEOUT
from wizard_dsl.registry import Registry
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

SECOND = {"reply": "hello", "first_chunk": "1s", "times": "forever"}


def build(script: list[Any], *more: Any, **bounds: int) -> ScriptedChain:
    return build_chain({"a": script}, [(CONCURRENCY, {"adaptive": bounds}), *more])


def places(chain: ScriptedChain) -> int:
    (line,) = chain.shared.of("concurrency").values()
    return int(line.levels(0.0)[0].capacity)


async def ask(chain: ScriptedChain, calls: int, **options: Any) -> None:
    """Ask `calls` times at once; failures are left out."""
    await asyncio.gather(*(chain.answer(**options) for _ in range(calls)), return_exceptions=True)


@pytest.mark.parametrize("commit", ["end", "content"])
def test_it_grows_while_all_places_are_in_use_and_never_above_max(commit: str) -> None:
    async def main() -> None:
        chain = build([SECOND], min=2, max=6)
        assert places(chain) == 2
        await ask(chain, 6, commit=commit)
        assert places(chain) == 3 and chain.clock.now() == 3
        await ask(chain, 60, commit=commit)
        assert places(chain) == 6

    run(main())


def test_one_call_after_another_does_not_use_the_limit_and_leaves_it_as_it_is() -> None:
    async def main() -> None:
        chain = build([SECOND], min=2, max=6)
        for _ in range(20):
            await chain.answer()
        assert places(chain) == 2

    run(main())


@pytest.mark.parametrize("failure", [429, 503, 529, "timeout"])
def test_a_sign_of_overload_cuts_it_and_other_failures_do_not(failure: Any) -> None:
    async def main() -> None:
        item = {"stall_after": 0, "reply": "x"} if failure == "timeout" else {"status": failure, "delay": "1s"}
        grown = {"reply": "hello", "first_chunk": "1s", "times": 200}
        chain = build(
            [grown, {"status": 401, "delay": "1s", "times": 3}, item], (TIMEOUT, {"total": "10s"}), min=1, max=20
        )
        await ask(chain, 200)
        (search,) = chain.shared.of("concurrency_search").values()
        before = search.state.limit
        await ask(chain, 3)
        assert search.state.limit == before > 10
        await ask(chain, 1)
        assert search.state.limit == pytest.approx(before * 0.9) and places(chain) == int(before * 0.9)

    run(main())


def test_answers_that_take_twice_as_long_as_the_best_cut_it_down_to_min_and_no_further() -> None:
    async def main() -> None:
        quick = {"reply": "hello", "first_chunk": "1s", "times": 100}
        chain = build([quick, {"reply": "hello", "first_chunk": "4s", "times": "forever"}], min=3, max=50)
        await ask(chain, 100)
        assert places(chain) > 8
        for _ in range(25):
            await ask(chain, 2)
            assert places(chain) >= 3
        assert places(chain) == 3

    run(main())


def test_a_place_that_growth_makes_is_taken_before_any_stream_ends() -> None:
    async def main() -> None:
        item = {"reply": "a b", "first_chunk": "1s", "chunk_every": "1h", "times": "forever"}
        chain = build([item], min=1, max=5)
        calls = [asyncio.ensure_future(chain.ask(commit="content", deadline=90_000)) for _ in range(2)]
        await asyncio.sleep(2.5)
        assert all(call.done() for call in calls) and places(chain) >= 2
        for call in calls:
            await (await call).aclose()

    run(main())


def test_whatever_happens_all_places_come_back() -> None:
    async def main() -> None:
        items = [SECOND | {"times": 5}, 503, 429, {"reply": "a b", "cut_after": 1}, {"refuse": True}, SECOND]
        chain = build(items, min=2, max=6)
        calls = [asyncio.ensure_future(chain.answer()) for _ in range(12)]
        await asyncio.sleep(1.5)
        calls[-1].cancel()
        await asyncio.wait(calls)
        assert all(isinstance(call.exception(), WizardError) or call.result() for call in calls[:-1])
        (line,) = chain.shared.of("concurrency").values()
        assert line.is_idle(chain.clock.now())

    run(main())


@pytest.mark.parametrize("written", ["{}", "{limit: 8, adaptive: {max: 20}}", "{adaptive: {max: 20}, limit: 8}"])
def test_concurrency_takes_exactly_one_of_limit_and_adaptive(written: str, tmp_path: Path) -> None:
    from wizard_dsl.compiler.compile import Sources, compile_file

    file = tmp_path / "p.yaml"
    file.write_text(
        "version: 1\nproviders: {a: {type: mock, model: m}}\n"
        f"chains: {{default: {{targets: [a], policies: {{concurrency: {written}}}}}}}\n"
        "steps: {one: {prompt: {user: Hi}}}\n"
    )
    found = compile_file(file, Registry(plugins=False), Sources(env={})).diagnostics
    assert [each.code for each in found] == ["E074"] and found[0].line == 3


def test_a_limit_of_the_set_and_an_adaptive_one_of_the_chain_are_told_with_both_lines(tmp_path: Path) -> None:
    from wizard_dsl.compiler.compile import Sources, compile_file

    file = tmp_path / "p.yaml"
    file.write_text(
        "version: 1\nproviders: {a: {type: mock, model: m}}\n"
        "policies: {default: {concurrency: 8}}\n"
        "chains: {default: {targets: [a], policies: {concurrency: {adaptive: {max: 20}}}}}\n"
        "steps: {one: {prompt: {user: Hi}}}\n"
    )
    (found,) = compile_file(file, Registry(plugins=False), Sources(env={})).diagnostics
    assert (found.code, found.line, [each.line for each in found.related]) == ("E074", 4, [3])


def test_a_minimum_that_is_not_below_the_maximum_is_pointed_out() -> None:
    def check(**bounds: int) -> list[str]:
        return list(CONCURRENCY.check(msgspec.convert({"adaptive": bounds}, ConcurrencyConfig)))

    assert "never moves" in check(min=5, max=5)[0] and check(min=4, max=5) == []
