"""Google's generateContent protocol: Gemini, at the Gemini API or, with `base_url`, on Vertex AI.

The common parameters go into `generationConfig` under their names there; unknown ones go there verbatim, except those
that stand beside it (safetySettings, toolConfig, cachedContent, labels). reasoning_effort has no equal that all models
take and is left out: use `thinkingConfig`. Thought tokens count as output, those of the server's own tools as input.
"""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import quote

import msgspec

from wizard_dsl.core.budget import protocol_tokens
from wizard_dsl.core.component import Example, ModelSpec, ProviderType
from wizard_dsl.core.messages import Completion, Delta, FinishReason, Image, Message, Request, Text, ToolDelta, Usage
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.providers._chat_request import arguments_of
from wizard_dsl.providers._config import JSON_HEADERS, EndpointConfig, build_headers, join_url, secrets_of
from wizard_dsl.providers._errors import ErrorInside, Unreadable, names_error
from wizard_dsl.providers._images import data_of, type_of
from wizard_dsl.providers._json import encode_body
from wizard_dsl.providers._reading import count
from wizard_dsl.providers._sse import Splitter, SseSplitter
from wizard_dsl.providers._wire import Wire

BASE_URL = "https://generativelanguage.googleapis.com/v1beta"
_UNKNOWN = frozenset({"reasoning_effort"})
_RENAMED = {
    "max_tokens": "maxOutputTokens",
    "top_p": "topP",
    "top_k": "topK",
    "stop": "stopSequences",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
_BESIDE = frozenset({"safetySettings", "toolConfig", "cachedContent", "labels"})
_FINISH: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
}
#: What Google takes in place of a signature for a call that another model, or an earlier run, has made.
_NO_SIGNATURE = "skip_thought_signature_validator"


