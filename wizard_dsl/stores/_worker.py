"""Where a store does what would block: in a thread of its own, or, in virtual time, on the spot."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from asyncio import Future

    from wizard_dsl.core.clock import Clock

T = TypeVar("T")


class Worker(Protocol):
    """Does one piece of work at a time, in the order they were handed in."""

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Its result, as a future of the running loop. Cancelling the future does not stop work that began."""

    def close(self) -> None:
        """No more work comes; what was handed in is still done."""


class Thread:
    """One thread, begun with the first piece of work. It never holds up the end of the process."""

    def __init__(self) -> None:
        from asyncio import get_running_loop
        from queue import SimpleQueue

        self._loop = get_running_loop()
        self._work: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._begun = False

    def submit(self, work: Callable[[], T]) -> Future[T]:
        if not self._begun:
            from threading import Thread as Begin

            Begin(target=self._run, name="wizard-store", daemon=True).start()
            self._begun = True
        future: Future[T] = self._loop.create_future()
        self._work.put((work, future))
        return future

    def _run(self) -> None:
        while (each := self._work.get()) is not None:
            work, future = each
            result, failure = None, None
            try:
                result = work()
            except Exception as error:
                failure = error
            try:
                self._loop.call_soon_threadsafe(_tell, future, result, failure)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

    def close(self) -> None:
        self._work.put(None)


class Inline:
    """On the spot, for a loop that tolerates no threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def submit(self, work: Callable[[], T]) -> Future[T]:
        future: Future[T] = self._clock.future()
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """There is nothing to end."""


def _tell(future: Future[Any], result: object, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
