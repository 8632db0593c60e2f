"""Time and chance: what is seeded repeats itself, and virtual time is the same program in another loop."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from compiler_kit import compile_text
from semantics_kit import Commit, file, story

from wizard_dsl.observe.transcript import render
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.runtime import running
from wizard_dsl.testing import virtual
from wizard_dsl.testing.scripted import Script, Scripted

WEIGHTED = "strategy: weighted, targets: [{provider: a, weight: 1}, {provider: b, weight: 1}]"
FLAKY = [503, "hello", {"refuse": True}, {"status": 503}, {"reply": "one two", "chunk_every": "1s"}] * 9


async def played(text: str, folder: Path, scripts: dict[str, list[Any]], commit: Commit, *, seed: int) -> list[str]:
    """Three runs of a file: their transcripts, with times and run ids, and their results; the last one is a story."""
    made = {name: Script(name, items) for name, items in scripts.items()}
    async with running(
        compile_text(text, folder),
        Registry(plugins=False),
        seed=seed,
        provide=lambda plan, context: Scripted(made[plan.name], context.clock),
    ) as pipeline:
        told = []
        for _ in range(3):
            async with pipeline.stream() if commit == "content" else pipeline.start() as started:
                result = await started.finish()
            told += [render(started.transcript, result=result), result.encode().decode()]
        return [*told, story(result)]


def test_z1_the_same_seed_gives_the_same_bytes(tmp_path: Path, commit: Commit) -> None:
    text = file(f"{{{WEIGHTED}, policies: {{retry: {{max_attempts: 9, jitter: full}}}}}}")

    def once(seed: int) -> list[str]:
        return virtual.run(played(text, tmp_path, {"a": FLAKY, "b": FLAKY}, commit, seed=seed))

    assert once(7) == once(7)
    assert once(7)[0] != once(8)[0]


def test_z2_an_hour_of_retries_takes_no_real_time_on_the_virtual_loop_in_the_same_executor(
    tmp_path: Path, commit: Commit
) -> None:
    """The same file, in milliseconds of the real loop and in hours of the virtual one, goes the same way."""

    def told(base: str, run: Any) -> tuple[str, float]:
        policies = f"retry: {{max_attempts: 4, backoff: {{server: linear}}, base: {base}, max_delay: 9h, jitter: none}}"
        text = file(f"{{targets: [a], policies: {{use: none, {policies}}}}}", "deadline: 24h")

        async def main() -> tuple[str, float]:
            began = asyncio.get_running_loop().time()
            found = await played(text, tmp_path, {"a": [503, 503, 503, "hello"] * 3}, commit, seed=1)
            return found[-1], asyncio.get_running_loop().time() - began

        return run(main())

    began = time.perf_counter()
    story, took = told("1h", virtual.run)
    assert (story, took) == ("a 503 → a 503 → a 503 → a ok", 3 * (1 + 2 + 3) * 3600)
    assert time.perf_counter() - began < 5
    assert told("1ms", asyncio.run)[0] == story
