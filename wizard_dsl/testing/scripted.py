"""Scripted targets: a provider that answers from a list, below all policies.

A script item is a reply (text), a status (integer), or a mapping: see `Item`. An item is used once, unless `times`
says otherwise; a call that finds the script used up raises ScriptExhausted, which no policy catches. Everything
waits on the run's clock, so in virtual time an hour of outage costs nothing. Failures are the errors real providers
raise, made by the same code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from wizard_dsl.core.component import Duration
from wizard_dsl.core.errors import ConnectError, ServerError, WizardError
from wizard_dsl.core.http import ConnectFailed
from wizard_dsl.core.messages import Completion, Delta, FinishReason, Request, Usage, estimate_tokens
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.core.units import parse_duration
from wizard_dsl.providers._errors import inside, refused

if TYPE_CHECKING:
    from asyncio import Future

    from wizard_dsl.core.clock import Clock

_PIECE: Final = re.compile(r"\s*\S+|\s+")
_Count = Annotated[int, Meta(ge=0)]


class ScriptedUsage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tokens that the provider reports."""

    input_tokens: _Count = 0
    output_tokens: _Count = 0


class Item(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One exchange.

    `reply` is the answer: text, or a value that is sent as JSON; `headers` come with it. `status` from 300 fails with
    `headers`, `body` and `retry_after`; `body` with status 200 is an error inside an answer. `refuse` fails to connect;
    `connect` is how long connecting takes, which `timeout.connect` may cut. `delay` passes before the status,
    `first_chunk` before the first piece of the answer, `chunk_every` between two (a piece is a word). `cut_after` and
    `stall_after` pieces the connection breaks, or nothing more comes. `times` is how often the item is used.
    """

    reply: Any = ""
    status: Annotated[int, Meta(ge=200, le=599)] = 200
    headers: dict[str, str] = {}
    retry_after: Duration | None = None
    body: str = ""
    usage: ScriptedUsage | None = None
    finish_reason: FinishReason = "stop"
    connect: Duration = "0s"
    delay: Duration = "0s"
    first_chunk: Duration = "0s"
    chunk_every: Duration = "0s"
    cut_after: _Count | None = None
    stall_after: _Count | None = None
    refuse: bool = False
    times: Annotated[int, Meta(ge=1)] | Literal["forever"] = 1

    @property
    def text(self) -> str:
        return self.reply if isinstance(self.reply, str) else msgspec.json.encode(self.reply).decode()


class ScriptExhausted(AssertionError):
    """More calls than the script has items."""


def read_item(raw: Any) -> Item:
    """The item of a reply, a status or a mapping. Raises ValueError with the reason."""
    if isinstance(raw, Item):
        return raw
    if isinstance(raw, str):
        return Item(reply=raw)
    if isinstance(raw, int) and not isinstance(raw, bool):
        raw = {"status": raw}
    if not isinstance(raw, Mapping):
        raise ValueError(f"{raw!r} is no script item; write a reply, a status, or a mapping")
    try:
        return msgspec.convert(raw, Item)
    except msgspec.ValidationError as error:
        raise ValueError(f"{dict(raw)!r} is no script item: {error}") from None


class Script:
    """The exchanges of one target, in order; `calls` holds what was asked, and `left` what was not used."""

    def __init__(self, name: str, items: Iterable[Any]) -> None:
        self.name = name
        self.calls: list[tuple[Request, Run]] = []
        self.replace(items)

    def replace(self, items: Iterable[Any]) -> None:
        """Play `items` from now on."""
        self._items = [read_item(item) for item in items]
        self._used = 0

    @property
    def left(self) -> int:
        """Items that were not used; one that repeats forever never counts as left."""
        return sum(1 for item in self._items if item.times != "forever")

    def take(self, request: Request, run: Run) -> Item:
        """The next item. Raises ScriptExhausted."""
        self.calls.append((request, run))
        if not self._items:
            raise ScriptExhausted(f"call {len(self.calls)} of target {self.name}: its script is used up")
        item = self._items[0]
        self._used += 1
        if item.times != "forever" and self._used >= item.times:
            self._items.pop(0)
            self._used = 0
        return item


class Scripted:
    """A provider node that plays a script."""

    __slots__ = ("_clock", "_script")

    def __init__(self, script: Script, clock: Clock) -> None:
        self._script = script
        self._clock = clock

    async def call(self, request: Request, run: Run) -> Response:
        """Raises what the item says, as a real provider would."""
        item = self._script.take(request, run)
        await self._connect(parse_duration(item.connect), run.connect)
        delay = parse_duration(item.delay)
        if delay:
            await self._clock.sleep(delay)
        self._refuse(item)
        source = _Words(item, request, self._clock)
        if run.commit == "content":
            response = await Response.open(
                source, run.commit, clock=self._clock, reasoning=run.reasoning, idle=run.idle
            )
        else:
            while await source.read_batch():
                pass
            response = Response.complete(source.completion())
        response.headers = {name.lower(): value for name, value in item.headers.items()}
        return response

    async def _connect(self, seconds: float, most: float | None) -> None:
        """As a transport does it: up to the limit of the run."""
        if not seconds:
            return
        await self._clock.sleep(seconds if most is None else min(seconds, most))
        if most is not None and seconds > most:
            late = ConnectFailed(f"none within {most:g} s (timeout.connect)", phase="connect")
            raise ConnectError(f"no connection: {late}", sent=False) from late

    def _refuse(self, item: Item) -> None:
        wall = self._clock.wall()
        headers = {name.lower(): value for name, value in item.headers.items()}
        if item.retry_after is not None:
            headers["retry-after-ms"] = str(round(parse_duration(item.retry_after) * 1000))
        if item.refuse:
            raise ConnectError("connection refused", sent=False)
        if item.status >= 300:
            raise refused(item.status, headers, item.body.encode(), wall=wall, secrets=())
        if item.body:
            payload = msgspec.json.decode(item.body)
            raise inside(payload, headers, status=item.status, wall=wall, secrets=())


class _Words:
    """The source of one answer: its words, each after its wait."""

    def __init__(self, item: Item, request: Request, clock: Clock) -> None:
        self._pieces = _PIECE.findall(item.text)
        self._item = item
        self._request = request
        self._clock = clock
        self._sent: list[str] = []
        self._due = clock.now() + parse_duration(item.first_chunk)
        self._every = parse_duration(item.chunk_every)
        self._waiter: Future[None] | None = None
        self._reason: BaseException | None = None
        self._aborted = False
        self.done = False

    async def read_batch(self) -> list[Delta]:
        if self._aborted:
            raise self._gone()
        if self.done:
            return []
        if len(self._sent) == self._item.cut_after:
            raise ServerError("the connection was lost before the answer was complete")
        if len(self._sent) == self._item.stall_after:
            await self._wait(None)
        if len(self._sent) == len(self._pieces):
            self.done = True
            return [Delta(finish_reason=self._item.finish_reason, usage=self._usage())]
        await self._wait(self._due)
        self._due = self._clock.now() + self._every
        self._sent.append(self._pieces[len(self._sent)])
        return [Delta(text=self._sent[-1])]

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

    def _usage(self) -> Usage:
        told = self._item.usage
        if told is not None:
            return Usage(told.input_tokens, told.output_tokens)
        return Usage(estimate_tokens(self._request.size()), estimate_tokens(len(self._item.text.encode())))

    def completion(self) -> Completion:
        """The whole answer."""
        return Completion(text="".join(self._sent), finish_reason=self._item.finish_reason, usage=self._usage())


def _wake(waiter: Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
