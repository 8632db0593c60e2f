"""`wizard.run`: the one synchronous door, an event loop around one run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wizard_dsl.runtime.runtime import open

if TYPE_CHECKING:
    from wizard_dsl.core.record import Chronicle
    from wizard_dsl.core.result import Result
    from wizard_dsl.runtime.pipeline import OnDelta


def run(
    path: str | Path,
    *,
    inputs: Mapping[str, Any] | None = None,
    deadline: float | str | None = None,
    on_delta: OnDelta | None = None,
    overlays: Sequence[str] = (),
    sets: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    seed: int | None = None,
    mock: bool = False,
    history: Chronicle | None = None,
    **named: Any,
) -> Result:
    """Run a pipeline file once, with an event loop of its own; see `open` and `Pipeline.run`.

    Raises the run's WizardError, with what was made as `.result`, and RuntimeError inside a running loop.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise RuntimeError(
            "wizard.run() starts an event loop of its own, and one is running here; write instead: "
            "async with wizard.open(path) as pipeline: await pipeline.run(…)"
        )

    async def once() -> Result:
        async with open(path, overlays=overlays, sets=sets, env=env, seed=seed, mock=mock, history=history) as pipeline:
            return await pipeline.run(inputs=inputs, deadline=deadline, on_delta=on_delta, **named)

    return asyncio.run(once())
