"""What lint says about budgets."""

from __future__ import annotations

from pathlib import Path

import pytest

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.lint.rules import lint
from wizard_dsl.registry import Registry

FILE = """\
version: 1
budgets: BUDGETS
providers: {m: {type: mock, model: x, models: {x: FACTS}}, v: {type: vllm}, o: {type: openai}}
chains: {default: {targets: TARGETS}}
steps: {answer: {prompt: {user: Hello}, params: PARAMS}}
"""
PRICED = "{prices: {input: $10, output: $10}}"


def found(
    folder: Path, budgets: str, *, facts: str = PRICED, targets: str = "[m]", params: str = "{}"
) -> list[tuple[str, str]]:
    """`line code` and message of each warning about budgets."""
    text = FILE.replace("BUDGETS", budgets).replace("FACTS", facts).replace("TARGETS", targets)
    path = folder / "a.yaml"
    path.write_text(text.replace("PARAMS", params))
    made = compile_file(path, Registry(plugins=False), Sources())
    assert made.program is not None, made.diagnostics
    return [(f"{each.line} {each.code}", each.message) for each in lint(made) if each.code.startswith("W14")]


@pytest.mark.parametrize("budgets", ["{day: $20, month: $300}", "{run: $1}", "{}"])
def test_budgets_over_targets_with_prices_and_max_tokens_are_fine(tmp_path: Path, budgets: str) -> None:
    assert found(tmp_path, budgets, params="{max_tokens: 100}") == []


def test_a_price_that_is_not_known_is_told_where_there_are_budgets(tmp_path: Path) -> None:
    ((place, message),) = found(tmp_path, "{day: $20}", targets="[v/our-model]", params="{max_tokens: 100}")
    assert place == "4 W144"
    assert "the price of v/our-model is not known" in message
    assert found(tmp_path, "{}", targets="[v/our-model]", params="{max_tokens: 100}") == []


def test_an_answer_that_nothing_bounds_and_one_that_its_window_bounds_are_told(tmp_path: Path) -> None:
    ((place, message),) = found(tmp_path, "{day: $20}")
    assert (place, "nothing bounds an answer of m" in message) == ("4 W144", True)
    ((place, message),) = found(tmp_path, "{day: $20}", facts="{context: 100000, prices: {input: $1, output: $10}}")
    assert (place, "reserves its whole window of output, $1.00" in message) == ("4 W144", True)
    assert found(tmp_path, "{day: $20}", facts="{max_output: 9, prices: {input: $1, output: $10}}") == []
    assert found(tmp_path, "{day: $20}", facts="{}") == []  # a mock costs nothing
    assert [place for place, _ in found(tmp_path, "{day: $20}", targets="[o/gpt-4o]")] == ["4 W144"]


@pytest.mark.parametrize("name", ["run", "day", "month", "session"])
def test_a_target_that_no_budget_lets_be_asked_is_told(tmp_path: Path, name: str) -> None:
    facts = PRICED + ", y: {prices: {input: $1, output: $1}}"
    dear, params = f"{{{name}: $0.01}}", "{max_tokens: 4000}"
    ((place, message),) = found(tmp_path, dear, facts=facts, targets="[m/x, m/y]", params=params)
    assert place == "4 W145"
    where = " in a session" if name == "session" else ""
    assert f"m/x is never asked{where}: an attempt costs at least $0.0406, and the {name} budget is $0.01" in message
    ((place, message),) = found(tmp_path, f"{{{name}: $0.001}}", facts=facts, targets="[m/x, m/y]", params=params)
    assert place == "2 W145" and f"the {name} budget of $0.0010 is below one attempt" in message
    assert found(tmp_path, f"{{{name}: $0.05}}", facts=facts, targets="[m/x, m/y]", params=params) == []


@pytest.mark.parametrize("name", ["run", "day", "session"])
def test_a_target_that_a_budget_always_degrades_from_is_told(tmp_path: Path, name: str) -> None:
    def told(limit: str, y: str, params: str = "{max_tokens: 4000}") -> list[tuple[str, str]]:
        budgets, facts = f"{{{name}: {{limit: {limit}, then: degrade}}}}", f"{PRICED}, y: {{prices: {y}}}"
        return found(tmp_path, budgets, facts=facts, targets="[m/x, m/y]", params=params)

    cheap = "{input: $1, output: $1}"
    if name == "session":  # which a run need not have
        assert told("$0.01", cheap) == []
        return
    ((place, message),) = told("$0.01", cheap)
    assert place == "4 W145"
    assert f"m/x is never asked: an attempt costs at least $0.0406, and the {name} budget is $0.01" in message
    assert [place for place, _ in told("$0.0001", cheap)] == ["4 W145"]  # the cheapest one passes whatever is left
    assert told("$0.05", cheap) == []
    assert told("$0.01", "{input: $11, output: $1}") == []  # dearer with a long prompt
    assert told("$0.01", "{input: $10, output: $10}") == []


def test_a_run_budget_that_no_attempt_fits_is_told_with_the_step(tmp_path: Path) -> None:
    ((place, message),) = found(tmp_path, "{run: $0.01}", params="{max_tokens: 4000}")
    assert place == "2 W145"
    assert "below one attempt of step 'answer': at least $0.0406, on m" in message
    assert found(tmp_path, "{run: {limit: $0.01, then: degrade}}", params="{max_tokens: 4000}") == []
    ((place, message),) = found(tmp_path, "{run: $0.01}", targets="[m, o/gpt-4o-mini]", params="{max_tokens: 4000}")
    assert (place, message.startswith("m is never asked")) == ("4 W145", True)


def test_a_month_below_its_day_is_told(tmp_path: Path) -> None:
    ((place, message),) = found(tmp_path, "{day: $300, month: {limit: $20}}", params="{max_tokens: 1}")
    assert place == "2 W146"
    assert "the day budget ($300.00) is above that of the month ($20.00)" in message
    assert found(tmp_path, "{day: $20, month: $20}", params="{max_tokens: 1}") == []


@pytest.mark.parametrize("wider", ["session", "day", "month"])
def test_a_run_that_may_cost_more_than_all_runs_is_told(wider: str, tmp_path: Path) -> None:
    ((place, message),) = found(tmp_path, f"{{run: $5, {wider}: $2}}", params="{max_tokens: 1}")
    assert place == "2 W146"
    assert f"the run budget ($5.00) is above that of the {wider} ($2.00)" in message


def test_a_month_that_degrades_leaves_the_limit_of_its_days_to_stop(tmp_path: Path) -> None:
    assert found(tmp_path, "{day: $300, month: {limit: $20, then: degrade}}", params="{max_tokens: 1}") == []


def test_a_target_is_named_at_its_place_in_the_file_and_not_at_that_in_the_order_of_priorities(tmp_path: Path) -> None:
    targets = "[\n  {provider: v, model: last, priority: 9},\n  m]"
    assert [place for place, _ in found(tmp_path, "{day: $20}", targets=targets, params="{max_tokens: 1}")] == [
        "5 W144"
    ]
