"""One process of a test of shared state: opens a pipeline, runs it as ordered, and tells when what was sent.

Orders: file, url, calls (in all), gap (seconds between two calls; 0: all at once), dies (as soon as an attempt
begins). Says `ready`, waits for a line, and at the end tells as JSON: when attempts began, the kinds calls ended with,
and what was told of the state.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from typing import Any

import wizard_dsl as wizard


async def main(orders: dict[str, Any]) -> dict[str, Any]:
    began: list[float] = []
    told: Counter[str] = Counter()
    kinds: Counter[str] = Counter()

    def sink(run: Any, event: Any) -> None:
        if event.name == "attempt_started":
            if orders.get("dies"):
                os.kill(os.getpid(), signal.SIGKILL)
            began.append(time.time())
        elif event.name.startswith("state_"):
            told[event.name] += 1

    async def one(pipeline: Any) -> None:
        try:
            await pipeline.run()
            kinds["ok"] += 1
        except wizard.WizardError as error:
            kinds[error.kind] += 1

    async with wizard.open(orders["file"], env={"WIZARD_STATE": orders["url"]}, sinks=[sink]) as pipeline:
        for _ in range(orders.get("before", 0)):
            await one(pipeline)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        began.clear()
        tasks = []
        for _ in range(orders["calls"]):
            tasks.append(asyncio.ensure_future(one(pipeline)))
            if orders.get("gap"):
                await asyncio.sleep(orders["gap"])
        await asyncio.gather(*tasks)
    return {"began": began, "kinds": kinds, "told": told}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(json.loads(sys.argv[1])))))
