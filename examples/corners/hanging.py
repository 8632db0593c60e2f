"""A hanging primary behind hedges.

The first target accepts calls and never answers. The hedge saves every call after two seconds, so nothing fails,
nothing is ever counted against the target, and every call takes two seconds longer for ever. Here an attempt that a
hedge overtook is a slow one, and enough of those open the breaker.
"""

from __future__ import annotations

from pathlib import Path

from wizard_dsl.testing import virtual
from wizard_dsl.testing.pipelines import open_scripted


async def main() -> None:
    hangs = {"reply": "never", "stall_after": 0, "times": "forever"}
    scripts = {"slow": [hangs], "fast": [{"reply": "fine", "delay": "500ms", "times": "forever"}]}
    async with open_scripted(Path(__file__).with_suffix(".yaml"), scripts) as (pipeline, played):
        took = [(await pipeline.run(question=f"number {n}")).elapsed for n in range(14)]
        print("seconds of each call:", " ".join(f"{seconds:.1f}" for seconds in took))
        print(f"attempts on the hanging target: {len(played['slow'].calls)}")
        figures = pipeline.breakers()["slow"]
        print(f"its breaker is {figures.state}; the next look is in {figures.retry_after:.1f} s")


if __name__ == "__main__":
    virtual.run(main())
