"""OpenAI's responses protocol, for OpenAI and the servers that speak it too.

`max_tokens` becomes `max_output_tokens`, `reasoning_effort` the effort of `reasoning`; stop, seed, penalties and
top_k do not exist here and are left out. Nothing is stored at the provider unless `store` says so.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from wizard_dsl.core.budget import protocol_tokens
from wizard_dsl.core.component import Example, ModelSpec, ProviderType
from wizard_dsl.core.errors import Unsupported
from wizard_dsl.core.messages import Delta, FinishReason, Image, Message, Request, Text, ToolDelta
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.providers._chat import read_usage
from wizard_dsl.providers._chat_request import json_format
from wizard_dsl.providers._config import (
    JSON_HEADERS,
    EndpointConfig,
    build_headers,
    idempotency_key,
    join_url,
    secrets_of,
)
from wizard_dsl.providers._errors import ErrorInside, Unreadable, raise_named
from wizard_dsl.providers._json import encode_body
from wizard_dsl.providers._sse import Splitter, SseSplitter
from wizard_dsl.providers._wire import Wire

BASE_URL = "https://api.openai.com/v1"
_UNKNOWN = frozenset({"stop", "seed", "presence_penalty", "frequency_penalty", "top_k"})
_INCOMPLETE: dict[str, FinishReason] = {
    "max_output_tokens": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
}


_TEXT = frozenset({"response.output_text.delta", "response.refusal.delta"})
_REASONING = frozenset({"response.reasoning_summary_text.delta", "response.reasoning_text.delta"})


class ResponsesConfig(EndpointConfig, frozen=True, kw_only=True):
    """`api_version` is sent as the query's `api-version`, as Azure wants it."""

    api_version: (
        Annotated[
            str, Meta(pattern=r"^[A-Za-z0-9._-]+$", description="sent as the query's api-version, as Azure wants it")
        ]
        | None
    ) = None


class Responses:
    """Asks `base_url`/responses."""

    def __init__(self, config: ResponsesConfig, model: ModelSpec, context: BuildContext) -> None:
        own = dict(JSON_HEADERS)
        if config.api_key is not None and ".azure.com" in endpoint(config):
            own["api-key"] = config.api_key
        elif config.api_key is not None:
            own["authorization"] = f"Bearer {config.api_key}"
        query = f"?api-version={config.api_version}" if config.api_version else ""
        self._url = join_url(endpoint(config), "responses") + query
        self._headers = build_headers(own, config, model.target)
        self._wire = Wire(context, model, secrets_of(config))
        self._model = model.name
        self._target = model.target

    async def call(self, request: Request, run: Run) -> Response:
        """Raises AttemptFailed, and Unsupported for embeddings."""
        if request.kind == "embed":
            raise Unsupported("the responses protocol has no embeddings; use type: openai", lost=("embed",))
        stream = run.commit == "content"
        body = encode_body(self._body(request, stream))
        headers = self._headers | {"idempotency-key": idempotency_key(run, self._target, body)}
        return await self._wire.ask(self._url, headers, body, ResponsesReader(), run, stream=stream)

    def _body(self, request: Request, stream: bool) -> dict[str, Any]:
        body: dict[str, Any] = {"store": False}
        body |= {name: value for name, value in request.params.items() if name not in _UNKNOWN}
        if "max_tokens" in body:
            body["max_output_tokens"] = body.pop("max_tokens")
        if "reasoning_effort" in body:
            body["reasoning"] = {"effort": body.pop("reasoning_effort"), **body.get("reasoning", {})}
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters or {"type": "object", "properties": {}},
                    "strict": False,
                }
                for tool in request.tools
            ]
        if request.schema is not None:
            body["text"] = {**body.get("text", {}), "format": {"type": "json_schema", **json_format(request.schema)}}
        items = [item for each in request.messages for item in _items(each)]
        return body | {"model": self._model, "input": items, "stream": stream}


def _items(message: Message) -> list[dict[str, Any]]:
    """The input items of one turn: a message, then one for each call it makes."""
    if message.role == "tool":
        return [{"type": "function_call_output", "call_id": message.tool_call_id, "output": message.text}]
    kind = "output_text" if message.role == "assistant" else "input_text"
    content: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, Image):
            content.append({"type": "input_image", "image_url": part.url})
        elif isinstance(part, Text) and part.text:
            content.append({"type": kind, "text": part.text})
    items: list[dict[str, Any]] = [{"type": "message", "role": message.role, "content": content}] if content else []
    for call in message.tool_calls:
        items.append({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments})
    return items


