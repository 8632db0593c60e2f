"""One connection to a Redis or Valkey server on which scripts are called in order, together where they come together.

What is called while a batch is under way leaves in the next one, so a write is always there for the read after it.
Patience, outages and probes are those of `_state`: a server that does not answer is left alone for a while, and
meanwhile every call is refused at once.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from wizard_dsl.core.events import Event, StateDegraded
from wizard_dsl.stores._redis import client, no_script, shown
from wizard_dsl.stores._state import Outage, patiently, reason

if TYPE_CHECKING:
    from asyncio import Future

    from wizard_dsl.core.clock import Clock


class Script(NamedTuple):
    """`sha` is the hash of `text`."""

    sha: str
    text: str


def script_file(name: str) -> Callable[[], Script]:
    """The script in a file of ours, read when it is first used."""

    @cache
    def read() -> Script:
        text = (Path(__file__).parent / "lua" / name).read_text("utf-8")
        return Script(hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), text)

    return read


class _Waiting(NamedTuple):
    script: Script
    arguments: tuple[Any, ...]
    turn: Future[Any]


class RedisLine:
    """Connects with the first call. `outages` counts them, `reason` says what was wrong in the last one."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._client: Any = None
        self._known: set[str] = set()  # scripts that the server has
        self._queue: list[_Waiting] = []
        self._under_way: asyncio.Task[None] | None = None
        self._outage = Outage(shown(url), clock, self._note)
        self.outages = 0
        self.reason = ""

    @property
    def waiting(self) -> int:
        """How many calls wait for the batch under way."""
        return len(self._queue)

    def call(self, script: Script, keys: Sequence[str], *arguments: str | bytes | float) -> Future[Any]:
        """The reply to come. Raises StateUnavailable where the server is not asked now; the future raises it where it
        does not answer. What is called in one go goes together, also where it is the first try after an outage."""
        if not self._queue:
            self._outage.check(self._clock.now())
        turn: Future[Any] = self._clock.future()
        self._queue.append(_Waiting(script, (len(keys), *keys, *arguments), turn))
        if self._under_way is None:
            self._begin()
        return turn

    def _begin(self) -> None:
        self._under_way = asyncio.get_running_loop().create_task(self._batch())
        self._under_way.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way = None
        if self._queue:
            self._begin()

    async def _batch(self) -> None:
        batch, self._queue = self._queue, []
        try:
            replies = await patiently(self._exchange(batch), self._clock)
        except Exception as error:
            failed = self._outage.begins(reason(error))
            waiting, self._queue = self._queue, []
            for each in (*batch, *waiting):
                if not each.turn.done():
                    each.turn.set_exception(failed)
                    each.turn.exception()  # `outages` tells those who do not wait for it
        else:
            self._outage.ends()
            for each, reply in zip(batch, replies, strict=True):
                if not each.turn.done():
                    each.turn.set_result(reply)

    async def _exchange(self, batch: Sequence[_Waiting]) -> list[Any]:
        """The replies. Any error among them is raised: a server that is full, say, is of no use for now."""
        replies = await self._sent(batch, self._known)
        unknown = [index for index, reply in enumerate(replies) if isinstance(reply, no_script())]
        if unknown:  # the server was restarted, say
            again = await self._sent([batch[index] for index in unknown], set())
            for index, reply in zip(unknown, again, strict=True):
                replies[index] = reply
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        self._known.update(each.script.sha for each in batch)
        return replies

    async def _sent(self, batch: Sequence[_Waiting], known: set[str]) -> list[Any]:
        if self._client is None:
            self._client = client(self._url)
        pipeline = self._client.pipeline(transaction=False)
        for script, arguments, _ in batch:
            how = ("EVALSHA", script.sha) if script.sha in known else ("EVAL", script.text)
            pipeline.execute_command(*how, *arguments)
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
        return replies

    def _note(self, event: Event) -> None:
        if isinstance(event, StateDegraded):
            self.outages += 1
            self.reason = f"{event.keeper}: {event.reason}"

    async def drained(self) -> None:
        """Wait until all is sent, or given up."""
        while self._under_way is not None:
            await asyncio.wait({self._under_way})

    async def close(self) -> None:
        """Let go of the connection, if that takes no longer than a batch."""
        await self.drained()
        if self._client is not None:
            with suppress(Exception):
                await patiently(self._client.aclose(), self._clock)
