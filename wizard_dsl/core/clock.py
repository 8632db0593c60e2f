"""The seam of time. Monotonic time and sleeping come from the running event loop, so a test that swaps the
loop swaps time; wall-clock time comes from one injected function."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from asyncio import Future


Callback = TypeVar("Callback", bound=Callable[..., object])


class Timer(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """All times are seconds. `now` is monotonic; `wall` is seconds since the Unix epoch, UTC."""

    def now(self) -> float: ...

    def wall(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> Timer: ...

    def call_soon(self, callback: Callable[..., object], *args: Any) -> Timer: ...

    def future(self) -> Future[Any]:
        """A future of the loop this clock belongs to."""


def machine_time() -> float:
    """What the machine's clock says, seconds since the Unix epoch: for what belongs to no loop, or to the user's day
    where a loop's time is virtual."""
    import time

    return time.time()


def idle(callback: Callback) -> Callback:
    """Marks the callback of a timer that only keeps watch. Where nothing else is scheduled nothing will happen any
    more, and a virtual loop says so instead of going on for ever."""
    callback.idle = True  # type: ignore[attr-defined]
    return callback


class LoopClock:
    """The clock of one event loop. Must be made while that loop runs.

    A loop with a method `wall` (the virtual one) brings its own wall clock.
    """

    __slots__ = ("_loop", "call_at", "call_soon", "future", "now", "sleep", "wall")

    def __init__(self) -> None:
        import asyncio
        import time

        loop = asyncio.get_running_loop()
        self._loop = loop
        usual = type(loop).time is asyncio.BaseEventLoop.time  # which only calls time.monotonic
        self.now: Callable[[], float] = time.monotonic if usual else loop.time
        self.wall: Callable[[], float] = getattr(loop, "wall", time.time)
        self.sleep = asyncio.sleep
        self.call_at = loop.call_at
        self.call_soon = loop.call_soon
        self.future = loop.create_future


#: How often a due timer looks again before it acts: a value that arrived on the same instant travels a few
#: callbacks (selector → parser → future → task) before its reader has run, and it must win.
LOOKS = 3


def settle(clock: Clock, act: Callable[[], object], looks: int = LOOKS) -> None:
    """Run `act` after all that became ready on this instant had its turn."""
    if looks == 0:
        act()
    else:
        clock.call_soon(settle, clock, act, looks - 1)
