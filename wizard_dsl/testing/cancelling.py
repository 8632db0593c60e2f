"""Cancelling a task at every step it makes: what a story leaves behind must not hang on when.

async def story(watch):
    chain = build_chain({"a": [503, "hello"]}, policies=[(RETRY, {})])
    task = watch(chain.answer())
    try:
        await task
    except asyncio.CancelledError:
        …                                              # what must hold after a cancellation
        return True                                    # there may be a later step
    return False                                       # it ended by itself: that was the last

assert cancelled_at_every_step(story) > 20
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from wizard_dsl.testing.virtual import VirtualLoop

#: Makes a task of some work, which will be cancelled.
Watch = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]

_MOST_STEPS = 2000


class CancellingLoop(VirtualLoop):
    """Cancels `victim` before its step number `at`; `struck` says that it did."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at
        self.victim: asyncio.Task[Any] | None = None
        self.struck = False

    def watch(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """The task that does `work`, as the victim."""
        self.victim = self.create_task(work)
        return self.victim

    def _run_once(self) -> None:
        if self.victim is not None:
            if self._at == 0:
                self.struck = self.victim.cancel()
            self._at -= 1
        super()._run_once()


def cancelled_at_every_step(story: Callable[[Watch], Awaitable[bool]]) -> int:
    """Run `story(watch)` again and again, the task that it gives to `watch` cancelled one step later each time, until
    it ends by itself: then `story` returns False. Returns how many steps there were."""
    for at in range(_MOST_STEPS):
        if not _cancelled_at(at, story):
            return at
    raise AssertionError("it never ends by itself")


def _cancelled_at(at: int, story: Callable[[Watch], Awaitable[bool]]) -> bool:
    async def main() -> bool:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CancellingLoop)
        return await story(loop.watch)

    with asyncio.Runner(loop_factory=lambda: CancellingLoop(at)) as runner:
        return runner.run(main())
