"""What is asked and what comes back: frozen structs shared by every provider and policy.

A `Request` says *what* is asked and is the only input of a cache key. A `Delta` is one observable step of an
answer that still arrives, a `Completion` the whole answer, or the part of it that was seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "other"]
Confidence = Literal["reported", "estimated", "unknown"]

#: Sizes are estimated at four bytes a token where no provider reports a usage.
BYTES_PER_TOKEN = 4


class Text(msgspec.Struct, frozen=True, tag="text"):
    """A piece of text in a message."""

    text: str


class Image(msgspec.Struct, frozen=True, tag="image"):
    """An image in a message: an `https:` URL, or a `data:` URL with base64 content."""

    url: str


Part = Text | Image


class ToolCall(msgspec.Struct, frozen=True):
    """A call the model asks for. `arguments` is JSON text of an object, `{}` when the provider sent none."""

    id: str
    name: str
    arguments: str = "{}"


class Tool(msgspec.Struct, frozen=True):
    """A function the model may call; `parameters` is a JSON Schema, passed through unchanged."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}


class Message(msgspec.Struct, frozen=True):
    """One turn. `tool_calls` belongs to assistant turns, `tool_call_id` to the tool turn that answers one."""

    role: Role
    parts: tuple[Part, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """The text parts joined; images are left out."""
        parts = self.parts
        if len(parts) == 1:
            only = parts[0]
            return only.text if type(only) is Text else ""
        return "".join([part.text for part in parts if type(part) is Text])

    @property
    def has_image(self) -> bool:
        return any(type(part) is Image for part in self.parts)


def message(role: Role, text: str) -> Message:
    """A message of one text part."""
    return Message(role, (Text(text),))


class Request(msgspec.Struct, frozen=True):
    """What is asked, independent of who answers.

    `params` are sampling parameters by their common names (temperature, max_tokens, top_p, stop, seed …);
    unknown names are passed through to the provider. `schema` is the JSON Schema the answer must satisfy.
    For `kind="embed"`, `texts` holds what to embed and `messages` is empty.
    """

    messages: tuple[Message, ...] = ()
    params: dict[str, Any] = {}
    tools: tuple[Tool, ...] = ()
    schema: dict[str, Any] | None = None
    kind: Literal["generate", "embed"] = "generate"
    texts: tuple[str, ...] = ()

    def size(self) -> int:
        """UTF-8 bytes of all text that is sent; images are not counted."""
        total = 0
        for text in self.texts:
            total += _utf8(text)
        for each in self.messages:
            total += _utf8(each.text)
            for call in each.tool_calls:
                total += len(call.arguments) + len(call.name)
        return total

    @property
    def has_images(self) -> bool:
        return any(each.has_image for each in self.messages)


def _utf8(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one exchange. `cached_tokens` (read from the provider's prompt cache) is part of
    `input_tokens`, `reasoning_tokens` of `output_tokens`."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    confidence: Confidence = "reported"

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            weakest(self.confidence, other.confidence),
        )


def weakest(first: Confidence, second: Confidence) -> Confidence:
    """The confidence of a sum: that of its least certain term."""
    order: tuple[Confidence, ...] = ("reported", "estimated", "unknown")
    return order[max(order.index(first), order.index(second))]


class ToolDelta(msgspec.Struct, frozen=True, gc=False):
    """A fragment of tool call number `index`; `id` and `name` come once, `arguments` in pieces of JSON text."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class Delta(msgspec.Struct, frozen=True, gc=False):
    """One step of an answer. All fields empty: a sign of life (ping, role). `reset` voids what came before."""

    text: str = ""
    reasoning: str = ""
    tool: ToolDelta | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    model: str | None = None
    request_id: str | None = None
    reset: bool = False

    @property
    def is_content(self) -> bool:
        """Whether this delta commits the answer: text or a tool call's bytes."""
        return bool(self.text) or self.tool is not None


class Completion(msgspec.Struct, frozen=True):
    """A whole answer, or, on an error that carries it as `partial`, what had arrived.

    `finish_reason` is None while the answer is unfinished. `json` is set where a contract was checked.
    `embeddings` has one vector for each of the request's `texts`.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    model: str | None = None
    request_id: str | None = None
    embeddings: tuple[tuple[float, ...], ...] = ()
    headers: Mapping[str, str] = {}

    @property
    def is_answer(self) -> bool:
        """Whether anything a caller could use arrived."""
        return bool(self.text or self.tool_calls or self.embeddings)


def estimate_tokens(size: int) -> int:
    """Tokens of `size` bytes at four bytes a token, rounded up."""
    return -(-size // BYTES_PER_TOKEN)


def usage_seen(request: Request, seen: Completion) -> Usage:
    """The provider's usage, else an estimate from the sizes of what was asked and of what was seen."""
    if seen.usage is not None:
        return seen.usage
    size = len(seen.text.encode()) + len(seen.reasoning.encode()) + sum(len(c.arguments) for c in seen.tool_calls)
    return Usage(estimate_tokens(request.size()), estimate_tokens(size), confidence="estimated")


class Assembler:
    """Folds deltas into a completion; text is joined only when asked for."""

    __slots__ = ("_reasoning", "_text", "_tools", "finish_reason", "headers", "model", "request_id", "usage")

    def __init__(self) -> None:
        self.headers: Mapping[str, str] = {}
        self._clear()

    def _clear(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._tools: dict[int, list[str]] = {}
        self.finish_reason: FinishReason | None = None
        self.usage: Usage | None = None
        self.model: str | None = None
        self.request_id: str | None = None

    def add(self, delta: Delta) -> None:
        """Take one more delta; a later usage replaces an earlier one, as providers send running totals."""
        if delta.reset:
            self._clear()
        if delta.text:
            self._text.append(delta.text)
        if delta.reasoning:
            self._reasoning.append(delta.reasoning)
        if delta.tool is not None:
            self._add_tool(delta.tool)
        if delta.finish_reason is not None:
            self.finish_reason = delta.finish_reason
        if delta.usage is not None:
            self.usage = delta.usage
        if delta.model is not None:
            self.model = delta.model
        if delta.request_id is not None:
            self.request_id = delta.request_id

    def _add_tool(self, fragment: ToolDelta) -> None:
        entry = self._tools.get(fragment.index)
        if entry is None:
            self._tools[fragment.index] = [fragment.id, fragment.name, fragment.arguments]
            return
        entry[0] = entry[0] or fragment.id
        entry[1] = entry[1] or fragment.name
        entry.append(fragment.arguments)

    def completion(self) -> Completion:
        """What has arrived so far."""
        calls = tuple(
            ToolCall(entry[0] or f"call_{index}", entry[1], "".join(entry[2:]) or "{}")
            for index, entry in sorted(self._tools.items())
        )
        return Completion(
            text="".join(self._text),
            reasoning="".join(self._reasoning),
            tool_calls=calls,
            finish_reason=self.finish_reason,
            usage=self.usage,
            model=self.model,
            request_id=self.request_id,
            headers=self.headers,
        )


def as_deltas(completion: Completion) -> list[Delta]:
    """A whole answer as the deltas a stream of it would bring."""
    deltas = []
    if completion.text or completion.reasoning:
        deltas.append(Delta(text=completion.text, reasoning=completion.reasoning))
    for index, call in enumerate(completion.tool_calls):
        deltas.append(Delta(tool=ToolDelta(index, call.id, call.name, call.arguments)))
    deltas.append(
        Delta(
            finish_reason=completion.finish_reason,
            usage=completion.usage,
            model=completion.model,
            request_id=completion.request_id,
        )
    )
    return deltas
