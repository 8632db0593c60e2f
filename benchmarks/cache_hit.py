"""What does an answer from the cache cost? A whole run that hits, in memory and on disk, against a raw call."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.baseline import raw
from benchmarks.harness import HERE, Row, mock_server, rounds, row
from benchmarks.measures import p50, question
from benchmarks.subject import opened, subject

CALLS = 400
HITS = 4000
HITS_ON_DISK = 1000


async def measure(url: str, on_disk: Path) -> list[Row]:
    same = question()
    async with raw(url) as baseline, subject("everything on", url) as full, opened(on_disk, url) as disk:
        for pipeline in (full, disk):
            await pipeline.run(question=same)
            hit = await pipeline.run(question=same)
            assert hit.steps["answer"].cached, "the second run was to be answered by the cache"
        values = await rounds(
            {
                "raw": lambda: p50(lambda: baseline.ask(question()), CALLS),
                "memory": lambda: p50(lambda: full.run(question=same), HITS),
                "disk": lambda: p50(lambda: disk.run(question=same), HITS_ON_DISK),
            }
        )
    return [
        row(f"cache hit {where}, whole run, p50", "everything on", values[side], values["raw"], unit="s").aiming(
            floor=floor, goal=goal
        )
        for where, side, floor, goal in (("in memory", "memory", 0.08, 0.045), ("on disk", "disk", 0.3, 0.15))
    ]


def main() -> list[Row]:
    with mock_server() as url, TemporaryDirectory() as folder:
        shutil.copy(HERE / "pipelines" / "disk.yaml", folder)
        return asyncio.run(measure(f"{url}/v1", Path(folder) / "disk.yaml"))
