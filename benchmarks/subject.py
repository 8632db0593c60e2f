"""The subject: the public API on a pipeline with everything on, and the same without policies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import wizard_dsl as wizard
from benchmarks.harness import HERE
from wizard_dsl.observe.log import log_sink
from wizard_dsl.runtime.pipeline import Pipeline

#: What is measured, by the name of its column.
FILES = {"everything on": "full.yaml", "no policies": "bare.yaml"}

#: Every question is a new one, so that no cache ever answers unless it is meant to.
numbers = count()


def question() -> str:
    return f"Why is the sky blue, and why is number {next(numbers)} not?"


@asynccontextmanager
async def subject(name: str, url: str) -> AsyncIterator[Pipeline]:
    """An open pipeline that asks the server at `url`, logging at WARNING."""
    env = {"BENCH_URL": url, "BENCH_KEY": "test-key"}
    path = HERE / "pipelines" / FILES[name]
    async with wizard.open(path, env=env, sinks=[log_sink("WARNING")]) as pipeline:
        yield pipeline
