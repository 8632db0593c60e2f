"""Single-flight: equal calls that are in flight at the same time share one answer.

The first caller runs the flight, inline; the others follow. Up to the commit point a follower waits, with its own
deadline, for one of three things:

    an answer    a view of it
    an error     its own copy of it: errors are shared once
    no answer    the leader was cancelled, or met *its* deadline, budget or limit, which are not the followers'

After the commit point the flight belongs to all who read. Each has a view: a `Response` of its own, whose source is
a cursor over the shared one. The cursor that runs dry pulls, a late one gets all of it, and the flight ends when
the last one leaves. No task belongs to a flight.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from wizard_dsl.core.clock import Clock, settle
from wizard_dsl.core.errors import DeadlineExceeded, WizardError
from wizard_dsl.core.response import Outcome, Response

if TYPE_CHECKING:
    from asyncio import Future, Task

    from wizard_dsl.core.messages import Delta

#: Kinds that say something about the one who called, not about the call.
_PRIVATE = frozenset({"cancelled", "deadline", "budget", "local_limit"})


class Flights:
    """The flights of one cache, by key. Must be made while the loop that runs them runs."""

    __slots__ = ("_open", "clock", "current_task")

    def __init__(self, clock: Clock) -> None:
        from asyncio import current_task

        self.clock = clock
        self.current_task: Callable[[], Task[Any] | None] = current_task
        self._open: dict[str, Flight] = {}

    def get(self, key: str) -> Flight | None:
        """The flight to follow, before or after its commit point."""
        return self._open.get(key)

    def begin(self, key: str) -> Flight:
        """A new flight. Whoever begins it must `commit` or `fail` it."""
        flight = self._open[key] = Flight(self, key)
        return flight

    def remove(self, key: str) -> None:
        """The flight of `key` is over: the next equal call begins another."""
        del self._open[key]


class Flight:
    """One shared call. `follow` is for followers, `commit` and `fail` for its leader."""

    __slots__ = ("_flights", "_key", "_readers", "_response", "_waiters")

    def __init__(self, flights: Flights, key: str) -> None:
        self._flights = flights
        self._key = key
        self._readers = 0
        self._response: Response | None = None
        self._waiters: list[Future[Response | BaseException | None]] = []

    # -- the leader ---------------------------------------------------------------------------------

    def commit(self, response: Response) -> Response:
        """The flight has its answer. Returns what the leader reads; each follower gets its view now, so that the
        flight outlives a leader who leaves before they have run."""
        if response.outcome is not None:
            self._flights.remove(self._key)
            if self._waiters:
                self._wake(lambda: _whole(response))
            return response
        self._response = response
        due = response.take_due()
        response.on_end(self._ended)
        view = self._view(response)
        if due is not None:
            view.due(*due)
        self._wake(partial(self._shared_view, response))
        return view

    def fail(self, error: BaseException) -> None:
        """The flight ends before its commit point, because of `error`."""
        self._flights.remove(self._key)
        if is_private(error):
            self._wake(lambda: None)
        else:
            self._wake(partial(copied, error))

    def _wake(self, make: Callable[[], Response | BaseException | None]) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(make())

    def _ended(self, outcome: Outcome) -> None:
        self._flights.remove(self._key)

    # -- the followers ------------------------------------------------------------------------------

    async def follow(self, deadline: float) -> Response | None:
        """A view of the answer, at its commit point; None where the flight ended without an answer.

        Raises the flight's error, or DeadlineExceeded at `deadline`, an absolute loop time, which also limits the
        view. Cancelling it leaves the flight.
        """
        view = await self._wait(deadline) if self._response is None else self._shared_view(self._response)
        if view is not None:
            view.due(deadline, _late)
        return view

    async def _wait(self, deadline: float) -> Response | None:
        clock = self._flights.clock
        waiter: Future[Response | BaseException | None] = clock.future()
        self._waiters.append(waiter)
        timer = clock.call_at(deadline, settle, clock, partial(_expire, waiter))
        try:
            result = await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                _give_back(waiter.result())
            raise
        finally:
            timer.cancel()
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        if isinstance(result, BaseException):
            raise result
        return result

    def _shared_view(self, response: Response) -> Response:
        view = self._view(response, shared=True)
        view.served = msgspec.structs.replace(response.served, shared=True)
        return view

    def _view(self, response: Response, shared: bool = False) -> Response:
        self._readers += 1
        cursor = _Cursor(self, response, self._flights.current_task, shared)
        return Response.view(response, cursor, clock=self._flights.clock)

    def leave(self, reason: BaseException | None) -> bool:
        """One reader less. True where it was the last: the answer ended with `reason`."""
        self._readers -= 1
        if self._readers:
            return False
        assert self._response is not None
        if isinstance(reason, WizardError):
            self._response.abort(reason)
        else:
            self._response.close()
        return True


class _Cursor:
    """The source of a view: the batches of the shared response from the first on."""

    __slots__ = ("_current_task", "_flight", "_index", "_inner", "_left", "_shared", "_task")

    def __init__(
        self, flight: Flight, inner: Response, current_task: Callable[[], Task[Any] | None], shared: bool
    ) -> None:
        self._flight = flight
        self._inner = inner
        self._current_task = current_task
        self._shared = shared
        self._index = 0
        self._left = False
        self._task: Task[Any] | None = None

    @property
    def done(self) -> bool:
        return self._index == self._inner.batches_seen and self._inner.answered

    async def read_batch(self) -> list[Delta]:
        self._task = task = self._current_task()
        try:
            batch = await self._inner.next_batch(self._index)
        except Exception as error:
            if self._shared:
                raise copied(error) from error.__cause__
            raise
        except BaseException:
            if self._left and task is not None and task.uncancel() == 0:
                return []  # `abort` woke us; the view has its outcome already
            raise
        finally:
            self._task = None
        if batch is None:
            return []
        self._index += 1
        return batch

    def abort(self, reason: BaseException | None) -> None:
        """Leave the flight. A pending read is woken: by the end of the flight, else by a cancel that `read_batch`
        takes back, since others go on reading what it waits for."""
        if not self._left:
            self._left = True
            if not self._flight.leave(reason) and self._task is not None:
                self._task.cancel()


def is_private(error: BaseException) -> bool:
    """Whether `error` is about the leader alone, so that its followers go on without it."""
    if not isinstance(error, WizardError):
        return not isinstance(error, Exception)
    return error.kind in _PRIVATE or "deadline" in error.marks


def copied(error: BaseException) -> BaseException:
    """A copy for another run: each run writes its own attempts and transcript on the error it ends with."""
    if not isinstance(error, WizardError):
        return error
    if isinstance(error, ExceptionGroup):
        copy: BaseException = ExceptionGroup.__new__(type(error), error.message, error.exceptions)
    else:
        copy = Exception.__new__(type(error), *error.args)
    copy.__dict__.update(error.__dict__)
    copy.__cause__ = error.__cause__
    return copy


def _whole(response: Response) -> Response:
    """A view of an answer that is over."""
    assert response.outcome is not None
    view = Response.complete(response.outcome.completion)
    view.served = msgspec.structs.replace(response.served, shared=True)
    view.headers = response.headers
    return view


def _late() -> DeadlineExceeded:
    return DeadlineExceeded("the deadline passed while an equal call in flight was followed")


def _expire(waiter: Future[Response | BaseException | None]) -> None:
    if not waiter.done():
        waiter.set_result(_late())


def _give_back(result: Response | BaseException | None) -> None:
    """The answer arrived on the instant its follower was cancelled."""
    if isinstance(result, Response):
        result.close()
