"""Ollama's own chat protocol: newline-delimited JSON, from a server on this machine or the hosted one.

The common parameters go into `options` under their names there, unknown ones verbatim, except those that stand beside
it (keep_alive, think, logprobs, top_logprobs); reasoning_effort becomes `think`. Reasoning that a model writes between
`<think>` tags at the start of its answer is kept apart. Images are taken as `data:` URLs only.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from wizard_dsl.core.budget import protocol_tokens
from wizard_dsl.core.component import Example, ModelSpec, ProviderType
from wizard_dsl.core.errors import Unsupported
from wizard_dsl.core.messages import (
    Completion,
    Delta,
    FinishReason,
    Image,
    Message,
    Request,
    ToolDelta,
    Usage,
    estimate_tokens,
)
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.providers._chat import as_arguments
from wizard_dsl.providers._chat_request import arguments_of, encode_tools
from wizard_dsl.providers._config import JSON_HEADERS, EndpointConfig, build_headers, join_url, secrets_of
from wizard_dsl.providers._errors import ErrorInside, Unreadable, raise_named
from wizard_dsl.providers._images import data_of
from wizard_dsl.providers._json import encode_body
from wizard_dsl.providers._ndjson import NdjsonSplitter
from wizard_dsl.providers._reading import count
from wizard_dsl.providers._sse import Splitter
from wizard_dsl.providers._wire import Wire

BASE_URL = "http://localhost:11434"
_RENAMED = {"max_tokens": "num_predict"}
_BESIDE = frozenset({"keep_alive", "think", "logprobs", "top_logprobs"})
_FINISH: dict[str, FinishReason] = {"stop": "stop", "length": "length", "tool_calls": "tool_calls"}


class Ollama:
    """Asks `base_url`/api/chat, or /api/embed."""

    def __init__(self, config: EndpointConfig, model: ModelSpec, context: BuildContext) -> None:
        own = JSON_HEADERS | ({"authorization": f"Bearer {config.api_key}"} if config.api_key is not None else {})
        base = endpoint(config).rstrip("/").removesuffix("/api")
        self._url = join_url(base, "api/chat")
        self._embeddings = join_url(base, "api/embed")
        self._headers = build_headers(own, config, model.target)
        self._wire = Wire(context, model, secrets_of(config))
        self._model = model.name

    async def call(self, request: Request, run: Run) -> Response:
        """Raises AttemptFailed, and Unsupported for an image that is a URL."""
        if request.kind == "embed":
            body = encode_body({**request.params, "model": self._model, "input": request.texts})
            return await self._wire.embed(
                self._embeddings, self._headers, body, _read_embeddings, len(request.texts), run
            )
        stream = run.commit == "content"
        body = encode_body(self._body(request, stream))
        reader = OllamaReader(estimate_tokens(request.size()))
        return await self._wire.ask(self._url, self._headers, body, reader, run, stream=stream)

    def _body(self, request: Request, stream: bool) -> dict[str, Any]:
        params = dict(request.params)
        if "reasoning_effort" in params:
            params.setdefault("think", params.pop("reasoning_effort"))
        body: dict[str, Any] = {name: params.pop(name) for name in _BESIDE & params.keys()}
        if params:
            body["options"] = {_RENAMED.get(name, name): value for name, value in params.items()}
        if isinstance(params.get("stop"), str):
            body["options"]["stop"] = [params["stop"]]
        if request.tools:
            body["tools"] = encode_tools(request)
        if request.schema is not None:
            body["format"] = request.schema
        names = {call.id: call.name for each in request.messages for call in each.tool_calls}
        messages = [_message(each, names) for each in request.messages]
        return body | {"model": self._model, "messages": messages, "stream": stream}


def _message(message: Message, names: dict[str, str]) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": message.text}
    images = [_image(part.url) for part in message.parts if isinstance(part, Image)]
    if images:
        body["images"] = images
    if message.tool_calls:
        body["tool_calls"] = [
            {"function": {"name": call.name, "arguments": arguments_of(call)}} for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        body["tool_name"] = names.get(message.tool_call_id, "tool")
    return body


def _image(url: str) -> str:
    data = data_of(url)
    if data is None:
        raise Unsupported("Ollama takes images as data: URLs only", lost=("images",))
    return data[1]


class OllamaReader:
    """One answer; `prompt` estimates its input where the server does not count it (a cached prompt)."""

    splitter: ClassVar[type[Splitter]] = NdjsonSplitter
    lines: ClassVar[bool] = True

    def __init__(self, prompt: int) -> None:
        self.done = False
        self.final = False
        self._prompt = prompt
        self._model: str | None = None
        self._calls = 0
        self._content = ThinkSplitter()

    def event(self, name: bytes, data: bytes, out: list[Delta]) -> None:
        line = msgspec.json.decode(data)
        raise_named(line)
        if "message" not in line and not line.get("done"):
            raise Unreadable("a line has no message")
        self._line(line, out)

    def whole(self, body: bytes) -> list[Delta]:
        splitter = NdjsonSplitter()
        events = [*splitter.feed(body), *splitter.close()]
        out: list[Delta] = []
        if len(events) != 1:
            for name, data in events:
                self.event(name, data, out)
            return out
        line = msgspec.json.decode(body)
        raise_named(line)
        if not isinstance(line.get("message"), dict):
            raise Unreadable("the body has no message")
        self._line({"done": True, **line}, out)
        return out

    def _line(self, line: dict[str, Any], out: list[Delta]) -> None:
        if self._model is None and line.get("model"):
            self._model = line["model"]
            out.append(Delta(model=self._model))
        message = line.get("message") or {}
        if message.get("thinking"):
            out.append(Delta(reasoning=message["thinking"]))
        if message.get("content"):
            out.extend(self._content.feed(message["content"]))
        for call in message.get("tool_calls") or ():
            function = call.get("function") or {}
            arguments = as_arguments(function.get("arguments") or {})
            tool = ToolDelta(self._calls, str(call.get("id") or ""), function.get("name") or "", arguments)
            self._calls += 1
            out.append(Delta(tool=tool))
        if line.get("done"):
            self._finish(line, out)

    def _finish(self, line: dict[str, Any], out: list[Delta]) -> None:
        out.extend(self._content.close())
        reason = line.get("done_reason") or "stop"
        if reason in ("load", "unload"):
            raise ErrorInside({"error": {"message": f"the model was only {reason}ed", "code": "server_error"}})
        finish: FinishReason = _FINISH.get(reason, "other")
        if finish == "stop" and self._calls:
            finish = "tool_calls"
        self.done = self.final = True
        out.append(Delta(finish_reason=finish, usage=self._usage(line)))

    def _usage(self, line: dict[str, Any]) -> Usage | None:
        if "eval_count" not in line:
            return None
        prompt, output = count(line, "prompt_eval_count"), count(line, "eval_count")
        return Usage(prompt, output) if prompt else Usage(self._prompt, output, confidence="estimated")


class ThinkSplitter:
    """Tells the reasoning between `<think>` and `</think>` at the start of an answer from its text. The tags may
    be cut anywhere."""

    __slots__ = ("_held", "_state")

    def __init__(self) -> None:
        self._held = ""
        self._state = "start"

    def feed(self, piece: str) -> list[Delta]:
        if self._state == "text":
            return [Delta(text=piece)]
        self._held += piece
        out: list[Delta] = []
        if self._state == "start":
            begun = self._held.lstrip()
            if not begun or ("<think>".startswith(begun) and begun != "<think>"):
                return out
            if not begun.startswith("<think>"):
                return self._as_text(out, self._held)
            self._state, self._held = "thinking", begun.removeprefix("<think>")
        return self._thinking(out)

    def _thinking(self, out: list[Delta]) -> list[Delta]:
        thought, closed, rest = self._held.partition("</think>")
        if closed:
            if thought:
                out.append(Delta(reasoning=thought))
            self._state, self._held = "after", rest
        if self._state == "after":
            rest = self._held.lstrip("\n")
            return self._as_text(out, rest) if rest else out
        keep = next((size for size in range(7, 0, -1) if self._held.endswith("</think>"[:size])), 0)
        ready, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        if ready:
            out.append(Delta(reasoning=ready))
        return out

    def _as_text(self, out: list[Delta], text: str) -> list[Delta]:
        self._state, self._held = "text", ""
        out.append(Delta(text=text))
        return out

    def close(self) -> list[Delta]:
        """What was held back for a tag that did not come."""
        held, self._held = self._held, ""
        if not held or self._state == "after":
            return []
        return [Delta(reasoning=held) if self._state == "thinking" else Delta(text=held)]


def _read_embeddings(payload: Any) -> Completion:
    vectors = tuple(tuple(map(float, row)) for row in payload["embeddings"])
    prompt = count(payload, "prompt_eval_count")
    usage = Usage(prompt) if prompt else None
    return Completion(embeddings=vectors, finish_reason="stop", usage=usage, model=payload.get("model"))


def endpoint(config: EndpointConfig) -> str:
    return config.base_url or BASE_URL


OLLAMA = ProviderType(
    name="ollama",
    summary="a model served by Ollama, over its own protocol",
    config=EndpointConfig,
    build=Ollama,
    endpoint=endpoint,
    overhead=protocol_tokens,
    examples=(
        Example("A server on this machine", "type: ollama\nmodel: llama3.2"),
        Example(
            "The hosted one",
            'type: ollama\nbase_url: https://ollama.com\nmodel: gpt-oss:120b\napi_key: "${env:OLLAMA_API_KEY}"',
        ),
    ),
)
