"""Cancelling a task at every step it makes: what a story leaves behind must not hang on when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from wizard_dsl.testing.virtual import VirtualLoop


class CancellingLoop(VirtualLoop):
    """Cancels `victim` before its step number `at`."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at
        self.victim: asyncio.Task[Any] | None = None

    def _run_once(self) -> None:
        if self.victim is not None:
            if self._at == 0:
                self.victim.cancel()
            self._at -= 1
        super()._run_once()


def cancelled_at_every_step(story: Callable[[Callable[[Awaitable[Any]], asyncio.Task[Any]]], Awaitable[bool]]) -> int:
    """Run `story(watch)` again and again, the task that it gives to `watch` cancelled one step later each time, until
    it ends by itself: then `story` returns False. Returns how many steps there were."""
    for at in range(2000):
        loops: list[CancellingLoop] = []

        def make(at: int = at, loops: list[CancellingLoop] = loops) -> CancellingLoop:
            loops.append(CancellingLoop(at))
            return loops[-1]

        async def main(loops: list[CancellingLoop] = loops) -> bool:
            def watch(work: Awaitable[Any]) -> asyncio.Task[Any]:
                loops[0].victim = asyncio.ensure_future(work)
                return loops[0].victim

            return await story(watch)

        with asyncio.Runner(loop_factory=make) as runner:
            if not runner.run(main()):
                return at
    raise AssertionError("it never ends by itself")
