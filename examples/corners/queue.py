"""A dead target behind a queue.

The first target answers one call a second and is down. Who queues before asking the breaker keeps calls waiting for a
token of a target that is known to be dead. Here the breaker is looked at first, and a call that was queueing when it
opened gives its token back and moves on.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from wizard_dsl.testing import virtual
from wizard_dsl.testing.pipelines import open_scripted


async def main() -> None:
    scripts = {"dead": [{"status": 503, "times": "forever"}], "alive": [{"reply": "fine", "times": "forever"}]}
    async with open_scripted(Path(__file__).with_suffix(".yaml"), scripts) as (pipeline, played):
        results = await asyncio.gather(*(pipeline.run(question=f"number {n}") for n in range(20)))
        late = await pipeline.run(question="later")
        print(f"calls {len(results)}, answered {sum(result.ok for result in results)}")
        print(f"the slowest of them took {max(result.elapsed for result in results):.1f} s")
        print(f"attempts on the dead target: {len(played['dead'].calls)}")
        print(f"a call that comes afterwards takes {late.elapsed:.1f} s and makes {len(late.attempts)} attempt")
        print(f"its breaker is {pipeline.breakers()['dead'].state}")


if __name__ == "__main__":
    virtual.run(main())
