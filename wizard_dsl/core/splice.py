"""Splice: the source of an answer that goes on in another one where it breaks.

    part 1 ──✗ resume(broken) ──▶ part 2 ──✗ resume(broken) ──▶ part 3 ── done

Each part keeps its own observers and limits, which end with it; those of the spliced response see one end. Resuming
happens inside the read of whoever pulls. A resume that is cancelled with its reader has not happened: the next
reader begins it anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from wizard_dsl.core.clock import Clock, settle
from wizard_dsl.core.errors import StreamBroken, WizardError
from wizard_dsl.core.messages import Completion, Delta, Request, Text, Usage, as_deltas, message

if TYPE_CHECKING:
    from asyncio import Task

    from wizard_dsl.core.response import Response

#: Opens the answer that follows a broken one, whose `partial` is all that was seen. What it raises is the end.
Resume = Callable[[StreamBroken], Awaitable["Response"]]


class Splice:
    """Reads the current part, and goes on where it breaks. With `reset`, consumers are told that what came before is
    void; without, the usage of the parts adds up."""

    __slots__ = (
        "_clock", "_ended", "_index", "_lifted", "_part", "_reset", "_resume", "_shown", "_spent", "_task", "_woken",
        "owner",
    )  # fmt: skip

    owner: Response

    def __init__(self, first: Response, resume: Resume, clock: Clock, *, reset: bool) -> None:
        self._part = first
        self._resume = resume
        self._clock = clock
        self._reset = reset
        self._index = 0
        self._shown = False
        self._ended = False
        self._lifted = False
        self._spent: Usage | None = None
        self._task: Task[Any] | None = None
        self._woken = False

    @property
    def done(self) -> bool:
        """Whether the part in use was whole, and all of it was given out."""
        part = self._part
        return part.answered and self._index == part.batches_seen and (self._index > 0 or self._shown)

    async def read_batch(self) -> list[Delta]:
        broken: StreamBroken | None = None
        try:
            batch = await self._part.next_batch(self._index)
        except StreamBroken as error:
            if self._ended:
                raise
            broken = error
        try:
            if broken is not None:
                return await self._go_on(broken)
        finally:
            broken = None  # an exception left in a frame it passed through is a cycle
        if batch is None:
            return self._rest()
        self._index += 1
        return self._added_up(batch)

    def _rest(self) -> list[Delta]:
        """A part that was whole from the start has no batches: show it as one, once."""
        outcome = self._part.outcome
        if self._index or self._shown or outcome is None or outcome.kind != "completed":
            return []
        self._shown = True
        return self._added_up(as_deltas(outcome.completion))

    def _added_up(self, batch: list[Delta]) -> list[Delta]:
        spent = self._spent
        if spent is None:
            return batch
        return [
            delta if delta.usage is None else msgspec.structs.replace(delta, usage=spent + delta.usage)
            for delta in batch
        ]

    async def _go_on(self, broken: StreamBroken) -> list[Delta]:
        from asyncio import current_task

        usage = None if broken.partial is None else broken.partial.usage
        seen = self.owner.so_far
        if seen.is_answer:
            broken.partial = seen
        self._task = current_task()
        try:
            part = await self._resume(broken)
        except BaseException:
            if self._was_woken():
                return []  # the response has its outcome already
            raise
        finally:
            self._task = None
            del broken
        if self._ended:
            part.close()
            return []
        return self._enter(part, usage)

    def _enter(self, part: Response, usage: Usage | None) -> list[Delta]:
        self._part, self._index, self._shown = part, 0, False
        if self._lifted:
            part.take_due()
        self.owner.headers = part.headers
        if part.served.target:
            self.owner.served = part.served
        if self._reset:
            return [Delta(reset=True)]
        if usage is not None:
            self._spent = usage if self._spent is None else self._spent + usage
        return [Delta(usage=self._spent)]

    def take_due(self) -> tuple[float, Callable[[], WizardError]] | None:
        """Lift the deadline of this part and of all that follow."""
        self._lifted = True
        return self._part.take_due()

    def abort(self, reason: BaseException | None) -> None:
        """End the part in use. A resume under way is woken by a cancel that its reader takes back; what is due inside
        it on the same instant goes first, and tells better why it ended."""
        if not self._ended:
            self._ended = True
            if self._task is not None:
                settle(self._clock, self._wake)
        if isinstance(reason, WizardError):
            self._part.abort(reason)
        else:
            self._part.close()

    def release(self) -> None:
        """The spliced response is over: let go of it, and of what would resume it."""
        del self.owner, self._resume

    def _wake(self) -> None:
        if self._task is not None:
            self._woken = True
            self._task.cancel()

    def _was_woken(self) -> bool:
        """Take back our cancel. True where nobody else cancelled the reader."""
        if not self._woken or self._task is None:
            return False
        self._woken = False
        return self._task.uncancel() == 0


def continued(request: Request, partial: Completion | None) -> Request | None:
    """The request with what was said so far as the assistant's text, and without its reasoning; None where the answer
    cannot be continued: a tool call was begun, or JSON is wanted."""
    if request.schema is not None or (partial is not None and partial.tool_calls):
        return None
    if partial is None or not partial.text:
        return request
    last = request.messages[-1] if request.messages else None
    if last is None or last.role != "assistant" or last.tool_calls:
        return msgspec.structs.replace(request, messages=(*request.messages, message("assistant", partial.text)))
    longer = msgspec.structs.replace(last, parts=(*last.parts, Text(partial.text)))
    return msgspec.structs.replace(request, messages=(*request.messages[:-1], longer))
