"""Response: one answer, complete or still arriving; the only stream pump in the project.

`Response.open` returns at the commit point, so everything before it – connect, 429, an error inside a 200, a
slow first token – is an ordinary exception inside nested awaits. What comes after is observed: `on_delta` sees
batches, `on_end` the outcome, exactly once, innermost observer first. A source is pulled by whoever reads;
no task belongs to a response.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from wizard_dsl.core.clock import Clock
from wizard_dsl.core.errors import (
    Cancelled,
    DeadlineExceeded,
    Interrupted,
    MalformedResponse,
    ServerError,
    StreamBroken,
    WizardError,
)
from wizard_dsl.core.limits import Limits
from wizard_dsl.core.messages import Assembler, Completion, Delta, Usage, as_deltas
from wizard_dsl.core.splice import Resume, Splice

if TYPE_CHECKING:
    from asyncio import Future
    from types import TracebackType

Commit = Literal["content", "end"]
Ending = Literal["completed", "failed", "cancelled", "abandoned"]


class Source(Protocol):
    """Where deltas come from. Everything it raises is a WizardError; other exceptions are read as garbage."""

    @property
    def done(self) -> bool:
        """Whether the terminal marker was seen: without it, an end of the body is a cut."""

    async def read_batch(self) -> list[Delta]:
        """The deltas of one read, at least one; an empty list at the end. Safe to cancel."""

    def abort(self, reason: BaseException | None) -> None:
        """Synchronous and idempotent: wakes a pending read, which then raises, and frees the connection."""


class Outcome(msgspec.Struct, frozen=True):
    """How a response ended. `completion` is the whole answer, or the part that was seen."""

    kind: Ending
    completion: Completion
    error: WizardError | None = None


class Served(msgspec.Struct):
    """Who answered: set by the strategy, or by the cache for a stored answer. `saved` is the usage that a stored
    answer once took, None where nothing was saved or it is not known; `age` is seconds since it was stored, and it is
    `stale` where it was given after its time. `fallback`: another target was to be asked before this one."""

    target: str = ""
    position: int = 0
    fallback: bool = False
    failures: tuple[Any, ...] = ()
    cached: bool = False
    shared: bool = False
    losses: tuple[str, ...] = ()
    saved: Usage | None = None
    stale: bool = False
    age: float | None = None


DeltaObserver = Callable[[list[Delta]], None]
EndObserver = Callable[[Outcome], None]


class Response(msgspec.Struct, eq=False):
    """See the module. Open one with `async with`, so that giving it up is lexical."""

    _source: Source | None
    _clock: Clock | None
    served: Served = msgspec.field(default_factory=Served)
    outcome: Outcome | None = None
    headers: Any = {}
    _committed: bool = False
    _busy: bool = False
    _kept: list[list[Delta]] = []
    _of: Response | None = None
    _limits: Limits | None = None
    _on_delta: list[DeltaObserver] = []
    _on_end: list[EndObserver] = []
    _on_raise: Callable[[BaseException], None] | None = None
    _waiters: list[Future[None]] = []

    __repr__ = object.__repr__  # content and headers are nothing for a log

    # -- making one ---------------------------------------------------------------------------------

    @classmethod
    def complete(cls, completion: Completion, served: Served | None = None) -> Response:
        """An answer that is already whole."""
        outcome = Outcome("completed", completion)
        return cls(None, None, Served() if served is None else served, outcome, _committed=True)

    @classmethod
    async def open(
        cls,
        source: Source,
        commit: Commit = "content",
        *,
        clock: Clock,
        reasoning: bool = False,
        idle: float | None = None,
    ) -> Response:
        """Await the commit point: the first content (with `reasoning`, reasoning counts), or the end.

        The prelude is held back until then. `idle` limits each wait between two events, in seconds: the wait for
        the first one is the attempt's own (first_chunk). Raises what the source raises; the source is aborted on
        any exception, cancellation included.
        """
        response = cls(source, clock)
        seen = 0
        try:
            while await response._pull():
                if seen == 0 and idle is not None:
                    response.idle(idle)
                if commit == "content" and response._has_content(seen, reasoning):
                    break
                seen = len(response._kept)
        except BaseException as error:
            response._give_up(error)
            raise
        response._committed = True
        return response

    def _has_content(self, start: int, reasoning: bool) -> bool:
        for batch in self._kept[start:]:
            for delta in batch:
                if delta.is_content or (reasoning and delta.reasoning):
                    return True
        return False

    def _give_up(self, error: BaseException) -> None:
        if self.outcome is None:
            assert self._source is not None
            self._source.abort(error)
            self._end("failed", error if isinstance(error, WizardError) else None)

    @classmethod
    def spliced(
        cls,
        first: Response,
        resume: Resume,
        *,
        clock: Clock,
        reset: bool = True,
    ) -> Response:
        """`first`, and where it breaks what `resume(error)` opens, as one answer with one end.

        With `reset`, consumers get a reset delta before the new answer begins (restart); without, the new
        deltas go on where the old ones ended (continue). The error it gets has all that was seen as its `partial`;
        what `resume` raises is how the answer ends.
        """
        source = Splice(first, resume, clock, reset=reset)
        source.owner = response = cls.committed(source, first, clock=clock)
        response._on_raise = first._on_raise
        return response

    @classmethod
    def committed(cls, source: Source, like: Response, *, clock: Clock) -> Response:
        """A response past its commit point that reads `source`; who answered is as `like` says."""
        return cls(source, clock, like.served, headers=like.headers, _committed=True)

    @classmethod
    def view(cls, of: Response, source: Source, *, clock: Clock) -> Response:
        """A reader of its own on `of`, whose batches `source` gives one for one, from the first on."""
        response = cls.committed(source, of, clock=clock)
        response._of = of
        return response

    # -- observing it -------------------------------------------------------------------------------

    def on_delta(self, observer: DeltaObserver) -> None:
        """Call `observer(batch)` for each batch from now on; batches before the commit point were kept."""
        self._on_delta.append(observer)

    def on_end(self, observer: EndObserver) -> None:
        """Call `observer(outcome)` exactly once, synchronously; at once if the response is over."""
        if self.outcome is None:
            self._on_end.append(observer)
        else:
            self._notify(observer, self.outcome)

    def on_raise(self, report: Callable[[BaseException], None]) -> None:
        """Where exceptions of observers are reported; they never change the outcome."""
        self._on_raise = report

    def _notify(self, observer: EndObserver, outcome: Outcome) -> None:
        try:
            observer(outcome)
        except Exception as error:
            if self._on_raise is not None:
                self._on_raise(error)

    # -- limiting it --------------------------------------------------------------------------------

    def due(self, at: float, late: Callable[[], WizardError]) -> None:
        """Tighten the absolute deadline of what still arrives; passing it aborts with what `late` makes. No pause."""
        if self.outcome is None:
            self._limited().due(at, late)

    def take_due(self) -> tuple[float, Callable[[], WizardError]] | None:
        """Lift the deadline: whoever shares this response among several readers puts it on the one it belongs to."""
        if isinstance(self._source, Splice):
            return self._source.take_due()
        return None if self._limits is None else self._limits.take_due()

    def idle(self, seconds: float) -> None:
        """Limit each wait for the source; time in which the reader holds back does not count."""
        if self.outcome is None:
            self._limited().idle(seconds)

    def within(self, seconds: float) -> None:
        """Limit the sum of the waits that are left."""
        if self.outcome is None:
            self._limited().within(seconds)

    def _limited(self) -> Limits:
        if self._limits is None:
            assert self._clock is not None
            self._limits = Limits(self._clock, self.abort)
            if self._busy:
                self._limits.wait_began()
        return self._limits

    # -- reading it ---------------------------------------------------------------------------------

    async def _pull(self) -> bool:
        """Make one more batch available, or learn that the answer is over (False). Raises how it failed.

        Whoever runs dry pulls; others wait for it. Cancelling a pull does not end the response.
        """
        if self.outcome is not None:
            return self._over()
        if self._busy:
            await self._follow()
            return self.outcome is None or self._over()
        assert self._source is not None and self._clock is not None
        self._busy = True
        if self._limits is not None:
            self._limits.wait_began()
        try:
            batch = await self._source.read_batch()
        except Exception as error:
            self._fail(error)
            return self._over()
        finally:
            self._rest()
        if self.outcome is not None:
            return self._over()
        if batch:
            self._kept.append(batch)
            for observer in self._on_delta:
                self._show(observer, batch)
            return True
        self._finish()
        return self._over()

    async def next_batch(self, index: int) -> list[Delta] | None:
        """Batch number `index`, pulled if nobody did yet; None after the last one.

        For cursors: any number of tasks may ask at once. Raises how the answer failed, once all that was seen has
        been given out. Cancelling it does not end the response.
        """
        while index >= len(self._kept):
            if self._busy and self.outcome is None:
                await self._follow()
            elif not await self._pull():
                return None
        return self._kept[index]

    @property
    def batches_seen(self) -> int:
        """How many batches can be had without waiting."""
        return len(self._kept)

    @property
    def answered(self) -> bool:
        """Whether the terminal marker was seen, read to the end or not."""
        if self.outcome is not None:
            return self.outcome.kind == "completed"
        assert self._source is not None
        return self._source.done

    def _show(self, observer: DeltaObserver, batch: list[Delta]) -> None:
        try:
            observer(batch)
        except Exception as error:
            if self._on_raise is not None:
                self._on_raise(error)

    def _rest(self) -> None:
        """The source is not awaited any more: pause its clocks, let another reader pull."""
        self._busy = False
        if self._limits is not None:
            self._limits.wait_ended()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _follow(self) -> None:
        assert self._clock is not None
        waiter = self._clock.future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _finish(self) -> None:
        assert self._source is not None
        if self._source.done:
            self._end("completed", None)
        else:
            self._fail(ServerError("the connection was closed before the answer was complete"))

    def _fail(self, error: Exception) -> None:
        if self.outcome is not None:
            return
        assert self._source is not None
        if self._source.done:
            self._end("completed", None)
            return
        self._source.abort(error)
        known = error if isinstance(error, WizardError) else _garbage(error)
        self._end("failed", self._as_broken(known))

    def _as_broken(self, error: WizardError) -> WizardError:
        """After the commit point a failed attempt is a broken stream; before it, it stays what it is. So does what the
        deadline cut while a broken stream was resumed."""
        if not self._committed or isinstance(error, Interrupted):
            return error
        kind = DeadlineExceeded if error.kind == "deadline" else StreamBroken
        broken = kind(f"the stream broke: {error.message}", where=error.where, retry_after=error.retry_after)
        broken.__cause__ = error
        broken.attempt = error.attempt
        return broken.mark(*error.marks)

    def _over(self) -> Literal[False]:
        assert self.outcome is not None
        if self.outcome.error is not None:
            raise self.outcome.error
        return False

    def whole(self) -> Completion:
        """The whole answer of a response that is over. Raises how it failed; what was given up on the way is a part,
        and no answer either."""
        outcome = self.outcome
        assert outcome is not None
        if outcome.kind == "completed":
            return outcome.completion
        if outcome.error is not None:
            raise outcome.error
        error = Cancelled(f"the answer was {outcome.kind} before it was complete")
        error.partial = outcome.completion
        raise error

    def _end(self, kind: Ending, error: WizardError | None) -> None:
        if self._limits is not None:
            self._limits.close()
            self._limits = None
        completion = self._assemble()
        if error is not None and completion.is_answer and (error.partial is None or isinstance(self._source, Splice)):
            error.partial = completion
        if self._of is not None:  # who answered may have changed since the view was made
            self.served = msgspec.structs.replace(self._of.served, shared=self.served.shared)
        if isinstance(self._source, Splice):
            self._source.release()
        self.outcome = outcome = Outcome(kind, completion, error)
        self._on_delta.clear()
        observers, self._on_end = self._on_end, []
        for observer in observers:
            self._notify(observer, outcome)

    def _assemble(self) -> Completion:
        of = self._of
        if of is not None and of.outcome is not None and len(of._kept) == len(self._kept):
            return of.outcome.completion
        assembler = Assembler()
        assembler.headers = self.headers
        for batch in self._kept:
            for delta in batch:
                assembler.add(delta)
        return assembler.completion()

    @property
    def so_far(self) -> Completion:
        """The whole answer, or what has arrived of it; a copy is joined on each access while it arrives."""
        return self.outcome.completion if self.outcome is not None else self._assemble()

    def abort(self, error: WizardError) -> None:
        """End it now with `error`: wakes a pending read, frees the connection, runs `on_end`. Synchronous."""
        if self.outcome is None:
            assert self._source is not None
            if self._source.done:
                self._source.abort(error)
                self._end("completed", None)
                return
            self._source.abort(error)
            self._end("failed", self._as_broken(error))

    async def read(self) -> Completion:
        """Drain; idempotent. Cancelling it ends the response as cancelled. Raises how it failed, or Cancelled, with
        the partial, where somebody gave it up."""
        if self.outcome is None:
            try:
                while await self._pull():
                    pass
            except BaseException as error:
                self._leave("failed" if isinstance(error, Exception) else "cancelled")
                raise
        return self.whole()

    async def batches(self) -> AsyncGenerator[list[Delta], None]:
        """The kept batches, then the ones that arrive; leaving it early ends the response."""
        index = 0
        kind: Ending = "abandoned"
        try:
            while True:
                while index < len(self._kept):
                    yield self._kept[index]
                    index += 1
                if not await self._pull():
                    break
            completion = self.whole()
            if not self._kept:
                yield as_deltas(completion)
        except BaseException as error:
            kind = "abandoned" if isinstance(error, (Exception, GeneratorExit)) else "cancelled"
            raise
        finally:
            self._leave(kind)

    async def deltas(self) -> AsyncGenerator[Delta, None]:
        """The deltas one by one, none of them empty."""
        batches = self.batches()
        try:
            async for batch in batches:
                for delta in batch:
                    if delta != _EMPTY:
                        yield delta
        finally:
            await batches.aclose()

    def _leave(self, kind: Ending) -> None:
        if self.outcome is None:
            assert self._source is not None
            finished = self._source.done
            self._source.abort(None)
            self._end("completed" if finished else kind, None)

    def close(self) -> None:
        """Give it up; an unread response ends as abandoned. Synchronous and idempotent."""
        self._leave("abandoned")

    async def aclose(self) -> None:
        """As `close`, for those who close what they await."""
        self._leave("abandoned")

    async def __aenter__(self) -> Response:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave("cancelled" if error is not None and not isinstance(error, Exception) else "abandoned")


_EMPTY = Delta()


def _garbage(error: Exception) -> WizardError:
    garbage = MalformedResponse(f"the answer could not be read: {type(error).__name__}: {error}")
    garbage.__cause__ = error
    return garbage
