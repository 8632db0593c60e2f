"""Budgets of whole files: where they stand, whose they are, and where what was spent is kept."""

from __future__ import annotations

import asyncio

import pytest
from run_kit import compiled, play

from wizard_dsl.core.errors import BudgetExceeded
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.runtime import running
from wizard_dsl.stores._open_book import BOOK

PRICES = "{m: {max_output: 10, prices: {input: $0, output: $1000000}}}"
HEAD = f"""
version: 1
name: case
providers: {{a: {{type: mock, model: m, models: {PRICES}}}}}
chains: {{default: {{targets: [a]}}}}
"""
ONE = "steps: {s: {prompt: {user: hi}}}\n"


def costs(dollars):
    return {"reply": "x", "usage": {"output_tokens": dollars}}


def ladder(text, folder):
    return compiled(HEAD + text, folder).program.chains["default"].ladder()


def test_a_file_without_budgets_has_no_node_for_them(tmp_path):
    assert "budget" not in ladder(ONE, tmp_path).split(" > ")


def test_the_budget_stands_directly_around_the_attempt_also_where_a_stack_says_otherwise(tmp_path):
    usual = ladder("budgets: {run: $1}\n" + ONE, tmp_path)
    assert usual == "sequential > retry > circuit_breaker > budget > timeout"
    moved = "policies: {default: {stack: [circuit_breaker, timeout, retry]}}\nbudgets: {run: $1}\n" + ONE
    assert ladder(moved, tmp_path) == "sequential > circuit_breaker > timeout > retry > budget"


@pytest.mark.parametrize("limit", ["$12", "{limit: $12, warn_at: 50%}"])
def test_a_run_may_spend_no_more_than_its_budget(tmp_path, limit):
    steps = "steps: {s: {prompt: {user: hi}}, t: {prompt: {user: '{{ steps.s.text }}'}}}"
    text = f"{HEAD}budgets: {{run: {limit}}}\n{steps}\n"

    async def work(pipeline):
        with pytest.raises(BudgetExceeded) as caught:
            await pipeline.run()
        return caught.value

    error, scripts = play(text, tmp_path, {"a": [costs(3)]}, work)
    assert (error.scope, error.result.cost.usd, error.result.steps["s"].text) == ("run", 3.0, "x")
    assert not scripts["a"].left


def test_a_session_is_told_when_a_run_begins(tmp_path):
    async def work(pipeline):
        await pipeline.run(session="one")
        with pytest.raises(BudgetExceeded) as caught:
            await pipeline.run(session="one")
        await pipeline.run(session="two")
        return caught.value

    error, _ = play(HEAD + "budgets: {session: $12}\n" + ONE, tmp_path, {"a": [costs(3), costs(3)]}, work)
    assert error.scope == "session"


def test_nested_pipelines_spend_from_the_run_and_are_held_to_their_own_limit_besides(tmp_path):
    (tmp_path / "inner.yaml").write_text(HEAD.replace("case", "inner") + ONE)
    outer = HEAD + "steps: {n: {type: pipeline, file: inner.yaml}, m: {type: pipeline, file: inner.yaml, needs: [n]}}\n"

    async def work(pipeline):
        with pytest.raises(BudgetExceeded) as caught:
            await pipeline.run()
        return caught.value

    error, _ = play(outer + "budgets: {run: $12}\n", tmp_path, {"a": [costs(3)]}, work)
    assert error.limit == 12.0
    (tmp_path / "inner.yaml").write_text(HEAD.replace("case", "inner") + "budgets: {run: $11}\n" + ONE)
    error, _ = play(outer + "budgets: {run: $99}\n", tmp_path, {"a": [costs(3)]}, work)
    assert error.limit == 11.0


def test_what_was_spent_outlives_the_process_and_belongs_to_who_set_the_limit(tmp_path):
    """On a real loop, as a process of the command line has one."""

    def spend(name, text):
        found = compiled(HEAD.replace("case", name) + text + ONE, tmp_path, f"{name}.yaml")

        async def main():
            async with running(found, Registry(plugins=False), seed=1) as pipeline:
                return (await pipeline.run()).ok

        return asyncio.run(main())

    def dollars(limit):
        return f"budgets: {{day: {limit}}}\n"

    assert spend("one", dollars("$15"))
    with pytest.raises(BudgetExceeded):
        spend("one", dollars("$15"))
    assert spend("two", dollars("$15"))
    (tmp_path / "wizard.yaml").write_text("version: 1\n" + dollars("$15"))
    assert spend("three", "")
    with pytest.raises(BudgetExceeded):
        spend("four", "")
    assert (tmp_path / BOOK).is_file()


def test_a_corrupt_database_stops_a_hard_budget_and_says_what_to_do(tmp_path):
    (tmp_path / ".wizard").mkdir()
    (tmp_path / "wizard.yaml").write_text("version: 1\n")
    (tmp_path / BOOK).write_bytes(b"not a database " * 100)

    def outcome(budgets):
        found = compiled(f"{HEAD}budgets: {budgets}\n{ONE}", tmp_path)

        async def main():
            async with running(found, Registry(plugins=False), seed=1) as pipeline:
                return (await pipeline.run()).ok

        return asyncio.run(main())

    with pytest.raises(BudgetExceeded, match=r"the day budget fails closed: .*corrupt.*move it away to begin anew"):
        outcome("{day: $15}")
    assert outcome("{day: {limit: $15, then: degrade}}")
    assert outcome("{run: $15}")


def test_a_mocked_run_spends_nothing_that_is_kept(tmp_path):
    (tmp_path / "wizard.yaml").write_text("version: 1\n")
    found = compiled(HEAD + "budgets: {day: $15}\n" + ONE, tmp_path)

    async def main():
        async with running(found, Registry(plugins=False), seed=1, mock=True) as pipeline:
            await pipeline.run()

    asyncio.run(main())
    assert not (tmp_path / BOOK).exists()
