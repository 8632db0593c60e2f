"""Cohere's chat protocol, version 2.

`top_p`, `top_k` and `stop` have other names there; reasoning_effort does not exist and is left out: use `thinking`.
Usage is what the model read and wrote (`tokens`), not what is billed. The plan a model states before its tool calls is
not part of the answer.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from wizard_dsl.core.budget import protocol_tokens
from wizard_dsl.core.component import Example, ModelSpec, ProviderType
from wizard_dsl.core.messages import Completion, Delta, FinishReason, Request, ToolDelta, Usage
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.providers._chat import as_arguments
from wizard_dsl.providers._chat_request import encode_messages, encode_tools
from wizard_dsl.providers._config import JSON_HEADERS, EndpointConfig, build_headers, join_url, secrets_of
from wizard_dsl.providers._errors import ErrorInside, Unreadable, raise_named
from wizard_dsl.providers._json import encode_body
from wizard_dsl.providers._reading import count
from wizard_dsl.providers._sse import Splitter, SseSplitter
from wizard_dsl.providers._wire import Wire

BASE_URL = "https://api.cohere.com"
_UNKNOWN = frozenset({"reasoning_effort"})
_RENAMED = {"top_p": "p", "top_k": "k", "stop": "stop_sequences"}
_FINISH: dict[str, FinishReason] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "ERROR_LIMIT": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
}
_FAILED = frozenset({"ERROR", "TIMEOUT"})


class Cohere:
    """Asks `base_url`/v2/chat, or /v2/embed."""

    def __init__(self, config: EndpointConfig, model: ModelSpec, context: BuildContext) -> None:
        own = JSON_HEADERS | ({"authorization": f"Bearer {config.api_key}"} if config.api_key is not None else {})
        base = endpoint(config).rstrip("/").removesuffix("/v2")
        self._url = join_url(base, "v2/chat")
        self._embeddings = join_url(base, "v2/embed")
        self._headers = build_headers(own, config, model.target)
        self._wire = Wire(context, model, secrets_of(config))
        self._model = model.name

    async def call(self, request: Request, run: Run) -> Response:
        """Raises AttemptFailed."""
        if request.kind == "embed":
            return await self._embed(request, run)
        stream = run.commit == "content"
        body = encode_body(self._body(request, stream))
        return await self._wire.ask(self._url, self._headers, body, CohereReader(), run, stream=stream)

    def _body(self, request: Request, stream: bool) -> dict[str, Any]:
        params = {name: value for name, value in request.params.items() if name not in _UNKNOWN}
        body: dict[str, Any] = {_RENAMED.get(name, name): value for name, value in params.items()}
        if isinstance(body.get("stop_sequences"), str):
            body["stop_sequences"] = [body["stop_sequences"]]
        if request.tools:
            body["tools"] = encode_tools(request)
        if request.schema is not None:
            body["response_format"] = {"type": "json_object", "json_schema": request.schema}
        return body | {"model": self._model, "messages": encode_messages(request.messages), "stream": stream}

    async def _embed(self, request: Request, run: Run) -> Response:
        defaults = {"input_type": "search_document"}
        asked = {
            **defaults,
            **request.params,
            "model": self._model,
            "texts": request.texts,
            "embedding_types": ["float"],
        }
        body = encode_body(asked)
        return await self._wire.embed(self._embeddings, self._headers, body, _read_embeddings, len(request.texts), run)


class CohereReader:
    """One answer. Citations and tool plans are not for us."""

    splitter: ClassVar[type[Splitter]] = SseSplitter
    lines: ClassVar[bool] = False

    def __init__(self) -> None:
        self.done = False
        self.final = False
        self._calls: dict[Any, int] = {}

    def event(self, name: bytes, data: bytes, out: list[Delta]) -> None:
        if data.strip() == b"[DONE]":
            return
        event = msgspec.json.decode(data)
        kind = event.get("type") or name.decode()
        if kind == "message-end":
            self._finish(event["delta"], out)
            return
        message = (event.get("delta") or {}).get("message") or {}
        if kind in ("content-delta", "content-start"):
            _content(message.get("content") or {}, out)
        elif kind == "tool-call-start":
            self._call(event.get("index"), message["tool_calls"], out)
        elif kind == "tool-call-delta" and event.get("index") in self._calls:
            arguments = message["tool_calls"]["function"].get("arguments") or ""
            out.append(Delta(tool=ToolDelta(self._calls[event["index"]], arguments=arguments)))
        elif "type" not in event or kind == "error":
            raise_named(event)

    def whole(self, body: bytes) -> list[Delta]:
        answer = msgspec.json.decode(body)
        if not isinstance(answer, dict) or not isinstance(answer.get("message"), dict):
            raise_named(answer)
            raise Unreadable("the body has no message")
        out: list[Delta] = []
        for part in answer["message"].get("content") or ():
            _content(part, out)
        for index, call in enumerate(answer["message"].get("tool_calls") or ()):
            self._call(index, call, out)
        self._finish(answer, out)
        return out

    def _call(self, index: Any, call: dict[str, Any], out: list[Delta]) -> None:
        number = self._calls[index] = len(self._calls)
        function = call.get("function") or {}
        arguments = as_arguments(function.get("arguments"))
        out.append(Delta(tool=ToolDelta(number, call.get("id") or "", function.get("name") or "", arguments)))

    def _finish(self, end: dict[str, Any], out: list[Delta]) -> None:
        reason = end.get("finish_reason") or "COMPLETE"
        if reason in _FAILED or end.get("error"):
            message = end.get("error") or f"the answer ended with {reason}"
            raise ErrorInside({"error": {"message": message, "code": "server_error"}})
        finish: FinishReason = _FINISH.get(reason, "other")
        if finish == "stop" and self._calls:
            finish = "tool_calls"
        self.done = self.final = True
        out.append(Delta(finish_reason=finish, usage=_usage(end.get("usage") or {})))


def _content(part: dict[str, Any], out: list[Delta]) -> None:
    if part.get("thinking"):
        out.append(Delta(reasoning=part["thinking"]))
    if part.get("text"):
        out.append(Delta(text=part["text"]))


def _usage(usage: dict[str, Any]) -> Usage | None:
    tokens = usage.get("tokens") or usage.get("billed_units")
    if not tokens:
        return None
    prompt, output = count(tokens, "input_tokens"), count(tokens, "output_tokens")
    return Usage(
        prompt, output, min(count(usage, "cached_tokens"), prompt), min(count(tokens, "reasoning_tokens"), output)
    )


def _read_embeddings(payload: Any) -> Completion:
    vectors = tuple(tuple(map(float, row)) for row in payload["embeddings"]["float"])
    billed = count((payload.get("meta") or {}).get("billed_units"), "input_tokens")
    return Completion(embeddings=vectors, finish_reason="stop", usage=Usage(billed) if billed else None)


def endpoint(config: EndpointConfig) -> str:
    return config.base_url or BASE_URL


COHERE = ProviderType(
    name="cohere",
    summary="Cohere, over its chat protocol version 2",
    config=EndpointConfig,
    build=Cohere,
    endpoint=endpoint,
    overhead=protocol_tokens,
    key_variable="COHERE_API_KEY",
    prices="cohere",
    ignores=_UNKNOWN,
    examples=(Example("Command", 'type: cohere\nmodel: command-a-03-2025\napi_key: "${env:COHERE_API_KEY}"'),),
)
