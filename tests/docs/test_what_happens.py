"""What the pages of policies and strategies draw under "What happens" is played, and happens."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from wizard_dsl.core.errors import WizardError
from wizard_dsl.observe.summary import summary
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.testing import virtual
from wizard_dsl.testing.pipelines import open_scripted

HEAD = """
version: 1
inputs: {question: {type: string}}
providers: {near: {type: mock}, far: {type: mock, model: other}}
"""
STEP = 'steps: {answer: {prompt: {user: "{{ question }}"}}}\n'
FINE = {"reply": "fine", "times": "forever"}
#: page → chain, items of `near`, items of `far`, calls as (seconds to wait before, question), and what became of each.
DRAWN: dict[str, tuple[str, list[Any], list[Any], list[tuple[float, str]], list[str]]] = {
    "deadline": (
        "{targets: [near, far], policies: {deadline: 10s, timeout: {total: 4s}, retry: {jitter: none}}}",
        [FINE | {"delay": "60s"}],
        [FINE | {"delay": "60s"}],
        [(0, "q")],
        ["near timeout ×2 → waited 1.0 s → far deadline · failed: deadline"],
    ),
    "retry": (
        "{targets: [near, far], policies: {retry: {jitter: none}}}",
        [503, {"refuse": True}, 503],
        [FINE],
        [(0, "q")],
        ["near 503 → waited 1.0 s → near connect → near 503 → far 0.0 ms"],
    ),
    "retry_budget": (
        "{targets: [near, far], policies: {retry: {jitter: none, base: 100ms}, circuit_breaker: off,"
        " retry_budget: {floor: 0.2/s}}}",
        [{"status": 503, "times": "forever"}],
        [FINE],
        [(0, "q"), (0, "q")],
        ["near 503 ×3 → waited 300 ms → far 0.0 ms", "near 503 → far 0.0 ms"],
    ),
    "circuit_breaker": (
        "{targets: [near, far], policies: {retry: 1, circuit_breaker: 2}}",
        [503, 503, 503, FINE],
        [FINE],
        [(0, "q"), (0, "q"), (0, "q"), (30, "q"), (60, "q")],
        ["near 503 → far 0.0 ms", "near 503 → far 0.0 ms", "far 0.0 ms", "near 503 → far 0.0 ms", "near 0.0 ms"],
    ),
    "on_rate_limit": (
        "{targets: [near, far], policies: {retry: {jitter: none}}}",
        [{"status": 429, "retry_after": "20s"}, {"status": 429, "retry_after": "1s"}, FINE],
        [FINE],
        [(0, "q"), (0, "q"), (21, "q")],
        ["near 429 → far 0.0 ms", "far 0.0 ms", "near 429 → waited 1.0 s → near 0.0 ms"],
    ),
    "sequential": (
        "{targets: [near, far], policies: {retry: {max_attempts: 2, jitter: none}}}",
        [503, 503, 401, FINE],
        [FINE],
        [(0, "q"), (0, "q"), (0, "q")],
        ["near 503 ×2 → waited 1.0 s → far 0.0 ms", "near 401 · failed: auth", "near 0.0 ms"],
    ),
    "hedged": (
        "{strategy: {type: hedged, after: 2s}, targets: [near, far], policies: {concurrency: 8}}",
        [FINE | {"delay": "10s"}],
        [FINE | {"delay": "1s"}],
        [(0, "q")],
        ["near cancelled → far 1.0 s"],
    ),
    "parallel": (
        "{strategy: parallel, targets: [near, far]}",
        [FINE | {"delay": "3s"}],
        [FINE | {"delay": "1s"}],
        [(0, "q")],
        ["near cancelled → far 1.0 s"],
    ),
    "fastest": (
        "{strategy: fastest, targets: [near, far]}",
        [FINE | {"delay": "2s"}],
        [FINE | {"delay": "1s"}],
        [(0, "q"), (0, "q"), (0, "q"), (0, "q"), (601, "q")],
        ["near 2.0 s", "far 1.0 s", "far 1.0 s", "far 1.0 s", "near 2.0 s"],
    ),
    "adaptive": (
        "{strategy: adaptive, targets: [near, far], policies: {retry: 1}}",
        [503, 503, FINE],
        [FINE],
        [(0, "q"), (1, "q"), (1, "q"), (1, "q"), (660, "q")],
        ["near 503 → far 0.0 ms", "near 503 → far 0.0 ms", "far 0.0 ms", "far 0.0 ms", "near 0.0 ms"],
    ),
    "weighted": (
        "{strategy: {type: weighted, sticky: question}, targets: [{provider: near, weight: 3}, far],"
        " policies: {retry: 1}}",
        [503, FINE],
        [FINE],
        [(0, "q0"), (0, "q1"), (0, "q2"), (0, "q3"), (0, "q0")],
        ["near 503 → far 0.0 ms", "near 0.0 ms", "near 0.0 ms", "far 0.0 ms", "near 0.0 ms"],
    ),
}


async def told(pipeline: Pipeline, question: str) -> str:
    """What became of a call, in one line."""
    try:
        result = await pipeline.run(question=question)
    except WizardError as error:
        result = error.result
    assert result is not None
    return summary(result)


@pytest.mark.parametrize("page", DRAWN)
def test_what_a_page_draws_is_what_happens(page: str, tmp_path: Path) -> None:
    chain, near, far, calls, expected = DRAWN[page]
    path = tmp_path / "drawn.yaml"
    path.write_text(f"{HEAD}chains: {{default: {chain}}}\n{STEP}")

    async def play() -> list[str]:
        async with open_scripted(path, {"near": near, "far": far}, seed=1) as (pipeline, _):
            found = []
            for pause, question in calls:
                await asyncio.sleep(pause)
                found.append(await told(pipeline, question))
            return found

    assert virtual.run(play()) == expected