class Gemini:
    """Asks `base_url`/models/…:generateContent, :streamGenerateContent, or :batchEmbedContents."""

    def __init__(self, config: EndpointConfig, model: ModelSpec, context: BuildContext) -> None:
        own = JSON_HEADERS | ({"x-goog-api-key": config.api_key} if config.api_key is not None else {})
        name = model.name.removeprefix("models/")
        self._resource = name if name.startswith("tunedModels/") else f"models/{name}"
        base = join_url(endpoint(config), quote(self._resource, safe="/@"))
        self._url = f"{base}:generateContent"
        self._streaming = f"{base}:streamGenerateContent?alt=sse"
        self._embeddings = f"{base}:batchEmbedContents"
        self._headers = build_headers(own, config, model.target)
        self._wire = Wire(context, model, secrets_of(config))
        self._signed = name.startswith("gemini-3")

    async def call(self, request: Request, run: Run) -> Response:
        """Raises AttemptFailed; ContentFiltered where the prompt itself was blocked."""
        if request.kind == "embed":
            return await self._embed(request, run)
        stream = run.commit == "content"
        url = self._streaming if stream else self._url
        body = encode_body(self._body(request))
        return await self._wire.ask(url, self._headers, body, GeminiReader(), run, stream=stream)

    def _body(self, request: Request) -> dict[str, Any]:
        params = {name: value for name, value in request.params.items() if name not in _UNKNOWN}
        body: dict[str, Any] = {name: params.pop(name) for name in _BESIDE & params.keys()}
        settings = {_RENAMED.get(name, name): value for name, value in params.items()}
        if isinstance(settings.get("stopSequences"), str):
            settings["stopSequences"] = [settings["stopSequences"]]
        if request.schema is not None:
            settings |= {"responseMimeType": "application/json", "responseJsonSchema": request.schema}
        if settings:
            body["generationConfig"] = settings
        system = [{"text": each.text} for each in request.messages if each.role == "system"]
        if system:
            body["systemInstruction"] = {"parts": system}
        if request.tools:
            declared = [
                {"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.parameters}
                if tool.parameters
                else {"name": tool.name, "description": tool.description}
                for tool in request.tools
            ]
            body["tools"] = [{"functionDeclarations": declared}]
        return body | {"contents": self._contents(request.messages)}

    def _contents(self, messages: tuple[Message, ...]) -> list[dict[str, Any]]:
        """Turns of user and model; results of tools are the user's, and name the function they answer."""
        names = {call.id: call.name for each in messages for call in each.tool_calls}
        contents: list[dict[str, Any]] = []
        for each in messages:
            if each.role == "system":
                continue
            role = "model" if each.role == "assistant" else "user"
            parts = [_result(each, names)] if each.role == "tool" else self._parts(each)
            if contents and contents[-1]["role"] == role:
                contents[-1]["parts"] += parts
            else:
                contents.append({"role": role, "parts": parts})
        return contents

    def _parts(self, message: Message) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = []
        for part in message.parts:
            if isinstance(part, Image):
                parts.append(_image(part.url))
            elif isinstance(part, Text) and part.text:
                parts.append({"text": part.text})
        for number, call in enumerate(message.tool_calls):
            called: dict[str, Any] = {"functionCall": {"name": call.name, "args": arguments_of(call)}}
            if self._signed and number == 0:
                called["thoughtSignature"] = _NO_SIGNATURE
            parts.append(called)
        return parts

    async def _embed(self, request: Request, run: Run) -> Response:
        asked = [
            {**request.params, "model": self._resource, "content": {"parts": [{"text": text}]}}
            for text in request.texts
        ]
        body = encode_body({"requests": asked})
        return await self._wire.embed(self._embeddings, self._headers, body, _read_embeddings, len(asked), run)


def _result(message: Message, names: dict[str, str]) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(message.text)
    except msgspec.DecodeError:
        value = message.text
    response = value if isinstance(value, dict) else {"result": value}
    return {"functionResponse": {"name": names.get(message.tool_call_id or "", "tool"), "response": response}}


def _image(url: str) -> dict[str, Any]:
    data = data_of(url)
    if data is None:
        return {"fileData": {"mimeType": type_of(url), "fileUri": url}}
    return {"inlineData": {"mimeType": data[0], "data": data[1]}}


class GeminiReader:
    """One answer. Parts of the server's own tools are not for us."""

    splitter: ClassVar[type[Splitter]] = SseSplitter
    lines: ClassVar[bool] = False

    def __init__(self) -> None:
        self.done = False
        self.final = False
        self._model: str | None = None
        self._calls = 0

    def event(self, name: bytes, data: bytes, out: list[Delta]) -> None:
        self._chunk(msgspec.json.decode(data), out)

    def whole(self, body: bytes) -> list[Delta]:
        """A unary answer, or the array that a stream is where `alt=sse` was not understood."""
        payload = msgspec.json.decode(body)
        chunks = payload if isinstance(payload, list) else [payload]
        if not chunks or not isinstance(chunks[0], dict):
            raise Unreadable("the body has no candidates")
        out: list[Delta] = []
        for chunk in chunks:
            self._chunk(chunk, out)
        if not self.done and isinstance(payload, dict):
            if not payload.get("candidates"):
                raise Unreadable("the body has no candidates")
            self._finish("STOP", out)
        return out

    def _chunk(self, chunk: dict[str, Any], out: list[Delta]) -> None:
        if names_error(chunk):
            raise ErrorInside(chunk)
        if self._model is None and chunk.get("modelVersion"):
            self._model = chunk["modelVersion"]
            out.append(Delta(model=self._model))
        candidates = chunk.get("candidates") or ()
        blocked = (chunk.get("promptFeedback") or {}).get("blockReason")
        if not candidates and blocked:
            raise ErrorInside({"error": {"message": f"the prompt was blocked: {blocked}", "code": "content_filter"}})
        for candidate in candidates:
            if candidate.get("index"):
                continue
            for part in (candidate.get("content") or {}).get("parts") or ():
                self._part(part, out)
            if candidate.get("finishReason"):
                self._finish(candidate["finishReason"], out)
        if chunk.get("usageMetadata"):
            out.append(Delta(usage=_usage(chunk["usageMetadata"])))

    def _part(self, part: dict[str, Any], out: list[Delta]) -> None:
        if part.get("text"):
            out.append(Delta(reasoning=part["text"]) if part.get("thought") else Delta(text=part["text"]))
        call = part.get("functionCall")
        if call:
            arguments = msgspec.json.encode(call.get("args") or {}).decode()
            tool = ToolDelta(self._calls, call.get("id") or "", call.get("name") or "", arguments)
            self._calls += 1
            out.append(Delta(tool=tool))

    def _finish(self, reason: str, out: list[Delta]) -> None:
        if reason == "MALFORMED_FUNCTION_CALL":
            raise Unreadable("the model made a function call that cannot be read")
        finish: FinishReason = _FINISH.get(reason, "other")
        if finish == "stop" and self._calls:
            finish = "tool_calls"
        self.done = True
        out.append(Delta(finish_reason=finish))


def _usage(usage: dict[str, Any]) -> Usage:
    thoughts = count(usage, "thoughtsTokenCount")
    prompt = count(usage, "promptTokenCount") + count(usage, "toolUsePromptTokenCount")
    cached = min(count(usage, "cachedContentTokenCount"), prompt)
    return Usage(prompt, count(usage, "candidatesTokenCount") + thoughts, cached, thoughts)


def _read_embeddings(payload: Any) -> Completion:
    vectors = tuple(tuple(map(float, row["values"])) for row in payload["embeddings"])
    return Completion(embeddings=vectors, finish_reason="stop")


def endpoint(config: EndpointConfig) -> str:
    return config.base_url or BASE_URL


GEMINI = ProviderType(
    name="gemini",
    summary="Gemini, over Google's generateContent",
    config=EndpointConfig,
    build=Gemini,
    endpoint=endpoint,
    overhead=protocol_tokens,
    key_variable="GEMINI_API_KEY",
    prices="google",
    ignores=_UNKNOWN,
    examples=(
        Example("Gemini", 'type: gemini\nmodel: gemini-2.5-flash\napi_key: "${env:GEMINI_API_KEY}"'),
        Example(
            "On Vertex AI, with an access token",
            "type: gemini\n"
            "base_url: https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4/publishers/google\n"
            'headers: {authorization: "Bearer ${env:VERTEX_TOKEN}"}',
        ),
    ),
)
