"""Chat completions as OpenAI's many likes answer them: one reader for deltas and whole bodies.

Shapes seen in the wild decide what is accepted: `delta: null`, a message beside a delta, content as a list of
thinking and text parts, tool calls without an index or all with index 0, usage in the last chunk, in every chunk,
under `x_groq`, or never, a stream that ends in `[DONE]` without a finish reason.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from wizard_dsl.core.messages import Delta, FinishReason, ToolDelta, Usage
from wizard_dsl.providers._errors import ErrorInside, Unreadable, raise_named
from wizard_dsl.providers._reading import count
from wizard_dsl.providers._sse import Splitter, SseSplitter


class Turn(msgspec.Struct, gc=False):
    """A delta or a message."""

    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None


class Choice(msgspec.Struct, gc=False):
    delta: Turn | None = None
    message: Turn | None = None
    finish_reason: Any = None
    index: int | None = None


class Chunk(msgspec.Struct, gc=False):
    """A chunk of a stream, or a whole answer."""

    choices: list[Choice | None] | None = None
    usage: Any = None
    model: str | None = None
    error: Any = None
    x_groq: Any = None


_decode = msgspec.json.Decoder(Chunk).decode

FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "sensitive": "content_filter",
}
#: Finish reasons that say that the provider failed.
_FAILED = frozenset({"error", "network_error", "insufficient_system_resource"})


class ChatReader:
    """See the module. One reader reads one answer."""

    splitter: ClassVar[type[Splitter]] = SseSplitter
    lines: ClassVar[bool] = False

    def __init__(self) -> None:
        self.done = False
        self.final = False
        self._model: str | None = None
        self._tools = ToolIndex()
        self._refused = False

    def event(self, name: bytes, data: bytes, out: list[Delta]) -> None:
        if data.strip() == b"[DONE]":
            self.close(out)
            return
        if name == b"error":
            raise ErrorInside(msgspec.json.decode(data))
        try:
            chunk = _decode(data)
        except msgspec.ValidationError:
            raise_named(msgspec.json.decode(data))
            raise
        if chunk.error or (chunk.choices is None and not chunk.usage):
            raise_named(msgspec.json.decode(data))
        self.chunk(chunk, out)

    def close(self, out: list[Delta]) -> None:
        """`[DONE]`, or the end of a whole body: an answer without a finish reason is complete all the same."""
        if not self.done:
            self._finish("stop", out)
        self.final = True

    def whole(self, body: bytes) -> list[Delta]:
        try:
            chunk = _decode(body)
        except msgspec.ValidationError:
            raise_named(msgspec.json.decode(body))
            raise
        if chunk.error or not chunk.choices:
            raise_named(msgspec.json.decode(body))
            raise Unreadable("the body has no choices")
        out: list[Delta] = []
        self.chunk(chunk, out)
        self.close(out)
        return out

    def chunk(self, chunk: Chunk, out: list[Delta]) -> None:
        """Append what a chunk brings; of several choices only the first counts."""
        if self._model is None and chunk.model:
            self._model = chunk.model
            out.append(Delta(model=chunk.model))
        for choice in chunk.choices or ():
            if choice is not None and not choice.index:
                turn = choice.delta if choice.delta is not None else choice.message
                if turn is not None:
                    self._turn(turn, out)
                if choice.finish_reason:
                    self._finish(str(choice.finish_reason), out)
                break
        usage = chunk.usage or (chunk.x_groq.get("usage") if isinstance(chunk.x_groq, dict) else None)
        if usage:
            out.append(Delta(usage=read_usage(usage)))

    def _turn(self, turn: Turn, out: list[Delta]) -> None:
        reasoning = turn.reasoning_content or turn.reasoning
        if reasoning and isinstance(reasoning, str):
            out.append(Delta(reasoning=reasoning))
        content = turn.content
        if content:
            if type(content) is str:
                out.append(Delta(text=content))
            else:
                out.extend(read_parts(content))
        if turn.refusal:
            self._refused = True
            out.append(Delta(text=str(turn.refusal)))
        if turn.tool_calls:
            out.extend(map(self._tools.read, filter(is_call, turn.tool_calls)))
        if turn.function_call and turn.function_call.get("name"):
            out.append(self._tools.read({"index": 0, "id": "", "function": turn.function_call}))

    def _finish(self, reason: str, out: list[Delta]) -> None:
        if reason in _FAILED:
            raise ErrorInside({"error": {"message": f"the answer ended with {reason!r}", "code": "server_error"}})
        finish: FinishReason = FINISH.get(reason, "other")
        if finish == "stop" and self._tools.count:
            finish = "tool_calls"
        if finish == "stop" and self._refused:
            finish = "content_filter"
        self.done = True
        out.append(Delta(finish_reason=finish))


def read_parts(content: Any) -> list[Delta]:
    """Content as a list of parts: text, and thinking, which is kept apart."""
    out = []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            out.append(Delta(text=part))
        elif part.get("type") in ("thinking", "reasoning"):
            thought = part.get("thinking") or part.get("text") or ""
            if isinstance(thought, list):
                thought = "".join(each.get("text") or "" for each in thought)
            out.append(Delta(reasoning=thought))
        elif isinstance(part.get("text"), str):
            out.append(Delta(text=part["text"]))
    return out


def is_call(raw: Any) -> bool:
    """Whether a fragment says anything: some send empty ones beside the real."""
    function = raw.get("function") if isinstance(raw, dict) else None
    return isinstance(function, dict) and bool(raw.get("id") or function.get("name") or function.get("arguments"))


class ToolIndex:
    """Numbers the tool calls of one answer from 0, whatever the provider's own numbering."""

    __slots__ = ("_by_id", "_by_index", "_ids", "count")

    def __init__(self) -> None:
        self._by_index: dict[int, int] = {}
        self._by_id: dict[str, int] = {}
        self._ids: list[str] = []
        self.count = 0

    def read(self, raw: dict[str, Any]) -> Delta:
        function = raw["function"]
        name, identity = function.get("name") or "", str(raw.get("id") or "")
        number = self._number(raw.get("index"), identity, name)
        return Delta(tool=ToolDelta(number, identity, name, as_arguments(function.get("arguments"))))

    def _number(self, index: Any, identity: str, name: str) -> int:
        """A fragment belongs to the call of its index, else of its id, else to the last; a name with an id of
        its own begins another call, also under an index that was used before."""
        known = self._by_index.get(index) if isinstance(index, int) else self._by_id.get(identity)
        if known is None and not isinstance(index, int) and not name and self.count:
            known = self.count - 1
        if known is not None and not (name and identity and identity != self._ids[known]):
            return known
        number = self.count
        self.count += 1
        self._ids.append(identity)
        if isinstance(index, int):
            self._by_index[index] = number
        if identity:
            self._by_id[identity] = number
        return number


def as_arguments(value: Any) -> str:
    """Arguments as JSON text, also where a provider sends the object itself."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def read_usage(usage: Any) -> Usage | None:
    """Tokens of an exchange, None where none are named. Reasoning is part of the output; where the total shows that
    it is not, it is added."""
    if not isinstance(usage, dict):
        return None
    prompt, output = count(usage, "prompt_tokens", "input_tokens"), count(usage, "completion_tokens", "output_tokens")
    details = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
    of_prompt = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    reasoning = count(details, "reasoning_tokens") or count(usage, "reasoning_tokens")
    if reasoning and count(usage, "total_tokens") == prompt + output + reasoning:
        output += reasoning
    cached = count(of_prompt, "cached_tokens") or count(usage, "prompt_cache_hit_tokens")
    return Usage(prompt, output, min(cached, prompt), min(reasoning, output)) if prompt or output else None
