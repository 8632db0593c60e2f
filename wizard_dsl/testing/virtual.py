"""Virtual time: an event loop whose clock jumps to the next timer when nothing is ready.

Nothing is mocked; the loop is swapped. An hour of retries takes milliseconds, and the same program gives the
same bytes. "Nothing ready and nothing scheduled" raises `Stalled`, which finds lost wake-ups. Sockets and threads
are refused, because real waiting would make virtual timers fire early.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

#: Wall-clock time at virtual second 0: 2026-01-01T00:00:00Z.
EPOCH = 1_767_225_600.0


class Stalled(RuntimeError):
    """Everything waits and nothing will ever happen: a wake-up was lost."""


class RealWorld(RuntimeError):
    """A program in virtual time reached for a socket or a thread."""


class StepLimit(RuntimeError):
    """More loop iterations than allowed: something repeats without end."""


class _Selector(selectors.SelectSelector):
    """Polls what is registered (the loop's own pipe) and turns waiting into a jump."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stalled("nothing is ready and nothing is scheduled: a wake-up was lost")
        if timeout > 0:
            self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module. `time()` starts at 0; `wall()` is a fixed epoch plus `time()`."""

    #: Tells a runtime to do inline what it would hand to a thread.
    virtual = True

    def __init__(self, *, max_steps: int | None = None) -> None:
        self._virtual = _Selector()
        self._steps_left = max_steps
        super().__init__(self._virtual)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._virtual.now

    def wall(self) -> float:
        return EPOCH + self._virtual.now

    def timers(self) -> list[Any]:
        """The timers that are set, without those that only keep watch."""
        return [each for each in self._scheduled if not _keeps_watch(each)]  # type: ignore[attr-defined]

    def _run_once(self) -> None:
        if self._steps_left is not None:
            if self._steps_left == 0:
                self._steps_left = None  # cancelling what is left must be able to run
                raise StepLimit("the step limit of this virtual run is used up")
            self._steps_left -= 1
        timers = self._scheduled  # type: ignore[attr-defined]
        if not self._ready and timers and all(map(_keeps_watch, timers)):  # type: ignore[attr-defined]
            raise Stalled("nothing is ready, and only timers that keep watch are scheduled: a wake-up was lost")
        if not self._ready and timers and not timers[0]._cancelled:  # type: ignore[attr-defined]
            self._virtual.now = max(self._virtual.now, timers[0]._when)
        super()._run_once()  # type: ignore[misc]

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        raise RealWorld(f"a thread was asked for in virtual time: {func!r}")

    async def sock_connect(self, *args: Any, **kwargs: Any) -> Any:
        raise RealWorld("a socket was asked for in virtual time")

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        raise RealWorld("a connection was asked for in virtual time")

    async def create_server(self, *args: Any, **kwargs: Any) -> Any:
        raise RealWorld("a server was asked for in virtual time")


def _keeps_watch(timer: Any) -> bool:
    """Whether a timer is cancelled, or one of those that nothing waits for: see core.clock.idle."""
    return timer._cancelled or getattr(timer._callback, "idle", False)


def run(main: Coroutine[Any, Any, T], *, max_steps: int | None = None) -> T:
    """Run `main` in virtual time and return its result.

    Raises Stalled on a lost wake-up, StepLimit past `max_steps` loop iterations, RealWorld on I/O.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(max_steps=max_steps)) as runner:
        return runner.run(main)
