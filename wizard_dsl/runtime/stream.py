"""Streams: a run whose answer is being read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType

from wizard_dsl.core.errors import Cancelled, StreamBufferFull, WizardError
from wizard_dsl.core.messages import Delta
from wizard_dsl.core.result import Result
from wizard_dsl.core.run import Transcript
from wizard_dsl.runtime.channel import Between, says_something
from wizard_dsl.runtime.execution import Execution


class Stream:
    """A run whose answer is being read: open it with `async with`, iterate over its deltas. `result` is valid at
    any time. Reading may stop and go on: what was not read yet is kept, and holds the run back, or does what the
    file's `stream` section says."""

    def __init__(self, execution: Execution, channel: Between, execute: Callable[[Execution], Awaitable[None]]) -> None:
        self._execution = execution
        self._channel = channel
        self._execute = execute
        self._unread: deque[Delta] = deque()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Stream:
        if self._task is not None:
            raise RuntimeError("a stream is opened once; ask the pipeline for another one")
        self._task = asyncio.create_task(self._work())
        return self

    async def _work(self) -> None:
        try:
            await self._execute(self._execution)
        finally:
            self._channel.close()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Delta:
        """The next delta that says something. Raises the run's WizardError after the last one; cancelling it loses
        nothing."""
        if self._task is None:
            raise RuntimeError("a stream is opened with `async with` before it is read")
        while not self._unread:
            batch = await self._channel.get()
            if batch is None:
                await self._ended(self._task)
                raise StopAsyncIteration
            self._unread.extend(filter(says_something, batch))
        return self._unread.popleft()

    @property
    def over(self) -> bool:
        """Whether the run has ended, its deltas read or not."""
        return self._task is not None and self._task.done()

    @property
    def overflowed(self) -> bool:
        """Whether it has ended because its deltas were not read (`stream.when_full: error`)."""
        error = self._execution.error
        return error is not None and error.kind == StreamBufferFull.kind

    async def ended(self) -> None:
        """Wait until the run is over, its deltas read or not. Raises nothing of it."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _ended(self, task: asyncio.Task[None]) -> None:
        """Raise what the run ended with. That somebody else cancelled it is no cancellation of its reader."""
        await asyncio.wait([task])
        if task.cancelled():
            error = Cancelled("the run was cancelled")
            error.result = self.result
            raise error
        task.result()

    async def finish(self) -> Result:
        """Wait for the end, with deltas nobody reads thrown away. Raises the run's WizardError."""
        async for _ in self:
            pass
        return self.result

    @property
    def result(self) -> Result:
        """What was made so far, or the final result."""
        return self._execution.result()

    @property
    def transcript(self) -> Transcript:
        """What the policies did so far."""
        return self._execution.run.transcript

    async def cancel(self) -> Result:
        """Stop generating, release the connection and return the partial result. Idempotent."""
        await self._stop()
        return self.result

    async def _stop(self) -> None:
        task = self._task
        if task is None:
            return
        if not task.done():
            task.cancel()
            self._channel.close()
        try:
            await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
        except WizardError:
            pass

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()
