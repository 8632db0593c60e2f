"""What a test written in Python works with: a loop in virtual time that lasts, and pipelines under scripts on it.

The fixtures of the pytest plug-in hand these out; without pytest they are context managers:

    with VirtualTime() as time, Bench(time) as bench:
        pipeline = bench.open("triage.yaml", {"*": [503, "a reply"]})
        assert pipeline.run(ticket="…").text == "a reply"
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.units import parse_duration
from wizard_dsl.testing.pipelines import open_scripted
from wizard_dsl.testing.virtual import VirtualLoop

if TYPE_CHECKING:
    from wizard_dsl.core.result import Result
    from wizard_dsl.runtime.pipeline import Pipeline
    from wizard_dsl.testing.scripted import Script

T = TypeVar("T")


class VirtualTime:
    """A loop in virtual time. What is awaited in one `run` goes on in the next; between them time stands still."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=VirtualLoop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._runner.close()

    @property
    def now(self) -> float:
        """Virtual seconds since the loop began."""
        return self._runner.get_loop().time()

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """The result of `main`. Raises what it raises, and as `virtual.run`."""
        return self._runner.run(main)

    def advance(self, duration: float | str) -> None:
        """Let so much time pass: seconds, or a duration such as `"30s"`."""
        seconds = parse_duration(duration) if isinstance(duration, str) else duration
        self.run(_sleep(seconds))


async def _sleep(seconds: float) -> None:
    await LoopClock().sleep(seconds)


class ScriptedPipeline:
    """A pipeline whose targets are scripted, in one runtime: its runs share breakers, caches and limits. `scripts` are
    by target name, `pipeline` is the real one, for what must be awaited."""

    def __init__(self, time: VirtualTime, pipeline: Pipeline, scripts: Mapping[str, Script]) -> None:
        self._time = time
        self.pipeline = pipeline
        self.scripts = scripts

    def run(self, **inputs: Any) -> Result:
        """As `Pipeline.run`, to its end, in virtual time: inputs by name, and its options. Raises the run's
        WizardError, which has what was made as `.result`."""
        return self._time.run(self.pipeline.run(**inputs))


class Bench:
    """Opens pipelines, and closes them all."""

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        self._stack = AsyncExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._time.run(self._stack.aclose())

    def open(
        self,
        path: str | Path,
        targets: Mapping[str, Iterable[Any] | Script],
        *,
        env: Mapping[str, str] | None = None,
        seed: int = 0,
    ) -> ScriptedPipeline:
        """As `open_scripted`: a file, and what its targets answer, by name or pattern."""
        opened = self._stack.enter_async_context(open_scripted(path, targets, env=env, seed=seed))
        pipeline, scripts = self._time.run(opened)
        return ScriptedPipeline(self._time, pipeline, scripts)