class ResponsesReader:
    """One answer. Items of the server's own tools are not for us.

    An item is known by its place in the output and by its id: some servers send only one, some change the ids.
    """

    splitter: ClassVar[type[Splitter]] = SseSplitter
    lines: ClassVar[bool] = False

    def __init__(self) -> None:
        self.done = False
        self.final = False
        self._model: str | None = None
        self._calls: dict[Any, int] = {}
        self._count = 0
        self._spoken: set[Any] = set()  # items whose text, or whose arguments, have come
        self._refused = False

    def event(self, name: bytes, data: bytes, out: list[Delta]) -> None:
        if data.strip() == b"[DONE]":
            return
        event = msgspec.json.decode(data)
        kind = event.get("type") or name.decode()
        item = event.get("item") or {}
        keys = _keys(event.get("output_index"), event.get("item_id") or item.get("id"))
        if kind in _TEXT:
            self._refused = self._refused or kind == "response.refusal.delta"
            self._spoken.update(keys)
            out.append(Delta(text=event["delta"]))
        elif kind in _REASONING:
            self._spoken.update(keys)
            out.append(Delta(reasoning=event["delta"]))
        elif kind == "response.function_call_arguments.delta":
            self._arguments(keys, event["delta"], out)
        elif kind == "response.output_item.added" and item.get("type") == "function_call":
            self._call(keys, item, out)
        elif kind == "response.output_item.done":
            self._item(keys, item, out)
        elif kind in ("response.completed", "response.incomplete"):
            self._finish(event["response"], out)
        elif kind in ("response.failed", "error") or event.get("error"):
            raise ErrorInside(event.get("response") or event)
        elif kind == "response.created":
            self._name(event["response"], out)

    def whole(self, body: bytes) -> list[Delta]:
        response = msgspec.json.decode(body)
        raise_named(response)
        if not isinstance(response.get("output"), list):
            raise Unreadable("the body has no output")
        if response.get("status") in ("failed", "cancelled"):
            raise ErrorInside(response)
        out: list[Delta] = []
        self._finish(response, out)
        return out

    def _name(self, response: dict[str, Any], out: list[Delta]) -> None:
        if self._model is None and response.get("model"):
            self._model = response["model"]
            out.append(Delta(model=self._model))

    def _finish(self, response: dict[str, Any], out: list[Delta]) -> None:
        """The end, with whatever of the output no event has told."""
        self._name(response, out)
        for place, item in enumerate(response.get("output") or ()):
            self._item(_keys(place, item.get("id")), item, out)
        reason = (response.get("incomplete_details") or {}).get("reason")
        finish: FinishReason = "tool_calls" if self._count else "content_filter" if self._refused else "stop"
        if reason or response.get("status") == "incomplete":
            finish = _INCOMPLETE.get(str(reason), "other")
        usage = read_usage(response.get("usage"))
        out.append(Delta(finish_reason=finish, usage=usage))
        self.done = self.final = True

    def _call(self, keys: tuple[Any, ...], item: dict[str, Any], out: list[Delta]) -> None:
        for key in keys:
            self._calls[key] = self._count
        out.append(Delta(tool=ToolDelta(self._count, item.get("call_id") or "", item.get("name") or "")))
        self._count += 1
        self._arguments(keys, item.get("arguments") or "", out)

    def _arguments(self, keys: tuple[Any, ...], arguments: str, out: list[Delta]) -> None:
        number = next((self._calls[key] for key in keys if key in self._calls), None)
        if number is not None and arguments:
            self._spoken.update(keys)
            out.append(Delta(tool=ToolDelta(number, arguments=arguments)))

    def _item(self, keys: tuple[Any, ...], item: dict[str, Any], out: list[Delta]) -> None:
        """A whole item, of which the deltas may have come before."""
        if not self._spoken.isdisjoint(keys):
            return
        kind = item.get("type")
        if kind == "function_call":
            if any(key in self._calls for key in keys):
                self._arguments(keys, item.get("arguments") or "", out)
            else:
                self._call(keys, item, out)
        elif kind in ("message", "reasoning"):
            self._spoken.update(keys)
            for part in (*(item.get("summary") or ()), *(item.get("content") or ())):
                self._part(kind, part, out)

    def _part(self, kind: str, part: dict[str, Any], out: list[Delta]) -> None:
        if kind == "reasoning":
            out.append(Delta(reasoning=part.get("text") or ""))
        elif part.get("type") == "output_text" and part.get("text"):
            out.append(Delta(text=part["text"]))
        elif part.get("type") == "refusal":
            self._refused = True
            out.append(Delta(text=part.get("refusal") or ""))


def _keys(place: int | None, identity: str | None) -> tuple[Any, ...]:
    return tuple(key for key in (place, identity) if key is not None and key != "")


def endpoint(config: ResponsesConfig) -> str:
    return config.base_url or BASE_URL


OPENAI_RESPONSES = ProviderType(
    name="openai_responses",
    summary="OpenAI, over its responses protocol",
    config=ResponsesConfig,
    build=Responses,
    endpoint=endpoint,
    overhead=protocol_tokens,
    key_variable="OPENAI_API_KEY",
    prices="openai",
    ignores=_UNKNOWN,
    examples=(
        Example("A reasoning model", 'type: openai_responses\nmodel: gpt-5-mini\napi_key: "${env:OPENAI_API_KEY}"'),
    ),
)
