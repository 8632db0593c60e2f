"""What the pages of policies and strategies draw under "What happens" is played, and happens."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

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


async def told(pipeline: Pipeline, question: str, *, streamed: bool = False) -> str:
    """What became of a call, in one line."""
    try:
        result = await pipeline.run(question=question, on_delta=(lambda delta: None) if streamed else None)
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


class Scene(NamedTuple):
    """A drawing of calls that overlap, or that need more than a chain. `calls` are (when it begins, question), and
    `expected` says of each when it ended and what became of it."""

    chain: str
    scripts: dict[str, list[Any]]
    calls: list[tuple[float, str]]
    expected: list[str]
    rest: str = ""
    step: str = STEP
    providers: str = "{near: {type: mock}, far: {type: mock, model: other}}"
    streamed: bool = False


ONE_SECOND = FINE | {"delay": "1s"}
TWO_SECONDS = FINE | {"delay": "2s"}
TOPIC = (
    'steps: {answer: {prompt: {user: "{{ question }}"}, output: {schema: {type: object, required: [topic],'
    " properties: {topic: {enum: [order, bill]}}}}}}\n"
)
PRICED = "{type: mock, model: NAME, models: {NAME: {max_output: 500, prices: {input: INPUT, output: OUTPUT}}}}"


def priced(**prices: tuple[str, str]) -> str:
    made = {
        name: PRICED.replace("NAME", name).replace("INPUT", into).replace("OUTPUT", out)
        for name, (into, out) in prices.items()
    }
    return "{" + ", ".join(f"{name}: {each}" for name, each in made.items()) + "}"


SCENES: dict[str, Scene] = {
    "admission": Scene(
        "{targets: [near], policies: {retry: {jitter: none}, cache: 1h,"
        " admission: {pipeline: {rate: 0.5/s, burst: 1}}}}",
        {"near": [503, FINE]},
        [(0, "hi"), (0, "b"), (3, "hi")],
        [
            "1 s: near 503 → waited 1.0 s → near 0.0 ms",
            "2 s: waited 2.0 s → near 0.0 ms",
            "3 s: cache hit · 0.0 ms",
        ],
    ),
    "budget": Scene(
        "{targets: [dear, cheap], policies: {retry: {jitter: none}, timeout: {total: 20s}}}",
        {"dear": [503, FINE | {"delay": "60s"}], "cheap": [FINE]},
        [(0, "q")],
        [
            "21 s: dear 503 → waited 1.0 s → dear timeout → cheap 0.0 ms · ~$0.0000016",
        ],
        rest="budgets: {run: $0.01}\n",
        providers=priced(dear=("$0", "$16"), cheap=("$0", "$1.6")),
    ),
    "cache": Scene(
        "{targets: [near], policies: {cache: 1h}}",
        {"near": [ONE_SECOND]},
        [(0, "q"), (0.5, "q"), (5, "q")],
        [
            "1 s: near 1.0 s",
            "1 s: shared · 500 ms",
            "5 s: cache hit · 0.0 ms",
        ],
    ),
    "concurrency": Scene(
        "{targets: [near], policies: {concurrency: {limit: 1, max_wait: 3s}}}",
        {"near": [TWO_SECONDS]},
        [(0, "q"), (0, "q"), (0, "q")],
        [
            "2 s: near 2.0 s",
            "4 s: waited 2.0 s → near 2.0 s",
            "3 s: no calls · 3.0 s · failed: local limit",
        ],
    ),
    "contract": Scene(
        "{targets: [near, far]}",
        {"near": [{"reply": {"topic": "shop"}}, {"reply": {"topic": "store"}}], "far": [{"reply": {"topic": "order"}}]},
        [(0, "q")],
        [
            "0 s: near ×2 0.0 ms → far 0.0 ms",
        ],
        step=TOPIC,
    ),
    "rate_limit": Scene(
        "{targets: [near], policies: {rate_limit: {rate: 1/s, burst: 2, max_wait: 1s}}}",
        {"near": [FINE]},
        [(0, "q"), (0, "q"), (0, "q"), (0, "q")],
        [
            "0 s: near 0.0 ms",
            "0 s: near 0.0 ms",
            "1 s: waited 1.0 s → near 0.0 ms",
            "0 s: no calls · 0.0 ms · failed: local limit",
        ],
    ),
    "safety": Scene(
        "{targets: [near], policies: {cache: 1h}}",
        {"near": [{"reply": "see http://x"}]},
        [(0, "q"), (1, "q")],
        [
            "0 s: near 0.0 ms · failed: safety",
            "1 s: no calls · 0.0 ms · failed: safety",
        ],
        rest="safety: {block_when: \"'http' in text\"}\n",
    ),
    "timeout": Scene(
        "{targets: [near, far], policies: {retry: {max_attempts: 2, jitter: none},"
        " timeout: {first_chunk: 5s, idle: 3s}}}",
        {
            "near": [{"reply": "x", "first_chunk": "1h", "times": "forever"}],
            "far": [{"reply": "one two three", "first_chunk": "1s", "stall_after": 2}],
        },
        [(0, "q")],
        [
            "15 s: near timeout ×2 → waited 1.0 s → far mid stream · failed: mid stream",
        ],
        streamed=True,
    ),
    "cheapest": Scene(
        "{strategy: cheapest, targets: [near, far]}",
        {"near": [FINE], "far": [FINE]},
        [(0, "short"), (0, "x" * 20_000)],
        [
            "0 s: far 0.0 ms · $0.00001",
            "0 s: near 0.0 ms · $0.005",
        ],
        providers=priced(near=("$1", "$10"), far=("$3", "$4")),
    ),
}


@pytest.mark.parametrize("page", SCENES)
def test_what_a_page_draws_of_calls_together_is_what_happens(page: str, tmp_path: Path) -> None:
    scene = SCENES[page]
    path = tmp_path / "drawn.yaml"
    head = f"version: 1\ninputs: {{question: {{type: string}}}}\nproviders: {scene.providers}\n{scene.rest}"
    path.write_text(f"{head}chains: {{default: {scene.chain}}}\n{scene.step}")

    async def one(pipeline: Pipeline, at: float, question: str) -> str:
        await asyncio.sleep(at)
        said = await told(pipeline, question, streamed=scene.streamed)
        return f"{asyncio.get_running_loop().time():g} s: {said}"

    async def play() -> list[str]:
        async with open_scripted(path, scene.scripts, seed=1) as (pipeline, _):
            return await asyncio.gather(*(one(pipeline, *call) for call in scene.calls))

    assert virtual.run(play()) == scene.expected


def test_every_drawing_is_played() -> None:
    drawn = {
        path.stem
        for folder in ("policies", "strategies")
        for path in (Path(__file__).parents[2] / "docs" / folder).glob("*.md")
        if "```text" in path.read_text(encoding="utf-8")
    }
    assert drawn == {*DRAWN, *SCENES}
