"""What a run costs, counted and not timed: calls of functions, awaits, cycles, blocks that stay; and one ratio in one
process. Each may be twice what was recorded when it was last looked at; a change that needs more says why here."""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import process_time
from typing import Any

import pytest

from benchmarks.harness import HERE
from benchmarks.measures import question
from benchmarks.subject import opened
from wizard_dsl.runtime.pipeline import Pipeline

MARGIN = 2
#: Recorded, of one run on the mock provider: calls of Python functions, and of these entries into coroutines.
CALLS = {"full.yaml": 262, "bare.yaml": 186}
AWAITS = {"full.yaml": 54, "bare.yaml": 30}
#: Of a run that the cache answers, nearly exactly: it depends on nobody.
HIT_CALLS, HIT_AWAITS = 58, 9
#: Objects that only the collector of cycles frees, of one run.
CYCLIC = {"full.yaml": 0, "bare.yaml": 0}
#: The time of a run with everything on, against one without policies.
RATIO = 1.5


@asynccontextmanager
async def mocked(name: str, folder: Path) -> AsyncIterator[Pipeline]:
    """A pipeline of the benchmarks on the mock provider, warm."""
    lines = (HERE / "pipelines" / name).read_text().splitlines()
    path = folder / name
    path.write_text("\n".join("  mock: {type: mock}" if line.startswith("  mock:") else line for line in lines))
    async with opened(path) as pipeline:
        for _ in range(50):
            await pipeline.run(question=question())
        yield pipeline


async def counted(call: Callable[[], Awaitable[Any]]) -> tuple[int, int]:
    """Calls of Python functions, and entries into coroutines, of one call."""
    calls = awaits = 0

    def look(frame: Any, event: str, _: Any) -> None:
        nonlocal calls, awaits
        if event == "call":
            calls += 1
            awaits += bool(frame.f_code.co_flags & inspect.CO_COROUTINE)

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        await call()
    finally:
        sys.setprofile(before)
    return calls, awaits


@pytest.mark.parametrize("name", CALLS)
async def test_a_run_calls_and_awaits_no_more_than_twice_what_was_recorded(name: str, tmp_path: Path) -> None:
    async with mocked(name, tmp_path) as pipeline:
        calls, awaits = await counted(lambda: pipeline.run(question=question()))
    assert 0 < calls <= MARGIN * CALLS[name], f"{calls} calls of functions"
    assert 0 < awaits <= MARGIN * AWAITS[name], f"{awaits} awaits"


async def test_a_hit_in_the_cache_calls_and_awaits_no_more_than_was_recorded(tmp_path: Path) -> None:
    async with mocked("full.yaml", tmp_path) as pipeline:
        for _ in range(3):
            await pipeline.run(question="Why?")
        calls, awaits = await counted(lambda: pipeline.run(question="Why?"))
    assert calls <= 1.1 * HIT_CALLS, f"{calls} calls of functions"
    assert awaits <= HIT_AWAITS, f"{awaits} awaits"


@pytest.mark.parametrize("name", CYCLIC)
async def test_a_run_leaves_no_cycles_and_no_memory(name: str, tmp_path: Path) -> None:
    async with mocked(name, tmp_path) as pipeline:
        for _ in range(1200):  # until the cache is full
            await pipeline.run(question=question())
        gc.collect()
        before = sys.getallocatedblocks()
        gc.disable()
        try:
            for _ in range(200):
                await pipeline.run(question=question())
            found = gc.collect()
        finally:
            gc.enable()
        stayed = sys.getallocatedblocks() - before
    assert found / 200 <= MARGIN * CYCLIC[name] + 0.5, f"{found / 200} cyclic objects a run"
    assert stayed / 200 < 2, f"{stayed / 200} blocks of memory stay of each run"


async def spent(pipeline: Pipeline) -> float:
    began = process_time()
    for _ in range(50):
        await pipeline.run(question=question())
    return process_time() - began


async def test_policies_cost_no_more_than_twice_what_was_recorded(tmp_path: Path) -> None:
    async with mocked("full.yaml", tmp_path) as full, mocked("bare.yaml", tmp_path) as bare:
        pairs = [(await spent(full), await spent(bare)) for _ in range(7)]
    ratio = min(one for one, _ in pairs) / min(other for _, other in pairs)
    assert ratio <= MARGIN * RATIO, f"{ratio:.2f} times as long as without policies"
