"""Three targets, retries everywhere, all down.

Three targets with three attempts each make nine calls out of every one, just when the providers can bear it least. Here
all repeats of a chain share one budget, and open breakers are not asked: the outage is noticed, not multiplied.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from wizard_dsl.core.errors import WizardError
from wizard_dsl.testing import virtual
from wizard_dsl.testing.pipelines import open_scripted


async def main() -> None:
    down = [{"status": 503, "delay": "200ms", "times": "forever"}]
    async with open_scripted(Path(__file__).with_suffix(".yaml"), {"*": down}) as (pipeline, played):
        kinds: dict[str, int] = {}

        async def ask(number: int) -> None:
            try:
                await pipeline.run(question=f"number {number}")
            except WizardError as error:
                kinds[error.kind] = kinds.get(error.kind, 0) + 1

        calls = []
        for number in range(600):  # ten calls a second for a minute
            calls.append(asyncio.ensure_future(ask(number)))
            await asyncio.sleep(0.1)
        await asyncio.gather(*calls)
        made = sum(len(script.calls) for script in played.values())
        print(f"calls 600, attempts {made}; multiplied by nine it would be 5400")
        print("kinds:", ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())))


if __name__ == "__main__":
    virtual.run(main())
