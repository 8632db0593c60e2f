"""Scripted targets: a provider that answers from a list, below all policies.

A script item is a reply (text), a status (integer), or a mapping: see `Item`. An item is used once, unless `times`
says otherwise; a call that finds the script used up raises ScriptExhausted, which no policy catches. Everything
waits on the run's clock, so in virtual time an hour of outage costs nothing. Failures are the errors real providers
raise, made by the same code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from wizard_dsl.core.component import Duration
from wizard_dsl.core.errors import ConnectError
from wizard_dsl.core.http import ConnectFailed
from wizard_dsl.core.messages import Delta, FinishReason, Request, Usage, estimate_tokens
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.core.units import parse_duration
from wizard_dsl.providers._errors import inside, refused
from wizard_dsl.testing.words import Words, pieces_of

if TYPE_CHECKING:
    from wizard_dsl.core.clock import Clock

_Count = Annotated[int, Meta(ge=0)]


class ScriptedUsage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tokens that the provider reports."""

    input_tokens: Annotated[_Count, Meta(description="of the prompt")] = 0
    output_tokens: Annotated[_Count, Meta(description="of the answer")] = 0


class Item(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One exchange: an answer, or, with a `status` from 300 or `refuse`, a refusal. A piece of an answer is a word."""

    reply: Annotated[Any, Meta(description="the answer: text, or a value that is sent as JSON")] = ""
    status: Annotated[int, Meta(ge=200, le=599, description="from 300 the call fails with it")] = 200
    headers: Annotated[dict[str, str], Meta(description="come with the answer or the refusal")] = {}
    retry_after: Annotated[Duration, Meta(description="of a refusal: when to come again")] | None = None
    body: Annotated[str, Meta(description="of a refusal; with status 200 an error inside an answer, as JSON")] = ""
    usage: ScriptedUsage | None = None
    finish_reason: Annotated[FinishReason, Meta(description="why the answer ends")] = "stop"
    connect: Annotated[Duration, Meta(description="how long connecting takes, which `timeout.connect` may cut")] = "0s"
    delay: Annotated[Duration, Meta(description="passes before the status")] = "0s"
    first_chunk: Annotated[Duration, Meta(description="passes before the first piece of the answer")] = "0s"
    chunk_every: Annotated[Duration, Meta(description="passes between two pieces")] = "0s"
    cut_after: Annotated[_Count, Meta(description="the connection breaks after so many pieces")] | None = None
    stall_after: Annotated[_Count, Meta(description="nothing more comes after so many pieces")] | None = None
    refuse: Annotated[bool, Meta(description="the connection is refused")] = False
    times: Annotated[
        Annotated[int, Meta(ge=1)] | Literal["forever"], Meta(description="how often the item is used")
    ] = 1

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
            told = f"call {len(self.calls)} of target {self.name}: its script is used up"
            raise ScriptExhausted(f"{told}; add what it answers, or `times: forever` to the last item")
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
        source = _words(item, request, self._clock)
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


def _words(item: Item, request: Request, clock: Clock) -> Words:
    """The answer of an item, as a source."""
    ending = Delta(finish_reason=item.finish_reason, usage=_usage(item, request))
    return Words(
        pieces_of(item.text),
        ending,
        clock,
        first=parse_duration(item.first_chunk),
        every=parse_duration(item.chunk_every),
        cut_after=item.cut_after,
        stall_after=item.stall_after,
    )


def _usage(item: Item, request: Request) -> Usage:
    told = item.usage
    if told is not None:
        return Usage(told.input_tokens, told.output_tokens)
    return Usage(estimate_tokens(request.size()), estimate_tokens(len(item.text.encode())))
