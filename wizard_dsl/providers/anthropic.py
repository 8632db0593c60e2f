"""Anthropic's messages protocol: Claude, and servers that speak the same.

The system message stands apart, tool results are user turns, and `max_tokens` is mandatory: the model's largest
output where the facts know it, else 4096. `stop` becomes `stop_sequences`; seed, penalties and reasoning_effort do
not exist here and are left out; `thinking` and other names of the protocol pass through. A JSON schema is sent only to
a model whose facts say `json_schema: true`; elsewhere the contract alone checks the answer. Tokens written to and
read from the prompt cache count as input.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from wizard_dsl.core.budget import protocol_tokens
from wizard_dsl.core.component import Example, ModelSpec, ProviderType
from wizard_dsl.core.errors import Unsupported
from wizard_dsl.core.messages import Delta, FinishReason, Image, Message, Request, Text, ToolDelta, Usage
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.core.target import Facts
from wizard_dsl.providers._chat_request import arguments_of
from wizard_dsl.providers._config import JSON_HEADERS, EndpointConfig, build_headers, join_url, secrets_of
from wizard_dsl.providers._errors import ErrorInside, Unreadable, raise_named
from wizard_dsl.providers._images import data_of
from wizard_dsl.providers._json import encode_body
from wizard_dsl.providers._reading import count
from wizard_dsl.providers._sse import Splitter, SseSplitter
from wizard_dsl.providers._wire import Wire

BASE_URL = "https://api.anthropic.com"
_MAX_TOKENS = 4096
_RENAMED = {"stop": "stop_sequences"}
_UNKNOWN = frozenset({"seed", "presence_penalty", "frequency_penalty", "reasoning_effort"})
_FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class AnthropicConfig(EndpointConfig, frozen=True, kw_only=True):
    """`api_version` is the date in the header `anthropic-version`; betas are set with `headers`."""

    api_version: Annotated[
        str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="the date in the header anthropic-version")
    ] = "2023-06-01"


class Anthropic:
    """Asks `base_url`/v1/messages."""

    def __init__(self, config: AnthropicConfig, model: ModelSpec, context: BuildContext) -> None:
        own = JSON_HEADERS | {"anthropic-version": config.api_version}
        if config.api_key is not None:
            own["x-api-key"] = config.api_key
        self._url = join_url(endpoint(config).rstrip("/").removesuffix("/v1"), "v1/messages")
        self._headers = build_headers(own, config, model.target)
        self._wire = Wire(context, model, secrets_of(config))
        self._model = model.name
        self._max_tokens = model.facts.max_output or _MAX_TOKENS
        self._schema = bool(model.facts.json_schema)

    async def call(self, request: Request, run: Run) -> Response:
        """Raises AttemptFailed, and Unsupported for embeddings."""
        if request.kind == "embed":
            raise Unsupported("Anthropic has no embeddings", lost=("embed",))
        stream = run.commit == "content"
        body = encode_body(self._body(request, stream))
        return await self._wire.ask(self._url, self._headers, body, AnthropicReader(), run, stream=stream)

    def _body(self, request: Request, stream: bool) -> dict[str, Any]:
        body: dict[str, Any] = {"max_tokens": self._max_tokens}
        body |= {_RENAMED.get(name, name): value for name, value in request.params.items() if name not in _UNKNOWN}
        if isinstance(body.get("stop_sequences"), str):
            body["stop_sequences"] = [body["stop_sequences"]]
        system = "\n\n".join(each.text for each in request.messages if each.role == "system")
        if system:
            body["system"] = system
        if request.tools:
            body["tools"] = [
                {
                    "name": tool.name,
                    "description": tool.description,
                    "input_schema": tool.parameters or {"type": "object"},
                }
                for tool in request.tools
            ]
        if request.schema is not None and self._schema:
            body["output_config"] = {"format": {"type": "json_schema", "schema": request.schema}}
        return body | {"model": self._model, "messages": _turns(request.messages), "stream": stream}


def _turns(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    """User and assistant turns by turns: neighbours of one role are one turn, tool results belong to the user."""
    turns: list[dict[str, Any]] = []
    for each in messages:
        if each.role == "system":
            continue
        role = "assistant" if each.role == "assistant" else "user"
        blocks = _blocks(each)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    if turns and turns[-1]["role"] == "assistant":
        _trim(turns[-1]["content"])
        if not turns[-1]["content"]:
            turns.pop()
    return turns


def _trim(blocks: list[dict[str, Any]]) -> None:
    """An answer that was begun is refused where it ends with white space."""
    while blocks and blocks[-1]["type"] == "text":
        text = blocks.pop()["text"].rstrip()
        if text:
            blocks.append({"type": "text", "text": text})
            return


def _blocks(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.text}]
    blocks: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, Image):
            blocks.append({"type": "image", "source": _image(part.url)})
        elif isinstance(part, Text) and part.text:
            blocks.append({"type": "text", "text": part.text})
    for call in message.tool_calls:
        arguments = arguments_of(call)
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": arguments})
    return blocks


def _image(url: str) -> dict[str, str]:
    data = data_of(url)
    if data is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": data[0], "data": data[1]}


class AnthropicReader:
    """One answer. Blocks of the server's own tools, their results, signatures and citations are not for us."""

    splitter: ClassVar[type[Splitter]] = SseSplitter
    lines: ClassVar[bool] = False

    def __init__(self) -> None:
        self.done = False
        self.final = False
        self._usage: dict[str, Any] = {}
        self._calls: dict[Any, int] = {}

    def event(self, name: bytes, data: bytes, out: list[Delta]) -> None:
        event = msgspec.json.decode(data)
        kind = event.get("type")
        if kind == "content_block_delta":
            self._delta(event.get("index"), event["delta"], out)
        elif kind == "content_block_start":
            self._block(event.get("index"), event["content_block"], out)
        elif kind == "message_start":
            self._begin(event["message"], out)
        elif kind == "message_delta":
            self._end(event["delta"].get("stop_reason"), event.get("usage"), out)
        elif kind == "message_stop":
            self.done = self.final = True
        elif kind == "error" or name == b"error" or event.get("error"):
            raise ErrorInside(event)

    def whole(self, body: bytes) -> list[Delta]:
        message = msgspec.json.decode(body)
        raise_named(message)
        if not isinstance(message.get("content"), list):
            raise Unreadable("the body has no content")
        out: list[Delta] = []
        self._begin(message, out)
        for index, block in enumerate(message["content"]):
            self._block(index, block, out)
        self._end(message.get("stop_reason") or "end_turn", None, out)
        self.done = self.final = True
        return out

    def _begin(self, message: dict[str, Any], out: list[Delta]) -> None:
        self._usage |= message.get("usage") or {}
        if message.get("model"):
            out.append(Delta(model=message["model"]))

    def _block(self, index: Any, block: dict[str, Any], out: list[Delta]) -> None:
        kind = block.get("type")
        if kind == "text" and block.get("text"):
            out.append(Delta(text=block["text"]))
        elif kind == "thinking" and block.get("thinking"):
            out.append(Delta(reasoning=block["thinking"]))
        elif kind == "tool_use":
            number = self._calls[index] = len(self._calls)
            arguments = msgspec.json.encode(block["input"]).decode() if block.get("input") else ""
            out.append(Delta(tool=ToolDelta(number, block.get("id") or "", block.get("name") or "", arguments)))

    def _delta(self, index: Any, delta: dict[str, Any], out: list[Delta]) -> None:
        kind = delta.get("type")
        if kind == "text_delta":
            out.append(Delta(text=delta["text"]))
        elif kind == "thinking_delta":
            out.append(Delta(reasoning=delta["thinking"]))
        elif kind == "input_json_delta" and index in self._calls and delta["partial_json"]:
            out.append(Delta(tool=ToolDelta(self._calls[index], arguments=delta["partial_json"])))

    def _end(self, reason: str | None, usage: dict[str, Any] | None, out: list[Delta]) -> None:
        self._usage |= {name: value for name, value in (usage or {}).items() if value is not None}
        finish = _FINISH.get(reason, "other") if reason else None
        out.append(Delta(finish_reason=finish, usage=_usage(self._usage) if self._usage else None))


def _usage(usage: dict[str, Any]) -> Usage:
    cached = count(usage, "cache_read_input_tokens")
    fresh = count(usage, "input_tokens") + count(usage, "cache_creation_input_tokens")
    return Usage(fresh + cached, count(usage, "output_tokens"), cached)


def endpoint(config: AnthropicConfig) -> str:
    return config.base_url or BASE_URL


ANTHROPIC = ProviderType(
    name="anthropic",
    summary="Claude, over Anthropic's messages",
    config=AnthropicConfig,
    build=Anthropic,
    endpoint=endpoint,
    overhead=protocol_tokens,
    key_variable="ANTHROPIC_API_KEY",
    prices="anthropic",
    facts=lambda config: Facts(tools=True, system=True, streaming=True),
    ignores=_UNKNOWN,
    examples=(
        Example("Claude", 'type: anthropic\nmodel: claude-sonnet-4-5\napi_key: "${env:ANTHROPIC_API_KEY}"'),
        Example(
            "A beta of the protocol",
            'type: anthropic\napi_key: "${env:ANTHROPIC_API_KEY}"\nheaders: {anthropic-beta: "context-1m-2025-08-07"}',
        ),
    ),
)
