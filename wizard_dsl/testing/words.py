"""The source of an answer that comes word by word, each after its wait, and may break or stop on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from wizard_dsl.core.errors import ServerError, WizardError
from wizard_dsl.core.messages import Assembler, Completion, Delta, ToolCall, ToolDelta
from wizard_dsl.core.regex import regex

if TYPE_CHECKING:
    from asyncio import Future

    from wizard_dsl.core.clock import Clock

_PIECE: Final = regex(r"\s*\S+|\s+")


def pieces_of(text: str) -> list[str]:
    """The words of a text, each with the space before it."""
    return _PIECE.findall(text)


def calls_of(calls: Sequence[ToolCall]) -> list[Delta]:
    """Tool calls, each as one piece."""
    return [Delta(tool=ToolDelta(index, each.id, each.name, each.arguments)) for index, each in enumerate(calls)]


def lost() -> ServerError:
    """What a connection that breaks in the middle of an answer is told as."""
    return ServerError("the connection was lost before the answer was complete")


class Words:
    """Pieces are words, or deltas as they are; `ending` is the last delta: finish reason and usage. `first` and `every`
    are seconds before the first piece and between two; after `cut_after` pieces the connection breaks, after
    `stall_after` nothing more comes."""

    def __init__(
        self,
        pieces: Sequence[str | Delta],
        ending: Delta,
        clock: Clock,
        *,
        first: float = 0.0,
        every: float = 0.0,
        cut_after: int | None = None,
        stall_after: int | None = None,
    ) -> None:
        self._pieces = pieces
        self._ending = ending
        self._clock = clock
        self._sent: list[Delta] = []
        self._due = clock.now() + first
        self._every = every
        self._cut_after = cut_after
        self._stall_after = stall_after
        self._waiter: Future[None] | None = None
        self._reason: BaseException | None = None
        self._aborted = False
        self.done = False

    async def read_batch(self) -> list[Delta]:
        if self._aborted:
            raise self._gone()
        if self.done:
            return []
        if len(self._sent) == self._cut_after:
            raise lost()
        if len(self._sent) == self._stall_after:
            await self._wait(None)
        if len(self._sent) == len(self._pieces):
            self.done = True
            return [self._ending]
        await self._wait(self._due)
        self._due = self._clock.now() + self._every
        piece = self._pieces[len(self._sent)]
        self._sent.append(Delta(text=piece) if isinstance(piece, str) else piece)
        return [self._sent[-1]]

    async def _wait(self, until: float | None) -> None:
        """Until a point, or for ever; `abort` wakes it. A cancelled wait goes on where it was."""
        if until is not None and until <= self._clock.now():
            return
        self._waiter = self._clock.future()
        timer = None if until is None else self._clock.call_at(until, _wake, self._waiter)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()
        if self._aborted:
            raise self._gone()

    def _gone(self) -> BaseException:
        return self._reason if isinstance(self._reason, WizardError) else ServerError("the stream was given up")

    def abort(self, reason: BaseException | None) -> None:
        self._aborted = True
        self._reason = self._reason or reason
        if self._waiter is not None:
            _wake(self._waiter)

    def completion(self) -> Completion:
        """The whole answer."""
        made = Assembler()
        for delta in (*self._sent, self._ending):
            made.add(delta)
        return made.completion()


def _wake(waiter: Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
