"""W154: settings of a breaker that its threshold, or a limit before it, always comes before, with both lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.lint.rules import lint
from wizard_dsl.policies._breaker_state import BreakerState, Limits
from wizard_dsl.registry import Registry

PROVIDER = "{type: mock}"


def found(policies: str, folder: Path, provider: str = PROVIDER, more: str = "") -> list[tuple[int, list[int]]]:
    """The line of each W154, with the other lines; the chain's policies begin in line 5."""
    path = folder / "a.yaml"
    path.write_text(
        f"version: 1\nproviders: {{local: {provider}}}\nchains: {{default: {{\n    targets: [local],\n"
        f"    policies: {{{policies}}}{more}}}}}\nsteps: {{answer: {{prompt: {{user: Hello}}}}}}\n"
    )
    made = compile_file(path, Registry(plugins=False), Sources(env={}))
    assert made.program is not None, made.diagnostics
    return [(each.line, [other.line for other in each.related]) for each in lint(made) if each.code == "W154"]


@pytest.mark.parametrize(
    ("breaker", "warnings"),
    [
        ("failure_ratio: 50%", [(5, [])]),
        ("failure_ratio: 40%", []),
        ("failure_ratio: 41%", [(5, [])]),
        ("failure_threshold: 6,\n failure_ratio: 50%", []),
        ("failure_threshold: 3,\n failure_ratio: 50%,\n minimum_calls: 6", [(6, [5, 7])]),
        ("failure_threshold: 4,\n failure_ratio: 50%,\n minimum_calls: 6", []),
        ("failure_threshold: off, failure_ratio: 50%", []),
        ("failure_threshold: 1,\n window: 20s", [(6, [5])]),
        ("failure_threshold: 2,\n window: 20s", []),
        ("failure_threshold: off, failure_ratio: 1%, window: 20s", []),
        ("failure_threshold: 1, window: 20s, slow_after: 3s", []),
    ],
)
def test_what_the_threshold_comes_before_is_told(
    breaker: str, warnings: list[tuple[int, list[int]]], tmp_path: Path
) -> None:
    assert found(f"circuit_breaker: {{{breaker}}}", tmp_path) == warnings


def test_behind_hedges_the_window_holds_slow_attempts(tmp_path: Path) -> None:
    breaker = "circuit_breaker: {failure_threshold: 1, window: 20s}"
    assert found(breaker, tmp_path, more=", strategy: {type: hedged, after: 3s}") == []


@pytest.mark.parametrize(("ratio", "threshold", "opens"), [(0.5, 5, 5), (0.4, 5, 4), (0.41, 5, 5)])
def test_the_breaker_opens_as_the_rule_says(ratio: float, threshold: int, opens: int) -> None:
    """The most favourable order for the ratio: as many successes first as `minimum_calls` leaves room for."""
    state = BreakerState(Limits(failure_threshold=threshold, failure_ratio=ratio))
    failures = 0
    for number in range(10):
        ticket = state.admit(0.0, 1.0)
        if ticket is None:
            break
        if number < 10 - opens:
            state.success(ticket, 0.0)
        else:
            state.failure(ticket, 0.0)
            failures += 1
    assert (state.state, failures) == ("open", opens)


WIDE = "circuit_breaker: {half_open_max_calls: 3}"


@pytest.mark.parametrize(
    ("policies", "provider", "warnings"),
    [
        (f"{WIDE},\n concurrency: 2", PROVIDER, [(5, [6])]),
        (f"{WIDE},\n concurrency: 3", PROVIDER, []),
        (f"{WIDE},\n concurrency: {{adaptive: {{max: 2}}}}", PROVIDER, []),
        (WIDE, "{type: mock, policies: {concurrency: 2}}", [(5, [2])]),
        ("concurrency: 2", f"{{type: mock, policies: {{{WIDE}}}}}", []),  # other models of it have places of their own
        (f"{WIDE},\n concurrency: {{limit: 2, per: chain}}", PROVIDER, []),
        ("circuit_breaker: {half_open_max_calls: 3, probe: true},\n concurrency: 2", PROVIDER, []),
        (f"{WIDE},\n concurrency: 2, stack: [retry, circuit_breaker, concurrency, timeout]", PROVIDER, []),
    ],
)
def test_leases_that_have_no_place_are_told(
    policies: str, provider: str, warnings: list[tuple[int, list[int]]], tmp_path: Path
) -> None:
    assert found(policies, tmp_path, provider) == warnings
