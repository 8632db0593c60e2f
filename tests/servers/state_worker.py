"""One process of a test of shared state: as often as it is told it opens a pipeline, and runs it as ordered.

Orders, a line of JSON: file, url, calls (in all), gap (seconds between two calls; 0: all at once), through (go on with
calls until the state is back), dies (as soon as an attempt begins), patience (seconds that the state has for a reply,
where a busy machine is not to be taken for an outage). Says `ready`, waits for a line, and at the end tells as JSON:
when attempts began, when the turns of a bucket that the state granted were due, by its own clock, the kinds calls ended
with, and what was told of the state.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import wizard_dsl as wizard
from wizard_dsl.policies._shared_bucket import BOOK
from wizard_dsl.stores import _state


@contextmanager
def watched(patience: float | None) -> Iterator[list[float]]:
    """When the turns were due that the state grants inside."""
    due: list[float] = []
    decide = _state.SharedKeeper.decide

    async def noted(self: _state.SharedKeeper, decision: Any, key: str, arguments: Any, **options: Any) -> Any:
        decided = await decide(self, decision, key, arguments, **options)
        if decision is BOOK and decided.reply[0] and arguments["amount"] > 0:
            due.append(decided.now + decided.reply[1])
        return decided

    longest = {"PATIENCE": patience or _state.PATIENCE, "LONGEST": patience or _state.LONGEST}
    with patch.multiple(_state, **longest), patch.object(_state.SharedKeeper, "decide", noted):
        yield due


async def main(orders: dict[str, Any], due: list[float]) -> dict[str, Any]:
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
        due.clear()
        tasks = []
        while len(tasks) < orders["calls"] or (orders.get("through") and not told["state_restored"]):
            tasks.append(asyncio.ensure_future(one(pipeline)))
            if orders.get("gap"):
                await asyncio.sleep(orders["gap"])
        await asyncio.gather(*tasks)
    return {"began": began, "due": due, "kinds": kinds, "told": told}


def obeyed(orders: dict[str, Any]) -> dict[str, Any]:
    with watched(orders.get("patience")) as due:
        return asyncio.run(main(orders, due))


if __name__ == "__main__":
    while order := sys.stdin.readline():
        sys.stdout.write(json.dumps(obeyed(json.loads(order))) + "\n")
        sys.stdout.flush()
