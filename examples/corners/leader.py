"""The leader of a shared call is cancelled.

Five equal calls share one. The one that makes it goes away. Whoever passes its cancellation on fails the other four;
whoever starts all of them anew asks the provider four times. Here the four go on together, in one new call.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from wizard_dsl.testing import virtual
from wizard_dsl.testing.pipelines import open_scripted


async def main() -> None:
    scripts = {"only": [{"reply": "fine", "delay": "3s", "times": "forever"}]}
    async with open_scripted(Path(__file__).with_suffix(".yaml"), scripts) as (pipeline, played):
        calls = [asyncio.ensure_future(pipeline.run(question="the same")) for _ in range(5)]
        await asyncio.sleep(1)
        calls[0].cancel()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        results = [each for each in ended if not isinstance(each, BaseException)]
        print(f"cancelled {len(ended) - len(results)}, answered {len(results)}")
        print(f"calls of the provider: {len(played['only'].calls)}")
        print("seconds of each that was answered:", " ".join(f"{result.elapsed:.1f}" for result in results))
        print("attempts booked on each:", " ".join(str(len(result.attempts)) for result in results))


if __name__ == "__main__":
    virtual.run(main())
