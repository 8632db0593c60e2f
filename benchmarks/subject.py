"""The subject: the public API on a pipeline with everything on, and the same without policies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import wizard_dsl as wizard
from benchmarks.harness import HERE
from wizard_dsl.observe.log import log_sink
from wizard_dsl.runtime.pipeline import Pipeline

#: What is measured, by the name of its column.
FILES = {"everything on": "full.yaml", "no policies": "bare.yaml"}
KEY = "test-key"


@asynccontextmanager
async def subject(name: str, url: str) -> AsyncIterator[Pipeline]:
    """An open pipeline of the two that ask the server at `url`."""
    async with opened(FILES[name], url) as pipeline:
        yield pipeline


@asynccontextmanager
async def opened(file: str | Path, url: str = "http://127.0.0.1:9", **options: Any) -> AsyncIterator[Pipeline]:
    """An open pipeline, from `pipelines/` where `file` is a mere name; logs at WARNING, options as of `wizard.open`."""
    env = {"BENCH_URL": url, "BENCH_FAILS": url.replace("/v1", "/fail/v1"), "BENCH_KEY": KEY}
    options.setdefault("sinks", [log_sink("WARNING")])
    async with wizard.open(HERE / "pipelines" / file, env=env, **options) as pipeline:
        yield pipeline
