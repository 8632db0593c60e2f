"""Streams that begin well and always break.

A stream is a success for the breaker at its first content; a breaker that leaves it at that never opens for a target
whose streams all break in the middle. Here the break takes the success back, and the reader gets the answer anew from
the target that works.
"""

from __future__ import annotations

from pathlib import Path

from wizard_dsl.testing import virtual
from wizard_dsl.testing.pipelines import open_scripted


async def main() -> None:
    broken = {"reply": "it was a dark and stormy night", "cut_after": 3, "times": "forever"}
    scripts = {"flaky": [broken], "steady": [{"reply": "It was a bright cold day.", "times": "forever"}]}
    async with open_scripted(Path(__file__).with_suffix(".yaml"), scripts) as (pipeline, played):
        for number in range(1, 4):
            pieces: list[str] = []
            async with pipeline.stream(question=f"number {number}") as stream:
                async for delta in stream:
                    pieces += ["|"] if delta.reset else [delta.text]
            result = stream.result
            print(f"call {number}: {''.join(pieces)!r}")
            print(f"        served by {result.served_by}, {len(result.attempts)} attempts, {result.elapsed:.1f} s")
        print(f"the breaker of flaky is {pipeline.breakers()['flaky'].state} after {len(played['flaky'].calls)} breaks")


if __name__ == "__main__":
    virtual.run(main())
