"""Scripted targets: a provider that answers from a list, below all policies.

A script item is a reply (text), a status (integer), or a mapping: see `Item`. An item is used once, unless `times`
says otherwise; a call that finds the script used up raises ScriptExhausted, which no policy catches. Everything
waits on the run's clock, so in virtual time an hour of outage costs nothing. Failures are the errors real providers
raise, made by the same code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from wizard_dsl.core.component import Duration
from wizard_dsl.core.errors import ConnectError, MalformedResponse
from wizard_dsl.core.http import ConnectFailed
from wizard_dsl.core.messages import Completion, Delta, FinishReason, Request, ToolCall, Usage, estimate_tokens
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.core.units import parse_duration
from wizard_dsl.providers._errors import inside, refused
from wizard_dsl.providers.mock import embedding
from wizard_dsl.spec.diagnostics import meant
from wizard_dsl.testing.words import Words, calls_of, pieces_of

if TYPE_CHECKING:
    from wizard_dsl.core.clock import Clock

#: The length of a vector of which nothing is said.
_DIMENSIONS: Final = 4

_Count = Annotated[int, Meta(ge=0)]


class ScriptedUsage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tokens that the provider reports."""

    input_tokens: Annotated[_Count, Meta(description="of the prompt")] = 0
    output_tokens: Annotated[_Count, Meta(description="of the answer")] = 0


class ScriptedCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A function that the answer calls."""

    name: Annotated[str, Meta(min_length=1, description="of the function")]
    arguments: Annotated[dict[str, Any] | str, Meta(description="what it is called with; as text, sent as it is")] = {}
    id: Annotated[str, Meta(description="of the call; where nothing is said call_0, call_1 …")] = ""


class Item(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One exchange: an answer, or, with a `status` from 300 or `refuse`, a refusal. A piece of an answer is a word or
    a function that it calls."""

    reply: Annotated[
        Any,
        Meta(
            description="text, or a value that is sent as JSON; to an `embed` step a list of vectors, where nothing "
            "is said short ones made of the texts"
        ),
    ] = ""
    tool_calls: Annotated[list[ScriptedCall], Meta(description="functions that the answer calls, after its text")] = []
    status: Annotated[int, Meta(ge=200, le=599, description="from 300 the call fails with it")] = 200
    headers: Annotated[dict[str, str], Meta(description="come with the answer or the refusal")] = {}
    retry_after: Annotated[Duration, Meta(description="of a refusal: when to come again")] | None = None
    body: Annotated[str, Meta(description="of a refusal; with status 200 an error inside an answer, as JSON")] = ""
    usage: ScriptedUsage | None = None
    finish_reason: Annotated[
        FinishReason, Meta(description="why the answer ends; where it calls functions, `tool_calls`")
    ] = "stop"
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

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The functions that it calls."""
        return tuple(
            ToolCall(each.id or f"call_{index}", each.name, _arguments(each.arguments))
            for index, each in enumerate(self.tool_calls)
        )


def _arguments(given: dict[str, Any] | str) -> str:
    return given if isinstance(given, str) else msgspec.json.encode(given).decode()


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
        unknown = next((key for key in raw if key not in Item.__struct_fields__), None)
        hint = None if unknown is None else meant(str(unknown), Item.__struct_fields__)
        said = error if unknown is None else f"unknown key {unknown!r}" + (f"; {hint}" if hint else "")
        raise ValueError(f"{dict(raw)!r} is no script item: {said}") from None


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
        if run.commit == "content" and request.kind != "embed":
            response = await Response.open(
                source, run.commit, clock=self._clock, reasoning=run.reasoning, idle=run.idle
            )
        else:
            while await source.read_batch():
                pass
            vectors = _vectors(item, request) if request.kind == "embed" else None
            response = Response.complete(source.completion() if vectors is None else vectors)
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
    ends = "tool_calls" if item.tool_calls and item.finish_reason == "stop" else item.finish_reason
    pieces: list[str | Delta] = [] if request.kind == "embed" else [*pieces_of(item.text), *calls_of(item.calls)]
    return Words(
        pieces,
        Delta(finish_reason=ends, usage=_usage(item, request)),
        clock,
        first=parse_duration(item.first_chunk),
        every=parse_duration(item.chunk_every),
        cut_after=item.cut_after,
        stall_after=item.stall_after,
    )


def _vectors(item: Item, request: Request) -> Completion:
    """What an item answers to an embed step. Raises MalformedResponse for what is not a vector for each text."""
    texts = request.texts
    if item.reply == "":
        vectors = tuple(embedding("scripted", text, _DIMENSIONS) for text in texts)
    else:
        try:
            vectors = msgspec.convert(item.reply, tuple[tuple[float, ...], ...])
        except msgspec.ValidationError:
            raise MalformedResponse(f"{len(texts)} vectors were asked for, and the reply is no list of them") from None
        if len(vectors) != len(texts):
            raise MalformedResponse(f"{len(texts)} vectors were asked for, {len(vectors)} came")
    return Completion(embeddings=vectors, finish_reason="stop", usage=_usage(item, request))


def _usage(item: Item, request: Request) -> Usage:
    told = item.usage
    if told is not None:
        return Usage(told.input_tokens, told.output_tokens)
    if request.kind == "embed":
        return Usage(estimate_tokens(request.size()))
    said = [item.text, *(call.arguments for call in item.calls)]
    return Usage(estimate_tokens(request.size()), estimate_tokens(sum(len(each.encode()) for each in said)))
