"""A storm of 429.

The provider says: come back in twenty seconds. A hundred calls that each find that out for themselves, and repeat, keep
it busy refusing. Here the target is remembered as blocked, every call of every chain skips it, and it is asked again
when its time has come; its breaker stays closed, for nothing is broken.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from wizard_dsl.testing import virtual
from wizard_dsl.testing.pipelines import open_scripted


async def main() -> None:
    refused = {"status": 429, "retry_after": "20s"}
    scripts = {
        "limited": [refused, {"reply": "back again", "times": "forever"}],
        "spare": [{"reply": "fine", "times": "forever"}],
    }
    async with open_scripted(Path(__file__).with_suffix(".yaml"), scripts) as (pipeline, played):
        served: dict[str, int] = {}
        for second in range(25):
            for each in await asyncio.gather(*(pipeline.run(question=f"{second} {n}") for n in range(4))):
                served[each.served_by or ""] = served.get(each.served_by or "", 0) + 1
            await asyncio.sleep(1)
        print("served by", ", ".join(f"{name}: {count}" for name, count in sorted(served.items())))
        print(f"attempts on limited: {len(played['limited'].calls)}, one of them refused")
        print(f"its breaker is {pipeline.breakers()['limited'].state}")


if __name__ == "__main__":
    virtual.run(main())
